"""Short videos on a game's page: of each baseline the best greedy game that could be played again.

Whoever builds the report makes them and hands them over as bytes; here they are placed and described.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from reports import numerals
from reports.catalogue import Catalogue
from reports.pages.site import Site
from results.schema import RunSpec


@dataclass(frozen=True)
class Clip:
    """A part of one logged game."""

    baseline: str
    game: str
    budget: int  # emulator frames of the run
    seed: int
    row: int  # of the game in its run's table
    kind: str  # "greedy" or "train"
    score: float  # of the whole game
    game_frames: int  # emulator frames of the whole game
    first_frame: int  # at which the clip begins
    seconds: float  # how long it plays
    pictures_per_second: int
    width: int  # pixels
    height: int
    video: bytes  # WebM
    poster: bytes  # PNG


@dataclass(frozen=True)
class Clips:
    """All clips of a report."""

    clips: tuple[Clip, ...] = ()
    why_none: str = ""  # a sentence, where clips could not be made at all
    # Games of which something must be said -> a line for each run that has no clip, with the reason.
    without: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def clips_view(game: str, clips: Clips, catalogue: Catalogue, site: Site) -> dict[str, Any] | None:
    """What a game's page shows of clips; their files are added to the site. None where there is nothing to say."""
    order = {info.name: place for place, info in enumerate(catalogue.baselines)}
    shown = sorted(
        (clip for clip in clips.clips if clip.game == game),
        key=lambda clip: (order.get(clip.baseline, len(order)), clip.baseline),
    )
    if not shown and game not in clips.without:
        return None
    return {
        "clips": [_clip(clip, catalogue, site) for clip in shown],
        "without": list(clips.without.get(game, ())),
        "why_none": "" if shown else clips.why_none,
    }


def _clip(clip: Clip, catalogue: Catalogue, site: Site) -> dict[str, Any]:
    place = f"clips/{clip.game}/{clip.baseline}"
    site.add(f"{place}.webm", clip.video)
    site.add(f"{place}.png", clip.poster)
    title, score = catalogue.title(clip.baseline), numerals.score(clip.score)
    is_whole = clip.first_frame == 0 and clip.seconds * 60 >= clip.game_frames
    run = RunSpec(clip.baseline, clip.game, clip.budget, clip.seed, "", catalogue.protocol.name).directory
    return {
        "title": title,
        "video": f"{place}.webm",
        "poster": f"{place}.png",
        "width": clip.width,
        "height": clip.height,
        "label": f"{title} plays {clip.game}: {clip.seconds:.0f} seconds of a game with score {score}",
        "score": score,
        "kind": "greedy game" if clip.kind == "greedy" else "game in training",
        "seed": clip.seed,
        "budget": numerals.frames(clip.budget),
        "game_frames": f"{clip.game_frames:,}",
        "part": "the whole game" if is_whole else f"{clip.seconds:.0f} s from frame {clip.first_frame:,} on",
        "size": f"{len(clip.video) / 1000:.0f} kB",
        "slow": clip.pictures_per_second < 60,
        "command": f"{catalogue.command} watch {run} --game {clip.row}",
    }
