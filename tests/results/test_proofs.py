from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from run_builder import build_run, edit_manifest

from results.errors import ResultsError
from results.proofs import PROOF_FILE, PROOF_LOCK, Proof, proof_state, read_proofs, write_proofs
from results.schema import EPISODES_FILE
from results.store import Run, open_run

PLACE = "pqn/Pong/200k/seed-0"
ACTIONS = {"sha256": "a" * 64, "environments": 3, "vector_steps": 384, "kept": "all"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    directory = build_run(tmp_path, actions=ACTIONS)
    found = open_run(directory)
    assert isinstance(found, Run)
    return found


def proof_of(run: Run, **replayed: int) -> Proof:
    return Proof(
        actions_sha256="a" * 64,
        episodes_sha256=run.manifest["files"][EPISODES_FILE]["sha256"],
        games=5,
        replayed={name.replace("_", " "): games for name, games in replayed.items()},
        versions={"suite": "0.1.0", "envpool": "1.2.5"},
        at="2026-11-24T19:00:00+00:00",
    )


def test_a_run_is_on_its_word_until_it_is_played_again(run: Run, tmp_path: Path):
    assert proof_state(run, read_proofs(tmp_path)) == "on its word"
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    assert proof_state(run, read_proofs(tmp_path)) == "sampled (2 of 5 games)"


def test_samples_of_one_log_add_up_to_the_whole(run: Run, tmp_path: Path):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2, train_1=1)})
    write_proofs(tmp_path, {PLACE: proof_of(run, train_1=1)})
    assert read_proofs(tmp_path)[PLACE].games_replayed == 3
    assert proof_state(run, read_proofs(tmp_path)) == "sampled (3 of 5 games)"  # one environment is not played yet
    write_proofs(tmp_path, {PLACE: proof_of(run, greedy_0=2)})
    assert proof_state(run, read_proofs(tmp_path)) == "re-played"


def test_an_environment_without_a_game_is_played_again_too_or_the_run_is_only_sampled(run: Run, tmp_path: Path):
    """Its actions might play games that the table leaves out."""
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=3, train_1=2)})
    assert proof_state(run, read_proofs(tmp_path)) == "sampled (5 of 5 games)"


def test_what_another_envpool_played_is_not_added(run: Run, tmp_path: Path):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    write_proofs(tmp_path, {PLACE: replace(proof_of(run, train_1=1), versions={"suite": "0.1.0", "envpool": "2"})})
    assert read_proofs(tmp_path)[PLACE].games_replayed == 1


@pytest.mark.parametrize("key", ["actions_sha256", "episodes_sha256"])
def test_what_was_played_of_other_games_or_actions_is_not_added(run: Run, tmp_path: Path, key: str):
    """A run that was trained anew would else be proven by the games of the one before it."""
    write_proofs(tmp_path, {PLACE: replace(proof_of(run, train_0=2, greedy_0=2), **{key: "b" * 64})})
    write_proofs(tmp_path, {PLACE: proof_of(run, train_1=1)})
    assert proof_state(run, read_proofs(tmp_path)) == "sampled (1 of 5 games)"


def test_a_proof_of_nothing_proves_nothing(run: Run, tmp_path: Path):
    assert proof_of(run).state(run) == "on its word"
    write_proofs(tmp_path, {PLACE: proof_of(run)})
    assert not (tmp_path / PROOF_FILE).exists()


@pytest.mark.parametrize("key", ["actions_sha256", "episodes_sha256"])
def test_a_proof_of_other_games_or_actions_counts_for_nothing(run: Run, key: str):
    stale = replace(proof_of(run, train_0=2, train_1=1, greedy_0=2), **{key: "b" * 64})
    assert stale.state(run) == "on its word"


def test_a_run_that_lost_its_log_is_on_its_word(run: Run, tmp_path: Path):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    edit_manifest(run.directory, actions=None)
    without = open_run(run.directory)
    assert isinstance(without, Run)
    assert proof_state(without, read_proofs(tmp_path)) == "on its word"


def test_what_was_refuted_is_dropped(run: Run, tmp_path: Path):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    write_proofs(tmp_path, {}, refuted=[PLACE])
    assert read_proofs(tmp_path) == {}


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{}",
        "{",
        '{"format_version": 2, "proofs": {}}',
        '{"format_version": 1, "proofs": []}',
        '{"format_version": 1, "proofs": {"a": {}}}',
        '{"format_version": 1, "proofs": {"a": null}}',
    ],
)
def test_what_is_no_table_of_proofs_is_refused_in_one_line(tmp_path: Path, content: str):
    (tmp_path / PROOF_FILE).write_text(content)
    with pytest.raises(ResultsError, match=PROOF_FILE) as error:
        read_proofs(tmp_path)
    assert "\n" not in str(error.value)


def test_proofs_of_a_newer_suite_say_what_to_do(tmp_path: Path):
    (tmp_path / PROOF_FILE).write_text('{"format_version": 2, "proofs": {}}')
    with pytest.raises(ResultsError, match="is of format 2, this one reads 1: upgrade"):
        read_proofs(tmp_path)


@pytest.mark.parametrize("value", [None, -1, 1.5, True, 2**64, "1"])
def test_a_count_that_is_none_is_refused(run: Run, tmp_path: Path, value: object):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    content = json.loads((tmp_path / PROOF_FILE).read_text())
    content["proofs"][PLACE]["games"] = value
    (tmp_path / PROOF_FILE).write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="a count of games is none"):
        read_proofs(tmp_path)


@pytest.mark.parametrize("change", [{"actions_sha256": 7}, {"at": None}, {"versions": {"suite": 1}}])
def test_a_text_that_is_none_is_refused(run: Run, tmp_path: Path, change: dict[str, object]):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    content = json.loads((tmp_path / PROOF_FILE).read_text())
    content["proofs"][PLACE] |= change
    (tmp_path / PROOF_FILE).write_text(json.dumps(content))
    with pytest.raises(ResultsError, match="a text is expected"):
        read_proofs(tmp_path)


def test_what_two_commands_find_at_once_is_all_kept(run: Run, tmp_path: Path):
    """Two parts of the runs, played again beside each other: each used to write over what the other had just noted."""

    def note(part: int) -> None:
        for number in range(20):
            write_proofs(tmp_path, {f"pqn/Pong/200k/seed-{part}{number:02}": proof_of(run, train_0=2)})

    with ThreadPoolExecutor(3) as commands:
        list(commands.map(note, (1, 2, 3)))
    assert len(read_proofs(tmp_path)) == 60


def test_what_changes_nothing_writes_nothing(run: Run, tmp_path: Path):
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)})
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    (tmp_path / PROOF_LOCK).unlink()
    del before[PROOF_LOCK]
    write_proofs(tmp_path, {PLACE: proof_of(run, train_0=2)}, refuted=["pqn/Pong/200k/seed-9"])
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
