"""Checks of a machine before it trains: versions, device, memory, disk, pinned files, and the emulator's bytes."""

from __future__ import annotations

import csv
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, resources
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

from baselines.config import ConfigError
from baselines.registry import BASELINES, load_pinned
from results.games import GAMES
from results.schema import FIRST_PROTOCOL
from suite import display
from suite.arguments import parse_device, writable_folder
from suite.cores import available_cores
from suite.errors import UserError
from suite.host_memory import all_bytes, free_bytes
from suite.own_code import try_own
from suite.protocol import PROTOCOLS, load_protocol

DISTRIBUTION = "hadamax-suite"
LEAST_MEMORY_BYTES = 1_500_000_000  # one run of PQN
LEAST_DISK_BYTES = 200_000_000  # one run with its checkpoint


@dataclass(frozen=True)
class Check:
    """One row of the preflight."""

    name: str
    passed: bool
    detail: str  # what was found; where it failed, also what is needed


def check_versions() -> Iterator[Check]:
    """Python and every package, against what the installed suite asks for (`pyproject.toml` when it was installed)."""
    try:
        facts = metadata.metadata(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        yield Check(
            DISTRIBUTION,
            False,
            "not installed, so nothing says which versions it needs; pip install -c constraints.txt -e .",
        )
        return
    python = platform.python_version()
    wanted = SpecifierSet(facts["Requires-Python"])
    yield Check("python", is_supported(python, wanted), f"{python} (needs {_spell(wanted)})")
    for requirement in map(Requirement, metadata.requires(DISTRIBUTION) or ()):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue  # of an extra, or of another platform
        allowed = _spell(requirement.specifier)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            detail = f"not installed (needs {allowed}); pip install -c constraints.txt -e ."
            yield Check(requirement.name, False, detail)
            continue
        yield Check(requirement.name, is_supported(version, requirement.specifier), f"{version} (needs {allowed})")


def is_supported(version: str, wanted: SpecifierSet) -> bool:
    """Whether `version` is in the range `wanted`; one that is no version by PEP 440 is not."""
    try:
        return wanted.contains(version, prereleases=True)
    except InvalidVersion:
        return False


def check_machine(device: str, results: Path) -> Iterator[Check]:
    """Device, memory, disk and write access of the results folder (made if need be)."""
    try:
        names = parse_device(device)
        detail = ", ".join(_device_name(name) for name in names)
        unfit = [f"{name}: {why}" for name in names if (why := _why_not_computing(name)) is not None]
        if unfit:
            advice = "install a torch that is built for this GPU, free it if it is full, or use --device cpu"
            detail += f": a small convolution failed on {'; '.join(unfit)}: {advice}"
        yield Check("device", not unfit, detail)
    except UserError as error:
        yield Check("device", False, str(error))
    free = free_bytes()
    yield Check(
        "memory",
        free >= LEAST_MEMORY_BYTES,
        f"{display.size(free)} free of {display.size(all_bytes())} "
        f"(a run of PQN needs {display.size(LEAST_MEMORY_BYTES)})",
    )
    try:
        free = shutil.disk_usage(writable_folder(results)).free
    except UserError as error:
        yield Check("results", False, str(error))
        return
    yield Check("results", True, f"{results} can be written")
    yield Check(
        "disk", free >= LEAST_DISK_BYTES, f"{display.size(free)} free (a run needs {display.size(LEAST_DISK_BYTES)})"
    )


def check_own(baselines: Sequence[str]) -> Iterator[Check]:
    """Baselines of a user's own among `baselines`: whether they can be trained."""
    for name in baselines:
        try:
            for own in try_own([name]):
                notes = "".join(f"; note: {note}" for note in own.notes)
                yield Check(f"own {name}", True, f"{own.facts}{notes}")
        except ConfigError as error:
            yield Check(f"own {name}", False, str(error))


def check_pinned() -> Iterator[Check]:
    """The pinned files of every baseline and protocol: keys, types, sources."""
    for name in BASELINES:
        try:
            pinned = load_pinned(name)
            yield Check(f"pinned {name}", True, f"{len(pinned.values)} values, each with its source")
        except ConfigError as error:
            yield Check(f"pinned {name}", False, str(error))
    for name in PROTOCOLS:
        try:
            yield Check(f"protocol {name}", True, f"{len(load_protocol(name).values)} values, each with its source")
        except ConfigError as error:
            yield Check(f"protocol {name}", False, str(error))


def check_games(games: Sequence[str], *, full: bool, protocol: str = FIRST_PROTOCOL) -> Iterator[Check]:
    """For each game, whether the emulator gives the bytes of the protocol's table of fingerprints."""
    from baselines.emulator.fingerprints import FULL_AGENT_STEPS, SHORT_AGENT_STEPS, fingerprints

    steps = FULL_AGENT_STEPS if full else SHORT_AGENT_STEPS
    environment, whose = load_protocol(protocol).environment, FINGERPRINTS[protocol].whose
    for game in games:
        envpool_id = GAMES[game].envpool_id
        wanted = expected_fingerprints(protocol)[envpool_id]
        try:
            found = fingerprints(envpool_id, environment, after=(steps,), threads=available_cores())[-1]
        except Exception as error:  # envpool raises whatever its C++ met; one game's trouble is one row
            yield Check(game, False, f"{type(error).__name__}: {' '.join(str(error).split())}")
            continue
        differs = [
            what
            for what, hashed in (("frames", found.frames_sha256), ("rewards or ends", found.signals_sha256))
            if hashed != wanted[f"{'frames' if what == 'frames' else 'signals'}_sha256_{steps}"]
        ]
        if differs:
            detail = f"{' and '.join(differs)} differ from {whose} within {steps} agent steps"
        else:
            detail = f"{found.actions} actions; {steps} agent steps x 8 environments: {whose} bytes"
        yield Check(game, not differs, detail)


@dataclass(frozen=True)
class FingerprintTable:
    """What a protocol's games are held against."""

    file: str  # of results/reference
    whose: str  # bytes they are, in words


FINGERPRINTS = {
    FIRST_PROTOCOL: FingerprintTable("environment_fingerprints.csv", "the official emulator's"),
    # No other code is the measure here: the suite's own emulator, as it was when the protocol was pinned.
    "dopamine": FingerprintTable("environment_fingerprints_dopamine.csv", "the suite's own (envpool 1.2.5)"),
}


@cache
def expected_fingerprints(protocol: str = FIRST_PROTOCOL) -> dict[str, dict[str, str]]:
    """envpool id -> row of the protocol's table."""
    text = resources.files("results").joinpath(f"reference/{FINGERPRINTS[protocol].file}").read_text(encoding="utf-8")
    return {row["envpool_id"]: row for row in csv.DictReader(text.splitlines())}


def _device_name(device: str) -> str:
    if device == "cpu":
        return f"cpu, {display.plural(available_cores(), 'core')}"
    import torch

    facts = torch.cuda.get_device_properties(device)
    return f"{device}, {facts.name}, {display.size(facts.total_memory)}"


def _why_not_computing(device: str) -> str | None:
    """Why a small convolution with its gradient cannot be computed on a GPU, in one line; None if it can."""
    if device == "cpu":
        return None
    import torch

    try:
        images = torch.ones((1, 4, 84, 84), device=device, requires_grad=True)
        weights = torch.ones((8, 4, 8, 8), device=device, requires_grad=True)
        torch.nn.functional.conv2d(images, weights, stride=4).sum().backward()
        torch.cuda.synchronize(device)
    except Exception as error:  # whatever torch, CUDA and cuDNN raise
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    return None


def _spell(wanted: SpecifierSet) -> str:
    """'>= 1.2.5, < 1.3': the least first."""
    parts = sorted(wanted, key=lambda part: part.operator, reverse=True)
    return ", ".join(f"{part.operator} {part.version}" for part in parts) or "any version"
