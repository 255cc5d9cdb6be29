"""A claim's page: the verdict, the evidence game by game, what is missing, and what these runs could tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from markupsafe import Markup

from reports import numerals, wording
from reports.judging.claims import SUITE, Claim
from reports.judging.judge import Judgement
from reports.judging.score_kinds import LEAST_REFERENCE
from reports.judging.sides import Basis, value_of
from reports.measures import LAYER_MEASURES, MEASURE_TITLES, SCORE_MEASURES, TIME_MEASURE
from reports.pages.card import card
from reports.pages.charts import Bar, interval_chart, mini_pair
from reports.pages.lead import gain_figure, progress
from reports.pages.palette import colour, layer_colour
from reports.pages.rank import rank_figure
from reports.pages.site import Site
from reports.statistics.bootstrap import SAME_DRAWS, Interval
from reports.summary import Report


def claim_page(judgement: Judgement, report: Report, site: Site) -> dict[str, Any]:
    """Everything that a claim's page shows."""
    claim, basis = judgement.claim, judgement.basis
    return {
        "card": card(judgement, report),
        "title": claim.title,
        "claimed": claim.claimed_text,
        "rule": claim.kind.rule,
        "letters": _letters(claim, report),
        "nearest": _nearest(judgement, report),
        "figure": _figure(judgement, report, site),
        "why_nothing": judgement.interval.reason,
        "sample": gain_figure(judgement, report, site, f"gain-{claim.id}"),
        "progress": progress(judgement),
        "sides": [_side(judgement, index, report) for index in range(len(basis.sides))] if basis else [],
        "basis": None
        if basis is None
        else {
            "frames": basis.frames,
            "caveat": wording.caveat(judgement),
            "hardware": basis.hardware,
            "timed_runs": wording.timed_runs(basis) if basis.hardware else "",
            "unequal": basis.seeds[0] != basis.seeds[1],
            "rests_on": wording.rests_on(judgement),
        },
        "games": _games(judgement, report, site),
        "missing": {
            "runs": len(judgement.missing.runs),
            "unpinned": list(judgement.missing.unpinned),
            "command": judgement.missing.command,
            "next_command": judgement.missing.next_command,
            "has_coarse": judgement.missing.has_coarse,
            "unanswered": judgement.missing.unanswered,
            "commands": list(judgement.missing.commands),
            "cost": wording.cost_text(judgement.missing, report.catalogue),
        },
        "further": None
        if judgement.further is None
        else {
            "text": wording.further_text(judgement, report.catalogue),
            "command": judgement.further.command,
            "commands": list(judgement.further.commands),
        },
        "power": wording.power_text(judgement),
        "set_aside": [
            {"run": str(entry), "standing": entry.standing, "reason": entry.reason} for entry in judgement.set_aside
        ],
        "is_question": claim.family == SUITE,
        "has_question_table": sum(j.claim.family == SUITE for j in report.judgements) > 1,
        "rank": rank_figure(judgement, report, site),
        "is_cpu_cost": basis is not None and "cores" in basis.hardware,
    }


def _letters(claim: Claim, report: Report) -> str:
    """What the rule calls A and B; "" for a claim without a second side."""
    if claim.reference is None:
        return ""
    return f"A is {report.catalogue.title(claim.baseline)}, B is {report.catalogue.title(claim.reference)}."


def _nearest(judgement: Judgement, report: Report) -> list[dict[str, str]]:
    """Where an open claim of the paper has evidence of another budget or precision: pages that have runs."""
    claim = judgement.claim
    if claim.family == SUITE or not judgement.is_preliminary:
        return []
    found = [
        {"title": other.claim.title, "href": f"{other.claim.id}.html"}
        for other in report.judgements
        if other.claim.family == SUITE and other.missing.there and _asks_the_same(claim, other.claim)
    ]
    played = {entry.baseline.removesuffix("-bf16") for entry in report.evidence.runs}
    is_told = claim.measure in LAYER_MEASURES or claim.kind.name == "order"
    if is_told and claim.baseline in played and len(played) > 1:
        found.append({"title": "Why it works: the parts of the encoder, one at a time", "href": "../why.html"})
    return found


def _asks_the_same(claim: Claim, other: Claim) -> bool:
    """Whether two claims compare the same baselines by a score, in whatever precision."""

    def names(of: Claim) -> list[str]:
        return [side.removesuffix("-bf16") for side in of.sides]

    return {claim.measure, other.measure} <= set(SCORE_MEASURES) and names(claim) == names(other)


def _figure(judgement: Judgement, report: Report, site: Site) -> dict[str, Any] | None:
    estimate, claim = judgement.estimate, judgement.claim
    parts = [] if estimate is None else [(n, i) for n, i in estimate.parts.items() if n not in claim.kind.chances]
    if estimate is None or all(interval.estimate is None for _, interval in parts):
        return None
    css, titles = colour(report, claim.baseline), claim.kind.part_titles
    bars = [
        Bar(
            wording.part_title(claim, name, report.catalogue),
            interval,
            layer_colour(claim.layers.index(name)) if name in claim.layers else css,
            is_main=name == estimate.main,
        )
        for name, interval in parts
    ]
    shade, marks = claim.kind.band(claim), claim.kind.marks(claim)
    label = f"{claim.title}: estimates with 95 % intervals"
    rows = [[titles.get(name, name), i.estimate, i.low, i.high] for name, i in estimate.parts.items()]
    return {
        "wide": Markup(interval_chart(bars, label=label, write=claim.written, marks=marks, shade=shade)),
        "narrow": Markup(interval_chart(bars, label=label, write=claim.written, marks=marks, size=360, shade=shade)),
        "rows": [
            {
                "title": wording.part_title(claim, name, report.catalogue),
                "is_main": name == estimate.main,
                "value": _written(judgement, name, i, i.estimate),
                "low": _written(judgement, name, i, i.low),
                "high": _written(judgement, name, i, i.high),
                "reason": i.reason,
            }
            for name, i in estimate.parts.items()
        ],
        "csv": site.csv(f"claim-{claim.id}", ("part", "estimate", "ci_low", "ci_high"), rows),
    }


def _written(judgement: Judgement, name: str, interval: Interval, value: float | None) -> str:
    if name in judgement.claim.kind.chances:  # of one or two seeds it would be 0 or 100 %
        return numerals.percent(value if interval.is_complete or interval.reason == SAME_DRAWS else None)
    return judgement.claim.written(value)


def _side(judgement: Judgement, index: int, report: Report) -> dict[str, Any]:
    basis = judgement.basis
    assert basis is not None
    side = basis.sides[index]
    used = [entry for game in basis.games for entry in side.entries[game]]
    runs = [entry.run for entry in used if entry.run]
    return {
        "title": report.catalogue.title(side.baseline),
        "name": side.baseline,
        "has_page": report.catalogue.find(side.baseline) is not None,
        "css": colour(report, side.baseline),
        "source": side.source,
        "games": len(basis.games),
        "seeds": numerals.seeds_text(side.seeds(basis.games)),
        "runs": len(used),
        "devices": _counted(f"on {run.device}" for run in runs),
        "proofs": _counted(run.proof.partition(" (")[0] for run in runs),  # of how many games: on the run's page
        "origins": sorted(
            {entry.origin for entry in used if entry.origin}
            | {f"some runs by {run.credit.name}" for run in runs if run.credit}
        ),
    }


def _counted(words: Iterable[str]) -> list[str]:
    """How often each is there: "2 on its word"."""
    return [f"{count} {word}" for word, count in sorted(Counter(words).items())]


def _games(judgement: Judgement, report: Report, site: Site) -> dict[str, Any] | None:
    """Game by game: each side's mean of what the claim measures."""
    basis, claim = judgement.basis, judgement.claim
    if basis is None:
        return None
    means = [[_mean(basis, index, game, judgement) for game in basis.games] for index in range(len(basis.sides))]
    every = [value for column in means for value in column]
    span = (min(every, default=0.0), max(every, default=0.0))
    rows = []
    for place, game in enumerate(basis.games):
        values = [column[place] for column in means]
        chart: str | Markup = ""
        if len(values) == 2:
            css = [colour(report, side.baseline) for side in basis.sides]
            chart = Markup(mini_pair(values[0], values[1], span, css[0], css[1]))
        rows.append(
            {
                "game": game,
                "values": [_unit(judgement, value) for value in values],
                "seeds": [len(side.entries[game]) for side in basis.sides],
                "change": numerals.percent(values[0] / values[1] - 1, signed=True)
                if len(values) == 2 and values[1] > (LEAST_REFERENCE if claim.measure in SCORE_MEASURES else 0)
                else numerals.number(None),
                "chart": chart,
            }
        )
    has_gaps = any(row["change"] == numerals.number(None) for row in rows)
    names = [side.baseline for side in basis.sides]
    csv = site.csv(
        f"claim-{claim.id}-games",
        ("game", *names, *(f"seeds {name}" for name in names)),
        [[row["game"], *(column[place] for column in means), *row["seeds"]] for place, row in enumerate(rows)],
    )
    return {
        "what": "human-normalised score" if claim.measure in SCORE_MEASURES else MEASURE_TITLES[claim.measure],
        "sides": [report.catalogue.title(name) for name in names],
        "rows": rows,
        "csv": csv,
        "is_pair": len(names) == 2,
        "least": LEAST_REFERENCE if has_gaps and claim.measure in SCORE_MEASURES else None,
    }


def _mean(basis: Basis, index: int, game: str, judgement: Judgement) -> float:
    """Mean over runs, and over layers where there are some."""
    values = [value_of(entry, judgement.claim) for entry in basis.sides[index].entries[game]]
    return float(np.mean(np.array(values, dtype=np.float64)))


def _unit(judgement: Judgement, value: float) -> str:
    claim = judgement.claim
    if claim.measure == TIME_MEASURE:
        return f"{numerals.score(1000 * value)} ms"
    if claim.measure == "dead_fraction":
        return numerals.percent(value, digits=1)
    return numerals.number(value, 2 if claim.measure in SCORE_MEASURES else 1)
