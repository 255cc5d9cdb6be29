"""Sharing a GPU, with a stand-in for NVIDIA's daemon that notes what it was told."""

from __future__ import annotations

import os
import stat
import sys

import pytest

from suite import mps

WORKS = (sys.executable, "-c", "import os; assert os.environ['CUDA_MPS_PIPE_DIRECTORY']")
FAILS = (sys.executable, "-c", "raise SystemExit(1)")


@pytest.fixture
def daemon(tmp_path, monkeypatch):
    """Puts a daemon on the PATH; returns the file in which it keeps its arguments, input and folder."""
    told = tmp_path / "told"
    program = tmp_path / "bin" / mps.CONTROL
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$* $([ "$1" = -d ] || cat) in $CUDA_MPS_PIPE_DIRECTORY" >> {told}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv(mps.PIPES, raising=False)
    monkeypatch.setattr(mps, "_USUAL_PIPES", tmp_path / "none")
    return told


def test_runs_on_one_gpu_share_it_through_a_daemon_that_ends_with_them(daemon):
    said = []
    with mps.shared_gpus(["cuda:0", "cuda:0"], tell=said.append, probe=WORKS):
        folder = os.environ[mps.PIPES]
        assert daemon.read_text() == f"-d  in {folder}\n"
    assert daemon.read_text().splitlines()[1:] == [f" quit in {folder}"]
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
    assert said == ["note: runs take turns on a GPU: MPS did not start (no CUDA program ran under it)"]


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
