"""Which rows stand side by side, and that every score stands somewhere."""

from __future__ import annotations

from pathlib import Path

from made_up_runs import make_catalogue, write_run

from reports.judging.evidence import load
from reports.judging.leaderboard import build_groups
from results.games import ATARI5

CATALOGUE = make_catalogue()


def groups_of(root: Path) -> list[tuple[str, list[str]]]:
    groups = build_groups(load(root, CATALOGUE), CATALOGUE)
    return [(group.title, [row.baseline for row in group.rows]) for group in groups]


def test_a_game_that_only_some_have_played_is_left_in_a_group_of_its_own(tmp_path: Path) -> None:
    """It counted, and was in no leaderboard."""
    for baseline, games in (("pqn", ("Breakout", "Pong", "Alien")), ("c51", ("Breakout", "Alien")), ("rainbow", ())):
        for game in games or ("Breakout",):
            write_run(tmp_path, baseline, game, 4_000_000, 0, 0.5)
    assert groups_of(tmp_path) == [
        ("Breakout", ["pqn", "c51", "rainbow"]),
        ("Alien", ["pqn", "c51"]),
        ("Pong", ["pqn"]),
    ]


def test_so_is_a_game_beyond_a_named_set(tmp_path: Path) -> None:
    for game in (*ATARI5, "Pong"):
        write_run(tmp_path, "pqn", game, 4_000_000, 0, 0.5)
    for game in ("Pong", ATARI5[0]):
        write_run(tmp_path, "c51", game, 4_000_000, 0, 0.5)
    # What all have played includes both of C51's games, so nothing of it is left over, nor of PQN.
    assert groups_of(tmp_path) == [("Atari-5", ["pqn"]), (f"{ATARI5[0]}, Pong", ["pqn", "c51"])]
    write_run(tmp_path, "pqn", "Alien", 4_000_000, 0, 0.5)
    assert groups_of(tmp_path)[2:] == [("Alien", ["pqn"])]


def test_the_estimate_for_57_games_has_an_interval_that_ends_at_none(tmp_path: Path) -> None:
    """The estimate cannot be below 0; the interval's widened ends were."""
    for game in ATARI5:
        for seed, hns in enumerate((-0.02, 0.0, 0.02)):
            write_run(tmp_path, "pqn", game, 4_000_000, seed, hns)
    (group,) = build_groups(load(tmp_path, CATALOGUE), CATALOGUE)
    found = group.rows[0].median57
    assert found is not None
    assert found.is_complete
    assert 0.0 <= found.low < found.high


def test_every_score_stands_in_a_group(tmp_path: Path) -> None:
    played = {"pqn": ("Pong", "Alien"), "c51": ("Breakout",), "rainbow": (*ATARI5, "Alien"), "hadamax-pqn": ("Alien",)}
    for baseline, games in played.items():
        for game in games:
            write_run(tmp_path, baseline, game, 4_000_000, 0, 0.5)
    groups = build_groups(load(tmp_path, CATALOGUE), CATALOGUE)
    shown = {(row.baseline, entry.game) for group in groups for row in group.rows for entry in row.entries}
    assert shown == {(baseline, game) for baseline, games in played.items() for game in games}
