"""Packs runs to be sent in: one archive with who made them, under which licence, and how to cite them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import suite
from results.archive import ALL_FILES, write_archive
from results.errors import ResultsError
from results.hashing import file_sha256, sha256_hex
from results.schema import MANIFEST_FILE, RunSpec
from results.store import BrokenRun, Run, open_run, scan
from results.submissions import SUBMISSION_FILE, Submission, parse_by, parse_cite, parse_licence
from suite.errors import UserError
from suite.submission_rules import code_files, first_problems

MAX_CITE_FILE_BYTES = 1 << 20


@dataclass(frozen=True)
class Maker:
    """Who, and what others may do with it."""

    name: str
    link: str
    licence: str
    cite: str


@dataclass(frozen=True)
class Packed:
    """What went into a bundle."""

    specs: tuple[RunSpec, ...]
    passed_over: tuple[str, ...]  # runs that are not finished, with their status
    sha256: str  # of the bundle


def parse_maker(by: str, licence: str, cite: str) -> Maker:
    """The three flags; `cite` is a line, or a file to read it from. Raises ResultsError or UserError."""
    name, link = parse_by(by)
    return Maker(name, link, parse_licence(licence), parse_cite(_cite_text(cite)))


def _cite_text(cite: str) -> str:
    """What the file `cite` holds, or `cite` itself where it names no file."""
    looks_like_file = cite.endswith((".cff", ".bib", ".txt")) and "\n" not in cite
    try:
        path = Path(cite)
        if not looks_like_file and not path.is_file():
            return cite
        if path.stat().st_size > MAX_CITE_FILE_BYTES:
            raise UserError(f"--cite {cite}: is larger than any citation")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        if not looks_like_file:  # a line longer than any name
            return cite
        raise UserError(f"--cite {cite}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise UserError(f"--cite: {error}; give a line of text, or a file in UTF-8") from None


def export_submission(
    root: Path, file: Path, maker: Maker, *, places: Sequence[str], wanted: Callable[[RunSpec], bool]
) -> Packed:
    """Packs runs below `root` and who made them into `file`. The same runs and maker give the same bytes.

    Args:
        places: of runs, below `root` or with it in front; without any, every finished run that is `wanted`.
    Raises:
        ResultsError: there is none, or one breaks a rule of `suite.submission_rules`. Nothing is written.
    """
    runs, passed_over = _named(root, places) if places else _found(root, wanted)
    _refuse(runs)
    members = [
        (str(run.spec.directory / path.relative_to(run.directory).as_posix()), path)
        for run in runs
        for path in [*(run.directory / name for name in ALL_FILES if (run.directory / name).exists()), *code_files(run)]
    ]
    submission = Submission(
        name=maker.name,
        link=maker.link,
        licence=maker.licence,
        cite=maker.cite,
        suite=suite.__version__,
        files={name: sha256_hex(path.read_bytes()) for name, path in members},
    )
    record = (SUBMISSION_FILE, submission.as_bytes())
    write_archive(file, chain([record], ((name, path.read_bytes()) for name, path in members)))
    return Packed(tuple(run.spec for run in runs), tuple(passed_over), file_sha256(file))


def _named(root: Path, places: Sequence[str]) -> tuple[list[Run], list[str]]:
    runs = {}
    for place in places:
        found = open_run(_folder(root, place))
        if isinstance(found, BrokenRun):
            raise ResultsError(f"{found.reason}; list the runs with: python -m suite status --results {root}")
        if (root / found.spec.directory).resolve() != found.directory.resolve():
            raise ResultsError(f"{place}: is no run's place below {root}; its place there is {found.spec.directory}")
        runs[found.spec] = found
    return [runs[spec] for spec in sorted(runs)], []


def _folder(root: Path, place: str) -> Path:
    """Of a run: below `root`, or where the path itself leads, as a shell completes it."""
    folders = (root / place, Path(place))
    return next((folder for folder in folders if (folder / MANIFEST_FILE).is_file()), folders[0])


def _found(root: Path, wanted: Callable[[RunSpec], bool]) -> tuple[list[Run], list[str]]:
    found = [run for run in scan(root) if isinstance(run, BrokenRun) or wanted(run.spec)]
    broken = [run.reason for run in found if isinstance(run, BrokenRun)]
    runs = [run for run in found if isinstance(run, Run)]
    done = [run for run in runs if run.is_done]
    if not done:
        raise ResultsError(
            f"no finished run to send in below {root}; see what is there with: python -m suite status --results {root}"
        )
    return done, [*broken, *(f"{run.spec}: {run.status}" for run in runs if not run.is_done)]


def _refuse(runs: Sequence[Run]) -> None:
    bad = [(run, found[1][0]) for run in runs if (found := first_problems(run)) is not None]
    if bad:
        run, reason = bad[0]
        more = f" (and {len(bad) - 1} more cannot be sent in)" if len(bad) > 1 else ""
        raise ResultsError(f"{run.spec} cannot be sent in: {reason}{more}; name the runs that you mean")
