"""Which rows stand side by side, and that every score stands somewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from made_up_runs import make_catalogue, write_run

from reports.judging.evidence import Evidence, load
from reports.judging.leaderboard import _better_first, build_groups
from reports.statistics.bootstrap import Interval
from results.games import ATARI5

CATALOGUE = make_catalogue()
NAMED = ("hadamax-pqn", "rainbow")  # imported


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


def test_of_two_the_better_one_is_named_first_and_the_interval_turns_with_it() -> None:
    assert _better_first("a", "b", Interval(0.5, 0.2, 0.8)) == ("a", "b", Interval(0.5, 0.2, 0.8))
    better, other, chance = _better_first("a", "b", Interval(0.25, 0.125, 0.5))
    assert (better, other) == ("b", "a")
    assert (chance.estimate, chance.low, chance.high) == (0.75, 0.5, 0.875)
    assert _better_first("a", "b", Interval(0.0, reason="why"))[2] == Interval(1.0, reason="why")


def test_measured_and_imported_scores_are_not_played_against_each_other(tmp_path: Path) -> None:
    for name in ("pqn", "c51"):
        write_run(tmp_path, name, "Pong", 4_000_000, 0, 0.5)
    evidence = load(tmp_path, CATALOGUE)
    theirs = [replace(entry, baseline=name, source="external") for entry in evidence.entries[:1] for name in NAMED]
    (group,) = build_groups(Evidence((*evidence.entries, *theirs)), CATALOGUE)
    assert [row.source for row in group.rows].count("external") == 2
    pairs = [{first, second} for first, second, _ in group.improvements]
    assert pairs == [{"pqn", "c51"}, {*NAMED}]
