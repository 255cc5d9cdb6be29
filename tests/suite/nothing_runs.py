"""Runs that do nothing: a finished run's files are there at once."""

import shutil

from stored_runs import store_run

from results.store import run_directory


def finish(spec, *, results, options, report, stop_requested):
    folder = run_directory(results, spec)
    printed = folder.with_name("printed")
    folder.rename(printed)  # `store_run` makes the folder
    store_run(results, baseline=spec.baseline, game=spec.game, frames=spec.frames, seed=spec.seed)
    shutil.move(printed / "run.log", folder / "run.log")
    printed.rmdir()
    return "done"
