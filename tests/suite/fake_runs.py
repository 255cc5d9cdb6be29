"""Stand-ins for `suite.run.execute`, importable by the processes that an executor starts."""

import os
import signal
import time
from dataclasses import dataclass

from results.errors import ResultsError
from results.lock import RunLock
from results.schema import RunSpec
from results.store import run_directory


@dataclass(frozen=True)
class FakeStatus:
    phase: str = "training"
    frames: float = 250_000.0
    total_frames: int = 1_000_000
    frames_per_second: float | None = 5_000.0
    mean_return: float | None = -20.5


def spec_of(seed=0, *, baseline="pqn", game="Pong", frames=1_000_000):
    return RunSpec(baseline, game, frames, seed, "0123456789abcdef")


def by_seed(spec, *, results, options, report, stop_requested):
    """Seed 0 and those above 5 succeed; each of the others fails in its own way."""
    match spec.seed:
        case 1:
            raise RuntimeError("the network\nhas NaNs")
        case 2:
            os.kill(os.getpid(), signal.SIGKILL)
        case 3:
            os._exit(7)
        case 4:
            raise ResultsError("another process is writing it")
        case 5:
            raise OSError(28, "No space left on device")
    print("a library chatters")
    report(FakeStatus())
    return "done"


def until_stopped(spec, *, results, options, report, stop_requested):
    """Stops at its next `checkpoint`, which is marked by a file."""
    while not stop_requested():
        report(FakeStatus())
        time.sleep(0.05)
    (run_directory(results, spec) / "checkpoint").touch()
    return "interrupted"


def deaf(spec, *, results, options, report, stop_requested):
    """Never stops by itself within a test's patience."""
    for _ in range(3000):
        report(FakeStatus())
        time.sleep(0.1)
    return "done"


def options_seen(spec, *, results, options, report, stop_requested):
    (run_directory(results, spec) / "options").write_text(str(options))
    time.sleep(0.3)
    return "done"


def once(spec, *, results, options, report, stop_requested):
    """The first time it fails as its seed says, the second time it is done."""
    mark = run_directory(results, spec) / "tried"
    if mark.exists():
        return "done"
    mark.touch()
    match spec.seed:
        case 0:
            raise RuntimeError("CUDA error: unspecified launch failure")
        case 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 2:
            report(FakeStatus())
            time.sleep(600)
    return "done"


def stuck(spec, *, results, options, report, stop_requested):
    """In an update that takes longer than a test's patience."""
    with RunLock(run_directory(results, spec)):
        report(FakeStatus())
        time.sleep(600)
    return "done"
