"""Real runs of seconds, for processes that an executor starts anywhere: `live` is importable, `spec_of` is its spec."""

import dataclasses
import time

from fault_children import tiny_pinned

from suite.protocol import load_protocol, run_spec


def spec_of(baseline, *, updates=6, seed=0):
    pinned = tiny_pinned(baseline)
    frames = updates * pinned.config.frames_per_update
    return run_spec(pinned, load_protocol("paper"), game="Breakout", frames=frames, seed=seed)


def live(spec, *, results, options, report, stop_requested, home=None):
    """`suite.run.execute` with the tiny configurations; a checkpoint after every update."""
    from suite import opening
    from suite.run import execute

    opening.load_pinned = tiny_pinned
    options = dataclasses.replace(options, checkpoint_seconds=0.0)
    return execute(spec, results=results, options=options, report=report, stop_requested=stop_requested, home=home)


def live_slowly(spec, *, results, options, report, stop_requested, home=None):
    """The same, a while longer: every update waits a moment."""

    def slow_report(status):
        time.sleep(0.15)
        report(status)

    return live(spec, results=results, options=options, report=slow_report, stop_requested=stop_requested, home=home)
