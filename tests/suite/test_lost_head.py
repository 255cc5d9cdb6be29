"""A cluster whose head dies under a command, and is started again: with `ray start`, and the command line as given."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from test_own_baselines import NET, TINY

from results.schema import ACTIONS_FILE, EPISODES_FILE, METRICS_FILE

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="nodes of one machine need addresses of their own: 127.0.0.x"),
]

ROOT = Path(__file__).parents[2]
HEAD, OTHER = "127.0.0.2", "127.0.0.3"
# As `python -m suite`, with a save a second instead of one in five minutes.
COMMAND = (
    "import sys; from suite import cli, cluster_flags; cluster_flags._CHECKPOINT_SECONDS = 1.0; sys.exit(cli.main())"
)
FLAGS = "run --games breakout --frames 40k --baselines tiny.toml --seeds 2 --device cpu --threads 1"
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
}


def free_port():
    with socket.socket() as server:
        server.bind((HEAD, 0))
        return server.getsockname()[1]


def kill_all(process):
    """SIGKILL to a node's processes, as when its machine is lost."""
    for each in [*psutil.Process(process.pid).children(recursive=True), process]:
        try:
            each.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait()


@contextmanager
def node(log, *flags):
    """`ray start --block`, with room for one run; its processes are killed at the end."""
    common = "--block --num-cpus=1 --memory=4000000000 --object-store-memory=80000000 --disable-usage-stats"
    ports = "--min-worker-port=0 --max-worker-port=0"
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", *common.split(), *ports.split(), *flags],
            env=ENVIRONMENT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: b"Ray runtime started" in log.read_bytes() or process.poll() is not None, "the node is up")
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            kill_all(process)


@contextmanager
def two_nodes(folder, port):
    temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets in it have short names
    try:
        dashboard = ("--include-dashboard=false", f"--temp-dir={temporary}")
        head = node(
            folder / f"head-{time.time_ns()}", "--head", f"--node-ip-address={HEAD}", f"--port={port}", *dashboard
        )
        with head as process:
            other = node(folder / f"node-{time.time_ns()}", f"--address={HEAD}:{port}", f"--node-ip-address={OTHER}")
            with other:
                yield process
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def wait_until(holds, what, seconds=120):
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, f"{what}: not within {seconds} seconds"
        time.sleep(0.1)


def command(folder, *flags):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *FLAGS.split(), *flags],
        cwd=folder,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_after_a_head_that_died_the_same_command_goes_on_and_changes_no_byte(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "tiny.toml").write_text(
        f'name = "tiny"\nextends = "pqn"\n[values]\nencoder = {{ value = "net.py:Net", source = "ours" }}\n{TINY}'
    )
    port = free_port()
    over = ("--executor", "ray", "--address", f"{HEAD}:{port}", "--results", "ray")
    with two_nodes(tmp_path, port) as head:
        first = command(tmp_path, *over)
        wait_until(
            lambda: len(list(tmp_path.glob("ray/tiny/*/*/*/checkpoint-*.pt"))) >= 2, "both runs have a checkpoint"
        )
        kill_all(head)
        said = first.communicate(timeout=90)[1]
    assert first.returncode == 1, said
    assert "start the cluster again" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob(f"ray/tiny/*/*/*/{ACTIONS_FILE}"))  # no run was done
    with two_nodes(tmp_path, port):
        again = command(tmp_path, *over)
        said = again.communicate(timeout=300)[1]
    assert again.returncode == 0, said
    here = command(tmp_path, "--results", "here")
    here.communicate(timeout=300)
    assert here.returncode == 0
    places = sorted(
        path.parent.relative_to(tmp_path / "here") for path in tmp_path.glob("here/tiny/*/*/*/manifest.json")
    )
    assert len(places) == 2
    for place in places:
        manifest = (tmp_path / "ray" / place / "manifest.json").read_text()
        assert '"interruptions": []' not in manifest  # it went on, rather than anew
        for name in (EPISODES_FILE, METRICS_FILE, ACTIONS_FILE):
            there = (tmp_path / "ray" / place / name).read_bytes()
            assert there == (tmp_path / "here" / place / name).read_bytes(), (place, name)
