"""Runs on the move: packed into one tar.gz, and taken from one, whole or not at all."""

from __future__ import annotations

import errno
import gzip
import io
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from results.atomic import replacing, sync_folder, write_bytes
from results.errors import ResultsError, shown
from results.kept_code import kept_files
from results.schema import (
    ACTIONS_FILE,
    CODE_BASELINE_FILE,
    CODE_FOLDER,
    EPISODES_FILE,
    FULL_ACTIONS_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    TIMING_FILE,
    RunSpec,
)
from results.store import BrokenRun, Run, open_run, scan
from results.tar_check import MAX_MEMBERS, MAX_UNPACKED_BYTES, UNREADABLE, check_tar, unreadable
from results.verify import verify_run

RUN_FILES = (MANIFEST_FILE, EPISODES_FILE, METRICS_FILE, TIMING_FILE, ACTIONS_FILE)
ALL_FILES = (*RUN_FILES, FULL_ACTIONS_FILE)
_NAME = r"[a-z0-9][a-z0-9._-]{0,99}"  # of a baseline or a protocol
RUN_PATH = re.compile(rf"({_NAME}/)?{_NAME}/[A-Za-z]{{1,40}}/[1-9][0-9]{{0,14}}[kM]?/seed-(0|[1-9][0-9]{{0,17}})")
_CODE_PATH = re.compile(rf"{CODE_FOLDER}/({re.escape(CODE_BASELINE_FILE)}|[A-Za-z0-9_][A-Za-z0-9_.-]{{0,200}}\.py)")
_MAX_MANIFEST_BYTES = 1 << 20  # one has some 10 kB


@dataclass(frozen=True)
class Exported:
    """What went into an archive."""

    specs: tuple[RunSpec, ...]
    passed_over: tuple[str, ...]  # folders below the results folder that hold no sound run, with the reason


@dataclass(frozen=True)
class Imported:
    """What an archive brought."""

    added: tuple[RunSpec, ...]
    present: tuple[RunSpec, ...]  # were here already, byte for byte
    completed: tuple[RunSpec, ...] = ()  # of those, the ones that had only the witnesses of their log and now have all


def export_archive(
    root: Path, out_file: Path, select: Callable[[Run], bool] = lambda run: run.is_done, *, whole_logs: bool = True
) -> Exported:
    """Packs the runs below `root` that `select` wants, manifest, tables, log and code, as `<run's place>/<file>`.

    Without `whole_logs`, of a long log only the witnesses.

    The same runs give the same bytes. Folders that hold no sound run are passed over.

    Raises:
        ResultsError: none was selected, or a selected one does not pass `verify_run`; nothing is written.
    """
    found = scan(root)
    chosen = [run for run in found if isinstance(run, Run) and select(run)]
    if not chosen:
        raise ResultsError(
            f"no run to export below {root}; see what is there with: python -m suite status --results {root}"
        )
    for run in chosen:
        problems = verify_run(run)
        if problems:
            raise ResultsError(f"will not export {run.spec}: {problems[0]}; see: python -m suite verify")
    names = ALL_FILES if whole_logs else RUN_FILES
    paths = [(run, name) for run in chosen for name in (*names, *kept_files(run)) if (run.directory / name).exists()]
    members = ((str(run.spec.directory / name), (run.directory / name).read_bytes()) for run, name in paths)
    write_archive(Path(out_file), members)
    broken = (run.reason for run in found if isinstance(run, BrokenRun))
    return Exported(tuple(run.spec for run in chosen), tuple(broken))


def write_archive(file: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Writes a tar.gz of (name, content), in their order: the same members give the same bytes.

    `members` may make each content when it is asked for: one at a time is held in memory.

    Raises ResultsError for more than `import` would take; nothing is written then.
    """
    count = size = 0
    with (
        replacing(file) as packed,
        gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=6, mtime=0, filename="") as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, data in members:
            count, size = count + 1, size + len(data)
            if count > MAX_MEMBERS or size > MAX_UNPACKED_BYTES:
                raise ResultsError(
                    f"the runs have more than an archive may have ({MAX_MEMBERS} files, {MAX_UNPACKED_BYTES} bytes); "
                    "export fewer runs at a time: choose them with --games, --frames, --baselines or --seeds"
                )
            member = tarfile.TarInfo(name)  # time 0, owner 0: equal bytes
            member.size = len(data)
            member.mode = 0o644
            archive.addfile(member, io.BytesIO(data))


def import_archive(file: Path, root: Path) -> Imported:
    """Adds the runs of an archive to the results folder `root`.

    Every run is unpacked aside and passes `verify_run` before the first is put in its place. A run that is already
    there byte for byte stays as it is; where only the witnesses of its log are there, as in a clone of a repository, it
    gets the whole log. On any error nothing is added; a process killed while runs are being placed leaves whole runs
    only, and importing again adds the rest.

    Raises:
        ResultsError: no readable archive, a member that is no file of a run or points elsewhere, a run that does not
            pass its checks, or one that would replace a different run.
    """
    with tempfile.TemporaryDirectory(prefix="suite-import-") as folder:
        staging = Path(folder)
        names = unpack(Path(file), staging)
        runs = [_checked(staging, place) for place in dict.fromkeys(map(_place_of, names))]
        new = [run for run in runs if not is_present(run, Path(root))]
        added = {run.spec for run in new}
        present = [run for run in runs if run.spec not in added]
        completed = _add_whole_logs(present, Path(root))
        try:
            land(new, Path(root))
        except BaseException:
            _remove_whole_logs(completed, Path(root))
            raise
    return Imported(tuple(sorted(added)), tuple(sorted(run.spec for run in present)), tuple(sorted(completed)))


def _add_whole_logs(runs: Sequence[Run], root: Path) -> list[RunSpec]:
    """Gives runs that are in their places the whole log that the archive has and they lack; all of them, or none."""
    completed: list[RunSpec] = []
    try:
        for run in runs:
            source, place = run.directory / FULL_ACTIONS_FILE, root / run.spec.directory / FULL_ACTIONS_FILE
            if source.exists() and not place.exists():
                write_bytes(place, source.read_bytes())
                completed.append(run.spec)
    except OSError as error:
        _remove_whole_logs(completed, root)
        raise ResultsError(f"{root}: cannot be written ({error.strerror or error}); nothing was imported") from None
    return completed


def _remove_whole_logs(specs: Sequence[RunSpec], root: Path) -> None:
    for spec in specs:
        (root / spec.directory / FULL_ACTIONS_FILE).unlink(missing_ok=True)


def land(runs: Sequence[Run], root: Path) -> None:
    """Puts checked runs, which lie anywhere, in their places below the results folder `root`: all, or on an error none.

    Raises ResultsError if a place is taken or the folder cannot be written.
    """
    if root.exists() and not root.is_dir():
        raise ResultsError(f"{root} is a file, not a folder of results; choose another --results")
    first_made = next((folder for folder in [*reversed(root.parents), root] if not folder.exists()), None)
    try:
        root.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".import.tmp-", dir=root))
    except OSError as error:
        raise ResultsError(f"{root}: cannot be written ({error.strerror or error})") from None
    try:
        for run in runs:
            shutil.copytree(run.directory, staging / run.spec.directory)
        _place(runs, staging, root)
    except BaseException as error:
        shutil.rmtree(staging)
        if first_made is not None:
            _remove_empty(root, first_made)
        if isinstance(error, OSError):  # shutil.Error too
            raise ResultsError(f"{root}: cannot be written ({error.strerror or error}); nothing was imported") from None
        raise
    shutil.rmtree(staging)


def unpack(
    file: Path, staging: Path, *, also: Callable[[str, int], bool] = lambda name, size: False
) -> list[PurePosixPath]:
    """Writes the archive's files below `staging`, having checked it whole. Returns their names.

    Args:
        also: whether a name, of that size in bytes, is allowed that is no file of a run.
    Raises:
        ResultsError: no readable archive, one beyond the bounds, or a member that is not allowed.
    """
    names: list[PurePosixPath] = []
    seen: set[str] = set()
    try:
        with file.open("rb") as stream:
            check_tar(stream, str(file))
            stream.seek(0)
            with tarfile.open(fileobj=stream, mode="r:gz") as archive:
                for member in archive:
                    if member.isdir() and not _escapes(member.name):
                        continue
                    name = _checked_name(file, member, seen, also)
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file, as checked
                    _stage(staging / name, content.read())
                    names.append(name)
    except ResultsError:
        raise
    except UNREADABLE as error:
        raise ResultsError(unreadable(str(file), error)) from None
    if not names:
        raise ResultsError(f"{file}: holds no runs")
    return names


def _stage(path: Path, data: bytes) -> None:
    """Writes a file that nobody reads yet; `_place` brings it to the disk."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise ResultsError(f"{path.parent}: cannot be written ({error.strerror}); nothing was imported") from None


def _checked_name(
    file: Path, member: tarfile.TarInfo, seen: set[str], also: Callable[[str, int], bool]
) -> PurePosixPath:
    """The name of a member that is a file of a run, or allowed by `also`."""
    path = PurePosixPath(member.name)
    if _escapes(member.name) or not member.isreg() or member.issparse():
        raise ResultsError(f"{file}: {shown(member.name)} is no plain file inside the archive; nothing was imported")
    of_run = path.name in ALL_FILES and RUN_PATH.fullmatch(str(path.parent)) is not None
    if str(path) != member.name or not (of_run or _is_kept_code(path) or also(member.name, member.size)):
        raise ResultsError(
            f"{file}: {shown(member.name)} is no file of a run "
            f"([<protocol>/]<baseline>/<game>/<frames>/seed-<n>/{MANIFEST_FILE} or a table); nothing was imported"
        )
    if member.name in seen:
        raise ResultsError(f"{file}: {shown(member.name)} is in it twice; nothing was imported")
    seen.add(member.name)
    if path.name == MANIFEST_FILE and member.size > _MAX_MANIFEST_BYTES:
        raise ResultsError(f"{file}: {member.name} is larger than any run's; nothing was imported")
    return path


def _is_kept_code(path: PurePosixPath) -> bool:
    """Whether a name is that of a file of a user's own code, in its run's folder."""
    place = str(path.parent.parent)
    return RUN_PATH.fullmatch(place) is not None and _CODE_PATH.fullmatch(f"{path.parent.name}/{path.name}") is not None


def _place_of(path: PurePosixPath) -> PurePosixPath:
    """The run's place that a file of it lies in."""
    return path.parent.parent if _is_kept_code(path) else path.parent


def _escapes(name: str) -> bool:
    return name.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name) is not None


def _checked(staging: Path, place: PurePosixPath) -> Run:
    found = open_run(staging / place)
    if isinstance(found, BrokenRun):
        reason = found.reason.replace(f"{staging}{os.sep}", "")
        raise ResultsError(f"the archive's {reason}; nothing was imported")
    if found.spec.directory != place:
        raise ResultsError(f"the archive's {place}: {elsewhere(found)}; nothing was imported")
    problems = verify_run(found)
    if problems:
        raise ResultsError(f"the archive's {found.spec}: {problems[0]}; nothing was imported")
    return found


def elsewhere(run: Run) -> str:
    """What is wrong with a run that lies at another place below its root than its manifest says, in words."""
    return f"belongs to the run {run.spec}, whose place is {run.spec.directory}"


def is_present(run: Run, root: Path) -> bool:
    """Whether `root` has this very run. Raises ResultsError if its place is taken by anything else."""
    place = root / run.spec.directory
    if not place.exists():
        return False
    if all(_bytes(run.directory / name) == _bytes(place / name) for name in (*RUN_FILES, *kept_files(run))):
        return True
    raise ResultsError(
        f"{place} is taken by a run that differs from the archive's {run.spec}; move it away, or choose another "
        f"--results; nothing was imported"
    )


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


def _place(runs: Sequence[Run], staging: Path, root: Path) -> None:
    """Renames every run from the staging folder to its place; takes them back if one fails."""
    placed: list[Path] = []
    try:
        for run in runs:
            place = root / run.spec.directory
            for folder, _, _ in os.walk(staging / run.spec.directory):
                sync_folder(Path(folder))
            place.parent.mkdir(parents=True, exist_ok=True)
            _move(staging / run.spec.directory, place)
            placed.append(place)
    except BaseException:
        _take_back(placed, root)
        raise


def _move(folder: Path, place: Path) -> None:
    """Renames `folder` to `place`, by way of a copy beside `place` if that is on another disk, behind a link, say."""
    try:
        os.rename(folder, place)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        aside = Path(tempfile.mkdtemp(prefix=".import.tmp-", dir=place.parent))
        try:
            shutil.copytree(folder, aside / place.name)
            for copied, _, _ in os.walk(aside / place.name):
                sync_folder(Path(copied))
            os.rename(aside / place.name, place)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _take_back(placed: list[Path], root: Path) -> None:
    for place in placed:
        shutil.rmtree(place)
        _remove_empty(place.parent, root, keep_last=True)


def _remove_empty(folder: Path, last: Path, *, keep_last: bool = False) -> None:
    """Removes `folder` and its parents up to `last` as long as they are empty."""
    while folder != last or not keep_last:
        try:
            folder.rmdir()
        except OSError:
            return  # not empty: somebody else's
        if folder == last:
            return
        folder = folder.parent
