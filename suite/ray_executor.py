"""The same runs on a Ray cluster. Import only where Ray is installed.

Ray places a run on a node that has room and was found fit; a process of the node's own runs it (`remote_run`), and a
keeper beside the command brings its results home. Ray repeats nothing by itself: what starts again is decided here. A
run whose node is lost or taken away starts elsewhere from what the keeper has, and that does not count as its crash.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray import exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from results.schema import RunSpec
from suite import display
from suite.cluster import Needs, Nodes
from suite.executors import Audience, Outcome, RunProcess, Supervision
from suite.head_watch import HeadWatch
from suite.keeper import KILL, LEAVE, STOP, Answer, Keeper, Luggage, News, Parcel
from suite.own_shipping import OwnBaseline
from suite.remote_run import Ending, Place, run_here
from suite.run_messages import RunOptions
from suite.run_process import execute_run
from suite.run_queue import RunQueue
from suite.stop_signals import StopSignals

_POLL_SECONDS = 0.2
_MOST_LOSSES = 20  # nodes that one run may lose: beyond that something is wrong with the run


@dataclass
class _Start:
    """One start of a run."""

    spec: RunSpec
    attempt: int
    node_id: str | None = None  # once it has begun there


class RayExecutor:
    """Runs as tasks of the Ray cluster that this process has joined (`cluster.connect`)."""

    def __init__(
        self,
        results: Path,
        options: RunOptions,
        supervision: Supervision,
        nodes: Nodes,
        needs: Needs,
        seconds: Callable[[RunSpec], float],
        *,
        shared: bool = False,
        own: tuple[OwnBaseline, ...] = (),
        execute: Callable[..., str] = execute_run,
        process_of: Callable[..., RunProcess] = RunProcess,
    ):
        """`seconds`: how long a run is expected to take, for the order; `shared`: all nodes see `results`; `own`:
        baselines of a user's own among the runs; `execute`, `process_of`: what a run does and where, for tests."""
        self._results = results.absolute()
        self.supervision = supervision
        self.nodes = nodes
        self._needs = needs
        self.seconds = seconds
        self._shared = shared
        self._attempts = 0
        # One function for all runs: Ray ships each that it is given to every process, and keeps it.
        self._task = ray.remote(_on_node)
        self._place = Place("", self._results, shared, supervision.silent_seconds, own=own)
        self._work = ray.put((options, self._place, execute, process_of))
        self.parcels = 0
        self.bytes_kept: Counter[str] = Counter()  # by kind, as in `Parcel.sizes`

    def run(self, specs: Sequence[RunSpec], audience: Audience) -> list[Outcome]:
        """Call from the main thread: it takes over SIGINT and SIGTERM until it returns."""
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        keeper: Any = (
            ray.remote(Keeper).options(num_cpus=0, scheduling_strategy=here).remote(self._results, shared=self._shared)
        )
        # The watch is outermost: without a head, whatever is asked of Ray fails, or waits until Ray ends the process.
        with HeadWatch(ray.get_runtime_context().gcs_address, audience.note) as head:
            try:
                with StopSignals() as signals:
                    campaign = _Campaign(self, keeper, specs, audience, signals)
                    try:
                        campaign.work()
                    except exceptions.RayError as error:
                        head.end_if_lost()
                        campaign.give_up(display.one_line(str(error)))
                    return campaign.outcomes()
            finally:
                ray.kill(keeper)

    def start(self, spec: RunSpec, keeper: Any) -> tuple[Any, _Start]:
        """Hands a run to Ray. Returns its reference, and what is known of this start."""
        self._attempts += 1
        jobs = {node.node_id: self.nodes.slots_of(node) for node in self.nodes.fit}
        reference = self._task.options(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            memory=self._needs.memory_bytes(spec),
            max_retries=0,
            label_selector=self.nodes.selector,
            name=str(spec),
        ).remote(spec, self._attempts, keeper, jobs, self._work)
        return reference, _Start(spec, self._attempts)


class _Campaign:
    """One call of `RayExecutor.run`."""

    def __init__(
        self, executor: RayExecutor, keeper: Any, specs: Sequence[RunSpec], audience: Audience, signals: StopSignals
    ):
        self._executor = executor
        self._nodes = executor.nodes
        self._keeper = keeper
        self._specs = specs
        self._audience = audience
        self._signals = signals
        self._queue = RunQueue(specs, executor.seconds)
        self._active: dict[Any, _Start] = {}
        self._begun: dict[RunSpec, _Start] = {}  # those of the active ones that a node has begun
        self._outcomes: dict[RunSpec, Outcome] = {}
        self._restarts: dict[RunSpec, tuple[str, ...]] = {}
        self._crashes: dict[RunSpec, int] = {}
        self._told = 0
        self._fit: set[str] = set()

    def work(self) -> None:
        """Until all runs have ended. Raises RayError where what belongs to the command itself is lost: its keeper."""
        while self._active or (len(self._queue) and not self._signals.count):
            self._nodes.refresh()
            self._follow_nodes()
            if self._signals.count > self._told:
                self._stop()
            while len(self._queue) and not self._told and len(self._active) < self._nodes.slots:
                reference, start = self._executor.start(self._queue.pop(self._nodes.slots), self._keeper)
                self._active[reference] = start
            ready, _ = ray.wait(list(self._active), timeout=_POLL_SECONDS) if self._active else ([], None)
            if not self._active:
                time.sleep(_POLL_SECONDS)  # no node is there: one may come
            self._hear(ray.get(self._keeper.news.remote()))
            for reference in ready:
                self._settle(reference, self._active.pop(reference))

    def give_up(self, reason: str) -> None:
        """What has not ended has failed."""
        for spec in self._specs:
            if spec not in self._outcomes:
                self._finish(
                    Outcome(spec, "failed", f"the cluster failed the command ({reason}); the same command goes on")
                )

    def outcomes(self) -> list[Outcome]:
        """Of all runs, in their order."""
        restarts = self._restarts
        return [
            self._outcomes.get(spec) or Outcome(spec, "not started", restarts=restarts.get(spec, ()))
            for spec in self._specs
        ]

    def _hear(self, news: News) -> None:
        self._executor.parcels += news.parcels
        self._executor.bytes_kept += news.bytes_kept
        by_spec = {start.spec: start for start in self._active.values()}
        for spec, (attempt, node_id) in news.opened.items():
            start = by_spec.get(spec)
            if start is not None and start.attempt == attempt:
                start.node_id = node_id
                self._begun[spec] = start
                self._audience.started(spec)
        for spec, status in news.statuses.items():
            if spec in self._begun:
                self._audience.status(spec, status)
        for line in news.troubles:
            self._audience.note(line)

    def _follow_nodes(self) -> None:
        """Moves runs off nodes that leave; has Ray place those anew that wait for a node, where others are fit now."""
        fit = {node.node_id for node in self._nodes.fit}
        if fit == self._fit:
            return
        for start in self._begun.values():
            if start.node_id in self._fit and self._nodes.is_leaving(start.node_id):
                self._keeper.order.remote(LEAVE, start.spec)
        if self._fit:
            for reference, start in self._active.items():
                if start.node_id is None:
                    ray.cancel(reference)
        self._fit = fit

    def _stop(self) -> None:
        first = self._told == 0
        self._told = self._signals.count
        self._keeper.order.remote(STOP if self._told == 1 else KILL)
        for reference, start in self._active.items():
            if start.node_id is None:
                ray.cancel(reference)
            elif self._told > 1:
                ray.cancel(reference, force=self._told > 2)
        if first:
            self._audience.stopping()

    def _settle(self, reference: Any, start: _Start) -> None:
        """Takes what became of one start of a run: its outcome, or another start."""
        ending = self._ending(reference, start)
        spec = start.spec
        ray.get(self._keeper.close.remote(spec))
        begun = self._begun.pop(spec, None) is not None
        if ending is None:
            if not begun:
                self._queue.put_back(spec)  # it was only waiting for a node
            elif self._told:
                self._finish(Outcome(spec, "interrupted", "its node was lost; goes on from its last save"))
            else:
                self._again(spec, f"its node {self._nodes.name(start.node_id or '')} was lost or taken away")
            return
        if not begun:
            self._audience.started(spec)
        if ending.node_leaves and start.node_id is not None:
            self._nodes.mark_leaving(start.node_id)
        outcome = ending.outcome
        if not self._told:
            if outcome.result == "interrupted":
                self._again(spec, f"its node {self._nodes.name(start.node_id or '')} is taken away")
                return
            crashes = self._crashes.get(spec, 0)
            if ending.crashed and crashes < self._executor.supervision.restarts:
                self._crashes[spec] = crashes + 1
                self._again(spec, outcome.reason)
                return
        self._finish(outcome)

    def _ending(self, reference: Any, start: _Start) -> Ending | None:
        """None for a start that ended without the run's doing: its node is lost, or it never began."""
        try:
            return ray.get(reference)
        except exceptions.TaskCancelledError:
            return None
        except exceptions.OutOfMemoryError:
            return Ending(Outcome(start.spec, "failed", f"memory ran out on its node{self._where(start)}"))
        except exceptions.WorkerCrashedError:
            if start.node_id is None:
                return None
            reason = f"the process that watches it was killed{self._where(start)}"
            return Ending(Outcome(start.spec, "failed", reason), crashed=True)
        except exceptions.RayTaskError as error:
            if isinstance(error, exceptions.RayActorError) or isinstance(error.cause, exceptions.RayActorError):
                # The node's word alone: of a keeper that is really gone, `_settle` hears next.
                reason = f"it could not reach the keeper of results{self._where(start)}"
                return Ending(Outcome(start.spec, "failed", reason), crashed=True)
            return Ending(Outcome(start.spec, "failed", display.one_line(str(error.cause or error))))
        except exceptions.RayError:  # NodeDiedError and its kind
            return None

    def _where(self, start: _Start) -> str:
        return f", {self._nodes.name(start.node_id)}" if start.node_id else ""

    def _again(self, spec: RunSpec, reason: str) -> None:
        before = self._restarts.get(spec, ())
        if len(before) >= _MOST_LOSSES:
            self._finish(Outcome(spec, "failed", f"was started {len(before) + 1} times; the last time: {reason}"))
            return
        self._restarts[spec] = (*before, reason)
        self._audience.restarting(spec, reason)
        self._queue.put_back(spec)

    def _finish(self, outcome: Outcome) -> None:
        outcome = replace(outcome, restarts=self._restarts.get(outcome.spec, ()))
        self._outcomes[outcome.spec] = outcome
        self._audience.finished(outcome)


class _Home:
    """The keeper, from a node."""

    def __init__(self, keeper: Any, spec: RunSpec, attempt: int):
        self._keeper, self._spec, self._attempt = keeper, spec, attempt

    def open(self, node: str) -> Luggage | str:
        return ray.get(self._keeper.open.remote(self._spec, self._attempt, node))

    def tell(self, status: Any) -> int:
        return ray.get(self._keeper.tell.remote(self._spec, self._attempt, status))

    def keep(self, parcel: Parcel) -> Answer:
        return ray.get(self._keeper.keep.remote(self._spec, self._attempt, parcel))


def _on_node(
    spec: RunSpec,
    attempt: int,
    keeper: Any,
    jobs: Mapping[str, int],
    work: tuple[RunOptions, Place, Callable[..., str], Callable[..., RunProcess]],
) -> Ending:
    """The task: runs on whatever node Ray chose. `jobs`: node -> runs at once there, for the manifest."""
    options, place, execute, process_of = work
    node = ray.get_runtime_context().get_node_id()
    options = replace(options, jobs=max(1, jobs.get(node, 1)))
    return run_here(spec, _Home(keeper, spec, attempt), options, replace(place, node=node), execute, process_of)
