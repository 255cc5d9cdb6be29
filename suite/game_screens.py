"""The screens of a game, every frame of it where that is proven to be the same game."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from baselines.emulator.envs import FRAME_SKIP
from baselines.emulator.every_frame import FRAMES_PER_SECOND, EveryFrame
from results.store import Run
from suite.logged_games import LoggedGame
from suite.protocol import load_protocol
from suite.retraced_game import Moment, Tick, retrace, screen_digest

STEPS_PER_SECOND = FRAMES_PER_SECOND // FRAME_SKIP  # agent steps


@dataclass(frozen=True)
class Screen:
    """One picture of a game."""

    pixels: np.ndarray  # [210, 160, 3] uint8
    score: float  # so far; what an agent step earns is counted at the last of its frames
    frames: int  # emulator frames of the game so far, four an agent step; resets after a lost life stand still
    step: int  # which moment of the game it belongs to, from 0


@dataclass(frozen=True)
class PlayedGame:
    """A game that was played again and is the table's."""

    run: Run
    game: LoggedGame
    moments: Sequence[Moment]
    actions: np.ndarray  # [vector steps] uint8, of its environment

    def scores(self) -> np.ndarray:
        """[moments] float64: the score after each."""
        return np.cumsum([moment.reward for moment in self.moments])


def play_again(run: Run, game: LoggedGame, actions: np.ndarray, tick: Tick) -> PlayedGame:
    """Raises GameDiffers if what comes out is not the table's game."""
    return PlayedGame(run, game, [moment for moment, _ in retrace(run, game, actions, tick)], actions)


def why_not_every_frame(played: PlayedGame) -> str | None:
    """Why the game cannot be shown frame by frame; None where it was played so, and agreed at every agent step.

    Compared: the console's memory and screen, reward, lives, and whether the game is over.
    """
    if load_protocol(played.run.manifest["protocol"]).environment.repeat_action_probability > 0:
        return "which actions stick was drawn by the run's own environment, which shows one frame an agent step"
    for step, (_, agrees) in enumerate(_frame_by_frame(played)):
        if not agrees:
            return f"played frame by frame, it is another game from its agent step {step} on"
    return None


def every_frame(played: PlayedGame) -> Iterator[Screen]:
    """Sixty pictures a second. Ask `why_not_every_frame` first."""
    scores, frames = played.scores(), 0
    for step, (screens, _) in enumerate(_frame_by_frame(played)):
        is_reset = played.moments[step].is_reset
        for number, pixels in enumerate(screens, start=1):
            known = step if number == len(screens) else step - 1
            score = float(scores[known]) if known >= 0 else 0.0
            yield Screen(pixels, score, frames if is_reset else frames + number, step)
        frames += 0 if is_reset else FRAME_SKIP


def every_agent_step(played: PlayedGame, tick: Tick) -> Iterator[Screen]:
    """Fifteen pictures a second: the screens of the run's own environment, which is played once more."""
    scores, frames = played.scores(), 0
    for step, (moment, pixels) in enumerate(retrace(played.run, played.game, played.actions, tick)):
        frames += 0 if moment.is_reset else FRAME_SKIP
        yield Screen(pixels, float(scores[step]), frames, step)


def _frame_by_frame(played: PlayedGame) -> Iterator[tuple[list[np.ndarray], bool]]:
    """The screens of every moment, and whether the game is where the run's environment was then."""
    named = played.run.manifest["environment"]
    config = load_protocol(played.run.manifest["protocol"]).environment
    opening = played.moments[0]
    assert opening.draw is not None, "a game begins with a reset"
    console = EveryFrame(named["envpool_id"], config, opening.draw, played.game.place)
    try:
        yield [console.console().screen], _agrees(console, opening)
        for moment in played.moments[1:]:
            if console.is_over:
                yield [], False
                return
            screens = list(console.act(moment.action) if moment.draw is None else console.go_on(moment.draw))
            yield screens, _agrees(console, moment)
    finally:
        console.close()


def _agrees(console: EveryFrame, moment: Moment) -> bool:
    now = console.console()
    return (
        now.memory == moment.memory
        and screen_digest(now.screen) == moment.screen
        and console.lives == moment.lives
        and console.reward == moment.reward
        and console.is_over == moment.is_over
    )
