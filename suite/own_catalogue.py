"""Baselines of a user's own in a report: what their runs keep of them, and the claim that one of them gains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from baselines.description import Description
from baselines.families import PINNED_NAMES
from baselines.own import toml_value
from baselines.registry import describe
from reports.catalogue import BaselineInfo, Catalogue
from results.kept_code import KeptBaseline, has_kept_code, read_kept
from results.schema import CODE_BASELINE_FILE, CODE_FOLDER, format_frames
from results.store import BrokenRun, Run, scan
from suite.errors import UserError
from suite.protocol import pinned_hash

Scan = Callable[[Path], Sequence[Run | BrokenRun]]


def with_own(catalogue: Catalogue, folders: Sequence[Path], scan: Scan = scan) -> Catalogue:
    """`catalogue` with the baselines of a user's own that the runs below `folders` keep. Nothing of them is executed.

    Of one name with several configurations, the one of the run that began last; the report says of the others why
    they do not count.
    """
    newest: dict[str, Run] = {}
    for run in own_runs(folders, scan):
        if run.spec.protocol != catalogue.protocol.name:
            continue
        before = newest.get(run.spec.baseline)
        if before is None or _began(run) > _began(before):
            newest[run.spec.baseline] = run
    infos = tuple(info for name in sorted(newest) if (info := _info(newest[name])) is not None)
    return replace(catalogue, baselines=(*catalogue.baselines, *infos))


def with_given(catalogue: Catalogue, names: Iterable[str]) -> Catalogue:
    """`catalogue` with the users' baselines that this process knows (`add_own`), in place of others of their names."""
    given = []
    for name in names:
        description = describe(name)
        hashed = pinned_hash(description, catalogue.protocol.name)
        given.append(_info_of(description, hashed, str(description.path)))
    kept = (info for info in catalogue.baselines if info.name not in {new.name for new in given})
    return replace(catalogue, baselines=(*kept, *given))


def own_runs(folders: Iterable[Path], scan: Scan = scan) -> list[Run]:
    """The runs of users' own baselines below `folders`."""
    found = (run for folder in folders if folder.is_dir() for run in scan(folder))
    return [
        run for run in found if isinstance(run, Run) and run.spec.baseline not in PINNED_NAMES and has_kept_code(run)
    ]


def _began(run: Run) -> tuple[str, str]:
    return run.manifest["started_at"], run.spec.config_hash


def _info(run: Run) -> BaselineInfo | None:
    """None for a run whose code cannot be read: `verify` says why, and the report shows it by its name alone."""
    try:
        kept = read_kept(run)
    except ValueError:
        return None
    file = run.directory / CODE_FOLDER / CODE_BASELINE_FILE
    return replace(_info_of(kept, run.spec.config_hash, str(file)), code=kept.files)


def _info_of(described: Description | KeptBaseline, config_hash: str, file: str) -> BaselineInfo:
    return BaselineInfo(
        name=described.name,
        title=f"{described.title} (yours)",
        config_hash=config_hash,
        values=described.values,
        sources=described.sources,
        references=described.references,
        deviations_markdown="",
        is_variant=True,
        is_own=True,
        file=file,
    )


def claims_against(
    reference: str, names: Sequence[str], folders: Sequence[Path], catalogue: Catalogue, scan: Scan = scan
) -> str:
    """A claims file, as text: whether each of `names` gains over `reference`, on its games at its largest budget.

    Raises UserError: one of them has no finished run, or is the reference itself.
    """
    runs = [
        run
        for folder in folders
        if folder.is_dir()
        for run in scan(folder)
        if isinstance(run, Run) and run.spec.protocol == catalogue.protocol.name
    ]
    blocks = []
    for name in names:
        if name == reference:
            raise UserError(f"--against {reference} compares {name} with itself; give another one")
        done = [run for run in runs if run.spec.baseline == name and run.is_done]
        if not done:
            raise UserError(f"{name} has no finished run to compare; train it with: python -m suite run --help")
        frames = max(run.spec.frames for run in done)
        games = sorted({run.spec.game for run in done if run.spec.frames == frames})
        title, other = catalogue.title(name), catalogue.title(reference)
        facts: dict[str, Any] = {
            "id": f"{name}-against-{reference}",
            "family": "suite",
            "kind": "ahead",
            "title": f"Does {title} gain over {other}?",
            "statement": f"At {format_frames(frames)} frames, on the games that {title} was trained on: is its median "
            f"human-normalised score ahead of {other}'s, and by how much?",
            "source": "asked on the command line",
            "baseline": name,
            "reference": reference,
            "games": games,
            "frames": format_frames(frames),
            "measure": "median",
        }
        blocks.append("[[claim]]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in facts.items()))
    return "\n".join(blocks)
