"""How often the rules give each verdict, by simulation of experiments whose truth is known.

Games are those of Atari-10 in number, their levels spread over an order of magnitude; seeds scatter about a game's
level log-normally (light: 10 %, heavy: 40 % with a tail of Student's t, unequal: one side 20 % and the other 2 %).
A claim of +50 % on the median is judged by the report's own interval and rule. A second table has how often intervals
hold the truth, for other numbers of games and for single rows of the leaderboard.
`python tests/reports/judging/simulated_verdicts.py` writes the tables that the report's method page and docs/reports.md
show.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import reports
from reports.judging.verdicts import REPRODUCED, SHOWN, SMALLER, gain_verdict
from reports.statistics.bootstrap import LINEAR, OF_GAINS, Draws, Interval, ends, variance_shares
from reports.statistics.power import Design, Power, SideSeeds, power

CLAIMED = 0.5
GAMES = 10
TRUTHS = (0.0, 0.25, 0.5, 0.75)
SEEDS = (3, 5, 10)
SPREADS = ("light", "heavy")
EXPERIMENTS, REPETITIONS = 1000, 500
TABLE = Path(reports.__file__).parent / "statistics/simulated.json"


@dataclass(frozen=True)
class Case:
    """What is true, and how it is measured."""

    truth: float  # gain of the median
    seeds: int
    spread: str


def cases() -> list[Case]:
    return [Case(truth, seeds, spread) for spread in SPREADS for seeds in SEEDS for truth in TRUTHS]


def gains(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> Draws:
    """The gain of the median in every resample, [REPETITIONS, 1]: as `bootstrap.draw` draws, all at once."""
    return gains_of(medians(rng, a, len(a) - 1), medians(rng, b, len(b) - 1), a, b)


def gains_of(drawn_a: np.ndarray, drawn_b: np.ndarray, a: np.ndarray, b: np.ndarray) -> Draws:
    """The same of medians that are drawn already."""
    whole_a, whole_b = (np.median(side.mean(axis=0)) for side in (a, b))
    pairs = (drawn_a, drawn_b), (drawn_a, whole_b), (whole_a, drawn_b)
    joint, *alone = ((of_a / of_b - 1)[:, None] for of_a, of_b in pairs)
    return Draws(joint, tuple(alone))


def medians(rng: np.random.Generator, side: np.ndarray, drawn: int) -> np.ndarray:
    """The median in every resample of `drawn` runs a game, [REPETITIONS]."""
    games = side.shape[1]
    rows = rng.integers(0, len(side), size=(REPETITIONS, drawn, games))
    return np.median(side[rows, np.arange(games)].mean(axis=1), axis=1)


def interval(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> Interval:
    """The gain's interval, by the report's own rule."""
    low, high = ends(gains(rng, a, b), (a, b), OF_GAINS)
    estimate = np.median(a.mean(axis=0)) / np.median(b.mean(axis=0)) - 1
    return Interval(float(estimate), float(low[0]), float(high[0]))


def noise(rng: np.random.Generator, spread: str, shape: tuple[int, int], side: int = 0) -> np.ndarray:
    """Factors of mean 1: [seeds, games], of the first side or the second."""
    if spread in _SIGMA:
        sigma = _SIGMA[spread][side]
        return np.exp(sigma * rng.standard_normal(shape) - sigma**2 / 2)
    tailed = np.clip(rng.standard_t(3, shape), -6, 6) / np.sqrt(3)
    return np.exp(0.4 * tailed) / _HEAVY_MEAN


_SIGMA = {"light": (0.1, 0.1), "unequal": (0.2, 0.02)}
_HEAVY_MEAN = float(np.exp(0.4 * np.clip(np.random.default_rng(0).standard_t(3, 2_000_000), -6, 6) / np.sqrt(3)).mean())


# Which verdicts are wrong of a true gain.
WRONG = {0.0: {REPRODUCED, SHOWN, SMALLER}, 0.25: {REPRODUCED}}
FEWEST, MOST = 3, 10


def looks(truth: float, spread: str, number: int) -> dict[str, bool]:
    """Whether one experiment ends with a wrong verdict, by when it is looked at."""
    rng = np.random.default_rng([11, number, round(100 * truth), SPREADS.index(spread)])
    base = np.exp(rng.normal(0.0, 1.0, GAMES))
    a = base * (1 + truth) * noise(rng, spread, (MOST, GAMES))
    b = base * noise(rng, spread, (MOST, GAMES), 1)
    wrong = {
        seeds: gain_verdict(interval(rng, a[:seeds], b[:seeds]), CLAIMED) in WRONG[truth]
        for seeds in range(FEWEST, MOST + 1)
    }
    return {
        "first": wrong[FEWEST],
        "planned": wrong[planned_seeds(rng, a[:FEWEST], b[:FEWEST])],
        "every": any(wrong.values()),
    }


def planned_seeds(rng: np.random.Generator, a: np.ndarray, b: np.ndarray) -> int:
    """How many seeds a claim's page asks for, having seen these: no fewer, and no more than `MOST`."""
    found = power_of(gains(rng, a, b), a, half=CLAIMED / 2, least_seeds=len(a))
    wanted = found.confirming.likely if found.confirming else MOST
    return min(max(wanted, len(a)), MOST)


def power_of(drawn: Draws, side: np.ndarray, *, half: float | None, least_seeds: int = 3) -> Power:
    """What the report says of an estimate whose sides are both of the shape of `side`."""
    seeds, games = side.shape
    shares = variance_shares(drawn, OF_GAINS)[:, 0]
    sides = tuple(SideSeeds(float(share), least=seeds, typical=seeds) for share in shares)
    design = Design(sides=sides, games=games, claimed_games=games, least_seeds=least_seeds)
    return power(drawn.joint[:, 0], effect=CLAIMED, half=half, is_ratio=True, design=design)


def looked_at(truth: float, spread: str, experiments: int = EXPERIMENTS) -> dict[str, object]:
    """A row of the table of looks: shares of experiments with a wrong verdict."""
    found = [looks(truth, spread, number) for number in range(experiments)]
    return {
        "truth": truth,
        "spread": spread,
        "wrong": {when: sum(each[when] for each in found) / experiments for when in found[0]},
    }


def experiment(case: Case, number: int) -> tuple[str, bool]:
    """The verdict of one experiment, and whether the interval holds the truth."""
    rng = np.random.default_rng([number, case.seeds, round(100 * case.truth), SPREADS.index(case.spread)])
    base = np.exp(rng.normal(0.0, 1.0, GAMES))
    better = base * (1 + case.truth)  # every game gains the same, and so does the median
    shape = (case.seeds, GAMES)
    a, b = better * noise(rng, case.spread, shape), base * noise(rng, case.spread, shape, 1)
    found = interval(rng, a, b)
    assert found.low is not None
    assert found.high is not None
    return gain_verdict(found, CLAIMED), found.low <= case.truth <= found.high


def simulate(case: Case, experiments: int = EXPERIMENTS) -> dict[str, object]:
    """A row of the table: shares of verdicts, and of intervals that hold the truth."""
    found = [experiment(case, number) for number in range(experiments)]
    counts = Counter(verdict for verdict, _ in found)
    return {
        "truth": case.truth,
        "seeds": case.seeds,
        "spread": case.spread,
        "verdicts": {verdict: counts[verdict] / experiments for verdict in sorted(counts)},
        "coverage": sum(holds for _, holds in found) / experiments,
    }


COVERED_GAMES, COVERED_SEEDS, COVERED_SPREADS = (1, 3, 5, 10, 57), (3, 5), ("light", "unequal")
POWER_GAMES = (GAMES, 5)


def covered(games: int, seeds: int, experiments: int = EXPERIMENTS, spread: str = "light") -> dict[str, object]:
    """A row of the table of coverage: shares of intervals that hold the true gain, and the true median of one side, by
    how they are drawn.

    `percentile` is rliable's, of n draws; `fewer` the same of n - 1; `used` the report's own.
    """
    rng = np.random.default_rng([17, games, seeds])
    hits: Counter[tuple[str, str]] = Counter()
    for _ in range(experiments):
        base = np.exp(rng.normal(0.0, 1.0, games))
        better = base * (1 + CLAIMED) * np.exp(rng.normal(0.0, 0.3, games))  # games gain more and less
        a, b = better * noise(rng, spread, (seeds, games)), base * noise(rng, spread, (seeds, games), 1)
        gain, row = np.median(better) / np.median(base) - 1, np.median(better)
        whole, fewer = ([medians(rng, side, drawn) for side in (a, b)] for drawn in (seeds, seeds - 1))
        for what, truth, sides, drawn, drawn_fewer, scale in (
            ("gain", gain, (a, b), whole[0] / whole[1] - 1, gains_of(*fewer, a, b), OF_GAINS),
            ("row", row, (a,), whole[0], Draws(fewer[0][:, None]), LINEAR),
        ):
            low, high = ends(drawn_fewer, sides, scale)
            hits[what, "percentile"] += _holds(truth, *np.quantile(drawn, (0.025, 0.975)))
            hits[what, "fewer"] += _holds(truth, *np.quantile(drawn_fewer.joint, (0.025, 0.975)))
            hits[what, "used"] += _holds(truth, low[0], high[0])
    ways = ("percentile", "fewer", "used")
    shares = {what: {how: hits[what, how] / experiments for how in ways} for what in ("gain", "row")}
    return {"spread": spread, "games": games, "seeds": seeds, **shares}


def _holds(truth: float, low: float, high: float) -> bool:
    return bool(low <= truth <= high)


def told_at_the_stated_power(spread: str, seeds: int, experiments: int = EXPERIMENTS, games: int = GAMES) -> float:
    """Share of experiments that tell a gain from none, where the true one is the smallest that `power` states."""
    told = 0
    rng = np.random.default_rng([7, seeds, SPREADS.index(spread), games])
    base, shape = np.exp(rng.normal(0.0, 1.0, games)), (seeds, games)
    stated = []
    for _ in range(60):  # what is stated scatters with the spread seen: its middle
        a, b = base * noise(rng, spread, shape), base * noise(rng, spread, shape, 1)
        smallest = power_of(gains(rng, a, b), a, half=None).smallest
        assert smallest is not None
        stated.append(smallest)
    truth = float(np.median(stated))
    for _ in range(experiments):
        a, b = base * (1 + truth) * noise(rng, spread, shape), base * noise(rng, spread, shape, 1)
        low = interval(rng, a, b).low
        told += low is not None and low > 0
    return told / experiments


def table(experiments: int = EXPERIMENTS) -> dict[str, object]:
    return {
        "claimed": CLAIMED,
        "games": GAMES,
        "experiments": experiments,
        "rows": [simulate(case, experiments) for case in cases()],
        "power": [
            {
                "spread": spread,
                "games": games,
                "seeds": seeds,
                "told": told_at_the_stated_power(spread, seeds, experiments, games),
            }
            for spread in SPREADS
            for games in POWER_GAMES
            for seeds in SEEDS
        ],
        "coverage": [
            covered(games, seeds, experiments, spread)
            for spread in COVERED_SPREADS
            for seeds in COVERED_SEEDS
            for games in COVERED_GAMES
        ],
        "looks": [looked_at(truth, spread, experiments) for spread in SPREADS for truth in WRONG],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes the table of simulated verdicts that the method page shows.")
    parser.add_argument("--experiments", type=int, default=EXPERIMENTS)
    parser.add_argument("--out", type=Path, default=TABLE)
    arguments = parser.parse_args()
    arguments.out.write_text(json.dumps(table(arguments.experiments), indent=1) + "\n", encoding="utf-8")
