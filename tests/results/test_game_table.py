from __future__ import annotations

import pytest

from results.errors import ResultsError
from results.games import ATARI5, ATARI10, ATARI57, GAMES, find_game


def test_the_sets_are_nested_and_of_their_size():
    assert (len(ATARI57), len(ATARI10), len(ATARI5)) == (57, 10, 5)
    assert set(ATARI5) < set(ATARI10) < set(ATARI57)
    assert ATARI5 == ("BattleZone", "DoubleDunk", "NameThisGame", "Phoenix", "Qbert")
    assert set(ATARI10) - set(ATARI5) == {"Amidar", "Bowling", "Frostbite", "KungFuMaster", "Riverraid"}


def test_every_game_has_its_envpool_id_and_a_human_above_random():
    for name, game in GAMES.items():
        assert game.name == name
        assert game.envpool_id == f"{name}-v5"
        assert game.human > game.random


def test_scores_of_the_table():
    assert (GAMES["Pong"].random, GAMES["Pong"].human) == (-20.7, 14.6)
    assert (GAMES["Breakout"].random, GAMES["Breakout"].human) == (1.7, 30.5)
    assert (GAMES["MontezumaRevenge"].random, GAMES["MontezumaRevenge"].human) == (0.0, 4753.3)


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        GAMES["Chess"] = GAMES["Pong"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("pong", "Pong"),
        ("Pong-v5", "Pong"),
        (" PONG ", "Pong"),
        ("battle_zone", "BattleZone"),
        ("Battle Zone", "BattleZone"),
        ("up-n-down", "UpNDown"),
        ("ms_pacman", "MsPacman"),
        ("ALE/Pong-v5", "Pong"),
        ("PongNoFrameskip-v4", "Pong"),
        ("SpaceInvadersDeterministic-v4", "SpaceInvaders"),
    ],
)
def test_finds_a_game_however_it_is_written(text: str, name: str):
    assert find_game(text).name == name


def test_an_unknown_game_is_refused_with_the_nearest():
    with pytest.raises(ResultsError, match=r"unknown game 'pogn' \(nearest: Pong.*\); list them with: python -m suite"):
        find_game("pogn")
    with pytest.raises(ResultsError, match="none is near"):
        find_game("xyzzyx")
