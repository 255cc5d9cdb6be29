"""Takes a bundle apart in a temporary place, and says of each of its runs whether it can be taken, and why not.

Nothing of the results folder is touched here. In order: the archive's bounds and `submission.json` (of the whole
bundle); then, run by run, the checksums of its files, `suite.submission_rules`, whether it is here already or a copy,
and last the games: some are played again. Which ones follows from the bundle's hash.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TextIO

from results.actions import read_log
from results.archive import elsewhere, is_present, unpack
from results.credits import Credits, identity, read_credits
from results.errors import ResultsError
from results.hashing import file_sha256, sha256_hex
from results.schema import RunSpec
from results.store import BrokenRun, Run, open_run, read_episodes, scan
from results.submissions import SUBMISSION_FILE, Submission, is_extra_member, place_of, read_submission
from suite.proof import Replayed, choose, replay
from suite.replay_progress import ReplayProgress
from suite.submission_rules import RULES, first_problems

_MOST_ENVIRONMENTS = 64  # played again of a run unless all are: a run whose games never end would cost its whole time
CHECKS = ("files", *(name for name, _ in RULES), "new", "games")


@dataclass(frozen=True)
class Sample:
    """How much is played again."""

    games: int | None  # of each run, at least; None for all
    salt: str = ""  # of the draw, beside the bundle's hash: what the submitter could not know
    threads: int = 1  # of the emulator


@dataclass
class Verdict:
    """What came of one run."""

    place: str  # in the bundle, and below the results folder
    run: Run | None = None  # None if its manifest cannot be used
    passed: list[str] = field(default_factory=list)  # of CHECKS
    problems: list[str] = field(default_factory=list)
    is_here: bool = False  # taken in before, of this very bundle
    replayed: Replayed | None = None

    @property
    def word(self) -> str:
        """'sound', 'refused' or 'here already'."""
        return "refused" if self.problems else "here already" if self.is_here else "sound"

    @property
    def title(self) -> str:
        return self.place if self.run is None else str(self.run.spec)


@dataclass(frozen=True)
class Examined:
    """A bundle whose `submission.json` is in order, and the verdict on each of its runs."""

    file: str
    sha256: str
    submission: Submission
    sample: Sample
    verdicts: tuple[Verdict, ...]

    @property
    def refused(self) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.problems]

    @property
    def new(self) -> list[Verdict]:
        """What can land."""
        return [verdict for verdict in self.verdicts if not verdict.problems and not verdict.is_here]


def examine(file: Path, staging: Path, results: Path, sample: Sample, stream: TextIO) -> Examined:
    """Unpacks `file` below the empty folder `staging` and checks it against what the folder `results` has.

    Args:
        stream: where progress goes.
    Raises:
        ResultsError: the archive or its `submission.json` cannot be used at all, or the results folder cannot be read.
    """
    here, credits = scan(results), read_credits(results)
    if credits.broken:
        raise ResultsError(f"{credits.broken[0][1]}; without it nobody can tell whose runs are here")
    names = unpack(file, staging, also=is_extra_member)
    if PurePosixPath(SUBMISSION_FILE) not in names:
        raise ResultsError(f"{file}: has no {SUBMISSION_FILE}; make one with: python -m suite export --submission")
    submission = read_submission(staging / SUBMISSION_FILE, f"{file}: {SUBMISSION_FILE}")
    members = {str(name) for name in names} - {SUBMISSION_FILE}
    names_of: dict[str, list[str]] = defaultdict(list)
    for name in sorted(members | submission.files.keys()):
        names_of[place_of(name)].append(name)
    if not names_of:
        raise ResultsError(f"{file}: holds no runs")
    sha256 = file_sha256(file)
    verdicts = [Verdict(place) for place in sorted(names_of)]
    for verdict in verdicts:
        _check_files(verdict, names_of[verdict.place], staging, members, submission)
        _check_rules(verdict, staging)
    owners = _owners([*(run for run in here if isinstance(run, Run)), *(v.run for v in verdicts if v.run)])
    for verdict in verdicts:
        _check_new(verdict, results, owners, credits, sha256)
    _check_games([v for v in verdicts if not v.problems and not v.is_here], sha256, sample, stream)
    return Examined(str(file), sha256, submission, sample, tuple(verdicts))


def _owners(runs: Iterable[Run]) -> dict[str, set[RunSpec]]:
    """Digest of a whole action log, or of a table of games -> the runs that have it."""
    owners: dict[str, set[RunSpec]] = defaultdict(set)
    for run in runs:
        for digest in identity(run).values():
            if digest is not None:
                owners[digest].add(run.spec)
    return owners


def _check_files(
    verdict: Verdict, names: Sequence[str], staging: Path, members: set[str], submission: Submission
) -> None:
    """The files of a run are those that `submission.json` lists, and have the checksums that it says."""
    for name in names:
        if name not in members:
            verdict.problems.append(f"{name}: {SUBMISSION_FILE} lists it, and it is not in the bundle")
        elif name not in submission.files:
            verdict.problems.append(f"{name}: {SUBMISSION_FILE} does not list it")
        elif sha256_hex((staging / name).read_bytes()) != submission.files[name]:
            verdict.problems.append(f"{name}: its SHA-256 is not the one that {SUBMISSION_FILE} says")
    if not verdict.problems:
        verdict.passed.append("files")


def _check_rules(verdict: Verdict, staging: Path) -> None:
    if verdict.problems:
        return
    found = open_run(staging / verdict.place)
    if isinstance(found, BrokenRun):
        verdict.problems.append(found.reason.replace(f"{staging}/", ""))
        return
    if str(found.spec.directory) != verdict.place:
        verdict.problems.append(f"{verdict.place}: {elsewhere(found)}")
        return
    verdict.run = found
    broken = first_problems(found)
    order = [name for name, _ in RULES]
    verdict.passed += order if broken is None else order[: order.index(broken[0])]
    if broken is not None:
        verdict.problems += [problem.replace(f"{staging}/", "") for problem in broken[1]]


def _check_new(
    verdict: Verdict, results: Path, owners: dict[str, set[RunSpec]], credits: Credits, bundle_sha256: str
) -> None:
    """A run is new unless this very bundle brought it; two runs never have the same actions or games throughout."""
    if verdict.problems:
        return
    run = verdict.run
    assert run is not None
    played, games = (owners[str(digest)] - {run.spec} for digest in identity(run).values())
    try:
        verdict.is_here = is_present(run, results)
    except ResultsError as error:
        verdict.problems.append(str(error).partition("; ")[0].replace("the archive's ", ""))
        return
    if verdict.is_here:
        credit = credits.of(run)
        if credit is None or credit.bundle_sha256 != bundle_sha256:
            whose = "as one of this project's own" if credit is None else f"sent in by {credit.name} ({credit.link})"
            verdict.problems.append(f"is here already, {whose}; to check a bundle alone, give an empty --results")
            return
    elif played:  # of two in one bundle, nobody can say which is the copy
        verdict.problems.append(f"its actions are those of {min(played)} to the last one: one of them is a copy")
        return
    elif games and _tells_runs_apart(run):  # some actions change nothing: in a copy they could be others
        verdict.problems.append(f"its games are those of {min(games)} to the last one: one of them is a copy")
        return
    verdict.passed.append("new")


def _tells_runs_apart(run: Run) -> bool:
    """Whether no other run has the games of this one by chance: two that never score may, where games last equally."""
    return read_episodes(run.directory)["episode_return"].nunique() > 1


def _check_games(verdicts: Sequence[Verdict], sha256: str, sample: Sample, stream: TextIO) -> None:
    seed = int(sha256_hex(f"{sha256} {sample.salt}".encode())[:7], 16)
    drawn: list[tuple[Verdict, Run, int | None]] = []
    for verdict in verdicts:
        assert verdict.run is not None
        count = None if sample.games is None else _environments_for(verdict.run, sample.games, seed)
        drawn.append((verdict, verdict.run, count))
    most = None if sample.games is None else max((count or 0 for *_, count in drawn), default=0)
    with ReplayProgress(stream, [run for _, run, _ in drawn], sample=most) as progress:
        for verdict, run, count in drawn:
            outcome = replay(
                run, sample=None if count is None else (count, seed), threads=sample.threads, tick=progress.tick
            )
            progress.finished(outcome)
            verdict.replayed = outcome
            verdict.problems += outcome.problems
            if not outcome.problems:
                verdict.passed.append("games")


def _environments_for(run: Run, games: int, seed: int) -> int:
    """How many environments must be drawn to have that many games, or every game that is kept."""
    log = read_log(run)
    assert log is not None
    table = read_episodes(run.directory)
    per_environment = table.groupby(["kind", "environment"], observed=True).size().to_dict()
    most = min(len(log.kept), _MOST_ENVIRONMENTS)
    for count in range(1, most):
        chosen = choose(run, log.kept, count=count, seed=seed)
        if sum(per_environment.get(environment, 0) for environment in chosen) >= games:
            return count
    return most
