"""Games played again, on a real game; every forgery here passes all checks that play nothing."""

import re
from importlib import metadata

import pytest
from played_runs import copied, opened, play, with_actions, with_games, with_manifest
from stored_runs import store_run

from results.proofs import Proof, proof_state, read_proofs, write_proofs
from results.store import read_episodes
from results.verify import verify_run
from suite.proof import Replayed, choose, keep_proof, origin_problems, part_of, proof_of, replay


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    run = play(tmp_path_factory.mktemp("played"))
    assert verify_run(run) == []
    return run


@pytest.fixture
def run(played, tmp_path):
    return copied(played, tmp_path)


def replayed(run, *, sample=None, threads=1):
    assert verify_run(run) == []  # whatever is found is found by playing
    ticks = []
    outcome = replay(run, sample=sample, threads=threads, tick=ticks.append)
    return outcome, sum(ticks)


def test_all_games_of_an_honest_run_agree(run):
    outcome, agent_steps = replayed(run)
    assert outcome.problems == []
    assert outcome.games_agreed == outcome.games >= 6
    assert list(outcome.agreed) == ["train 0", "train 1", "train 2", "train 3", "greedy 0", "greedy 1"]
    assert outcome.escape_probability == 0
    assert agent_steps == 6 * 320
    assert proof_state(run, {str(run.spec.directory): proof_of(outcome)}) == "re-played"


def test_a_sample_says_what_it_would_miss(run):
    outcome, agent_steps = replayed(run, sample=(2, 0), threads=2)
    assert [name.split()[0] for name in outcome.agreed] == ["train", "greedy"]
    assert agent_steps == 2 * 320
    assert 0 < outcome.games_agreed < outcome.games
    assert outcome.escape_probability == pytest.approx(1 - outcome.games_agreed / outcome.games)
    words = proof_state(run, {str(run.spec.directory): proof_of(outcome)})
    assert words == f"sampled ({outcome.games_agreed} of {outcome.games} games)"


@pytest.mark.parametrize(
    ("column", "change", "words"),
    [
        ("episode_return", lambda value: value + 1, r"episode return \d+\.0 in the table, \d+\.0 when played again"),
        ("length", lambda value: value + 1, r"length \d+ in the table"),
        ("end", lambda value: "time_limit", "end time_limit in the table, game_over when played again"),
        ("frames", lambda value: value - 16, r"frames \d+ in the table"),
    ],
)
def test_one_altered_game_is_named(run, column, change, words):
    def altered(games):
        games.loc[games.index[-1], column] = change(games[column].iloc[-1])
        return games.sort_values("frames", kind="stable")

    outcome, _ = replayed(with_games(run, altered))
    (problem,) = outcome.problems
    assert re.match(rf"(train|greedy) environment \d, game \d+: {words}", problem), problem
    assert len(outcome.agreed) == 5


def test_a_game_left_out_is_found(run):
    outcome, _ = replayed(with_games(run, lambda games: games.drop(games.index[3])))
    assert re.match(r"\w+ environment \d: has \d+ games in the table, its actions play \d+", outcome.problems[0])


def test_an_invented_environment_is_found(run):
    def invented(games):
        games.loc[games.index[0], "environment"] = 77
        return games

    kind = read_episodes(run.directory)["kind"].iloc[0]
    outcome, _ = replayed(with_games(run, invented))
    assert outcome.problems == [f"{kind} environment 77 has games in the table, and no actions"]


def test_altered_actions_earn_other_games(run):
    def altered(actions):
        actions = actions.copy()
        actions[:, 1] = (actions[:, 1] + 1) % 4
        return actions

    outcome, _ = replayed(with_actions(run, altered))
    assert outcome.problems
    assert all(problem.startswith("train environment 1") for problem in outcome.problems)
    assert len(outcome.agreed) == 5


def test_an_action_that_the_game_does_not_have_never_reaches_the_emulator(run):
    def altered(actions):
        actions = actions.copy()
        actions[9, 5] = 200
        return actions

    outcome, _ = replayed(with_actions(run, altered))
    assert outcome.problems == ["greedy environment 1: an action of its log is none of the game's 4"]


@pytest.mark.parametrize("kind", ["train", "greedy"])
def test_an_altered_seed_is_found(run, kind):
    def altered(manifest):
        manifest["environment"][f"{kind}_seeds"][1] += 1

    outcome, _ = replayed(with_manifest(run, altered))
    assert outcome.problems == [f"the seeds of its {kind} environments are not those that seed 0 gives"]
    assert outcome.agreed == {}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda named: named.update(rom_sha256="0" * 64), "its ROM has another SHA-256 than the one installed here"),
        (lambda named: named.update(envpool_id="Pong-v5"), "it was played in 'Pong-v5', Breakout is 'Breakout-v5'"),
        (
            lambda named: named["envpool_config"].update(noop_max=31),
            "envpool's noop_max is 30 here, the manifest says 31",
        ),
        (
            lambda named: named["envpool_config"].pop("noop_max"),
            "envpool's noop_max is 30 here, the manifest says None",
        ),
    ],
)
def test_another_emulator_than_the_protocols_is_found(run, change, problem):
    outcome, _ = replayed(with_manifest(run, lambda manifest: change(manifest["environment"])))
    assert outcome.problems == [problem]


@pytest.mark.parametrize(
    ("part", "values", "problem"),
    [
        ("protocol", {"noop_max": 29}, "the values of its protocol are not those of 'paper'"),
        ("baseline", {"train_environments": 5}, "it has 4 train environments, its configuration says 5"),
        ("baseline", {"greedy_environments": 0}, "it has 2 greedy environments, its configuration says 0"),
    ],
)
def test_environments_that_the_configuration_does_not_have_are_found(run, part, values, problem):
    changed = with_manifest(run, lambda manifest: manifest["config"][part].update(values))
    assert origin_problems(run) == []
    assert origin_problems(changed) == [problem]


def test_the_choice_depends_on_seed_and_run_and_holds_a_greedy_environment(run):
    kept = [("train", i) for i in range(128)] + [("greedy", i) for i in range(8)]
    drawn = [choose(run, kept, count=4, seed=seed) for seed in range(20)]
    assert choose(run, kept, count=4, seed=7) == drawn[7]
    assert len({tuple(chosen) for chosen in drawn}) > 15
    assert all(len(set(chosen)) == 4 and any(kind == "greedy" for kind, _ in chosen) for chosen in drawn)
    assert choose(run, kept[:3], count=9, seed=0) == kept[:3]


def test_every_environment_is_in_one_part(run):
    kept = [("train", i) for i in range(128)] + [("greedy", i) for i in range(8)]
    parts = [part_of(run, kept, number=number, parts=7) for number in range(1, 8)]
    assert sorted(environment for part in parts for environment in part) == sorted(kept)
    assert {len(part) for part in parts} == {19, 20}


@pytest.mark.parametrize(
    ("baseline", "frames", "stated", "found"),
    [
        ("c51", 3_000_000, [], True),
        ("c51", 3_000_000, ["learning starts early"], False),
        ("c51", 40_000_000, [], False),
        ("rainbow", 1_200_000, [], True),
        ("pqn", 200_000, [], False),
    ],
)
def test_a_run_off_its_protocol_that_does_not_say_so_is_found(tmp_path, baseline, frames, stated, found):
    """Such a run counts for no claim: a manifest that leaves it out would make it count."""
    run = opened(store_run(tmp_path, baseline=baseline, frames=frames, off_protocol=stated))
    words = "it is off its protocol, and the manifest does not say so: "
    assert any(problem.startswith(words) for problem in origin_problems(run)) == found


@pytest.mark.parametrize(("envpool", "left"), [(metadata.version("envpool"), 0), ("0.0.1", 1)])
def test_a_difference_undoes_only_what_the_same_emulator_has_shown(tmp_path, envpool, left):
    run = opened(store_run(tmp_path))
    place = str(run.spec.directory)
    versions = {"suite": "1", "envpool": envpool}
    proof = Proof("0" * 64, "0" * 64, 2, {"train 0": 2}, versions, "2026-11-01T10:00:00+00:00")
    write_proofs(tmp_path, {place: proof})
    keep_proof(tmp_path, Replayed(run, 2, problems=["its ROM has another SHA-256 than the one installed here"]))
    assert len(read_proofs(tmp_path)) == left
