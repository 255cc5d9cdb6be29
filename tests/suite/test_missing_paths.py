"""What the command line tells of paths that runs will do without."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from baselines.fast.names import EPOCH_GRAPH, FUSED_INPUT, FUSED_NORM, ROLLOUT_GRAPH
from suite import missing_paths as module
from suite.missing_paths import missing_paths


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_a_gpu_is_asked_by_another_process_and_one_that_fails_ends_no_command():
    (line,) = missing_paths("cuda:0", ["pqn"])
    assert line.startswith("paths could not be tried before the runs: ")
    assert not torch.cuda.is_initialized()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here, and works")
def test_every_path_that_is_left_out_has_a_line_with_its_reason(monkeypatch, number_formats):
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    found = module._tried("cuda:0", ["pqn"], ())
    assert [line.partition(": ")[0] for line in found] == [
        f"{FUSED_INPUT}, in float32",
        f"{FUSED_NORM}, PQN in float32",
        EPOCH_GRAPH,
        ROLLOUT_GRAPH,
    ]
    assert all(line.partition(": ")[2] for line in found)
    assert torch.get_float32_matmul_precision() == "high"  # tried in the number formats of a run


def test_a_baseline_of_ones_own_is_known_to_the_process_that_tries_paths(tmp_path):
    """A process of its own starts without it: an unknown name would keep every note back."""
    own = tmp_path / "mine.toml"
    own.write_text('name = "mine"\nextends = "pqn"\n')
    code = (
        "from pathlib import Path; from suite.missing_paths import missing_paths; "
        f"print(missing_paths('cpu', ['mine'], [Path({str(own)!r})]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "unknown baseline" not in done.stdout


def test_ctrl_c_while_the_process_is_being_started_ends_it_and_is_raised(monkeypatch):
    start = threading.Thread.start

    def start_at_ctrl_c(thread):
        os.kill(os.getpid(), signal.SIGINT)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_at_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        missing_paths("cuda:0", ["pqn"])
    assert multiprocessing.active_children() == []
