"""Verdicts and what they rest on in words; the same on every page, in the terminal and in Markdown."""

from __future__ import annotations

from itertools import pairwise

from reports.catalogue import Catalogue
from reports.judging.claims import MINIMUM_SEEDS, Claim, Seen
from reports.judging.judge import MOST_FURTHER_SEEDS, Judgement
from reports.judging.leaderboard import SET_TITLES, games_title
from reports.judging.missing import Missing, observations_of
from reports.judging.sides import Basis, is_too_coarse
from reports.judging.verdicts import INCONCLUSIVE, INSUFFICIENT, NOT_COMPARABLE
from reports.numerals import NBSP, between, counted, duration, frames, listed, number, seeds_text
from reports.statistics.bootstrap import Interval
from reports.statistics.power import Seeds


def interval_text(judgement: Judgement) -> str:
    """'95 % interval 12 % to 30 %', or why there is none."""
    interval = judgement.interval
    if interval.low is None and interval.high is None:
        return f"no interval: {interval.reason}" if interval.reason else "no interval"
    return f"95{NBSP}% interval {between(interval.low, interval.high, judgement.claim.written)}"


def standing_of_estimate(judgement: Judgement) -> str:
    """Whose figures an estimate is made of, for beside it: 'measured', 'preliminary, partly imported', ..."""
    external = judgement.external_sides
    sides = judgement.basis.sides if judgement.basis else ()
    source = "" if not external else "imported" if len(external) == len(sides) else "partly imported"
    if judgement.is_preliminary:
        return f"preliminary, {source}" if source else "preliminary"
    return source or "measured"


def conditions(judgement: Judgement) -> str:
    """The games and budget a claim is about: 'Atari-57, 200M frames'."""
    claim = judgement.claim
    if claim.kind.is_timed:
        return f"any games and budget, {timed_on(judgement)}"
    return f"{games_title(claim.games)}, {frames(claim.frames)} frames"


def timed_on(judgement: Judgement) -> str:
    """Where both sides of a claim about time must have run."""
    return {"": "the same hardware", "cpu": "the same CPU", "gpu": "the same GPU"}[judgement.claim.on]


_DEVICES = {
    frozenset({True}): "on a GPU",
    frozenset({False}): "on a CPU",
    frozenset({True, False}): "on GPUs and CPUs",
}


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
    where = f"{timed_runs(basis)}, on {basis.hardware}" if basis.hardware else f"at {frames(basis.frames)} frames"
    seeds = (
        f"{seeds_text(basis.seeds)} a game and side" if len(basis.sides) > 1 else f"{seeds_text(basis.seeds)} a game"
    )
    return f"{what}, {where}, {seeds}"


def caveat(judgement: Judgement) -> str:
    """Why no verdict could rest on these runs, however many there were; "" where one could."""
    basis, claim = judgement.basis, judgement.claim
    if basis is None:
        return ""
    if basis.has_off_protocol:
        return "on runs off the protocol"
    used = [entry for side in basis.sides for game in basis.games for entry in side.entries[game]]
    coarse = [entry.run.observations for entry in used if entry.run and is_too_coarse(entry, claim)]
    return f"with ranks over {min(coarse):,} observations, and not {claim.observations:,}" if coarse else ""


def timed_runs(basis: Basis) -> str:
    """Of what budgets the runs of a claim about time are: 'in runs of 200k frames'."""
    budgets = sorted({e.frames for side in basis.sides for game in basis.games for e in side.entries[game]})
    return f"in runs of {listed([frames(budget) for budget in budgets])} frames"


def devices(judgement: Judgement, catalogue: Catalogue) -> str:
    """Says that the sides trained on unlike devices; '' where they did not, or where times are compared on one."""
    basis = judgement.basis
    if basis is None or judgement.claim.kind.is_timed:
        return ""
    trained = {
        catalogue.title(side.baseline): frozenset(
            entry.run.is_on_gpu for game in basis.games for entry in side.entries[game] if entry.run
        )
        for side in basis.sides
    }
    known = {title: on for title, on in trained.items() if on}  # imported scores do not say
    if len(set(known.values())) < 2:
        return ""
    told = listed([f"{title} trained {_DEVICES[on]}" for title, on in known.items()])
    return f"{told}. The rules are the same, the rounding is not: what the devices add to a difference is not known."


def what_was_seen(judgement: Judgement, catalogue: Catalogue) -> str:
    """The estimate as a sentence."""
    claim, basis = judgement.claim, judgement.basis
    if basis is None or judgement.estimate is None:
        return ""
    title = catalogue.title(claim.baseline)
    other = catalogue.title(claim.reference) if claim.reference else ""
    value = judgement.interval.estimate
    if value is None:
        where = ", ".join(filter(None, (rests_on(judgement), caveat(judgement))))
        return f"There is no estimate from {where}, for {judgement.interval.reason}."
    ends = interval_text(judgement)
    if claim.kind.is_timed and not judgement.is_preliminary:  # what a preliminary one rests on stands beside it
        ends += f"; {timed_runs(basis)}"
    part = part_title(claim, judgement.estimate.main, catalogue)
    return claim.kind.seen(Seen(claim, value, ends, part, basis.frames, title, other))


def part_title(claim: Claim, name: str, catalogue: Catalogue) -> str:
    """What a part of an estimate is called; what is taken out, by the title of the baseline without it."""
    drops = {f"drop of {piece}": f"drop {_piece(claim, piece, catalogue)}" for piece in claim.without}
    steps = {
        f"{first} before {second}": f"drop {_piece(claim, first, catalogue)} less that "
        f"{_piece(claim, second, catalogue)}"
        for first, second in pairwise(claim.without)
    }
    return {**claim.kind.part_titles, **drops, **steps}.get(name, name)


def _piece(claim: Claim, baseline: str, catalogue: Catalogue) -> str:
    """'without max-pooling', of 'Hadamax-PQN without max-pooling' beside 'Hadamax-PQN'."""
    title, whole = (catalogue.title(name).removesuffix(" (bf16)") for name in (baseline, claim.baseline))
    short = title.removeprefix(whole).lstrip(", ")
    return short if short and short != title else f"with {title}"


def sentence(judgement: Judgement, catalogue: Catalogue) -> str:
    """What the verdict says, in plain words, with its figures."""
    seen = what_was_seen(judgement, catalogue)
    external = [catalogue.title(name) for name in judgement.external_sides]
    origin = f" Rests on imported scores of {listed(external)}." if external else ""
    origin += _gave_way(judgement, catalogue)
    if not judgement.is_preliminary:
        if judgement.interval.estimate is None:
            return f"{seen} The claim cannot be judged on these runs.{origin}"
        meaning = judgement.claim.kind.meanings[judgement.verdict].format(claimed=judgement.claim.claimed_text)
        if judgement.verdict == INCONCLUSIVE and judgement.interval.low is judgement.interval.high is None:
            meaning = "Without an interval nothing can be told from it."
        return f"{seen} {meaning}{origin}"
    if judgement.verdict == NOT_COMPARABLE:
        names = listed([catalogue.title(name) for name in judgement.not_comparable])
        why = f"What there is of {names} at the claimed budget has another configuration or protocol and is not used."
    else:
        why = lacks(judgement, catalogue)
    if not seen:
        return f"{why} There is nothing to estimate from yet.{origin}"
    if judgement.interval.estimate is None:
        return f"{why} {seen}{origin}"
    label = f"{why_none}, " if (why_none := caveat(judgement)) else ""
    return f"{why} Preliminary, {label}from {rests_on(judgement)}: {seen}{origin}"


def _gave_way(judgement: Judgement, catalogue: Catalogue) -> str:
    """Which imported scores stand aside for measured runs, in a sentence; '' without any."""
    sides = judgement.full_sides if judgement.is_preliminary else judgement.basis.sides if judgement.basis else ()
    said = [
        f"{counted(side.displaced, 'imported score')} of {catalogue.title(side.baseline)} "
        f"{'gives' if side.displaced == 1 else 'give'} way to "
        f"{counted(sum(map(len, side.entries.values())), 'measured run')}"
        for side in sides
        if side.displaced
    ]
    return f" {listed(said)}: imported scores stand in only where nothing was measured." if said else ""


def lacks(judgement: Judgement, catalogue: Catalogue) -> str:
    """Why a claim is not judged yet, in a sentence or two."""
    assert judgement.verdict == INSUFFICIENT
    missing = judgement.missing
    parts = []
    if missing.has_coarse:
        return (
            f"The claim needs ranks over {judgement.claim.observations:,} observations. Runs of this budget take them "
            f"over {observations_of(judgement.claim.frames):,}, and no rank is above that number: a difference "
            "shrinks, and none of these runs settles the claim."
        )
    if missing.unanswered:
        return f"The claim cannot be answered at its budget: {missing.unanswered}."
    if missing.unpinned:
        needs = listed(list(missing.unpinned))
        parts.append(f"The suite does not have {needs} yet.")
    if missing.runs:
        total = len(judgement.claim.sides) * len(judgement.claim.games) * MINIMUM_SEEDS
        have = total - len(missing.runs) - MINIMUM_SEEDS * len(judgement.claim.games) * len(missing.unpinned)
        if judgement.claim.kind.is_timed:
            parts.append(f"Needs {MINIMUM_SEEDS} seeds of both sides, timed on {timed_on(judgement)} with like paths.")
            untimed = sum(len(side.set_aside) for side in judgement.full_sides)
            if untimed:
                parts.append(f"Of {counted(untimed, 'run')} the time is not known well enough to compare it.")
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
        return f"{runs}; how long they take is not known, for no run of these baselines was timed well enough yet."
    in_turn = " one after the other" if len(missing.runs) > 1 else ""
    time = f"about {duration(cost.seconds)}{in_turn}, as measured on {cost.hardware}"
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
    what = claim.kind.told(claim, power.smallest)
    text = f"The runs at hand could tell {what} (in 80{NBSP}% of experiments)."
    if power.needed is None:
        return f"{text} How many seeds would tell more is not known: {power.reason}." if power.reason else text
    goal = claim.kind.goal(claim)
    text += f" By the spread {_seen_where(judgement)}, {goal} takes {_seeds_needed(power.needed)}."
    if power.confirming is not None:
        text += f' Telling it from half of that, as "reproduced" asks, takes {_seeds_needed(power.confirming)}.'
    return text


def _seen_where(judgement: Judgement) -> str:
    """Of what runs a spread over seeds is known: all of the claim's games, or some."""
    basis, claim = judgement.basis, judgement.claim
    if basis is None or claim.kind.is_timed or len(basis.games) == len(claim.games):
        return "seen so far"
    return f"of the seeds of {len(basis.games)} of the {len(claim.games)} games, the only ones played by every side"


def further_text(judgement: Judgement, catalogue: Catalogue) -> str:
    """What more seeds an open verdict asks for, and what they cost; "" where it asks for none."""
    wanted, further = judgement.wanted_seeds, judgement.further
    if wanted is None or further is None:
        return ""
    return f"For {counted(wanted.likely, 'seed')} of every game and side: {cost_text(further, catalogue)}"


def more_seeds(judgement: Judgement, catalogue: Catalogue) -> str:
    """What an open verdict asks for: so many seeds, and what they cost, or why nobody is asked; "" where it is none."""
    wanted = judgement.wanted_seeds
    if wanted is None:
        return ""
    if judgement.further is None:
        return f"It takes {_seeds_needed(wanted)}: more than this suite asks for." if is_too_many(wanted) else ""
    return f"{further_text(judgement, catalogue)} Make all of them, and look then."


def is_too_many(wanted: Seeds) -> bool:
    """Whether an open verdict takes more seeds than anybody is asked for."""
    return wanted.likely > MOST_FURTHER_SEEDS


def _seeds_needed(seeds: Seeds) -> str:
    if seeds.high <= MINIMUM_SEEDS:
        return f"no more than the {MINIMUM_SEEDS} seeds a game and side that a verdict needs"
    return f"about {counted(seeds.likely, 'seed')} a game and side (likely {seeds.low:,} to {seeds.high:,})"


def metric_text(interval: Interval) -> str:
    """'1.20 [0.93, 1.48]' for tables in plain text."""
    if interval.estimate is None:
        return number(None)
    if not interval.is_complete:
        return number(interval.estimate)
    return f"{number(interval.estimate)} [{number(interval.low)}, {number(interval.high)}]"
