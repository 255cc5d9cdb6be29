"""Proof of play: fresh emulators are stepped through a run's actions, and its games are scored anew.

Environments know nothing of one another, so a sample of them costs its share of the whole. What agrees is proven of
the games: these actions, in this emulator, from the seeds that belong to the run, earn these returns at these frames.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import suite
from baselines.agent import FinishedGame
from baselines.config import ConfigError
from baselines.emulator.envs import FRAME_SKIP, AtariEnvironments, rom_sha256
from baselines.emulator.scorekeeper import GameTracker
from baselines.registry import scaled_settings
from baselines.seeding import Streams
from results.actions import PackedLog, read_log
from results.errors import ResultsError
from results.games import GAMES
from results.hashing import sha256_hex
from results.proofs import Proof, read_proofs, write_proofs
from results.schema import EPISODE_KINDS, EPISODES_FILE
from results.store import Run, read_episodes
from suite.protocol import Protocol, load_protocol

Environment = tuple[str, int]  # kind, index among the environments of its kind
Tick = Callable[[int], None]  # takes agent steps done since the last one

_STEPS_BETWEEN_TICKS = 64
_NAMED = 3  # games that are named of an environment whose games differ
_COMPARED = ("episode_return", "length", "end", "frames")


@dataclass(frozen=True)
class Game:
    """A finished game, as the table of games has it."""

    frames: int
    episode_return: float
    length: int
    end: str


@dataclass
class Replayed:
    """What came of playing a run's games again."""

    run: Run
    games: int  # in the run's table
    problems: list[str] = field(default_factory=list)
    agreed: dict[str, int] = field(default_factory=dict)  # environment, "train 3" -> its games, which all agree
    seconds: float = 0.0

    @property
    def games_agreed(self) -> int:
        return sum(self.agreed.values())

    @property
    def escape_probability(self) -> float:
        """That one altered game, anywhere among the run's, was not among those played again."""
        return 1.0 - self.games_agreed / self.games if self.games else 0.0


def proof_of(outcome: Replayed) -> Proof:
    """What the results folder keeps of games that agreed."""
    manifest = outcome.run.manifest
    return Proof(
        actions_sha256=manifest["actions"]["sha256"],
        episodes_sha256=manifest["files"][EPISODES_FILE]["sha256"],
        games=outcome.games,
        replayed=dict(outcome.agreed),
        versions={"suite": suite.__version__, "envpool": metadata.version("envpool")},
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def keep_proof(results: Path, outcome: Replayed) -> None:
    """Notes in the folder `results` what agreed of a run; where something differs, the run's proof is undone.

    A proof that another version of envpool gave stays: that this one plays other games does not refute it.
    """
    place = str(outcome.run.spec.directory)
    if outcome.problems:
        known = read_proofs(results).get(place)
        if known is not None and known.versions.get("envpool") == metadata.version("envpool"):
            write_proofs(results, {}, refuted=[place])
    elif outcome.agreed:  # nothing, of a run with fewer environments than there are parts
        write_proofs(results, {place: proof_of(outcome)})


def choose(run: Run, kept: Sequence[Environment], *, count: int, seed: int) -> list[Environment]:
    """`count` of the kept environments, drawn for this run by `seed`; of two or more one is greedy, if any is kept."""
    drawn = list(np.random.default_rng([seed, _place(run)]).permutation(len(kept)))
    greedy = [i for i in drawn if kept[i][0] == "greedy"]
    if count >= 2 and greedy:
        drawn.remove(greedy[0])
        drawn.insert(0, greedy[0])
    return [kept[i] for i in sorted(drawn[:count])]


def part_of(run: Run, kept: Sequence[Environment], *, number: int, parts: int) -> list[Environment]:
    """Every `parts`-th of the kept environments: each is in one part. Runs begin at different ones, so parts even out.

    Args: `number`: of the part, from 1 to `parts`.
    """
    return list(kept[(number - 1 + _place(run)) % parts :: parts])


def _place(run: Run) -> int:
    """A number that belongs to the run's place in the results."""
    return int(sha256_hex(str(run.spec.directory).encode())[:16], 16)


def replay(
    run: Run, *, sample: tuple[int, int] | None, threads: int, tick: Tick, part: tuple[int, int] | None = None
) -> Replayed:
    """Plays the games of some of a run's environments again and compares each with the run's table.

    Args:
        run: sound by `verify_run`, with a log.
        sample: how many of the environments whose actions are kept, and the seed that draws them; None for all.
        part: instead of a sample: which part, and of how many (`part_of`); it may be empty.
        threads: of the emulator; they change no result.
    Raises:
        ResultsError: log or table cannot be read.
    """
    log = read_log(run)
    if log is None:
        raise ResultsError(f"{run.directory}: keeps no action log")
    recorded = _recorded_games(run)
    outcome = Replayed(run, games=sum(map(len, recorded.values())))
    outcome.problems += [*foreign_games(recorded, log), *origin_problems(run)]
    if part is not None:
        chosen = part_of(run, log.kept, number=part[0], parts=part[1])
    else:
        chosen = log.kept if sample is None else choose(run, log.kept, count=sample[0], seed=sample[1])
    if chosen and not outcome.problems:
        began = time.perf_counter()
        _compare(outcome, chosen, recorded, log.actions(chosen), threads, tick)
        outcome.seconds = time.perf_counter() - began
    return outcome


def origin_problems(run: Run) -> list[str]:
    """What keeps the run's environments from being those of its seed, its game and its protocol, a line each."""
    problems = []
    manifest, named = run.manifest, run.manifest["environment"]
    try:
        protocol = load_protocol(manifest["protocol"])
    except ConfigError as error:
        return [str(error)]
    if manifest["config"]["protocol"] != {"name": protocol.name, **protocol.values}:
        problems.append(f"the values of its protocol are not those of {protocol.name!r}")
    for kind in EPISODE_KINDS:
        seeds = named.get(f"{kind}_seeds", [])
        if seeds != Streams(run.spec.seed).environment_seeds(kind, len(seeds)):
            problems.append(f"the seeds of its {kind} environments are not those that seed {run.spec.seed} gives")
        wanted = manifest["config"]["baseline"].get(f"{kind}_environments", len(seeds))
        if len(seeds) != wanted:
            problems.append(f"it has {len(seeds)} {kind} environments, its configuration says {wanted}")
    scaled = scaled_settings(manifest["config"]["baseline"], run.spec.frames)
    if scaled and not manifest["off_protocol"]:
        problems.append(f"it is off its protocol, and the manifest does not say so: {scaled[0]}")
    envpool_id = GAMES[run.spec.game].envpool_id
    if named.get("envpool_id") != envpool_id:
        problems.append(f"it was played in {named.get('envpool_id')!r}, {run.spec.game} is {envpool_id!r}")
    elif named.get("rom_sha256") != rom_sha256(envpool_id):
        problems.append("its ROM has another SHA-256 than the one installed here")
    return problems


def foreign_games(recorded: dict[Environment, list[Game]], log: PackedLog) -> list[str]:
    """Games of environments that the log does not have: nothing could ever prove them."""
    unknown = sorted(set(recorded) - set(log.names))
    return [f"{name_of(environment)} has games in the table, and no actions" for environment in unknown]


def name_of(environment: Environment) -> str:
    return f"{environment[0]} environment {environment[1]}"


def _recorded_games(run: Run) -> dict[Environment, list[Game]]:
    """Environment -> its games in the run's table, in their order."""
    games: dict[Environment, list[Game]] = defaultdict(list)
    table = read_episodes(run.directory)
    for row in table.itertuples(index=False):
        game = Game(int(row.frames), float(row.episode_return), int(row.length), str(row.end))
        games[(str(row.kind), int(row.environment))].append(game)
    return games


def _compare(
    outcome: Replayed,
    chosen: list[Environment],
    recorded: dict[Environment, list[Game]],
    actions: np.ndarray,
    threads: int,
    tick: Tick,
) -> None:
    protocol = load_protocol(outcome.run.manifest["protocol"])
    environments = _fresh(outcome.run, chosen, protocol, threads)
    try:
        problems = _emulator_problems(outcome.run, environments, chosen, actions)
        if problems:
            outcome.problems += problems
            return
        played = _play(outcome.run, environments, chosen, actions, tick)
    finally:
        environments.close()
    for environment in chosen:
        differences = differences_of(recorded[environment], played[environment], name_of(environment))
        outcome.problems += differences
        if not differences:
            outcome.agreed[f"{environment[0]} {environment[1]}"] = len(played[environment])


def _fresh(run: Run, chosen: list[Environment], protocol: Protocol, threads: int) -> AtariEnvironments:
    named = run.manifest["environment"]
    seeds = [named[f"{kind}_seeds"][number] for kind, number in chosen]
    return AtariEnvironments(named["envpool_id"], seeds, protocol.environment, threads=threads)


def _emulator_problems(
    run: Run, environments: AtariEnvironments, chosen: list[Environment], actions: np.ndarray
) -> list[str]:
    stated, found = run.manifest["environment"].get("envpool_config", {}), environments.config()
    problems = [
        f"envpool's {key} is {found.get(key)!r} here, the manifest says {stated.get(key)!r}"
        for key in sorted(stated.keys() | found.keys())
        if key not in stated or key not in found or stated[key] != _plain(found[key])
    ]
    # envpool would look beyond the end of its table of actions.
    beyond = actions.max(axis=0, initial=0) >= environments.num_actions
    problems += [
        f"{name_of(chosen[i])}: an action of its log is none of the game's {environments.num_actions}"
        for i in np.flatnonzero(beyond)
    ]
    return problems


def _plain(value: Any) -> Any:
    """As JSON gives it back."""
    return list(value) if isinstance(value, tuple) else value


def _play(
    run: Run, environments: AtariEnvironments, chosen: list[Environment], actions: np.ndarray, tick: Tick
) -> dict[Environment, list[Game]]:
    """Steps the environments through `actions` [vector steps, chosen]; environment -> its games."""
    environments.reset()
    members = {kind: [number for of_kind, number in chosen if of_kind == kind] for kind in EPISODE_KINDS}
    tracker = GameTracker(train=len(members["train"]), greedy=len(members["greedy"]), lives=environments.lives)
    frames_per_step = FRAME_SKIP * len(run.manifest["environment"]["train_seeds"])
    played: dict[Environment, list[Game]] = defaultdict(list)
    for t, taken in enumerate(actions, start=1):
        for game in tracker.update(environments.step(taken), t * frames_per_step):
            played[(game.kind, members[game.kind][game.environment])].append(as_recorded(game))
        if t % _STEPS_BETWEEN_TICKS == 0:
            tick(_STEPS_BETWEEN_TICKS * len(chosen))
    tick(len(actions) % _STEPS_BETWEEN_TICKS * len(chosen))
    return played


def as_recorded(game: FinishedGame) -> Game:
    return Game(game.frames, game.episode_return, game.length, game.end)


def differences_of(recorded: list[Game], played: list[Game], name: str) -> list[str]:
    """What of an environment's games differs, a line a game; the rest of many is counted."""
    lines = []
    if len(recorded) != len(played):
        lines.append(f"{name}: has {len(recorded)} games in the table, its actions play {len(played)}")
    for number, (told, found) in enumerate(zip(recorded, played, strict=False), start=1):
        facts = [
            f"{key.replace('_', ' ')} {getattr(told, key)} in the table, {getattr(found, key)} when played again"
            for key in _COMPARED
            if getattr(told, key) != getattr(found, key)
        ]
        if facts:
            lines.append(f"{name}, game {number}: {'; '.join(facts)}")
    if len(lines) > _NAMED:
        lines[_NAMED:] = [f"{name}: and {len(lines) - _NAMED} more"]
    return lines
