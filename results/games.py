"""The 57 Atari games: how envpool names them, and the scores that normalise them."""

from __future__ import annotations

import csv
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

from results.errors import ResultsError, shown


@dataclass(frozen=True)
class Game:
    """One game of the table."""

    name: str  # "BattleZone", as in paths and tables
    envpool_id: str  # "BattleZone-v5"
    random: float  # mean raw score of uniformly random play
    human: float  # mean raw score of the human player of Wang et al. 2016
    atari5: bool
    atari10: bool


def _read() -> dict[str, Game]:
    text = resources.files("results").joinpath("reference/atari57_scores.csv").read_text(encoding="utf-8")
    return {
        row["game"]: Game(
            name=row["game"],
            envpool_id=row["envpool_id"],
            random=float(row["random"]),
            human=float(row["human"]),
            atari5=row["atari5"] == "True",
            atari10=row["atari10"] == "True",
        )
        for row in csv.DictReader(text.splitlines())
    }


GAMES: Mapping[str, Game] = MappingProxyType(_read())
ATARI57: tuple[str, ...] = tuple(GAMES)
ATARI10: tuple[str, ...] = tuple(game.name for game in GAMES.values() if game.atari10)
ATARI5: tuple[str, ...] = tuple(game.name for game in GAMES.values() if game.atari5)

GAME_SETS: Mapping[str, tuple[str, ...]] = {"atari57": ATARI57, "atari10": ATARI10, "atari5": ATARI5}


def find_game(text: str) -> Game:
    """The game that a user means: "Pong", "pong", "Pong-v5"; "battle_zone" and "Battle Zone" are BattleZone.

    Other code bases write "ALE/Pong-v5" and "PongNoFrameskip-v4". Only the game is taken from a name: how it is played
    is the protocol's.

    Raises:
        ResultsError: no such game; names the nearest ones.
    """
    key = _simple(text)
    if key in _BY_SIMPLE_NAME:
        return _BY_SIMPLE_NAME[key]
    # No text of a page's length is near a name, and to compare it would take minutes.
    close = difflib.get_close_matches(key[:_LONGEST_NAME], _BY_SIMPLE_NAME, n=3)
    nearest = [_BY_SIMPLE_NAME[name].name for name in close]
    hint = f"nearest: {', '.join(nearest)}" if nearest else "none is near"
    raise ResultsError(f"unknown game {shown(text)} ({hint}); list them with: python -m suite list")


def _simple(text: str) -> str:
    return re.sub(r"^ale/|(noframeskip|deterministic)?-v\d+$|[ _-]", "", text.strip().lower())


_LONGEST_NAME = 100
_BY_SIMPLE_NAME = {_simple(name): game for name, game in GAMES.items()}
