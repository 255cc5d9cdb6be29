"""Who stands where: baselines side by side, on the same games at the same budget."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reports.catalogue import Catalogue
from reports.judging.evidence import COUNTS, MEASURED, OFF_PROTOCOL, UNFINISHED, Entry, Evidence
from reports.judging.published import (
    DOPAMINE_AGENTS,
    PAPER_FRAMES,
    dopamine_final_scores,
    dopamine_games,
    paper_medians,
)
from reports.judging.run_figures import CURVE_POINTS
from reports.statistics.aggregate import (
    METRICS,
    Band,
    aggregates,
    band,
    curves_of,
    improvement_chance,
    profile,
)
from reports.statistics.atari5 import WEIGHTS, median57
from reports.statistics.bootstrap import CURVE_REPETITIONS, TABLE_REPETITIONS, Interval, Scores, clipped, interval
from results.games import ATARI57, GAME_SETS
from results.reference import DOPAMINE, DOPAMINE_FRAMES, DRAWN_ONLY, PAPER, PAPER_AGENTS
from results.schema import FIRST_PROTOCOL
from results.scores import human_normalised

PUBLISHED = "published"
SET_TITLES = {"atari57": "Atari-57", "atari10": "Atari-10", "atari5": "Atari-5"}
PROFILE_POINTS, PROFILE_LIMIT = 81, 8.0  # thresholds reach the best run, or this


@dataclass(frozen=True)
class Row:
    """One baseline on the games of its group."""

    baseline: str
    source: str  # measured, external or published
    frames: int
    seeds: tuple[int, int]  # smallest and largest number of seeds of a game; (0, 0) where nobody said
    runs: int
    metrics: Mapping[str, Interval]  # median, iqm, mean, optimality_gap
    protocol: str  # of a published row: how far it is the suite's
    origin: str  # of an external or published row
    entries: tuple[Entry, ...] = ()
    curves: Mapping[str, Band] = field(default_factory=dict)  # "median" and "iqm" at each 0.5 % of the budget
    profile: Band | None = None
    median57: Interval | None = None  # Atari-5's estimate of the 57-game median, where its five games are there


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: the same games, budget and standing."""

    frames: int
    games: tuple[str, ...]
    title: str
    rows: tuple[Row, ...]
    is_off_protocol: bool = False
    improvements: tuple[tuple[str, str, Interval], ...] = ()  # A, B, chance that a run of A beats one of B
    thresholds: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # of the rows' profiles
    is_unscored: bool = False  # its runs are done, yet no game was finished in training


def build_groups(evidence: Evidence, catalogue: Catalogue) -> list[Group]:
    """Groups of measured and imported scores; those on protocol first, then the largest budget and most games."""
    groups = []
    for standing in (COUNTS, OFF_PROTOCOL):
        budgets = sorted({e.frames for e in evidence.entries if e.standing == standing}, reverse=True)
        for frames in budgets:
            sides = _sides(evidence, frames, standing)
            ordered = dict(sorted(sides.items(), key=lambda item: _order(item[0], catalogue)))
            for games, members in _game_sets({key: set(by_game) for key, by_game in ordered.items()}):
                groups.append(_group(frames, games, {key: ordered[key] for key in members}, standing == OFF_PROTOCOL))
    return groups + _unscored_groups(evidence, catalogue)


def _unscored_groups(evidence: Evidence, catalogue: Catalogue) -> list[Group]:
    """A group for each budget so short that runs ended before a game did: what was trained is shown, without scores."""
    found: dict[int, dict[Key, dict[str, list[Entry]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for entry in evidence.entries:
        if entry.standing == UNFINISHED and entry.run is not None and entry.run.status == "done":
            found[entry.frames][entry.baseline, entry.source][entry.game].append(entry)
    nothing = Interval(None, reason="no game was finished in training")
    groups = []
    for frames, sides in sorted(found.items(), reverse=True):
        rows = [
            Row(
                baseline=baseline,
                source=source,
                frames=frames,
                seeds=(min(map(len, by_game.values())), max(map(len, by_game.values()))),
                runs=sum(map(len, by_game.values())),
                metrics=dict.fromkeys(METRICS, nothing),
                protocol="",
                origin="",
                entries=tuple(entry for entries in by_game.values() for entry in entries),
            )
            for (baseline, source), by_game in sorted(sides.items(), key=lambda item: _order(item[0], catalogue))
        ]
        games = _sorted({game for by_game in sides.values() for game in by_game})
        groups.append(Group(frames, games, games_title(games), tuple(rows), is_unscored=True))
    return groups


Key = tuple[str, str]  # baseline, source


def _sides(evidence: Evidence, frames: int, standing: str) -> dict[Key, dict[str, list[Entry]]]:
    sides: dict[Key, dict[str, list[Entry]]] = defaultdict(lambda: defaultdict(list))
    for entry in evidence.entries:
        if entry.frames == frames and entry.standing == standing and entry.score is not None:
            sides[entry.baseline, entry.source][entry.game].append(entry)
    return sides


def _order(key: Key, catalogue: Catalogue) -> tuple[int, str, bool]:
    names = [baseline.name for baseline in catalogue.baselines]
    return (names.index(key[0]) if key[0] in names else len(names), key[0], key[1] != MEASURED)


def _game_sets(games: Mapping[Key, set[str]]) -> list[tuple[tuple[str, ...], list[Key]]]:
    """The game sets to compare on, each with the baselines that have all of its games.

    The named sets that someone has whole; for those who have none, the games that all share; failing that, each
    baseline's own. A game of somebody's that is in none of these stands alone, with all for whom it is left over.
    """
    found = _larger_sets(games)
    left: dict[str, list[Key]] = defaultdict(list)
    for key, played in games.items():
        for game in played.difference(*(names for names, members in found if key in members)):
            left[game].append(key)
    return found + [((game,), left[game]) for game in ATARI57 if game in left]


def _larger_sets(games: Mapping[Key, set[str]]) -> list[tuple[tuple[str, ...], list[Key]]]:
    """The game sets to compare on before what they leave over."""
    found: list[tuple[tuple[str, ...], list[Key]]] = []
    for names in GAME_SETS.values():
        whole = [key for key in games if set(names) <= games[key]]
        if whole and not any(set(whole) == set(members) for _, members in found):
            found.append((names, whole))
    covered = {key for _, members in found for key in members}
    uncovered = [key for key in games if key not in covered]
    if not uncovered:
        return found
    for members in (list(games), uncovered):
        shared = set.intersection(*(games[key] for key in members))
        if shared:
            return [*found, (_sorted(shared), members)]
    return found + [(_sorted(games[key]), [key]) for key in uncovered]


def _sorted(games: set[str]) -> tuple[str, ...]:
    return tuple(game for game in ATARI57 if game in games)


def games_title(games: tuple[str, ...]) -> str:
    """What a list of games is called: a set's name, a few names, or their number."""
    for name, members in GAME_SETS.items():
        if set(members) == set(games):
            return SET_TITLES[name]
    return ", ".join(games) if len(games) <= 3 else f"{len(games)} games"


def matrix(by_game: Mapping[str, list[Entry]], games: tuple[str, ...]) -> Scores:
    """HNS [runs, games], nan below the last run of a game."""
    most = max(len(by_game[game]) for game in games)
    scores = np.full((most, len(games)), np.nan)
    for column, game in enumerate(games):
        scores[: len(by_game[game]), column] = [entry.hns for entry in by_game[game]]
    return scores


def curve_matrix(by_game: Mapping[str, list[Entry]], games: tuple[str, ...]) -> Scores:
    """HNS curves [runs, games, points] of measured runs."""
    most = max(len(by_game[game]) for game in games)
    scores = np.full((most, len(games), CURVE_POINTS), np.nan)
    for column, game in enumerate(games):
        for row, entry in enumerate(by_game[game]):
            assert entry.run is not None
            scores[row, column] = human_normalised(entry.run.curve, game)  # type: ignore[arg-type]
    return scores


def _group(frames: int, games: tuple[str, ...], sides: Mapping[Key, dict[str, list[Entry]]], off: bool) -> Group:
    rows = []
    matrices = {key: matrix(by_game, games) for key, by_game in sides.items()}
    best = max(float(np.nanmax(scores)) for scores in matrices.values())
    thresholds = np.linspace(0.0, min(max(np.ceil(2 * best) / 2, 0.5), PROFILE_LIMIT), PROFILE_POINTS)
    for (baseline, source), by_game in sides.items():
        scores = matrices[baseline, source]
        label = f"{baseline} {source} {frames} {','.join(games)}"
        rows.append(
            Row(
                baseline=baseline,
                source=source,
                frames=frames,
                seeds=(min(len(by_game[g]) for g in games), max(len(by_game[g]) for g in games)),
                runs=sum(len(by_game[g]) for g in games),
                metrics=aggregates(label, scores),
                protocol="",
                origin="; ".join(sorted({e.origin for g in games for e in by_game[g] if e.origin})),
                entries=tuple(e for g in games for e in by_game[g]),
                curves=_curves(label, by_game, games) if source == MEASURED else {},
                median57=_median57(label, scores, games),
                profile=band(f"profile {label}", (scores,), lambda s: profile(s, thresholds), CURVE_REPETITIONS),
            )
        )
    improvements = []
    for first, second in combinations(matrices, 2):
        if first[1] == second[1]:  # measured against measured, imported against imported
            label = f"improvement {first} {second} {frames} {','.join(games)}"
            pair = matrices[first], matrices[second]
            chance = interval(label, pair, improvement_chance, TABLE_REPETITIONS)[0]
            improvements.append(_better_first(first[0], second[0], clipped(chance)))
    return Group(frames, games, games_title(games), tuple(rows), off, tuple(improvements), thresholds)


def _median57(label: str, scores: Scores, games: tuple[str, ...]) -> Interval | None:
    if not WEIGHTS.keys() <= set(games) or games == ATARI57:  # where all 57 are there, their median is known
        return None
    found = interval(f"median57 {label}", (scores,), lambda s: median57(s, games), TABLE_REPETITIONS)[0]
    return clipped(found, math.inf)


def _better_first(a: str, b: str, chance: Interval) -> tuple[str, str, Interval]:
    if chance.estimate is None or chance.estimate >= 0.5:
        return a, b, chance
    low, high = (None if end is None else 1 - end for end in (chance.high, chance.low))
    return b, a, Interval(1 - chance.estimate, low, high, chance.reason)


def _curves(label: str, by_game: Mapping[str, list[Entry]], games: tuple[str, ...]) -> dict[str, Band]:
    scores = curve_matrix(by_game, games)
    curves = curves_of(scores)
    names = ("median", "iqm")
    return {name: band(f"{name} curve {label}", (scores,), curves[name], CURVE_REPETITIONS) for name in names}


@cache
def published_groups(protocol: str = FIRST_PROTOCOL) -> tuple[Group, ...]:
    """The paper's final medians, and Dopamine's runs; what was measured under `protocol`, or nearest to it, first."""
    nothing = Interval(None, reason="not published")
    paper = [
        Row(
            baseline=name,
            source=PUBLISHED,
            frames=PAPER_FRAMES,
            seeds=(0, 0),
            runs=0,
            metrics={"median": Interval(value, reason="read off a figure"), "iqm": nothing, "mean": nothing}
            | {"optimality_gap": nothing},
            protocol=PAPER.protocol if name in PAPER_AGENTS else DRAWN_ONLY,
            origin=f"{PAPER.title}: {PAPER.source}; {PAPER.how}",
        )
        for name, value in paper_medians()
    ]
    games = dopamine_games()
    dopamine = []
    for agent in DOPAMINE_AGENTS:
        scores = dopamine_final_scores(agent)
        counts = (~np.isnan(scores)).sum(axis=0)
        dopamine.append(
            Row(
                baseline=agent.lower(),
                source=PUBLISHED,
                frames=DOPAMINE_FRAMES,
                seeds=(int(counts.min()), int(counts.max())),
                runs=int(counts.sum()),
                metrics=aggregates(f"dopamine {agent}", scores),
                protocol=DOPAMINE.protocol,
                origin=f"{DOPAMINE.title}: {DOPAMINE.source}; {DOPAMINE.how}",
            )
        )
    groups = {
        PAPER.suite_protocol: Group(PAPER_FRAMES, ATARI57, SET_TITLES["atari57"], tuple(paper)),
        DOPAMINE.suite_protocol: Group(DOPAMINE_FRAMES, games, games_title(games), tuple(dopamine)),
    }
    return tuple(group for name, group in sorted(groups.items(), key=lambda item: item[0] != protocol))
