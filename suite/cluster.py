"""The Ray cluster that a command uses: reaching it, and its nodes, each asked before it gets a run."""

from __future__ import annotations

import logging
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.schema import FIRST_PROTOCOL, RunSpec
from suite import display
from suite.errors import UserError
from suite.host_memory import host_bytes
from suite.node_checks import NodeFacts, own_facts, probe, problems

_ANSWER_SECONDS = 5.0
_CHECK_SECONDS = 300.0  # torch, envpool and some games, from a slow disk
_REFRESH_SECONDS = 2.0
_NODE_LABEL = "ray.io/node-id"
_HOST_BYTES = 200_000_000  # what watches a run from beside it, and a parcel in its hands
INSTALL = "pip install -c constraints.txt -e .[ray]"


@dataclass(frozen=True)
class Needs:
    """What a run asks of a node."""

    cpus: int
    gpus: float

    def memory_bytes(self, spec: RunSpec) -> int:
        """Of the host: on a GPU the frames and the learner lie there."""
        return _HOST_BYTES + host_bytes(spec, on_gpu=self.gpus > 0)


@dataclass
class Node:
    """A node, and whether it is fit for runs."""

    node_id: str
    name: str  # address, and the beginning of its id where several share one
    resources: dict[str, float]
    problems: list[str] | None = None  # None while it is asked
    facts: NodeFacts | None = None
    leaves: bool = False  # it is being taken away
    asked_at: float = field(default_factory=time.monotonic)

    @property
    def is_fit(self) -> bool:
        return self.problems == [] and not self.leaves

    def slots(self, needs: Needs, memory_bytes: int) -> int:
        """Runs at once, each of so much memory."""
        asked = {"CPU": needs.cpus, "GPU": needs.gpus, "memory": memory_bytes}
        return min(int(self.resources.get(kind, 0) / much + 1e-9) for kind, much in asked.items() if much)


def connect(address: str) -> None:
    """Joins the cluster at 'auto' or HOST:PORT. Raises UserError if there is none that this process can join."""
    match = re.fullmatch(r"(?P<host>[\w.-]+):(?P<port>[0-9]{1,5})", address)
    if address != "auto" and (match is None or int(match["port"]) > 65535):
        raise UserError(f"--address {address!r} is not allowed; give auto, or HOST:PORT of the cluster's head")
    try:
        import ray
    except ImportError:
        raise UserError(f"--executor ray needs Ray, which is not installed; {INSTALL}") from None
    if match is not None:
        try:
            socket.create_connection((match["host"], int(match["port"])), _ANSWER_SECONDS).close()
        except OSError as error:
            raise UserError(
                f"--address {address}: nothing answers there ({error.strerror or error}); "
                "start a cluster with: ray start --head, or give the address that it printed"
            ) from None
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        if address == "auto":
            raise UserError("no Ray cluster is found from here; start one with: ray start --head") from None
        raise UserError(
            f"--address {address}: the cluster cannot be joined from here ({display.one_line(str(error))}); "
            f"run the command on one of its nodes, or make this one a node: ray start --address={address}"
        ) from None
    except RuntimeError as error:
        if "ersion mismatch" in str(error):
            raise UserError(
                f"the cluster has other versions than this command: {display.one_line(str(error))}; "
                f"use one environment everywhere: {INSTALL}"
            ) from None
        raise UserError(f"the cluster cannot be joined: {display.one_line(str(error))}") from None
    _keep_quiet()


def _keep_quiet() -> None:
    """Ray prints pages about every lost node into stderr; the command says it in a line."""
    try:
        from ray._private.ray_logging import global_worker_stdstream_dispatcher as dispatcher

        dispatcher.remove_handler("ray_print_logs")
    except (ImportError, AttributeError):
        return  # another version of Ray: more words, and nothing else


class Nodes:
    """The nodes of the cluster as it stands; call `refresh` often."""

    def __init__(
        self,
        needs: Needs,
        specs: Sequence[RunSpec],
        *,
        device: str,
        shared: Path | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ):
        """`tell` hears a line about each node that is unfit or lost. `specs`: which games and how much memory."""
        self._needs = needs
        self._device = device
        self._shared = shared
        self.tell = tell
        self._games = tuple(dict.fromkeys(spec.game for spec in specs))
        self._protocol = specs[0].protocol if specs else FIRST_PROTOCOL  # a command's runs are all of one
        self._largest = max(specs, key=needs.memory_bytes, default=None)
        self._memory = self._largest and needs.memory_bytes(self._largest)
        self._ours = own_facts((), "cpu")
        self._nodes: dict[str, Node] = {}
        self._questions: dict[Any, str] = {}
        self._refreshed_at = float("-inf")

    @property
    def all(self) -> list[Node]:
        return list(self._nodes.values())

    @property
    def fit(self) -> list[Node]:
        return [node for node in self._nodes.values() if node.is_fit and self.slots_of(node)]

    def slots_of(self, node: Node) -> int:
        return node.slots(self._needs, self._memory or 0)

    @property
    def slots(self) -> int:
        """Runs at once on all fit nodes."""
        return sum(self.slots_of(node) for node in self.fit)

    @property
    def selector(self) -> dict[str, str]:
        """Has Ray place a run on a fit node."""
        return {_NODE_LABEL: f"in({','.join(node.node_id for node in self.fit)})"}

    def name(self, node_id: str) -> str:
        node = self._nodes.get(node_id)
        return node.name if node else node_id[:6]

    def is_leaving(self, node_id: str) -> bool:
        node = self._nodes.get(node_id)
        return node is None or node.leaves

    def mark_leaving(self, node_id: str) -> None:
        if node_id in self._nodes:
            self._nodes[node_id].leaves = True

    def refresh(self, *, now: bool = False) -> None:
        """Looks for nodes that came or went, asks those that came, and takes the answers that are there."""
        import ray

        if not now and time.monotonic() - self._refreshed_at < _REFRESH_SECONDS:
            return
        self._refreshed_at = time.monotonic()
        alive = {row["NodeID"]: row for row in ray.nodes() if row["Alive"]}
        for node_id in self._nodes.keys() - alive.keys():
            self.tell(f"node {self._nodes.pop(node_id).name} was lost")
        for node_id in alive.keys() - self._nodes.keys():
            row = alive[node_id]
            self._nodes[node_id] = Node(node_id, f"{row['NodeManagerAddress']}-{node_id[:6]}", dict(row["Resources"]))
            self._ask(node_id)
        for node_id in _draining():
            self.mark_leaving(node_id)
        ready, _ = (
            ray.wait(list(self._questions), num_returns=len(self._questions), timeout=0)
            if self._questions
            else ([], [])
        )
        for question in ready:
            self._answered(self._questions.pop(question), question)
        for node in self._nodes.values():
            if node.problems is None and time.monotonic() - node.asked_at > _CHECK_SECONDS:
                self._judge(node, [f"did not answer within {_CHECK_SECONDS:.0f} seconds"])

    def wait_for_answers(self) -> None:
        """Until every node that is there has been asked and judged."""
        self.refresh(now=True)
        while any(node.problems is None for node in self._nodes.values()):
            time.sleep(0.2)
            self.refresh(now=True)

    def refuse_if_none_has_room(self) -> None:
        """Raises UserError, saying what a run needs and what the largest node has. Call after `wait_for_answers`."""
        unfit = [f"{node.name}: {node.problems[0]}" for node in self.all if node.problems]
        if self.fit or self._largest is None:
            return
        if unfit and len(unfit) == len(self.all):
            raise UserError(
                f"no node of the cluster is fit for a run ({'; '.join(unfit[:3])}); "
                "all of them: python -m suite doctor --executor ray"
            )
        needs = self._needs
        gpus = f", {needs.gpus:g} GPU" if needs.gpus else ""
        largest = max(
            (node for node in self.all if not node.problems),
            key=lambda node: (node.resources.get("GPU", 0) >= needs.gpus, node.resources.get("memory", 0)),
        ).resources
        raise UserError(
            f"no node has room for a single run: {self._largest} needs {display.plural(needs.cpus, 'CPU')}{gpus} "
            f"and {display.size(self._memory or 0)} of memory; the largest node has {largest.get('CPU', 0):g} CPU, "
            f"{largest.get('GPU', 0):g} GPU and {display.size(largest.get('memory', 0))}; "
            "give a smaller --cpus-per-run or --gpus-per-run, or add nodes"
        )

    def _ask(self, node_id: str) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        # A GPU shows to a task that has a share of it; one call a process, so that the emulators' memory goes again.
        task = ray.remote(num_cpus=0, max_retries=0, max_calls=1)(probe())
        wants_gpu = self._needs.gpus and self._nodes[node_id].resources.get("GPU", 0) >= self._needs.gpus
        question = task.options(
            num_gpus=min(0.01, self._needs.gpus) if wants_gpu else 0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        ).remote(
            self._games,
            self._device if wants_gpu else "cpu",
            None if self._shared is None else str(self._shared),
            self._protocol,
        )
        self._questions[question] = node_id

    def _answered(self, node_id: str, question: Any) -> None:
        import ray

        node = self._nodes.get(node_id)
        if node is None:
            return
        try:
            found = ray.get(question)
        except ray.exceptions.RayError as error:
            found = {"error": display.one_line(str(error))}
        node.facts = found.get("facts")
        self._judge(node, problems(found, self._ours, self._shared) + self._crowded(node))

    def _judge(self, node: Node, found: list[str]) -> None:
        node.problems = found
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            self.tell(f"node {node.name} gets no run: {found[0]}{more}")

    def _crowded(self, node: Node) -> list[str]:
        """More runs on a GPU than its memory holds."""
        if not self._needs.gpus or node.facts is None or not node.facts.gpus or self._largest is None:
            return []
        from suite.gpu_memory import device_bytes  # it imports torch

        at_once = max(1, int(1 / self._needs.gpus + 1e-9))
        needed = at_once * device_bytes(self._largest)
        name, has = node.facts.gpus[0]
        if needed <= has:
            return []
        return [
            f"{at_once} runs on a GPU need {display.size(needed)}, its {name} has {display.size(has)}; "
            "give a larger --gpus-per-run"
        ]


def _draining() -> list[str]:
    """Nodes that are told to leave: `ray drain-node`, or a provider's notice."""
    try:
        from ray._private.state import state

        return list(state.get_draining_nodes())
    except (ImportError, AttributeError):
        return []  # another version of Ray: such a node is noticed once it is gone
