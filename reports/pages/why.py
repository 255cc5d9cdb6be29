"""Why it works: Hadamax-PQN, PQN and the variants between them; score, effective rank and dead neurons side by side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reports import numerals
from reports.catalogue import BaselineInfo
from reports.judging.claims import MINIMUM_SEEDS, Claim
from reports.judging.evidence import COUNTS, MEASURED, OFF_PROTOCOL, Entry, RunRecord
from reports.judging.judge import estimate_claim
from reports.judging.leaderboard import games_title
from reports.judging.missing import place_flags
from reports.judging.run_figures import diagnostic_frames
from reports.judging.score_kinds import AHEAD_OF
from reports.judging.sides import Basis, find_basis
from reports.pages.charts import Level, LineChart, Series
from reports.pages.claims_table import claims_table
from reports.pages.palette import colour
from reports.pages.rank import RANK, ceiling
from reports.pages.site import Site
from reports.statistics.bootstrap import Interval
from reports.summary import Report
from results.games import ATARI57
from results.scores import human_normalised

HADAMAX, PLAIN = "hadamax-pqn", "pqn"
HADAMAX_TITLE = "Hadamax-PQN"
CLAIMS = ("ablation", "rank", "dead-8")  # what the paper says of the reasons
SHOWN_FIRST = "ablation"  # the family that stands with the two encoders themselves
OTHER_AGENTS = ("hadamax-rainbow", "hadamax-rainbow-bf16")  # their scores say nothing of the parts of Hadamax-PQN
RANKED_LAYERS = ("conv2", "conv3")  # the claim's
DEAD = "dead_fraction"
SUFFIXES = {"": "float32", "-bf16": "bf16"}  # precisions are never in one table
HUMAN = Level("human", 1.0)

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Studied:
    """One row: a baseline, the runs that stand for it, and how far Hadamax-PQN is ahead of it."""

    info: BaselineInfo
    runs: tuple[Entry, ...]  # of one budget
    basis: Basis | None  # shared with Hadamax-PQN; None where no game was played by both at one budget
    gain: Interval | None  # of Hadamax-PQN over it


@dataclass(frozen=True)
class Played:
    """A run and its game."""

    game: str
    run: RunRecord


def why_page(report: Report, site: Site) -> dict[str, Any]:
    """Everything that the page shows."""
    judgements = [judgement for judgement in report.judgements if judgement.claim.id in CLAIMS]
    sections, lacking = [], []
    for family, title in report.catalogue.families.items():
        found = []
        for suffix, precision in SUFFIXES.items():
            section = _section(family, suffix, report)
            if section is not None:
                found.append({"title": f"{_capital(title)}, {precision}", "id": f"{family}{suffix}", **section})
        # The two encoders alone have no part taken out: short runs of them say nothing that the variants' don't.
        longest = max((section["frames"] for section in found if section["has_variants"]), default=0)
        found = [section for section in found if section["has_variants"] or section["frames"] >= longest]
        for section in sorted(found, key=lambda section: -section["frames"]):  # the longer runs say more
            figures = _figures(section.pop("studied"), f"why-{section['id']}", report, site)
            sections.append({**section, "figures": [figure for figure in figures if figure is not None]})
        if not any(info.family == family for info in report.catalogue.baselines):
            what = f"--games breakout --frames 4M --baselines {HADAMAX},{family}"
            place = place_flags(report.evidence, report.catalogue)
            command = f"{report.catalogue.command} run {what}{place}"
            lacking.append({"title": _capital(title), "command": command})
    return {
        "title": "Why it works",
        "claims": claims_table(judgements, report),
        "sections": sections,
        "lacking": lacking,
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _section(family: str, suffix: str, report: Report) -> dict[str, Any] | None:
    """The table of one family in one precision, and what its figures are of; None without two rows to compare."""
    members = [info.name for info in report.catalogue.baselines if info.family == family]
    named = [PLAIN + suffix] if family == SHOWN_FIRST else []
    named += [name for name in members if name.endswith("-bf16") == bool(suffix) and name not in OTHER_AGENTS]
    rows = _rows(named, HADAMAX + suffix, report, ATARI57)
    if rows is None:
        return None
    shared = _shared_games(rows)
    if shared and any(_games_of(row) != shared for row in rows):
        # A row over other games than the next one's would be told apart by the games.
        rows = _rows(named, HADAMAX + suffix, report, shared) or rows
    shared = _shared_games(rows)
    over = f", on {games_title(shared)}, which all of them have played" if shared else ""
    return {
        "frames": rows[0].runs[0].frames,
        "has_variants": any(row.info.family == family for row in rows),
        "caption": f"{rows[0].info.title} against what is changed in it{over}{_first_look(rows)}",
        "rows": [_row(row, report) for row in rows],
        "studied": rows,
    }


def _first_look(rows: Sequence[Studied]) -> str:
    """What fewer seeds than a verdict needs are good for; "" where no game has so few."""
    fewest = min(min(Counter(entry.game for entry in row.runs).values()) for row in rows)
    return f". A first look: a verdict needs {MINIMUM_SEEDS} seeds of every game" if fewest < MINIMUM_SEEDS else ""


def _rows(named: Sequence[str], reference: str, report: Report, games: tuple[str, ...]) -> list[Studied] | None:
    """The reference and those of `named` that have runs in `games`; None where there are no two."""
    studied = [row for name in named if (row := _study(name, reference, report, games)) is not None]
    found = _reference(studied, reference, report, games)
    return [found, *studied] if studied and found is not None else None


def _games_of(row: Studied) -> tuple[str, ...]:
    return tuple(game for game in ATARI57 if any(e.game == game for e in row.runs))


def _shared_games(rows: Sequence[Studied]) -> tuple[str, ...]:
    return tuple(game for game in _games_of(rows[0]) if all(game in _games_of(row) for row in rows))


def _usable(report: Report) -> list[Entry]:
    return [
        e
        for e in report.evidence.runs
        if e.standing in (COUNTS, OFF_PROTOCOL) and e.source == MEASURED and e.run is not None and e.hns is not None
    ]


def _study(name: str, reference: str, report: Report, games: tuple[str, ...]) -> Studied | None:
    """`name` beside the reference in `games`, on the runs that the question who is ahead rests on; else its own longest
    runs."""
    info = report.catalogue.find(name)
    own = [e for e in _usable(report) if e.baseline == name and e.game in games]
    if info is None or not own:
        return None
    claim = Claim(
        id=f"why-{name}",
        kind=AHEAD_OF,
        title="",
        statement="",
        source="",
        baseline=reference,
        reference=name,
        measure="median",
        games=games,
        frames=max(e.frames for e in own),
    )
    basis = find_basis(report.evidence, claim)
    if basis is not None and all(side.source == MEASURED for side in basis.sides):
        side = basis.sides[1]
        runs = tuple(entry for game in basis.games for entry in side.entries[game])
        return Studied(info, runs, basis, estimate_claim(claim, basis).interval)
    theirs = {e.game for e in _usable(report) if e.baseline == reference}
    own = [e for e in own if e.game in theirs] or own  # rather another budget than another game
    frames = max(e.frames for e in own)
    return Studied(info, tuple(e for e in own if e.frames == frames), None, None)


def _reference(studied: Sequence[Studied], name: str, report: Report, games: tuple[str, ...]) -> Studied | None:
    """Hadamax-PQN itself: its runs at the budget that most rows share with it, else its longest."""
    own = [e for e in _usable(report) if e.baseline == name and e.game in games]
    info = report.catalogue.find(name)
    if info is None or not own:
        return None
    shared = Counter(row.basis.frames for row in studied if row.basis is not None)
    frames = max(shared, key=lambda f: (shared[f], f)) if shared else max(e.frames for e in own)
    return Studied(info, tuple(e for e in own if e.frames == frames), None, None)


def _row(row: Studied, report: Report) -> dict[str, Any]:
    is_reference = row.info.name.removesuffix("-bf16") == HADAMAX
    games = _games_of(row)
    seeds = Counter(e.game for e in row.runs)
    gain = row.gain
    return {
        "name": row.info.name,
        "title": row.info.title,
        "css": colour(report, row.info.name),
        "runs": f"{games_title(games)}, {numerals.frames(row.runs[0].frames)}, "
        f"{numerals.seeds_text((min(seeds.values()), max(seeds.values())))}"
        + (f", {OFF_PROTOCOL}" if any(e.standing == OFF_PROTOCOL for e in row.runs) else ""),
        "score": numerals.number(float(np.median([_mean_hns(row.runs, game) for game in games]))),
        "gain": "" if gain is None else numerals.percent(gain.estimate, signed=True),
        "ends": "" if gain is None else _ends(gain),
        "why_none": "" if is_reference or gain is not None else "no game played by both at one budget",
        "rank": _rank_text(row.runs),
        "dead": _dead_text(row.runs),
    }


def _mean_hns(runs: Sequence[Entry], game: str) -> float:
    return float(np.mean([e.hns for e in runs if e.game == game and e.hns is not None]))


def _ends(gain: Interval) -> str:
    if gain.low is None and gain.high is None:
        return gain.reason
    return numerals.between(gain.low, gain.high, lambda value: numerals.percent(value, signed=True))


def _over_games(
    runs: Sequence[Played], figure: Callable[[Played], Values | None], over: Callable[..., Values] = np.mean
) -> Values | None:
    """Mean over games of each game's mean over its runs, so that games weigh the same; None where no run has any.

    Args: `over`: what is taken over games instead, np.median.
    """
    found: dict[str, list[Values]] = defaultdict(list)
    for played in runs:
        values = figure(played)
        if values is not None:
            found[played.game].append(values)
    return over([np.mean(values, axis=0) for values in found.values()], axis=0) if found else None


def _played(entries: Sequence[Entry]) -> list[Played]:
    return [Played(e.game, e.run) for e in entries if e.run is not None]


def _finest(runs: Sequence[Played]) -> list[Played]:
    """Of runs that have ranks of the layers, those over the largest sample: others have another ceiling."""
    ranked = [p for p in runs if all(f"{RANK}/{layer}" in p.run.final_diagnostics for layer in RANKED_LAYERS)]
    finest = max((p.run.observations for p in ranked), default=0)
    return [p for p in ranked if p.run.observations == finest]


def _rank_text(entries: Sequence[Entry]) -> str:
    runs = _finest(_played(entries))
    means = _over_games(runs, lambda p: np.array([p.run.final_diagnostics[f"{RANK}/{name}"] for name in RANKED_LAYERS]))
    if means is None:
        return numerals.number(None)
    return f"{' and '.join(numerals.number(float(mean), 0) for mean in means)} of {runs[0].run.observations:,}"


def _dead_text(entries: Sequence[Entry]) -> str:
    share = _over_games(_played(entries), lambda p: _mean_of(p.run.final_diagnostics, DEAD))
    return numerals.number(None) if share is None else numerals.percent(float(share), digits=1)


def _mean_of(diagnostics: Mapping[str, Any], measure: str, layers: Sequence[str] = ()) -> Values | None:
    """Mean of a run's measure over `layers`, or over all that it has it of; None where it has none."""
    found = [
        value
        for name, value in diagnostics.items()
        if name.startswith(f"{measure}/") and (not layers or name.removeprefix(f"{measure}/") in layers)
    ]
    return np.mean(found, axis=0) if found else None


def _figures(rows: Sequence[Studied], prefix: str, report: Report, site: Site) -> list[dict[str, Any] | None]:
    """Three charts over the same frames: score, rank, dead neurons."""

    def score(row: Studied) -> Values | None:
        return _over_games(_played(row.runs), lambda p: human_normalised(p.run.curve[1::2], p.game), np.median)

    finest = max((p.run.observations for row in rows for p in _finest(_played(row.runs))), default=0)

    def with_ranks(row: Studied) -> list[Played]:
        return [p for p in _finest(_played(row.runs)) if p.run.observations == finest]

    def rank(row: Studied) -> Values | None:
        return _over_games(with_ranks(row), lambda p: _mean_of(p.run.diagnostics, RANK, RANKED_LAYERS))

    def dead(row: Studied) -> Values | None:
        return _over_games(_played(row.runs), lambda p: _mean_of(p.run.diagnostics, DEAD))

    ranked = [p.run for row in rows for p in with_ranks(row)]
    over = f"effective rank, mean of {' and '.join(RANKED_LAYERS)}"
    charts = (
        (score, "score", "Score", "human-normalised score; median", (HUMAN,)),  # as the table has it
        (rank, "rank", "Effective rank", f"{over}; mean", (ceiling(ranked),) if ranked else ()),
        (dead, "dead", "Dead neurons", "share of dead neurons, mean of all layers; mean", ()),
    )
    is_comparable = len({_games_of(row) for row in rows}) == 1
    return [
        _figure(rows, curve, f"{prefix}-{short}", title, meaning, levels, report, site)
        for curve, short, title, meaning, levels in charts
        if is_comparable or short != "score"
    ]


def _label(title: str) -> str:
    """What tells a row from the others of its section; whole titles are too long for a figure."""
    short = title.removesuffix(" (bf16)")
    return short.removeprefix(HADAMAX_TITLE).lstrip(", ") or short


def _figure(
    rows: Sequence[Studied],
    curve: Callable[[Studied], Values | None],
    name: str,
    title: str,
    meaning: str,
    levels: tuple[Level, ...],
    report: Report,
    site: Site,
) -> dict[str, Any] | None:
    budgets = {row.runs[0].frames for row in rows}
    series, numbers = [], []
    for row in rows:
        values = curve(row)
        if values is None or not np.isfinite(values).any():
            continue
        budget = row.runs[0].frames
        frames = diagnostic_frames(budget)
        is_main = row.info.name.removesuffix("-bf16") == HADAMAX
        series.append(
            Series(
                _label(row.info.title),
                colour(report, row.info.name),
                frames,
                values,
                note=f"{numerals.frames(budget)} frames" if len(budgets) > 1 else "",
                style="main" if is_main else "other",
            ).where_known()
        )
        numbers += [[row.info.name, int(frames[i]), values[i]] for i in np.flatnonzero(~np.isnan(values))]
    if not series:
        return None
    chart = LineChart(f"{title} over training", "frames", title.lower(), tuple(series), levels, y_low=0.0)
    csv = site.csv(name, ("baseline", "frames", title.lower().replace(" ", "_")), numbers)
    return site.line_figure(
        name, title, f"{_capital(meaning)} over games of the mean over the table's runs of each.", chart, csv=csv
    )
