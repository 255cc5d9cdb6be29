"""Sharing a GPU, with a stand-in for NVIDIA's daemon that notes what it was told."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest
import torch

from suite import mps
from suite.owned_folders import abandoned

WORKS = (sys.executable, "-c", "import os; assert os.environ['CUDA_MPS_PIPE_DIRECTORY']")
FAILS = (sys.executable, "-c", "raise SystemExit(1)")
# With -d it leaves a process behind, as NVIDIA's does, which holds what it was given to write to; `quit` ends that one.
DAEMON = """\
#!/bin/sh
if [ "$1" = --serve ]; then trap 'exit 0' TERM; while :; do sleep 0.1; done; fi
if [ "$1" = -d ]; then
    "$0" --serve & echo $! > "$CUDA_MPS_PIPE_DIRECTORY/nvidia-cuda-mps-control.pid"
    echo "-d in $CUDA_MPS_PIPE_DIRECTORY" >> TOLD
    echo "${CUDA_VISIBLE_DEVICES-all}" > TOLD.visible
    exit 0
fi
echo "$(cat) in $CUDA_MPS_PIPE_DIRECTORY" >> TOLD
[ -e DEAF ] || kill "$(cat "$CUDA_MPS_PIPE_DIRECTORY/nvidia-cuda-mps-control.pid")"
"""


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Puts a daemon on the PATH; returns the file in which it keeps what it was told, and where."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / mps.CONTROL
    program.parent.mkdir()
    program.write_text(DAEMON.replace("TOLD", str(told)).replace("DEAF", str(tmp_path / "deaf")))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(mps.tempfile, "tempdir", None)  # asks for TMPDIR anew
    monkeypatch.delenv(mps.PIPES, raising=False)
    monkeypatch.setattr(mps, "_USUAL_PIPES", tmp_path / "none")
    yield told
    for process in serving(program):
        process.kill()


def serving(program):
    """The daemons that are alive, however they came to be."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(program) in (process.info["cmdline"] or []) and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def daemons(told):
    """Those that are alive, and stay so: one that was told to quit may take a moment."""
    alive = serving(told.parent / "bin" / mps.CONTROL)
    return psutil.wait_procs(alive, timeout=1.0)[1]


def test_runs_on_one_gpu_share_it_through_a_daemon_that_ends_with_them(daemon):
    said = []
    with mps.shared_gpus(["cuda:0", "cuda:0"], tell=said.append, probe=WORKS):
        folder = os.environ[mps.PIPES]
        assert daemon.read_text() == f"-d in {folder}\n"
        assert len(daemons(daemon)) == 1
    assert daemon.read_text().splitlines()[1:] == [f"quit in {folder}"]
    assert daemons(daemon) == []
    assert mps.PIPES not in os.environ
    assert mps.LOGS not in os.environ
    assert not os.path.exists(folder)
    assert said == ["note: runs share a GPU through MPS"]


def test_the_daemon_ends_when_the_runs_fail(daemon):
    with pytest.raises(KeyboardInterrupt), mps.shared_gpus(["cuda"] * 2, tell=print, probe=WORKS):
        raise KeyboardInterrupt
    assert "quit" in daemon.read_text()
    assert mps.PIPES not in os.environ


@pytest.mark.parametrize("devices", [["cpu", "cpu"], ["cuda:0"], ["cuda:0", "cuda:1"]])
def test_nothing_is_started_where_no_gpu_is_shared(daemon, devices):
    said = []
    with mps.shared_gpus(devices, tell=said.append, probe=WORKS):
        assert mps.PIPES not in os.environ
    assert not daemon.exists()
    assert said == []


def test_a_daemon_under_which_cuda_does_not_work_is_given_up(daemon):
    said = []
    with mps.shared_gpus(["cuda", "cuda"], tell=said.append, probe=FAILS):
        assert mps.PIPES not in os.environ
        assert "quit" in daemon.read_text()
        assert daemons(daemon) == []
    assert said == ["note: runs take turns on a GPU: MPS did not start (no CUDA program ran under it)"]


@pytest.mark.parametrize(("visible", "of_the_daemon"), [("0,2", "all"), (" 3", "all"), ("GPU-4a5c,GPU-01", None)])
def test_gpus_named_by_number_are_all_the_daemons_and_keep_their_numbers_for_runs(
    daemon, monkeypatch, visible, of_the_daemon
):
    """A daemon that is told "0,2" numbers the two anew, and a run that is told "0,2" finds no GPU 2."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    tried = (sys.executable, "-c", f"import os; assert os.environ['CUDA_VISIBLE_DEVICES'] == {visible!r}")
    said = []
    with mps.shared_gpus(["cuda:0", "cuda:0"], tell=said.append, probe=tried):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == visible
    assert daemon.with_name("told.visible").read_text().strip() == (of_the_daemon or visible)
    assert said == ["note: runs share a GPU through MPS"]


def test_every_gpu_in_use_is_tried_out_under_the_daemon(daemon):
    tried = daemon.with_name("tried")
    probe = (sys.executable, "-c", f"import sys; open({str(tried)!r}, 'w').write(' '.join(sys.argv[1:]))")
    with mps.shared_gpus(["cuda:1", "cuda:0", "cuda:1", "cpu"], tell=print, probe=probe):
        pass
    assert tried.read_text() == "cuda:0 cuda:1"


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_the_probe_fails_where_a_gpu_does_not_work():
    assert subprocess.run([*mps._PROBE, "cpu"], timeout=120).returncode == 0
    assert subprocess.run([*mps._PROBE, "cpu", "cuda:0"], stderr=subprocess.DEVNULL, timeout=120).returncode != 0


def test_a_daemon_of_the_users_own_is_left_alone(daemon, monkeypatch):
    monkeypatch.setenv(mps.PIPES, "/somewhere")
    said = []
    with mps.shared_gpus(["cuda", "cuda"], tell=said.append, probe=WORKS):
        assert os.environ[mps.PIPES] == "/somewhere"
    assert not daemon.exists()
    assert said == ["note: runs share a GPU through the MPS daemon that is there already"]


def test_without_the_service_the_runs_take_turns(daemon, monkeypatch):
    monkeypatch.setenv("PATH", "")
    said = []
    with mps.shared_gpus(["cuda", "cuda"], tell=said.append, probe=WORKS):
        pass
    assert said == [f"note: runs take turns on a GPU: {mps.CONTROL} is not installed"]


def test_a_daemon_that_holds_its_output_open_is_not_waited_for(daemon):
    """Its output used to be a pipe, and the command waited two minutes for the pipe's end."""
    began = time.monotonic()
    with mps.shared_gpus(["cuda"] * 2, tell=print, probe=WORKS):
        pass
    assert time.monotonic() - began < 10


def test_ctrl_c_while_the_daemon_is_tried_out_ends_it(daemon, monkeypatch):
    call = mps._call

    def interrupted(command, *arguments, **keywords):
        if command[: len(WORKS)] == WORKS:
            raise KeyboardInterrupt
        call(command, *arguments, **keywords)

    monkeypatch.setattr(mps, "_call", interrupted)
    with pytest.raises(KeyboardInterrupt), mps.shared_gpus(["cuda"] * 2, tell=print, probe=WORKS):
        pytest.fail("the runs must not begin")
    assert daemons(daemon) == []
    assert list(daemon.parent.glob(f"{mps.FOLDERS}*")) == []


def test_a_daemon_that_does_not_listen_is_ended_by_force_and_hides_no_error(daemon, monkeypatch):
    (daemon.parent / "deaf").write_text("")
    monkeypatch.setattr(mps, "_QUIT_SECONDS", 0.5)
    with pytest.raises(ZeroDivisionError), mps.shared_gpus(["cuda"] * 2, tell=print, probe=WORKS):
        raise ZeroDivisionError
    psutil.wait_procs(daemons(daemon), timeout=5)
    assert daemons(daemon) == []


def test_the_daemon_of_a_killed_command_is_ended_by_the_next(daemon):
    program = textwrap.dedent(
        """
        import os, signal, sys
        from pathlib import Path
        from suite import mps
        mps._USUAL_PIPES = Path("/nowhere")
        with mps.shared_gpus(["cuda"] * 2, tell=print, probe=["true"]):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(mps.__file__).parents[1], timeout=60)
    assert killed.returncode == -signal.SIGKILL
    (left,) = daemons(daemon)
    said = []
    with mps.shared_gpus(["cuda"] * 2, tell=said.append, probe=WORKS):
        (ours,) = daemons(daemon)
        assert ours.pid != left.pid
        # Another command at the same time leaves the daemon of one that lives alone.
        assert abandoned(mps.FOLDERS) == []
    assert said == ["note: ended an MPS daemon that a killed command had left", "note: runs share a GPU through MPS"]
    assert list(daemon.parent.glob(f"{mps.FOLDERS}*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the start of a process is counted in another way there")
@pytest.mark.parametrize("seconds", [1, -86_400])
def test_a_clock_that_is_set_does_not_end_the_daemon_of_a_living_command(daemon, monkeypatch, seconds):
    """The system then tells another start of its own, and a process's is counted from there."""
    boot_time = psutil.boot_time()
    with mps.shared_gpus(["cuda"] * 2, tell=print, probe=WORKS):
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time + seconds)
        assert abandoned(mps.FOLDERS) == []
