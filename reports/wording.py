"""Verdicts and what they rest on in words; the same on every page, in the terminal and in Markdown."""

from __future__ import annotations

from reports.catalogue import Catalogue
from reports.judging.claims import MINIMUM_SEEDS
from reports.judging.judge import Judgement
from reports.judging.leaderboard import SET_TITLES, games_title
from reports.judging.missing import Missing
from reports.judging.verdicts import INCONCLUSIVE, INSUFFICIENT, NOT_COMPARABLE, NOT_REPRODUCED, REPRODUCED, SMALLER
from reports.measures import LAYER_MEASURES, MEASURE_TITLES
from reports.numerals import NBSP, between, counted, duration, frames, listed, number, percent, seeds_text, signed
from reports.statistics.bootstrap import Interval


def effect(judgement: Judgement, value: float | None) -> str:
    """The claim's estimate or an end of its interval, in the unit of its kind."""
    kind, measure = judgement.claim.kind, judgement.claim.measure
    if kind in ("gain", "reaches"):
        return percent(value, signed=True)
    if kind == "ratio":
        return number(value) + "\N{MULTIPLICATION SIGN}"
    if measure == "dead_fraction":
        return percent(value, digits=1 if value is None or abs(value) >= 0.01 else 2, signed=kind == "higher")
    return signed(value, 1 if measure in LAYER_MEASURES else 2) if kind == "higher" else number(value)


def claimed(judgement: Judgement) -> str:
    """What the claim says, in short."""
    claim = judgement.claim
    if claim.kind == "gain":
        return percent(claim.claimed, signed=True)
    if claim.kind == "reaches":
        return "level or above"
    if claim.kind == "below":
        is_whole = claim.claimed is not None and abs(100 * claim.claimed - round(100 * claim.claimed)) < 1e-9
        is_share = claim.measure == "dead_fraction"
        return f"under {percent(claim.claimed) if is_share and is_whole else effect(judgement, claim.claimed)}"
    if claim.kind == "ratio":
        return f"about {effect(judgement, claim.claimed)}"
    return "above" if claim.kind == "higher" else "in this order"


def interval_text(judgement: Judgement) -> str:
    """'95 % interval 12 % to 30 %', or why there is none."""
    interval = judgement.interval
    if interval.low is None and interval.high is None:
        return f"no interval: {interval.reason}" if interval.reason else "no interval"
    return f"95{NBSP}% interval {between(interval.low, interval.high, lambda v: effect(judgement, v))}"


def conditions(judgement: Judgement) -> str:
    """The games and budget a claim is about: 'Atari-57, 200M frames'."""
    claim = judgement.claim
    if claim.kind == "ratio":
        return "any games and budget, the same hardware"
    return f"{games_title(claim.games)}, {frames(claim.frames)} frames"


def rests_on(judgement: Judgement) -> str:
    """What an estimate rests on, in words; '' without one."""
    basis = judgement.basis
    if basis is None:
        return ""
    games = games_title(basis.games)
    what = (
        games
        if games in SET_TITLES.values() or len(basis.games) > 3
        else f"{counted(len(basis.games), 'game')} ({games})"
    )
    where = f"on {basis.hardware}" if basis.hardware else f"at {frames(basis.frames)} frames"
    seeds = (
        f"{seeds_text(basis.seeds)} a game and side" if len(basis.sides) > 1 else f"{seeds_text(basis.seeds)} a game"
    )
    return f"{what}, {where}, {seeds}"


def what_was_seen(judgement: Judgement, catalogue: Catalogue) -> str:
    """The estimate as a sentence."""
    claim, basis = judgement.claim, judgement.basis
    if basis is None or judgement.estimate is None:
        return ""
    title = catalogue.title(claim.baseline)
    other = catalogue.title(claim.reference) if claim.reference else ""
    value, ends = effect(judgement, judgement.interval.estimate), interval_text(judgement)
    measure = MEASURE_TITLES[claim.measure]
    if judgement.interval.estimate is None:
        return f"{other or title}: {judgement.interval.reason}."
    if claim.kind in ("gain", "reaches"):
        gain = judgement.interval.estimate
        versus = f"is {percent(abs(gain))} {'above' if gain >= 0 else 'below'} {other}'s"
        if claim.at_frames is None:
            return f"{title}'s {measure} {versus} ({ends})."
        moment = frames(basis.frames * claim.at_frames / claim.frames)
        return f"{title}'s {measure} at {moment} of {frames(basis.frames)} frames {versus} at the end ({ends})."
    if claim.kind == "higher":
        where = f" in {judgement.estimate.main}, the layer that decides," if len(claim.layers) > 1 else ""
        return f"{title}'s {measure}{where} differs from {other}'s by {value} ({ends})."
    if claim.kind == "below":
        over = "" if len(claim.layers) == 1 else f", averaged over {counted(len(claim.layers), 'layer')},"
        return f"{title}'s {measure}{over} is {value} ({ends})."
    if claim.kind == "ratio":
        return f"{title} takes {value} {other}'s {measure} ({ends})."
    return f"The closest neighbours in the order, {judgement.estimate.main}, differ by {value} ({ends})."


_MEANING = {
    ("gain", REPRODUCED): "A gain is certain, and the claimed {claimed} lies within the interval's reach.",
    ("gain", SMALLER): "A gain is certain, but even the interval's upper end stays below the claimed {claimed}.",
    ("gain", INCONCLUSIVE): "The interval holds both no gain and the claimed {claimed}: more seeds would tell.",
    ("gain", NOT_REPRODUCED): "No gain can be told, and the claimed {claimed} lies above the interval.",
    ("reaches", REPRODUCED): "The whole interval lies above level.",
    ("reaches", INCONCLUSIVE): "The interval holds level: more seeds would tell.",
    ("reaches", NOT_REPRODUCED): "The whole interval lies below level.",
    ("higher", REPRODUCED): "It is higher in every layer the claim names.",
    ("higher", INCONCLUSIVE): "In one of the layers the interval holds no difference.",
    ("higher", NOT_REPRODUCED): "In one of the layers it is certainly lower.",
    ("below", REPRODUCED): "The whole interval lies under the bound.",
    ("below", INCONCLUSIVE): "The interval holds the bound.",
    ("below", NOT_REPRODUCED): "The whole interval lies above the bound.",
    ("ratio", REPRODUCED): "The whole interval counts as {claimed}.",
    ("ratio", SMALLER): "The whole interval lies below: it costs less than claimed.",
    ("ratio", INCONCLUSIVE): "The interval reaches beyond what counts as {claimed}.",
    ("ratio", NOT_REPRODUCED): "The whole interval lies above: it costs more than claimed.",
    ("order", REPRODUCED): "Every neighbouring pair stands in the claimed order.",
    ("order", INCONCLUSIVE): "Of some neighbouring pair the order cannot be told.",
    ("order", NOT_REPRODUCED): "Some neighbouring pair stands the other way round.",
}


def sentence(judgement: Judgement, catalogue: Catalogue) -> str:
    """What the verdict says, in plain words, with its figures."""
    seen = what_was_seen(judgement, catalogue)
    external = [catalogue.title(name) for name in judgement.external_sides]
    origin = f" Rests on imported scores of {listed(external)}." if external else ""
    if not judgement.is_preliminary:
        if judgement.interval.estimate is None:
            return f"{seen} The claim cannot be judged on these runs.{origin}"
        meaning = _MEANING[judgement.claim.kind, judgement.verdict].format(claimed=claimed(judgement))
        return f"{seen} {meaning}{origin}"
    if judgement.verdict == NOT_COMPARABLE:
        names = listed([catalogue.title(name) for name in judgement.not_comparable])
        why = f"What there is of {names} at the claimed budget has another configuration or protocol and is not used."
    else:
        why = lacks(judgement, catalogue)
    if not seen:
        return f"{why} There is nothing to estimate from yet."
    label = "on runs off the protocol, " if judgement.basis and judgement.basis.has_off_protocol else ""
    return f"{why} Preliminary, {label}from {rests_on(judgement)}: {seen}{origin}"


def lacks(judgement: Judgement, catalogue: Catalogue) -> str:
    """Why a claim is not judged yet, in a sentence or two."""
    assert judgement.verdict == INSUFFICIENT
    missing = judgement.missing
    parts = []
    if missing.unpinned:
        needs = listed(list(missing.unpinned))
        parts.append(f"The suite does not have {needs} yet.")
    if missing.runs:
        total = len(judgement.claim.sides) * len(judgement.claim.games) * MINIMUM_SEEDS
        have = total - len(missing.runs) - MINIMUM_SEEDS * len(judgement.claim.games) * len(missing.unpinned)
        if judgement.claim.kind == "ratio":
            parts.append(f"Needs {MINIMUM_SEEDS} seeds of both sides on the same hardware.")
        else:
            parts.append(
                f"Needs {MINIMUM_SEEDS} seeds of each game on every side ({conditions(judgement)}): "
                f"{have} of {counted(total, 'run')} are there."
            )
    return " ".join(parts)


def cost_text(missing: Missing, catalogue: Catalogue) -> str:
    """How many runs are missing, how long they take, and where that comes from."""
    if not missing.runs:
        return ""
    runs, cost = counted(len(missing.runs), "run"), missing.cost
    if cost is None:
        return f"{runs}; how long they take is not known, for none of these baselines was measured yet."
    time = f"about {duration(cost.seconds)} one after the other, at the speed measured on {cost.hardware}"
    if not cost.unknown:
        return f"{runs}, {time}."
    known = sorted({run.baseline for run in missing.runs} - set(cost.unknown))
    unknown = listed([catalogue.title(name) for name in cost.unknown])
    return (
        f"{runs}. Those of {listed([catalogue.title(name) for name in known])} take {time}; "
        f"{unknown} {'was' if len(cost.unknown) == 1 else 'were'} not measured there yet."
    )


def power_text(judgement: Judgement) -> str:
    """What the runs at hand could tell, and what it would take."""
    power, claim = judgement.power, judgement.claim
    if power.smallest is None:
        return f"What these runs could tell is not known: {power.reason}."
    small = percent(power.smallest, digits=0 if power.smallest >= 0.1 else 1)
    what = {
        "gain": f"a gain of {small}",
        "reaches": f"a lead of {small}",
        "ratio": f"a difference of {small}",
        "below": f"a distance of {effect(judgement, power.smallest)} from the bound",
    }.get(claim.kind, f"a difference of {effect(judgement, power.smallest).lstrip('+')}")
    text = f"The runs at hand could tell {what} from none (in 80{NBSP}% of experiments)."
    if power.seeds_needed is None:
        return text
    goal = {"gain": f"the claimed {claimed(judgement)}", "ratio": "the claimed ratio"}.get(claim.kind, "what is seen")
    if power.seeds_needed <= MINIMUM_SEEDS:
        enough = f"the {MINIMUM_SEEDS} seeds that a verdict needs"
        return f"{text} By the spread seen so far, {enough} can tell {goal} from none."
    needed = counted(power.seeds_needed, "seed")
    return f"{text} By the spread seen so far, telling {goal} from none takes about {needed} a game and side."


def metric_text(interval: Interval, digits: int = 2) -> str:
    """'1.20 [0.93, 1.48]' for tables in plain text."""
    if interval.estimate is None:
        return number(None)
    if not interval.is_complete:
        return number(interval.estimate, digits)
    return f"{number(interval.estimate, digits)} [{number(interval.low, digits)}, {number(interval.high, digits)}]"
