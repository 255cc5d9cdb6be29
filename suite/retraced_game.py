"""One game of a run, played again by its own environment up to and through that game, and compared with the table."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from baselines.emulator.envs import FRAME_SKIP, AtariEnvironments, Step
from baselines.emulator.every_frame import reset_draws
from baselines.emulator.scorekeeper import GameTracker
from results.store import Run
from suite.logged_games import LoggedGame, seeds_of
from suite.proof import Game, as_recorded, differences_of, name_of, origin_problems
from suite.protocol import load_protocol

Tick = Callable[[int], None]  # takes agent steps of the environment done so far
_STEPS_BETWEEN_TICKS = 64


class GameDiffers(Exception):
    """What was played again is not what the run's table says. The message is one line."""


@dataclass(frozen=True)
class Moment:
    """What one step of the environment gave; the first of a game is the reset that began it."""

    action: int
    draw: int | None  # of a reset step: how many no-ops envpool drew
    reward: float  # as the game gave it
    lives: int
    is_over: bool  # by the emulator's word; a game that is cut is not
    memory: bytes
    screen: bytes  # digest of the console's screen

    @property
    def is_reset(self) -> bool:
        return self.draw is not None


def screen_digest(screen: np.ndarray) -> bytes:
    return hashlib.blake2b(screen.tobytes(), digest_size=16).digest()


def last_step(run: Run, game: LoggedGame) -> int:
    """At which vector step of the run the game ended, from 1."""
    return game.game.frames // (FRAME_SKIP * len(seeds_of(run, "train")))


def retrace(run: Run, game: LoggedGame, actions: np.ndarray, tick: Tick) -> Iterator[tuple[Moment, np.ndarray]]:
    """Plays the environment of `game` from the run's first step on; gives every moment of the game with its screen.

    Args:
        actions: [vector steps] uint8, of that environment.
    Raises:
        GameDiffers: return, length, end or frame is another than in the table, or the environment is not the run's.
            Only when it ends is it known that the game is the table's.
    """
    if problems := origin_problems(run):
        raise GameDiffers(problems[0])
    protocol, named = load_protocol(run.manifest["protocol"]), run.manifest["environment"]
    seed = seeds_of(run, game.kind)[game.environment]
    environments = AtariEnvironments(named["envpool_id"], [seed], protocol.environment, threads=1, with_screens=True)
    try:
        if actions.size and actions.max() >= environments.num_actions:
            raise GameDiffers(f"{_name(game)}: an action of its log is none of the game's {environments.num_actions}")
        yield from _retrace(run, game, actions, environments, reset_draws(seed, protocol.environment.noop_max), tick)
    finally:
        environments.close()


def _retrace(
    run: Run,
    game: LoggedGame,
    actions: np.ndarray,
    environments: AtariEnvironments,
    draws: Iterator[int],
    tick: Tick,
) -> Iterator[tuple[Moment, np.ndarray]]:
    environments.reset()
    is_train = game.kind == "train"
    tracker = GameTracker(train=int(is_train), greedy=int(not is_train), lives=environments.lives)
    frames_per_step = FRAME_SKIP * len(seeds_of(run, "train"))
    place = 0  # of the game that is being played
    if place == game.place:
        yield _moment(environments, 0, next(draws), None)
    else:
        next(draws)
    for t, action in enumerate(actions.tolist(), start=1):
        step = environments.step(np.array([action]))
        draw = next(draws) if step.resets[0] else None
        finished = tracker.update(step, t * frames_per_step)
        ended_before = bool(finished) and draw is not None  # inside the reset's no-ops: the step is the next game's
        if ended_before:
            _compare(game, place, as_recorded(finished[0]))
            place += 1
        if place == game.place:
            yield _moment(environments, action, draw, step)
        if finished and not ended_before:
            _compare(game, place, as_recorded(finished[0]))
            place += 1
        if place > game.place:
            tick(t)
            return
        if t % _STEPS_BETWEEN_TICKS == 0:
            tick(t)
    raise GameDiffers(f"{_name(game)}: the actions end before the game of row {game.row} does")


def _moment(
    environments: AtariEnvironments, action: int, draw: int | None, step: Step | None
) -> tuple[Moment, np.ndarray]:
    """`step` is None for the reset before the run's first step."""
    console = environments.console(0)
    moment = Moment(
        action=action,
        draw=draw,
        reward=0.0 if step is None else float(step.raw_rewards[0]),
        lives=int((environments.lives if step is None else step.lives)[0]),
        is_over=step is not None and bool(step.game_over[0]),
        memory=console.memory,
        screen=screen_digest(console.screen),
    )
    return moment, console.screen


def _compare(game: LoggedGame, place: int, played: Game) -> None:
    """Only the game itself; `verify --replay` compares those before it, too."""
    if place == game.place and (lines := differences_of([game.game], [played], _name(game))):
        raise GameDiffers(lines[0].replace("game 1:", f"row {game.row}:"))


def _name(game: LoggedGame) -> str:
    return name_of((game.kind, game.environment))
