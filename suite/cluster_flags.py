"""Flags that send runs to a cluster, and what they mean once parsed."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from results.schema import RunSpec
from suite import arguments
from suite.cluster import Needs, Nodes, connect
from suite.errors import UserError
from suite.flags import Flags
from suite.run_messages import RunOptions

LOCAL, RAY = "local", "ray"
_CHECKPOINT_SECONDS = 300.0  # each travels home: with 64 runs of PQN some 4 MB/s
_SHARED_CHECKPOINT_SECONDS = 60.0


def add_cluster(group: Flags) -> None:
    group.add_argument(
        "--executor",
        default=LOCAL,
        metavar="E",
        help="where runs run: local, on this machine (default), or ray, on a Ray cluster that is up (docs/cluster.md)",
    )
    group.add_argument(
        "--address",
        metavar="A",
        help="with --executor ray: HOST:PORT of the cluster's head, or auto: the cluster of this machine (default)",
    )


def add_needs(group: Flags) -> None:
    group.add_argument("--cpus-per-run", metavar="N", help="with --executor ray: CPUs set aside for a run (default: 1)")
    group.add_argument(
        "--gpus-per-run",
        metavar="X",
        help="with --executor ray: share of a GPU, such as 0.25 (default: 0, or 1 if --device cuda)",
    )
    group.add_argument(
        "--shared",
        action="store_true",
        help="with --executor ray: all nodes see --results as one folder, and runs write there themselves",
    )


@dataclass(frozen=True)
class OnRay:
    """Where and how runs go to a cluster."""

    address: str
    needs: Needs
    device: str  # "cpu" or "cuda"
    threads: int
    shared: bool
    plain: bool

    def options(self) -> RunOptions:
        return RunOptions(
            device="cuda:0" if self.device == "cuda" else "cpu",  # Ray shows a run no other GPU than its own
            threads=1 if self.device == "cuda" else self.threads,
            emulator_threads=self.threads,
            plain=self.plain,
            checkpoint_seconds=_SHARED_CHECKPOINT_SECONDS if self.shared else _CHECKPOINT_SECONDS,
        )

    def spelled(self) -> str:
        """The flags that give this choice again."""
        parts = [f" --executor {RAY}"]
        if self.address != "auto":
            parts.append(f" --address {shlex.quote(self.address)}")
        if self.needs.cpus != 1:
            parts.append(f" --cpus-per-run {self.needs.cpus}")
        if self.needs.gpus:
            parts.append(f" --gpus-per-run {self.needs.gpus:g}")
        return "".join(parts) + (" --shared" if self.shared else "")


def parse_executor(parsed: argparse.Namespace) -> bool:
    """Whether a cluster is asked for. Raises UserError for its flags without it."""
    if parsed.executor not in (LOCAL, RAY):
        raise UserError(f"unknown executor {parsed.executor!r}; allowed: {LOCAL}, {RAY}")
    if parsed.executor == RAY:
        return True
    for name in ("address", "cpus_per_run", "gpus_per_run", "shared"):
        if getattr(parsed, name, None) not in (None, False):
            raise UserError(f"--{name.replace('_', '-')} goes with --executor ray; add that, or leave it out")
    return False


def parse_cluster(parsed: argparse.Namespace) -> OnRay | None:
    """What the flags of `run` say; None for runs on this machine."""
    if not parse_executor(parsed):
        return None
    if parsed.jobs != "auto":
        raise UserError(
            "--jobs goes with --executor local; on a cluster --cpus-per-run and --gpus-per-run say how many fit"
        )
    if parsed.groups is not None:
        raise UserError(
            "--groups goes with --executor local; leave it out, and each run takes the number that is usual"
        )
    device = parsed.device.strip().lower()
    if device not in ("auto", "cpu", "cuda"):
        raise UserError(f"--device {parsed.device!r} is not allowed with --executor ray; give auto, cpu or cuda")
    gpus = _parse_gpus(parsed.gpus_per_run, default=1.0 if device == "cuda" else 0.0)
    if (device == "cpu" and gpus) or (device == "cuda" and not gpus):
        raise UserError(f"--device {device} and --gpus-per-run {gpus:g} do not fit; leave one of them out")
    cpus = 1 if parsed.cpus_per_run is None else arguments.parse_count(parsed.cpus_per_run, "--cpus-per-run", 1024)
    threads = cpus if parsed.threads is None else arguments.parse_threads(parsed.threads)
    return OnRay(address(parsed), Needs(cpus, gpus), "cuda" if gpus else "cpu", threads, parsed.shared, parsed.plain)


def address(parsed: argparse.Namespace) -> str:
    """Of the cluster: what was given, even if it is empty."""
    return "auto" if parsed.address is None else parsed.address


def nodes_for(choice: OnRay, specs: Sequence[RunSpec], results: Path, tell: Callable[[str], None]) -> Nodes:
    """Joins the cluster and asks its nodes. Raises UserError if none has room for a run."""
    connect(choice.address)
    nodes = Nodes(
        choice.needs, specs, device=choice.device, shared=results.absolute() if choice.shared else None, tell=tell
    )
    nodes.wait_for_answers()
    nodes.refuse_if_none_has_room()
    return nodes


def _parse_gpus(text: str | None, *, default: float) -> float:
    if text is None:
        return default
    if not re.fullmatch(r"(0|1|0?\.[0-9]{1,3}|1\.0{1,3})", text.strip()):
        raise UserError(f"--gpus-per-run {text!r} is not allowed; give 0, or a share of one GPU up to 1, such as 0.25")
    return float(text)
