"""Lives of tiny runs, each in a process of its own that a warm one forks: a second a life instead of four.

A line of JSON comes in for each life: {baseline, results, kind, at, answer}; one goes out when it has ended:
{code}, the exit code or minus the signal. What the life itself has to say lies in the file `answer`.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from file_faults import Faults
from shrunk import shrunk

from baselines.registry import load_pinned
from results.store import run_directory
from suite import opening
from suite.protocol import load_protocol, run_spec
from suite.run import RunOptions, execute

TINY_PQN = {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 8, "minibatches": 2}
TINY_REPLAY = {"train_environments": 4, "block_vector_steps": 4, "batch": 4, "agent_steps_per_update": 8}
TINY = {"pqn": TINY_PQN, "c51": TINY_REPLAY, "rainbow": TINY_REPLAY}  # by algorithm, which these baselines are named as
UPDATES = {"pqn": 3, "c51": 4, "rainbow": 4}  # reports of progress, and a checkpoint after each
# What a run imports late; a life has it from the start.
_WARM = ("envpool", "torch._dynamo", "baselines.pqn", "baselines.c51", "baselines.rainbow", "pyarrow.parquet")
OPTIONS = RunOptions(device="cpu", threads=1, emulator_threads=1, checkpoint_seconds=0.0)


def tiny_pinned(name):
    return shrunk(name, TINY[load_pinned(name).algorithm])


def spec_of(baseline):
    pinned = tiny_pinned(baseline)
    frames = UPDATES[pinned.algorithm] * pinned.config.frames_per_update
    return run_spec(pinned, load_protocol("paper"), game="Breakout", frames=frames, seed=0)


def live(*, baseline, results, kind, at, answer):
    """One life, to the end of the run or to the fault. Writes {outcome, error, operations, made_room}."""
    opening.load_pinned = tiny_pinned
    spec = spec_of(baseline)
    faults = Faults(run_directory(Path(results), spec), kind=kind, at=at)
    said = {"outcome": None, "error": None}
    faults.install()
    try:
        said["outcome"] = execute(
            spec, results=Path(results), options=OPTIONS, report=lambda _: None, stop_requested=lambda: False
        )
    except Exception as error:
        said["error"] = f"{type(error).__name__}: {error}"
    Path(answer).write_text(json.dumps({**said, "operations": faults.operations, "made_room": faults.made_room}))


class Children:
    """The warm process, from the outside."""

    def __enter__(self):
        root = Path(__file__).parents[2]
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        return self

    def __exit__(self, *_):
        self._server.communicate()

    def live(self, results, *, baseline="pqn", kind=None, at=None):
        """(exit code, what the life said: None if it was killed)."""
        answer = Path(results).with_suffix(".answer")
        answer.unlink(missing_ok=True)
        job = {"baseline": baseline, "results": str(results), "kind": kind, "at": at, "answer": str(answer)}
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        code = json.loads(self._server.stdout.readline())["code"]
        return code, json.loads(answer.read_text()) if answer.exists() else None


def serve():
    torch.set_num_threads(1)  # threads do not survive a fork
    for name in _WARM:
        importlib.import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                live(**job)
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    serve()
