"""Processes that work, fail, are killed and are stopped. The runs themselves are stand-ins (`fake_runs`)."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import fake_runs
import psutil
import pytest
from fake_runs import FakeStatus, spec_of

from baselines.fast.names import DeviceLost
from results.errors import ResultsError
from results.lock import RunLock
from results.store import run_directory
from suite import executors
from suite.executors import LocalExecutor, Supervision
from suite.run_files import RUN_LOG_FILE
from suite.run_process import _may_pass

NEVER = Supervision(restarts=0, silent_seconds=600.0)


class Events:
    """An audience that keeps what it is told, and can act on the first status."""

    def __init__(self, on_status=None):
        self.started_specs, self.statuses, self.outcomes, self.told_to_stop = [], [], [], 0
        self.restarts, self.notes = [], []
        self._on_status = on_status

    def started(self, spec):
        self.started_specs.append(spec)

    def status(self, spec, status):
        self.statuses.append(status)
        if self._on_status is not None:
            self._on_status(self)

    def restarting(self, spec, reason):
        self.restarts.append((spec, reason))

    def finished(self, outcome):
        self.outcomes.append(outcome)

    def stopping(self):
        self.told_to_stop += 1

    def note(self, line):
        self.notes.append(line)


def send_once(number):
    def act(events):
        if len(events.statuses) == 1:
            os.kill(os.getpid(), number)

    return act


def results_of(outcomes):
    return [outcome.result for outcome in outcomes]


def test_runs_that_fail_do_not_stop_the_others(tmp_path):
    events = Events()
    specs = [spec_of(seed) for seed in (0, 1, 2, 3, 4, 6)]
    outcomes = LocalExecutor(tmp_path, ["a", "b"], NEVER, fake_runs.by_seed).run(specs, events)

    assert [outcome.spec for outcome in outcomes] == specs
    assert results_of(outcomes) == ["done", "failed", "failed", "failed", "failed", "done"]
    reasons = [outcome.reason for outcome in outcomes]
    assert reasons[1] == "RuntimeError: the network has NaNs"
    assert reasons[2] == "its process was killed by SIGKILL, perhaps because memory ran out"
    assert reasons[3] == "its process ended with code 7 and no result"
    assert reasons[4] == "another process is writing it"
    assert events.started_specs == specs
    assert sorted(events.outcomes, key=lambda o: o.spec) == outcomes
    assert FakeStatus() in events.statuses


def test_what_a_run_prints_and_its_traceback_go_to_its_log(tmp_path, capfd):
    LocalExecutor(tmp_path, ["a"], NEVER, fake_runs.by_seed).run([spec_of(0), spec_of(1)], Events())
    assert (run_directory(tmp_path, spec_of(0)) / RUN_LOG_FILE).read_text() == "a library chatters\n"
    assert "Traceback" in (run_directory(tmp_path, spec_of(1)) / RUN_LOG_FILE).read_text()
    assert capfd.readouterr() == ("", "")


def test_every_slot_has_its_options(tmp_path):
    specs = [spec_of(seed) for seed in range(4)]
    LocalExecutor(tmp_path, ["slot a", "slot b"], NEVER, fake_runs.options_seen).run(specs, Events())
    seen = [(run_directory(tmp_path, spec) / "options").read_text() for spec in specs]
    assert set(seen) == {"slot a", "slot b"}
    assert set(seen[:2]) == {"slot a", "slot b"}  # side by side


class Refused(executors.RunProcess):
    """A process that the system refuses, as often as `times` says."""

    times = 0

    def __init__(self, spec, *arguments):
        if spec.seed == 6 and Refused.times > 0:
            Refused.times -= 1
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        super().__init__(spec, *arguments)


def test_a_run_whose_process_cannot_be_started_waits_for_another_to_end(tmp_path, monkeypatch):
    """No more processes, open files or memory: those that train used to be killed, and the command ended."""
    monkeypatch.setattr(executors, "RunProcess", Refused)
    monkeypatch.setattr(Refused, "times", 1)
    events, specs = Events(), [spec_of(0), spec_of(6), spec_of(7)]
    outcomes = LocalExecutor(tmp_path, ["a", "b"], NEVER, fake_runs.by_seed).run(specs, events)
    assert results_of(outcomes) == ["done", "done", "done"]
    why = "its process cannot be started (Resource temporarily unavailable)"
    assert events.notes == [f"{specs[1]}: {why}; tried again when another run ends"]


def test_where_not_one_process_can_be_started_the_run_has_failed(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "RunProcess", Refused)
    monkeypatch.setattr(Refused, "times", 1)
    events, specs = Events(), [spec_of(6), spec_of(7)]
    outcomes = LocalExecutor(tmp_path, ["a"], NEVER, fake_runs.by_seed).run(specs, events)
    assert results_of(outcomes) == ["failed", "done"]
    assert outcomes[0].reason == "its process cannot be started (Resource temporarily unavailable)"
    assert events.started_specs == specs  # a display ends only what has begun
    assert events.outcomes == outcomes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_lets_runs_write_their_checkpoint_and_starts_no_more(tmp_path, number):
    events = Events(send_once(number))
    specs = [spec_of(seed) for seed in range(3)]
    outcomes = LocalExecutor(tmp_path, ["a"], NEVER, fake_runs.until_stopped).run(specs, events)
    assert results_of(outcomes) == ["interrupted", "not started", "not started"]
    assert (run_directory(tmp_path, specs[0]) / "checkpoint").exists()
    assert events.told_to_stop == 1


def test_a_second_signal_kills_at_once(tmp_path):
    def twice(events):
        if len(events.statuses) in (1, 4):
            os.kill(os.getpid(), signal.SIGINT)

    began = time.monotonic()
    outcomes = LocalExecutor(tmp_path, ["a"], NEVER, fake_runs.deaf).run([spec_of(0), spec_of(1)], Events(twice))
    assert results_of(outcomes) == ["interrupted", "not started"]
    assert time.monotonic() - began < 60


def test_signal_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    LocalExecutor(tmp_path, ["a"], NEVER, fake_runs.by_seed).run([spec_of(0)], Events())
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_an_error_in_the_audience_leaves_no_process_behind(tmp_path):
    def broken(_events):
        raise RuntimeError("cannot draw")

    with pytest.raises(RuntimeError, match="cannot draw"):
        LocalExecutor(tmp_path, ["a"], NEVER, fake_runs.deaf).run([spec_of(0)], Events(broken))
    assert [c for c in psutil.Process().children() if "spawn_main" in " ".join(c.cmdline())] == []


ORPHANS = """
    import sys
    sys.path.insert(0, {folder!r})
    from pathlib import Path
    import fake_runs
    from suite.executors import Audience, LocalExecutor, Supervision

    class Quiet(Audience):
        started = finished = lambda *_: None
        status = lambda *_: print("under way", flush=True)

    if __name__ == "__main__":
        supervision = Supervision(restarts=0, silent_seconds=600.0)
        executor = LocalExecutor(Path({results!r}), ["a"], supervision, fake_runs.{run})
        executor.run([fake_runs.spec_of()], Quiet())
"""


def kill_the_parent_of(run, tmp_path):
    """Starts an executor with one run in a process of its own, and kills that process once the run is under way."""
    file = tmp_path / "parent.py"
    file.write_text(textwrap.dedent(ORPHANS).format(folder=str(Path(__file__).parent), results=str(tmp_path), run=run))
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, str(file)], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    ) as parent:
        assert parent.stdout.readline() == "under way\n"
        parent.kill()


def test_a_run_whose_parent_was_killed_writes_its_checkpoint_and_stops(tmp_path):
    kill_the_parent_of("until_stopped", tmp_path)
    checkpoint = run_directory(tmp_path, spec_of()) / "checkpoint"
    deadline = time.monotonic() + 60
    while not checkpoint.exists():
        assert time.monotonic() < deadline, "the run went on without a parent"
        time.sleep(0.05)


def test_a_run_whose_parent_was_killed_gives_up_its_lock_in_the_middle_of_an_update(tmp_path):
    kill_the_parent_of("stuck", tmp_path)
    began = time.monotonic()
    while time.monotonic() < began + 15:  # a second of its own, and what a busy machine takes
        try:
            with RunLock(run_directory(tmp_path, spec_of())):
                break
        except ResultsError:
            time.sleep(0.05)
    else:
        pytest.fail("the lock was still held")
    assert "its parent died" in (run_directory(tmp_path, spec_of()) / RUN_LOG_FILE).read_text()


def test_a_run_that_crashes_or_hangs_is_started_again_and_says_so(tmp_path):
    events = Events()
    specs = [spec_of(seed) for seed in range(3)]
    supervision = Supervision(restarts=1, silent_seconds=8.0)
    outcomes = LocalExecutor(tmp_path, ["a", "b"], supervision, fake_runs.once).run(specs, events)
    assert results_of(outcomes) == ["done", "done", "done"]
    (crash,), (signalled,), (hang,) = [outcome.restarts for outcome in outcomes]
    assert crash == "RuntimeError: CUDA error: unspecified launch failure"
    assert signalled == "its process was killed by SIGSEGV"
    assert hang.startswith("it hung: no sign of life for")
    assert {spec for spec, _ in events.restarts} == set(specs)
    assert len(events.started_specs) == 6


def test_a_run_is_started_again_no_more_often_than_allowed(tmp_path):
    events = Events()
    supervision = Supervision(restarts=2, silent_seconds=600.0)
    (outcome,) = LocalExecutor(tmp_path, ["a"], supervision, fake_runs.by_seed).run([spec_of(1)], events)
    assert outcome.result == "failed"
    assert len(outcome.restarts) == 2
    assert len(events.started_specs) == 3


def test_what_would_fail_again_is_not_started_again(tmp_path):
    """Killed for its memory, kept out by another process, a full disk."""
    events = Events()
    supervision = Supervision(restarts=1, silent_seconds=600.0)
    specs = [spec_of(2), spec_of(4), spec_of(5)]
    outcomes = LocalExecutor(tmp_path, ["a", "b"], supervision, fake_runs.by_seed).run(specs, events)
    assert results_of(outcomes) == ["failed"] * 3
    assert [outcome.restarts for outcome in outcomes] == [(), (), ()]
    assert events.started_specs == specs


def test_a_run_whose_fast_path_broke_the_gpu_is_not_started_again():
    """It would break it again."""
    assert not _may_pass(DeviceLost("the fast path failed: run again with --plain"))
    assert _may_pass(RuntimeError("CUDA error: an illegal memory access was encountered"))
