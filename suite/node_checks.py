"""What a node of a cluster is asked before it gets a run, and what keeps it from getting one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.schema import FIRST_PROTOCOL
from results.shipped import ROOT, digest_of, shipped_files

_PACKAGES = ("suite", "baselines", "results", "reports")
_SUFFIXES = (".py", ".toml", ".cpp", ".h", ".csv", ".parquet")
_COMPARED = ("python", "suite", "torch", "envpool", "envpool-assets", "numpy", "pandas", "pyarrow")


@dataclass(frozen=True)
class NodeFacts:
    """What a node said of itself."""

    versions: dict[str, str | None]
    code: str  # digest of the suite's own source
    failed: tuple[str, ...]  # checks of `doctor` that failed there, a line each
    gpus: tuple[tuple[str, int], ...] = ()  # name and bytes of memory
    folder: bool = True  # whether the shared folder can be written there, where there is one


def source_digest(root: Path = ROOT) -> str:
    """Of every Python file, kernel, pinned file and reference table of this suite: which code runs here."""
    return digest_of(shipped_files(_PACKAGES, _SUFFIXES, root), root)[:12]


def own_facts(
    games: Sequence[str], device: str, shared: Path | None = None, protocol: str = FIRST_PROTOCOL
) -> NodeFacts:
    """What this machine says of itself; the doctor's checks of versions, device, pinned files and `games` run here."""
    from suite import preflight, provenance
    from suite.arguments import parse_device, writable_folder
    from suite.errors import UserError

    failed, gpus, folder = [], [], True
    emulator = preflight.check_games(games, full=False, protocol=protocol)
    for check in (*preflight.check_versions(), *preflight.check_pinned(), *emulator):
        if not check.passed:
            failed.append(f"{check.name}: {check.detail}")
    try:
        parse_device(device)
        if device != "cpu":
            import torch

            count = torch.cuda.device_count()
            properties = [torch.cuda.get_device_properties(number) for number in range(count)]
            gpus = [(found.name, found.total_memory) for found in properties]
    except UserError as error:
        failed.append(str(error))
    if shared is not None:
        folder = shared.is_dir()
        try:
            if folder:
                writable_folder(shared)
        except UserError:
            folder = False
    return NodeFacts(provenance.versions(), source_digest(), tuple(failed), tuple(gpus), folder)


def probe() -> Callable[..., dict[str, Any]]:
    """A function for a node where nothing of the suite may be installed.

    It is made here, so that it travels by its code and not by its name, which such a node could not import.
    """

    def ask(games: Sequence[str], device: str, shared: str | None, protocol: str = FIRST_PROTOCOL) -> dict[str, Any]:
        from pathlib import Path

        try:
            from suite.node_checks import own_facts
        except Exception as error:
            return {"error": f"the suite cannot be imported ({type(error).__name__}: {error})"}
        try:
            return {"facts": own_facts(games, device, None if shared is None else Path(shared), protocol)}
        except Exception as error:  # whatever a damaged installation raises is that node's row
            return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"}

    return ask


def problems(found: dict[str, Any], ours: NodeFacts, shared: Path | None) -> list[str]:
    """What keeps a node that answered `found` from getting a run, a line each; nothing for one that is fit."""
    if "error" in found:
        return [f"{found['error']}; install the suite there: pip install -c constraints.txt -e .[ray]"]
    facts: NodeFacts = found["facts"]
    lines = [
        f"{name} {facts.versions.get(name) or 'is absent'}, here {ours.versions.get(name)}"
        for name in _COMPARED
        if _base(facts.versions.get(name)) != _base(ours.versions.get(name))
    ]
    if not lines and facts.code != ours.code:
        lines.append(f"other code of the suite ({facts.code}, here {ours.code}); bring both to one commit")
    lines += facts.failed
    if not facts.folder:
        lines.append(f"--shared {shared} is not there or cannot be written")
    return lines


def _base(version: str | None) -> str | None:
    """2.13.0 of '2.13.0+cu128': a head without a GPU may have torch's build for the CPU."""
    return version.partition("+")[0] if version else version
