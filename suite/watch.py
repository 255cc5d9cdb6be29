"""Makes a video of one logged game."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from baselines.emulator.every_frame import FRAMES_PER_SECOND
from results.store import Run
from suite.errors import UserError
from suite.game_screens import (
    STEPS_PER_SECOND,
    PlayedGame,
    Screen,
    every_agent_step,
    every_frame,
    play_again,
    why_not_every_frame,
)
from suite.logged_games import LoggedGame
from suite.retraced_game import last_step
from suite.stage_progress import StageProgress
from suite.video import MAX_WEBP_SECONDS, picture, video_file

_SCALE, _WEBP_SCALE = 3, 2


@dataclass(frozen=True)
class Shown:
    """A game's pictures, in order, and how fast they go."""

    played: PlayedGame
    pictures_per_second: int
    why_slow: str | None  # why not every frame is shown; None where it is

    def screens(self, progress: StageProgress) -> Iterator[Screen]:
        if self.why_slow is None:
            return every_frame(self.played)
        progress.stage("playing it once more", last_step(self.played.run, self.played.game))
        return every_agent_step(self.played, progress.tick)


def shown(run: Run, game: LoggedGame, actions: np.ndarray, progress: StageProgress) -> Shown:
    """Plays the game again, then frame by frame. Raises GameDiffers if it is not the table's."""
    progress.stage(f"playing up to game {game.row}", last_step(run, game))
    played = play_again(run, game, actions, progress.tick)
    why_slow = why_not_every_frame(played)
    return Shown(played, FRAMES_PER_SECOND if why_slow is None else STEPS_PER_SECOND, why_slow)


def title_of(run: Run) -> str:
    """What stands below the picture beside score and frame."""
    return f"{run.spec.baseline} seed {run.spec.seed}"


def write_video(show: Shown, out: Path, progress: StageProgress, *, last_seconds: int | None = None) -> int:
    """Writes the game, or the end of it, to `out`; how many pictures.

    Raises:
        UserError: too long for that kind of file. NoEncoder, OSError: as `video_file`.
    """
    moments = len(show.played.moments)
    first = 0 if last_seconds is None else max(0, moments - last_seconds * STEPS_PER_SECOND)
    seconds = (moments - first) / STEPS_PER_SECOND
    if out.suffix == ".webp" and seconds > MAX_WEBP_SECONDS:
        raise UserError(
            f"an animated WebP holds {MAX_WEBP_SECONDS} seconds at most, this would be {seconds:.0f}; "
            f"add --last {MAX_WEBP_SECONDS}, or give .mp4 or .webm"
        )
    title, written = title_of(show.played.run), 0
    scale = _WEBP_SCALE if out.suffix == ".webp" else _SCALE
    with video_file(out, pictures_per_second=show.pictures_per_second) as write:
        screens = show.screens(progress)
        if show.why_slow is None:
            progress.stage(f"writing {out.name}", moments)
        for screen in screens:
            if screen.step >= first:
                write(picture(screen, title, scale=scale))
                written += 1
            if show.why_slow is None:
                progress.tick(screen.step)
    return written
