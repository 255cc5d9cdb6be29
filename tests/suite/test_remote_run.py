"""A run on a node, from beside it; the keeper is the real one, and no cluster is needed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from checkouts import checkout_of
from nothing_runs import NothingProcess
from tiny_runs import live, spec_of

from results.store import open_run, run_directory
from suite import opening, provenance, remote_run
from suite.executors import Outcome
from suite.keeper import Held, Keeper, Luggage
from suite.remote_run import Place, run_here
from suite.run_messages import RunOptions

SPEC = spec_of("pqn", updates=2)
OPTIONS = RunOptions(device="cpu", threads=1, emulator_threads=1)


@pytest.fixture(autouse=True)
def _pins_as_they_were(monkeypatch):
    pinned = opening.load_pinned
    monkeypatch.setattr(remote_run, "_TELL_SECONDS", 0.0)
    monkeypatch.setattr(remote_run, "_POLL_SECONDS", 0.0)
    yield
    opening.load_pinned = pinned


class HomeOf:
    """The keeper, as the first start of the run reaches it."""

    def __init__(self, keeper):
        self._keeper = keeper

    def open(self, node):
        return self._keeper.open(SPEC, 1, node)

    def tell(self, status):
        return self._keeper.tell(SPEC, 1, status)

    def keep(self, parcel):
        return self._keeper.keep(SPEC, 1, parcel)


class InThisProcess(NothingProcess):
    """A run that trains in this process, and is over when it is made."""

    def __init__(self, spec, results, options, execute):
        result = execute(spec, results=results, options=options, report=lambda _: None, stop_requested=lambda: False)
        self._outcome = Outcome(spec, result)
        self._killed = False

    def outcome(self, *, was_stopped):
        return self._outcome

    def stop(self, *, at_once, preempted=False):
        self._killed |= at_once


class UntilKilled(InThisProcess):
    """It has saved, and goes on until it is killed."""

    def __init__(self, spec, results, options, execute):
        super().__init__(spec, results, options, execute)
        self._log = run_directory(results, spec) / "run.log"

    def has_ended(self):
        if self._killed:  # in the middle of a save: it has nothing more to send
            for path in self._log.parent.glob("*.parquet"):
                path.write_bytes(b"half a table")
        return self._killed

    def outcome(self, *, was_stopped):
        return Outcome(SPEC, "interrupted" if was_stopped else "done", "killed before it wrote a checkpoint")


def test_results_inside_a_nodes_checkout_do_not_make_it_unclean(tmp_path, monkeypatch):
    """On a node of the machine where the command runs; the run itself is written to a passing folder."""
    monkeypatch.setattr(provenance, "_CHECKOUT", checkout_of(tmp_path / "suite"))
    home = tmp_path / "suite" / "mine"
    other = run_directory(home, spec_of("pqn", updates=2, seed=1))
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")
    place = Place("node", home, shared=False, silent_seconds=600.0)
    ending = run_here(SPEC, HomeOf(Keeper(home)), OPTIONS, place, live, InThisProcess)
    assert ending.outcome.result == "done"
    assert open_run(run_directory(home, SPEC)).manifest["revision"]["clean"] is True


def test_a_run_whose_folder_another_command_took_over_is_killed_and_says_so(tmp_path):
    class TakenOver(HomeOf):
        def keep(self, parcel):
            holder = run_directory(tmp_path, SPEC) / ".holder.lock"
            holder.write_text(json.dumps({"pid": 7, "since_boot": 1.0, "host": "elsewhere"}))
            return super().keep(parcel)

    place = Place("node", tmp_path, shared=False, silent_seconds=600.0)
    ending = run_here(SPEC, TakenOver(Keeper(tmp_path)), OPTIONS, place, live, UntilKilled)
    assert ending.outcome.result == "failed"
    assert "another process (pid 7 on elsewhere) has taken over" in ending.outcome.reason
    assert not ending.crashed  # another start would take it back
    assert [path.name for path in run_directory(tmp_path, SPEC).glob("[!.]*")] == []


@pytest.mark.parametrize(
    ("refusals", "asked"),
    [
        ([Held("pid 3 is writing it"), Held("pid 3 is writing it"), Luggage({})], 3),
        (["/home/another process cannot be written", Luggage({})], 1),
    ],
)
def test_a_start_waits_for_a_run_that_another_process_writes_and_for_nothing_else(monkeypatch, refusals, asked):
    answers = iter(refusals)

    class Home:
        def open(self, node):
            return next(answers)

    monkeypatch.setattr(remote_run.time, "sleep", lambda seconds: None)
    assert remote_run._opened(Home(), "node") == refusals[asked - 1]
    assert list(answers) == refusals[asked:]


KILLED = """
    import os, signal
    from pathlib import Path
    from nothing_runs import NothingProcess
    from test_remote_run import OPTIONS, SPEC, HomeOf
    from suite.keeper import Keeper
    from suite.remote_run import Place, run_here

    class Killed(NothingProcess):
        def __init__(self, spec, results, options, execute):
            os.kill(os.getpid(), signal.SIGKILL)

    place = Place("node", Path({home!r}), shared=False, silent_seconds=600.0)
    run_here(SPEC, HomeOf(Keeper(place.results)), OPTIONS, place, print, Killed)
"""


def test_what_a_killed_start_left_on_its_node_is_removed_by_the_next(tmp_path, monkeypatch):
    """Three checkpoints of Rainbow are 330 MB, and a node's memory may run out each night."""
    passing, home = tmp_path / "passing", tmp_path / "home"
    passing.mkdir()
    monkeypatch.setenv("TMPDIR", str(passing))
    monkeypatch.setattr(tempfile, "tempdir", None)  # asks for TMPDIR anew
    program = textwrap.dedent(KILLED).format(home=str(tmp_path / "other"))
    folders = [str(Path(__file__).parent), str(Path(remote_run.__file__).parents[1])]
    ended = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)}, timeout=120
    )
    assert ended.returncode == -signal.SIGKILL
    assert [path.name[:12] for path in passing.iterdir()] == ["hadamax-run-"]

    seen = []

    class Looks(InThisProcess):
        def __init__(self, spec, results, options, execute):
            seen.extend(passing.iterdir())
            super().__init__(spec, results, options, execute)

    place = Place("node", home, shared=False, silent_seconds=600.0)
    ending = run_here(SPEC, HomeOf(Keeper(home)), OPTIONS, place, live, Looks)
    assert ending.outcome.result == "done"
    assert len(seen) == 1  # its own
    assert list(passing.iterdir()) == []
