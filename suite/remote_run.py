"""A run on a node of a cluster: in a process of its own there, watched from beside it, its results brought home."""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from multiprocessing import connection
from pathlib import Path
from typing import Any, Protocol

from results.errors import ResultsError
from results.schema import RunSpec
from results.store import run_directory
from suite.courier import Courier
from suite.executors import Outcome, RunProcess
from suite.keeper import GO_ON, KILL, LEAVE, STOP, Answer, Held, Luggage, Parcel
from suite.own_shipping import OwnBaseline, unpack_own
from suite.owned_folders import owned_folder
from suite.run_files import RUN_LOG_FILE
from suite.run_messages import RunOptions

_POLL_SECONDS = 0.2
_TELL_SECONDS = 1.0
_LOCK_SECONDS = 30.0  # a command that was killed has its processes ended by Ray, in a moment


class Home(Protocol):
    """The keeper, as one start of one run reaches it."""

    def open(self, node: str) -> Luggage | str: ...
    def tell(self, status: Any) -> int: ...
    def keep(self, parcel: Parcel) -> Answer: ...


@dataclass(frozen=True)
class Ending:
    """How one start of a run ended."""

    outcome: Outcome
    crashed: bool = False  # whether it is worth another start
    node_leaves: bool = False  # the node was told to end (SIGTERM)


@dataclass(frozen=True)
class Place:
    """What is known of the node and of the results when a run starts there."""

    node: str
    results: Path  # at home; the nodes' too where it is shared
    shared: bool
    silent_seconds: float
    patience_seconds: float = 120.0  # for a keeper that cannot write: its disk is full
    own: tuple[OwnBaseline, ...] = ()  # baselines of a user's own, which the run may be one of


def run_here(
    spec: RunSpec,
    home: Home,
    options: RunOptions,
    place: Place,
    execute: Callable[..., str],
    process_of: Callable[..., RunProcess] = RunProcess,
) -> Ending:
    """Brings a run as far as it gets on this node. Call from the main thread: it takes over SIGTERM."""
    luggage = _opened(home, place.node)
    if isinstance(luggage, str):
        return Ending(Outcome(spec, "failed", luggage))
    with ExitStack() as stack:
        leaves = stack.enter_context(_noticing_sigterm())
        stack.enter_context(_light_children())
        folder = stack.enter_context(owned_folder("hadamax-run-"))
        courier = None
        results = place.results
        if not place.shared:
            results = folder / "results"
            courier = Courier(run_directory(results, spec), luggage)
            execute = partial(execute, home=place.results)
        _say_where(run_directory(results, spec), place.node)
        if place.own:
            try:
                options = replace(options, own=unpack_own(place.own, folder / "own"))
            except ResultsError as error:
                return Ending(Outcome(spec, "failed", str(error)))
        process = process_of(spec, results, options, execute)
        try:
            ending = _watch(process, home, place, courier, leaves)
        finally:
            process.abandon()
    reason = ending.outcome.reason.replace(str(results), str(place.results))
    return replace(ending, outcome=replace(ending.outcome, reason=reason))


def _watch(
    process: RunProcess, home: Home, place: Place, courier: Courier | None, leaves: Callable[[], bool]
) -> Ending:
    """From the start of the process to its end and the last parcel's arrival."""
    obeyed, told_at, status = GO_ON, 0.0, None
    unkept_since: float | None = None
    trouble = lost = ""  # why the last parcel was not kept; why no later one will be
    while not process.has_ended():
        connection.wait(process.handles(), _POLL_SECONDS)
        status = next(reversed(process.statuses()), status)
        process.end_if_silent(place.silent_seconds)
        order = LEAVE if leaves() else GO_ON
        if time.monotonic() - told_at >= _TELL_SECONDS:
            told_at = time.monotonic()
            order = max(order, home.tell(status))
            status = None
            parcel = courier.parcel() if courier else None
            if courier and parcel:
                answer = home.keep(parcel)
                order, trouble = max(order, answer.order), answer.trouble
                if not trouble:
                    courier.was_kept()
                lost = trouble if answer.is_last else ""
                unkept_since = (unkept_since or time.monotonic()) if trouble else None
            if unkept_since is not None and time.monotonic() - unkept_since > place.patience_seconds:
                order = max(order, STOP)
        if order > obeyed:
            obeyed = order
            process.stop(at_once=order >= KILL, preempted=order == LEAVE)
    outcome = process.outcome(was_stopped=obeyed > GO_ON)
    home.tell(status)
    if courier is not None:
        waited = 0.0 if unkept_since is None else time.monotonic() - unkept_since
        trouble = lost or _bring_home(courier, home, place.patience_seconds - waited)
        if trouble and outcome.result != "failed":
            outcome = Outcome(outcome.spec, "failed", f"its last save cannot be kept: {trouble}")
    return Ending(outcome, crashed=process.crashed and not trouble, node_leaves=leaves())


def _bring_home(courier: Courier, home: Home, patience_seconds: float) -> str:
    """Sends what is left; tries again for so long. Returns what kept it from being kept."""
    until = time.monotonic() + patience_seconds
    while parcel := courier.parcel():
        answer = home.keep(parcel)
        if not answer.trouble:
            courier.was_kept()
            continue
        if answer.order > GO_ON or time.monotonic() >= until:
            return answer.trouble
        time.sleep(min(2.0, max(0.1, patience_seconds / 10)))
    return ""


def _opened(home: Home, node: str) -> Luggage | str:
    until = time.monotonic() + _LOCK_SECONDS
    while isinstance(luggage := home.open(node), Held) and time.monotonic() < until:
        time.sleep(1.0)
    return luggage


def _say_where(directory: Path, node: str) -> None:
    """Begins the run's log with the machine, for whoever reads it elsewhere."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / RUN_LOG_FILE).open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')} on {socket.gethostname()}, node {node[:6]}\n")


@contextmanager
def _noticing_sigterm() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether this process was told to end, as those of a preempted node are."""
    told: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    try:
        yield lambda: bool(told)
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _light_children() -> Iterator[None]:
    """Processes that are started here do not import this one's main file again: it is Ray's, and of no use to them."""
    main = sys.modules["__main__"]
    file = main.__dict__.pop("__file__", None)
    try:
        yield
    finally:
        if file is not None:
            main.__file__ = file
