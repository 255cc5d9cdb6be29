"""Looks through an archive before anything of it is unpacked, and refuses what no archive of runs needs.

`tarfile` reads an extended header whole, whatever its length, and trusts what stands in it. So every header is read
here first, one block at a time, with bounds on their number, on their lengths and on what they announce.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from typing import BinaryIO

from results.errors import ResultsError, shown

MAX_MEMBERS = 10_000  # 855 runs, five baselines on 57 games with three seeds, are some 5,000 files
MAX_HEADER_BYTES = 64 << 10  # of a name too long for its field, or of a file's times and owners
MAX_FILE_BYTES = 64 << 20  # a table of a million games has 25 MB, an action log of 200M frames at most 26
MAX_UNPACKED_BYTES = 16 << 30
MAX_RATIO = 100  # unpacked to packed; tables and logs are compressed already, and hardly shrink again
_FREE_BYTES = 16 << 20  # below which the ratio does not matter
_EXTENDED = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
# What tarfile, gzip and zlib raise at bytes that are no archive; ValueError and the rest at numbers that are none.
UNREADABLE = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError, ArithmeticError, LookupError)


def check_tar(stream: BinaryIO, where: str) -> None:
    """Reads the archive `stream` (gzip) from its beginning to its end, keeping nothing.

    Raises:
        ResultsError: it is no tar.gz, is cut short, or exceeds one of the bounds above.
    """
    stream.seek(0, 2)
    allowed = min(MAX_UNPACKED_BYTES, _FREE_BYTES + MAX_RATIO * stream.tell())
    stream.seek(0)
    try:
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            counted = _Counted(unpacked, allowed, where)
            _check_members(counted, where)
            counted.drain()
    except ResultsError:
        raise
    except UNREADABLE as error:
        raise ResultsError(unreadable(where, error)) from None


def unreadable(where: str, error: BaseException) -> str:
    """What to say of one of `UNREADABLE`."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else shown(error)
    return f"{where}: no readable archive of runs ({reason}); nothing was imported"


class _Counted:
    """Reads no more than is allowed."""

    def __init__(self, unpacked: gzip.GzipFile, allowed: int, where: str):
        self._unpacked = unpacked
        self._left = allowed
        self._where = where

    def read(self, count: int) -> bytes:
        """`count` bytes. Raises EOFError if there are fewer, ResultsError beyond what is allowed."""
        self._count(count)
        data = self._unpacked.read(count)
        if len(data) < count:
            raise EOFError("it is cut short")
        return data

    def drain(self) -> None:
        """Reads to the end, where gzip compares its checksum."""
        while data := self._unpacked.read(1 << 20):
            self._count(len(data))

    def _count(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise ResultsError(f"{self._where}: unpacks to more than any archive of runs; nothing was imported")

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.read(min(count, 1 << 20)))


def _check_members(unpacked: _Counted, where: str) -> None:
    members = 0
    while any(header := unpacked.read(tarfile.BLOCKSIZE)):  # a block of zeros ends an archive
        member = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
        members += 1
        if members > MAX_MEMBERS:
            raise ResultsError(f"{where}: has more than {MAX_MEMBERS} members; nothing was imported")
        blocks = -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        if member.type in _EXTENDED and 0 <= member.size <= MAX_HEADER_BYTES:
            data = unpacked.read(blocks)
            # Either would have tarfile read other bytes than this check counts.
            if b"GNU.sparse" in data or b"size=" in data:
                raise ResultsError(f"{where}: has a sparse or resized member; nothing was imported")
        elif member.type in _REGULAR and 0 <= member.size <= MAX_FILE_BYTES:
            unpacked.skip(blocks)
        elif member.type in (*_EXTENDED, *_REGULAR):
            raise ResultsError(f"{where}: {shown(member.name)} is larger than any run's; nothing was imported")
        elif member.size != 0:  # links, folders and devices have no content
            raise ResultsError(
                f"{where}: {shown(member.name)} is no plain file inside the archive; nothing was imported"
            )
