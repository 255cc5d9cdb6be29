"""Runs that do nothing: a finished run's files are there at once, in the process that watches it."""

from stored_runs import store_run

from results.store import run_directory
from suite.executors import Outcome


def finish(spec, *, results, options, report, stop_requested):
    raise AssertionError("it is never called: NothingProcess has its results")


class NothingProcess:
    """In place of `suite.executors.RunProcess`: no process, whose start takes a second of Python's own."""

    crashed = False

    def __init__(self, spec, results, options, execute):
        self._spec = spec
        directory = run_directory(results, spec)
        log = (directory / "run.log").read_bytes()
        directory.rename(directory.with_name("begun"))  # `store_run` makes the folder
        store_run(results, baseline=spec.baseline, game=spec.game, frames=spec.frames, seed=spec.seed)
        (directory / "run.log").write_bytes(log)

    def handles(self):
        return []

    def statuses(self):
        return []

    def end_if_silent(self, allowed_seconds):
        pass

    def has_ended(self):
        return True

    def outcome(self, *, was_stopped):
        return Outcome(self._spec, "done")

    def stop(self, *, at_once, preempted=False):
        pass

    def abandon(self):
        pass
