"""Real runs packed as submissions, honest ones and forgeries whose every checksum fits."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

from played_runs import with_manifest

from results.archive import write_archive
from results.hashing import sha256_hex
from results.store import Run
from results.submissions import SUBMISSION_FILE
from suite.cli import main

BY = "Ada Lovelace <0000-0002-1825-0097>"
REVISION = {"commit": "a" * 40, "clean": True}
Members = dict[str, bytes]


def stated(run: Run) -> Run:
    """`run` as a clean checkout would have made it; the one that tests run in need not be clean."""
    return with_manifest(run, lambda manifest: manifest.update(revision=REVISION))


def export(results: Path, file: Path, *more: str, by: str = BY) -> int:
    whose = ("--by", by, "--cite", "doi 10.1000/ada.1")
    return main(["export", "--submission", str(file), *more, *whose, "--results", str(results)])


def take(file: Path, results: Path, *more: str) -> int:
    return main(["import", str(file), "--results", str(results), "--threads", "1", *more])


def members_of(file: Path) -> Members:
    with tarfile.open(file) as archive:
        contents = {member.name: archive.extractfile(member) for member in archive}
        return {name: content.read() for name, content in contents.items() if content is not None}


def rewrite(file: Path, change: Callable[[Members], None], *, with_checksums: bool) -> None:
    """Packs the bundle again after `change`; `with_checksums`: those in `submission.json` fit again."""
    members = members_of(file)
    change(members)
    if with_checksums and SUBMISSION_FILE in members:
        submission = json.loads(members[SUBMISSION_FILE])
        submission["files"] = {name: sha256_hex(data) for name, data in members.items() if name != SUBMISSION_FILE}
        members[SUBMISSION_FILE] = json.dumps(submission).encode()
    write_archive(file, members.items())


def with_member(file: Path, name: str, data: bytes) -> None:
    """Adds a member at the end, whatever its name, also one that is there."""
    plain = gzip.decompress(file.read_bytes()).rstrip(b"\0")
    plain += bytes(-len(plain) % tarfile.BLOCKSIZE)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    file.write_bytes(gzip.compress(plain + stream.getvalue()))
