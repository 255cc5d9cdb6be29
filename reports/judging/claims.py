"""What a claim is, and what a kind of claim must say of itself.

The kinds are in `kinds`, one entry each. Claims are read from TOML in `claims_file`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reports.statistics.bootstrap import LINEAR, Interval, Scale, Scores, Statistic

PAPER, SUITE = "paper", "suite"  # whose claim it is: the paper's, or a question of the suite's own
FAMILIES = (PAPER, SUITE)
MINIMUM_SEEDS = 3  # of every game, on every side, before a claim is judged


@dataclass(frozen=True)
class Claim:
    """One claim; which of the fields with a default are set depends on its kind."""

    id: str
    kind: Kind
    title: str
    statement: str
    source: str
    baseline: str
    measure: str
    games: tuple[str, ...]  # of a claim at any budget: the ones to try first
    frames: int  # the budget; of a claim at any budget: the one to try first
    reference: str | None = None
    claimed: float | None = None  # gain and fraction as ratios: 0.8 is 80 %
    at_frames: int | None = None
    layers: tuple[str, ...] = ()
    tolerance: float | None = None
    least: float | None = None  # of a difference between layers: the smallest that counts
    observations: int | None = None  # the fewest that ranks must have been taken over
    on: str = ""  # of a ratio of times: "cpu" or "gpu"; "" for either
    without: tuple[str, ...] = ()
    family: str = PAPER
    is_built_in: bool = True

    @property
    def sides(self) -> tuple[str, ...]:
        """Every baseline the claim needs runs of; the one it speaks for first."""
        return (self.baseline, *((self.reference,) if self.reference else ()), *self.without)

    def written(self, value: float | None) -> str:
        """An estimate or an end of its interval, in the claim's unit."""
        return self.kind.written(self, value)

    @property
    def claimed_text(self) -> str:
        """What the claim says, in short: '+80 %'."""
        return self.kind.claimed(self)


@dataclass(frozen=True)
class Seen:
    """An estimate, ready to be put in a sentence."""

    claim: Claim
    value: float
    ends: str  # the interval in words
    part: str  # the part that decides
    frames: int  # the budget it rests on
    title: str  # of the baseline
    other: str  # title of the reference, '' without one


Parts = Mapping[str, Interval]


@dataclass(frozen=True)
class Contrast:
    """What power is about: an effect to tell from none, and draws of it."""

    draws: Scores | None  # [repetitions], 0 where there is no effect
    effect: float | None  # the claimed one, or the one seen where none is claimed
    half: float | None = None  # what a claim of some size must be told from besides
    margin: float | None = None  # of a question of equivalence, instead of an effect


@dataclass(frozen=True)
class Kind:
    """Everything that sets one kind of claim apart. Each function takes the claim first."""

    name: str
    needs: tuple[str, ...]  # keys in TOML besides those of every claim
    measures: tuple[str, ...]  # names from `reports.measures`
    rule: str  # how it is judged, for the claim's page
    # Names of the parts, and what computes them from the scores of each side, and from resamples of those.
    statistic: Callable[[Claim, Sequence[Scores]], tuple[list[str], Statistic]]
    decides: Callable[[Claim, Parts], str]  # the part that stands for the claim
    verdict: Callable[[Claim, Parts], str]
    meanings: Mapping[str, str]  # verdict -> what it says; {claimed} is replaced
    written: Callable[[Claim, float | None], str]  # a value in the claim's unit
    claimed: Callable[[Claim], str]
    seen: Callable[[Seen], str]  # the estimate as a sentence
    contrast: Callable[[Claim, Scores | None, float | None], Contrast]  # from the deciding part's draws and estimate
    told: Callable[[Claim, float], str]  # 'a gain of 5 % from none': the smallest effect that can be told
    options: tuple[str, ...] = ()  # keys in TOML that may be left out
    marks: Callable[[Claim], list[tuple[str, float]]] = lambda claim: []  # what an estimate is held against
    goal: Callable[[Claim], str] = lambda claim: "telling what is seen from none"  # what `Power.needed` seeds do
    band: Callable[[Claim], tuple[float, float] | None] = lambda claim: None  # values that count as the claimed one
    scale: Scale = LINEAR  # of intervals and power; effects that multiply take a logarithm
    is_timed: bool = False  # judged on any games and budget, on one kind of hardware
    chances: tuple[str, ...] = ()  # parts that are probabilities, whatever the claim's unit
    part_titles: Mapping[str, str] = field(default_factory=dict)  # where a part's name is no title

    @property
    def is_ratio(self) -> bool:
        """Whether its effects multiply."""
        return self.scale is not LINEAR
