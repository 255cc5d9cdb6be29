"""The files that make up the suite, as an installation has them: what its code is told apart by."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DATA_FOLDERS = ("kernels", "pinned", "protocols", "reference", "static", "templates")  # below a package, no packages


def shipped_files(packages: Iterable[str], suffixes: Collection[str], root: Path = ROOT) -> list[Path]:
    """Files of `packages` that end in one of `suffixes`, sorted.

    Only folders that are packages, and theirs of `DATA_FOLDERS`, are looked through. Runs, which keep code of users'
    own, and reports may lie in any other folder below a package, and are no part of the suite.
    """
    return sorted(
        path for package in packages for path in _files_below(Path(root) / package) if path.suffix in suffixes
    )


def digest_of(files: Iterable[Path], root: Path = ROOT) -> str:
    """SHA-256 over the names below `root` and the bytes of `files`."""
    digest = hashlib.sha256()
    for path in files:
        data = path.read_bytes()
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + str(len(data)).encode() + b"\0" + data)
    return digest.hexdigest()


def _files_below(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if not path.is_dir():
            yield path
        elif path.name in DATA_FOLDERS or (path / "__init__.py").is_file():
            yield from _files_below(path)
