"""A user's own baselines on their way to a node of a cluster: what the command read is what trains there.

What travels is the whole configuration as one TOML, the code that it names, and the Python files beside that code which
it imports. The node checks their SHA-256, and its run checks the config hash, which covers values and code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from baselines.code import Source
from baselines.own import resolved_toml
from baselines.registry import describe
from results.errors import ResultsError
from results.hashing import sha256_hex
from results.schema import CODE_BASELINE_FILE

_MOST_BYTES = 16 << 20  # of one baseline: source that a person wrote


@dataclass(frozen=True)
class OwnBaseline:
    """One baseline of a user's own, as bytes."""

    name: str
    files: Mapping[str, bytes]  # path below its folder -> bytes
    sha256: Mapping[str, str]  # of each


def pack_own(baselines: Iterable[str]) -> tuple[OwnBaseline, ...]:
    """Those of `baselines` that are a user's own. Raises ResultsError if one is too large to travel."""
    return tuple(_pack(name) for name in dict.fromkeys(baselines) if describe(name).path is not None)


def unpack_own(baselines: Iterable[OwnBaseline], folder: Path) -> tuple[Path, ...]:
    """Writes them below `folder`. Returns their TOML files, for `RunOptions.own`.

    Raises ResultsError, before anything is written: some bytes changed on the way.
    """
    files = []
    for own in baselines:
        for name, data in own.files.items():
            if sha256_hex(data) != own.sha256.get(name):
                raise ResultsError(f"{own.name}: the bytes of {name} changed on the way to this node")
        for name, data in own.files.items():
            path = folder / own.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        files.append(folder / own.name / CODE_BASELINE_FILE)
    return tuple(files)


def _pack(name: str) -> OwnBaseline:
    description = describe(name)
    files: dict[str, bytes] = {}
    for source in description.code.values():
        if source.reference.partition(":")[0].endswith(".py"):  # one of an installed package is looked for there
            files |= _imported(source, {}) | {source.path.name: source.data}
    files[CODE_BASELINE_FILE] = resolved_toml(description).encode("utf-8")
    size = sum(map(len, files.values()))
    if size > _MOST_BYTES:
        raise ResultsError(
            f"{name}: its code and what that imports beside it are {size} bytes, more than travels to nodes "
            f"({_MOST_BYTES}); install it on every node as a package, and name it as my_package.module:MyClass"
        )
    return OwnBaseline(name, files, {file: sha256_hex(data) for file, data in files.items()})


def _imported(source: Source, found: dict[str, bytes]) -> dict[str, bytes]:
    """Files beside a source that it imports, and those that they import: path -> bytes. Goes into `found`."""
    folder = source.path.parent
    for module in source.unhashed_imports():
        first = module.lstrip(".").partition(".")[0]
        if not first:
            continue
        package = folder / first
        paths = [package.with_suffix(".py"), *(sorted(package.rglob("*.py")) if package.is_dir() else ())]
        for path in paths:
            name = path.relative_to(folder).as_posix()
            if name not in found and path.is_file():
                found[name] = path.read_bytes()
                _imported(Source(name, path, found[name], name), found)
    return found
