"""The command line as a user calls it: real processes, real games; PQN small (`tiny_suite`) but for one slow test."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fused import require_native

from baselines.fast.names import FOURIER, FUSED_BLOCK, FUSED_INPUT
from results.lock import RunLock, writer

ROOT = Path(__file__).parents[2]
TINY = [str(Path(__file__).parent / "tiny_suite.py")]
REAL = ["-m", "suite"]
PATIENCE_SECONDS = 300


def environment(**more):
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def suite(folder, *arguments, program=TINY, **more):
    command = [sys.executable, *program, *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=PATIENCE_SECONDS
    )


def start(folder, *arguments, **more):
    """In a session of its own, so that Ctrl-C can be sent to all of it, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, *TINY, *map(str, arguments)],
        cwd=folder,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return found


def manifest_of(folder, game, frames="40M"):
    path = folder / "results" / "runs" / "pqn" / game / str(frames) / "seed-0" / "manifest.json"
    return json.loads(path.read_text()) if path.exists() else None


def run_arguments(games, frames, *more):
    return (
        *("run", "--games", games, "--frames", frames, "--baselines", "pqn", "--seeds", 1),
        *("--device", "cpu", "--threads", 1, *more),
    )


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["status"], ["run", "--help"]])
def test_quick_commands_answer_without_importing_torch_or_pandas(tmp_path, arguments):
    code = (
        "import sys; from suite.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'pandas', 'envpool'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment(), capture_output=True, text=True
    )
    assert done.stderr == "[]\n"


def test_a_mistake_has_no_traceback(tmp_path):
    done = suite(tmp_path, "run", "--games", "pogn", "--frames", "4M", program=REAL)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "error: unknown game 'pogn' (nearest: Pong); list them with: python -m suite list\n"


def test_a_reader_that_has_enough_is_no_error(tmp_path):
    line = f"{shlex.quote(sys.executable)} -m suite list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("game")


def of_run(folder, baseline, frames):
    path = folder / "results" / "runs" / baseline / "Pong" / str(frames) / "seed-0" / "manifest.json"
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    ("program", "frames", "updates"),
    [
        pytest.param(TINY, 1_280, 10, id="tiny"),
        pytest.param(REAL, 16_384, 1, id="real", marks=pytest.mark.slow),
    ],
)
def test_runs_of_a_real_game_end_in_results_a_report_and_nothing_to_do(tmp_path, program, frames, updates):
    """PQN in float32 and in bf16, which is a baseline of its own beside the one it is a variant of."""
    arguments = ("run", "--games", "pong", "--frames", frames, "--baselines", "pqn,pqn-bf16")
    arguments += ("--seeds", 1, "--device", "cpu", "--threads", 1, "--jobs", 1)
    done = suite(tmp_path, *arguments, program=program)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr  # a pipe gets no control codes
    for name in ("pqn", "pqn-bf16"):
        assert re.search(rf"^{name} +Pong +{frames} +0 +done +{frames:,} ", done.stdout, re.MULTILINE)
        manifest = of_run(tmp_path, name, frames)
        assert (manifest["status"], manifest["frames_done"], manifest["updates_done"]) == ("done", frames, updates)
        assert (manifest["hardware"]["torch_threads"], manifest["hardware"]["jobs"]) == (1, 1)
    manifests = [of_run(tmp_path, name, frames) for name in ("pqn", "pqn-bf16")]
    assert [manifest["config"]["baseline"].pop("precision") for manifest in manifests] == ["float32", "bf16"]
    assert manifests[0]["config"] == manifests[1]["config"]
    assert manifests[0]["spec"]["config_hash"] != manifests[1]["spec"]["config_hash"]
    assert manifests[0]["files"]["metrics.parquet"] != manifests[1]["files"]["metrics.parquet"]
    assert suite(tmp_path, "verify", program=program).stdout == "2 runs checked, 2 sound, 0 not\n"

    again = suite(tmp_path, *arguments, "--json", program=program)
    assert [row["result"] for row in json.loads(again.stdout)["runs"]] == ["skipped", "skipped"]

    built = suite(tmp_path, "report", "--out", "html", program=program)
    assert built.returncode == 0, built.stderr
    assert "PQN (bf16)" in (tmp_path / "html" / "index.html").read_text()
    assert json.loads((tmp_path / "html" / "summary.json").read_text())["results"]["runs"] == 2


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_writes_a_checkpoint_and_exits_130_with_the_command_that_goes_on(tmp_path, signal_number):
    with start(tmp_path, *run_arguments("breakout,pong", "40M", "--jobs", 1, "--json")) as process:
        wait_for(lambda: manifest_of(tmp_path, "Breakout"))
        if signal_number == signal.SIGINT:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    manifest = manifest_of(tmp_path, "Breakout")
    assert manifest["status"] == "interrupted"
    assert manifest["frames_done"] == manifest["updates_done"] * 128 > 0
    (_,) = (tmp_path / "results/runs/pqn/Breakout/40M/seed-0").glob("checkpoint-*.pt")
    assert [row["result"] for row in json.loads(out)["runs"]] == ["interrupted", "not started"]
    assert "Ctrl-C again leaves at once" in err
    assert err.endswith(
        "stopped with 2 runs left\n"
        "go on with:\n"
        "  python -m suite run --games Breakout,Pong --frames 40M --baselines pqn --seeds 1 --device cpu --jobs 1 "
        "--threads 1\n"
    )
    assert "Traceback" not in err


def test_a_run_goes_on_with_the_fast_path_it_began_with_or_not_at_all(tmp_path):
    require_native()
    arguments = shlex.split("run --games pong --frames 40M --baselines hadamax-pqn --seeds 1 --device cpu --threads 1")
    with start(tmp_path, *arguments) as process:
        folder = tmp_path / "results" / "runs" / "hadamax-pqn" / "Pong" / "40M" / "seed-0"
        wait_for(lambda: (folder / "manifest.json").exists())
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=PATIENCE_SECONDS)
    before = (folder / "manifest.json").read_bytes()
    assert (json.loads(before)["path"], json.loads(before)["status"]) == ("fast", "interrupted")
    there = suite(tmp_path, *arguments, PATH="", CXX="")
    assert there.returncode == 1
    told = "note: runs plain, which is slower: fused Hadamax block, Hadamax-PQN in float32: no C++ compiler was found"
    assert told in there.stderr
    assert f"was begun with a fast path that is missing here: {FUSED_BLOCK}, {FOURIER}, {FUSED_INPUT} (" in there.stderr
    assert (folder / "manifest.json").read_bytes() == before


def test_a_run_in_progress_is_told_at_once_and_its_log_stays_its_own(tmp_path):
    """It used to be set up first, and its refusal stood as a traceback in the log of the run in progress."""
    folder = tmp_path / "results/runs/pqn/Breakout/1280/seed-0"
    folder.mkdir(parents=True)
    with RunLock(folder):
        done = suite(tmp_path, *run_arguments("breakout,pong", 1_280, "--jobs", 1))
    assert done.returncode == 1
    assert (
        f"another process (pid {os.getpid()} on {socket.gethostname()}) is training it; wait for it, or" in done.stderr
    )
    assert not (folder / "run.log").exists()
    assert manifest_of(tmp_path, "Pong", 1_280)["status"] == "done"
    again = suite(tmp_path, *run_arguments("breakout,pong", 1_280, "--jobs", 1))
    assert again.returncode == 0, again.stderr


def test_a_second_ctrl_c_leaves_at_once(tmp_path):
    with start(tmp_path, *run_arguments("breakout", "40M"), TINY_UPDATE_NEVER_ENDS="1") as process:
        wait_for(lambda: manifest_of(tmp_path, "Breakout"))
        os.killpg(process.pid, signal.SIGINT)
        for line in process.stderr:
            if "Ctrl-C again" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130
    assert manifest_of(tmp_path, "Breakout")["status"] == "running"  # its update never ended
    assert "Traceback" not in err
    status = json.loads(suite(tmp_path, "status", "--json").stdout)
    assert [row["state"] for row in status["runs"]] == ["part done"]


def test_a_killed_run_does_not_stop_the_others_and_the_command_that_retries_it_is_given(tmp_path):
    with start(tmp_path, *run_arguments("breakout,pong", 1_280, "--jobs", 2)) as process:
        directory = tmp_path / "results" / "runs" / "pqn" / "Pong" / "1280" / "seed-0"
        pid = wait_for(lambda: re.match(r"pid (\d+) on", writer(directory) or ""))[1]
        os.kill(int(pid), signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
    assert [line.split()[1:5:3] for line in out.splitlines()[1:]] == [["Breakout", "done"], ["Pong", "failed"]]
    assert "1 of 2 runs failed:" in err
    assert "pqn Pong 1280 seed 0: its process was killed by SIGKILL, perhaps because memory ran out (log: " in err
    *_, retry = err.splitlines()
    assert retry.strip() == (
        "python -m suite run --games Pong --frames 1280 --baselines pqn --seeds 1 --device cpu --jobs 2 --threads 1"
    )
    again = suite(tmp_path, *shlex.split(retry)[3:])
    assert again.returncode == 0
    assert manifest_of(tmp_path, "Pong", "1280")["status"] == "done"
