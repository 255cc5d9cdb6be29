"""Files that appear whole or not at all: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_TEMPORARY = ".tmp-"


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Puts `data` in the place of `path`, as `replacing` does."""
    with replacing(path) as file:
        file.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` when the block ends without an error.

    Whatever happens, `path` holds either all of its old bytes or all of the new ones, also after a power cut. What a
    killed writer leaves behind is a hidden `.<name>.tmp-*` beside it, which nobody reads.

    Raises:
        OSError: nothing was changed.
    """
    temporary = path.with_name(f".{path.name}{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_names(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented JSON in the order of its keys. Raises ValueError for a float that is not finite."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode("utf-8"))


def table_bytes(table: pa.Table) -> bytes:
    """`table` as Parquet: the same rows give the same bytes, for one version of pyarrow."""
    sink = pa.BufferOutputStream()
    # How a table was put together must not show in the bytes.
    pq.write_table(table.combine_chunks(), sink, compression="zstd", compression_level=3, row_group_size=1 << 20)
    return sink.getvalue().to_pybytes()


def remove_leftovers(folder: Path) -> None:
    """Deletes what killed writers left in `folder`. Only for who alone writes there."""
    for temporary in folder.glob(f".*{_TEMPORARY}*"):
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Brings the files of a folder to the disk, and the folder itself."""
    for path in folder.iterdir():
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
    _sync_names(folder)


def _sync_names(folder: Path) -> None:
    if os.name == "nt":  # folders can't be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
