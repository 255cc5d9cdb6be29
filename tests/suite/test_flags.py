import argparse
import shlex

import pytest
from fake_runs import spec_of

from results.schema import RunSpec
from suite import flags
from suite.errors import UserError


def parsed(line):
    parser = argparse.ArgumentParser()
    flags.add_selection(parser, "runs")
    return flags.parse_selection(parser.parse_args(shlex.split(line)))


def identities(specs):
    return [(s.baseline, s.game, s.frames, s.seed) for s in specs]


def test_the_matrix_takes_whole_comparisons_first():
    assert identities(parsed("--games pong,breakout --frames 4M --baselines pqn,hadamax-pqn --seeds 2").matrix()) == [
        ("pqn", "Pong", 4_000_000, 0),
        ("hadamax-pqn", "Pong", 4_000_000, 0),
        ("pqn", "Breakout", 4_000_000, 0),
        ("hadamax-pqn", "Breakout", 4_000_000, 0),
        ("pqn", "Pong", 4_000_000, 1),
        ("hadamax-pqn", "Pong", 4_000_000, 1),
        ("pqn", "Breakout", 4_000_000, 1),
        ("hadamax-pqn", "Breakout", 4_000_000, 1),
    ]


def test_seeds_are_0_1_2_and_baselines_all_of_them_by_default():
    specs = parsed("--games pong --frames 4M").matrix()
    assert {s.seed for s in specs} == {0, 1, 2}
    assert {s.baseline for s in specs} >= {"pqn", "hadamax-pqn"}


def test_a_selection_holds_what_nothing_excludes():
    selection = parsed("--games pong --seeds 0,4")
    assert selection.holds(spec_of(4, baseline="someones-own"))
    assert not selection.holds(spec_of(1))
    assert not selection.holds(spec_of(4, game="Breakout"))


@pytest.mark.parametrize(
    "chosen",
    [
        [("pqn", "Pong", 1)],
        [("pqn", "Pong", 0), ("pqn", "Pong", 2)],
        [("pqn", "Pong", 0), ("pqn", "Breakout", 0), ("hadamax-pqn", "Pong", 0), ("hadamax-pqn", "Breakout", 0)],
        [("pqn", "Pong", 0), ("pqn", "Breakout", 1), ("hadamax-pqn", "Pong", 2)],
    ],
)
def test_spelled_commands_run_exactly_the_runs_they_are_for(chosen):
    specs = [RunSpec(baseline, game, frames, seed, "") for baseline, game, seed in chosen for frames in (4000, 10**6)]
    again = [spec for line in flags.spell_selection(specs) for spec in identities(parsed(line).matrix())]
    assert sorted(again) == sorted(identities(specs))


def test_a_full_matrix_is_one_command():
    specs = list(parsed("--games pong,breakout --frames 4M --baselines pqn --seeds 3").matrix())
    assert flags.spell_selection(specs) == ["--games Pong,Breakout --frames 4M --baselines pqn --seeds 3"]


def test_a_wrong_flag_is_a_users_error():
    with pytest.raises(UserError, match="--frames"):
        parsed("--games pong --frames lots")
