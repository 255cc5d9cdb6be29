from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from run_builder import build_run, edit_manifest

from results import actions
from results.actions import PackedLog, pack, read_log, witnesses, write_log
from results.archive import export_archive, import_archive
from results.errors import ResultsError
from results.manifest import read_manifest, write_manifest
from results.schema import ACTIONS_FILE, FULL_ACTIONS_FILE
from results.store import Run, open_run
from results.verify import verify_run

TRAIN, GREEDY, STEPS = 128, 8, 384


def logged(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 18, (STEPS, TRAIN + GREEDY), dtype=np.uint8)


def long_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose log is too long to be committed whole."""
    monkeypatch.setattr(actions, "WHOLE_BYTES", 1000)
    directory = build_run(
        root, environment={"train_seeds": list(range(TRAIN)), "greedy_seeds": list(range(GREEDY))}, frames=200_000
    )
    entry, files = write_log(directory, pack(logged(), train=TRAIN))
    manifest = read_manifest(directory)
    manifest |= {"actions": entry, "files": manifest["files"] | files}
    write_manifest(directory, manifest)
    return directory


def test_a_log_comes_back_action_for_action(tmp_path: Path):
    directory, given = build_run(tmp_path), logged()
    entry, files = write_log(directory, pack(given, train=TRAIN))
    edit_manifest(directory, actions=entry, files=read_manifest(directory)["files"] | files)
    log = read_log(open_run(directory))
    assert (entry["kept"], entry["vector_steps"], entry["environments"]) == ("all", STEPS, TRAIN + GREEDY)
    assert log.names[TRAIN - 1 : TRAIN + 1] == [("train", TRAIN - 1), ("greedy", 0)]
    np.testing.assert_array_equal(log.actions(log.names), given)
    np.testing.assert_array_equal(log.actions([("greedy", 2)])[:, 0], given[:, TRAIN + 2])


def test_the_same_log_gives_the_same_bytes_and_another_another_identity():
    assert pack(logged(), train=TRAIN).to_bytes() == pack(logged(), train=TRAIN).to_bytes()
    other = logged()
    other[-1, -1] ^= 1
    assert pack(other, train=TRAIN).sha256 != pack(logged(), train=TRAIN).sha256
    exchanged = logged()[:, [1, 0, *range(2, TRAIN + GREEDY)]]  # each with the other's seed
    assert pack(exchanged, train=TRAIN).sha256 != pack(logged(), train=TRAIN).sha256


@pytest.mark.parametrize(("steps", "kept"), [(3700, "all"), (4000, "witnesses")])
def test_a_log_of_half_a_megabyte_is_kept_whole_and_a_longer_one_is_not(tmp_path: Path, steps: int, kept: str):
    """Runs of 4M frames have half of that: all of their games can be played again by anybody."""
    noise = np.random.default_rng(0).integers(0, 256, (steps, TRAIN + GREEDY), dtype=np.uint8)  # no byte of it packs
    entry, _ = write_log(tmp_path, pack(noise, train=TRAIN))
    assert entry["kept"] == kept
    assert (tmp_path / FULL_ACTIONS_FILE).exists() is (kept == "witnesses")
    assert (tmp_path / ACTIONS_FILE).stat().st_size < 520_000


def test_of_a_long_log_a_few_environments_of_each_kind_stay_and_the_whole_lies_beside_it(tmp_path, monkeypatch):
    directory = long_run(tmp_path, monkeypatch)
    entry = read_manifest(directory)["actions"]
    assert entry["kept"] == "witnesses"
    (directory / "actions-full.parquet").rename(tmp_path / "away")
    log = read_log(open_run(directory))
    assert [kind for kind, _ in log.kept] == ["train"] * 4 + ["greedy"]
    whole = pack(logged(), train=TRAIN)
    assert log.kept == witnesses(whole.sha256, whole.names)
    np.testing.assert_array_equal(log.actions(log.kept), whole.actions(log.kept))
    assert verify_run(open_run(directory)) == []
    (tmp_path / "away").rename(directory / "actions-full.parquet")
    assert len(read_log(open_run(directory)).kept) == TRAIN + GREEDY


def test_a_run_cannot_choose_its_witnesses(tmp_path):
    names = pack(logged(), train=TRAIN).names
    chosen = [witnesses(pack(logged(seed), train=TRAIN).sha256, names) for seed in range(20)]
    assert len({tuple(few) for few in chosen}) == 20  # another log, other witnesses
    log = pack(logged(), train=TRAIN)
    directory = build_run(tmp_path)
    others = [name for name in names if name not in witnesses(log.sha256, names)][:5]
    values = [a.as_py() if n in others else b"" for n, a in zip(log.names, log.table["actions"], strict=True)]
    picked = actions.PackedLog(log.table.set_column(3, log.table.schema.field(3), actions.pa.array([*values])))
    (directory / "actions.parquet").write_bytes(picked.to_bytes())
    entry = {"sha256": log.sha256, "environments": TRAIN + GREEDY, "vector_steps": STEPS, "kept": "witnesses"}
    edit_manifest(directory, actions=entry)
    with pytest.raises(ResultsError, match="lacks the actions of 5 environments that must be kept"):
        read_log(open_run(directory))


def test_of_a_thousand_environments_thirty_are_witnesses():
    assert len(witnesses("0" * 64, [("train", i) for i in range(1000)])) == 30


def test_a_log_that_is_said_to_be_all_has_the_actions_of_all_its_environments(tmp_path):
    """Witnesses alone would do, of a log that is said to be kept by witnesses."""
    log, directory = pack(logged(), train=TRAIN), build_run(tmp_path)
    entry, _ = write_log(directory, log)
    (directory / "actions.parquet").write_bytes(log.witnesses().to_bytes())
    edit_manifest(directory, actions=entry)
    with pytest.raises(ResultsError, match="lacks the actions of 131 environments that must be kept"):
        read_log(open_run(directory))


def test_a_log_has_as_many_environments_as_its_manifest_says(tmp_path):
    """By that number a run is called re-played."""
    directory = build_run(tmp_path)
    entry, _ = write_log(directory, pack(logged(), train=TRAIN))
    edit_manifest(directory, actions={**entry, "environments": 5})
    with pytest.raises(ResultsError, match="has 136 environments, the manifest says 5"):
        read_log(open_run(directory))


def test_a_whole_log_that_lacks_environments_is_none(tmp_path, monkeypatch):
    """Digests of environments without actions can be tried until the witnesses fall where the games are sound."""
    directory = long_run(tmp_path, monkeypatch)
    (directory / "actions-full.parquet").write_bytes((directory / "actions.parquet").read_bytes())
    (problem,) = verify_run(open_run(directory))
    assert problem.endswith("actions-full.parquet: lacks the actions of 131 environments that must be kept")


def test_what_is_committed_of_a_log_is_checked_beside_the_whole_one(tmp_path, monkeypatch):
    directory = long_run(tmp_path, monkeypatch)
    manifest = read_manifest(directory)
    _, files = write_log(tmp_path, pack(logged(seed=1), train=TRAIN))
    (directory / "actions.parquet").write_bytes((tmp_path / "actions.parquet").read_bytes())
    write_manifest(directory, {**manifest, "files": manifest["files"] | files})
    (problem,) = verify_run(open_run(directory))
    assert problem.endswith("actions.parquet: is the log of another run: its digest is not the manifest's")


@pytest.mark.parametrize("digest", ["", "\u00e9" * 64, "0" * 63, "A" * 64, "0" * 128])
def test_a_digest_that_is_none_is_one_line(tmp_path, monkeypatch, digest):
    directory = long_run(tmp_path, monkeypatch)
    (directory / "actions-full.parquet").unlink()
    log = read_log(open_run(directory))
    digests = log.table["sha256"].to_pylist()
    digests[next(i for i, name in enumerate(log.names) if name not in log.kept)] = digest
    forged = PackedLog(log.table.set_column(2, log.table.schema.field(2), pa.array(digests)))
    (directory / "actions.parquet").write_bytes(forged.to_bytes())
    with pytest.raises(ResultsError, match="has a digest that is no SHA-256, 64 hex digits"):
        read_log(open_run(directory))


def test_an_altered_action_does_not_fit_its_digest(tmp_path):
    directory, given = build_run(tmp_path), logged()
    log = pack(given, train=TRAIN)
    entry, _ = write_log(directory, log)
    given[17, 5] ^= 1
    digests = log.table["sha256"]
    forged = pack(given, train=TRAIN).table.set_column(2, log.table.schema.field(2), digests)
    (directory / "actions.parquet").write_bytes(actions.PackedLog(forged).to_bytes())
    edit_manifest(directory, actions=entry)
    with pytest.raises(ResultsError, match="actions of the train environment 5 do not fit their digest"):
        read_log(open_run(directory))
    (directory / "actions.parquet").write_bytes(log.to_bytes())  # whole digests of fewer steps than are told
    edit_manifest(directory, actions={**entry, "vector_steps": STEPS + 1})
    with pytest.raises(ResultsError, match="actions of the train environment 0 do not fit their digest"):
        read_log(open_run(directory))
    edit_manifest(directory, actions={**entry, "sha256": "0" * 64})
    with pytest.raises(ResultsError, match="its digest is not the manifest's"):
        read_log(open_run(directory))


def test_verify_names_a_log_that_does_not_fit_the_budget(tmp_path):
    directory = build_run(tmp_path)
    entry, files = write_log(directory, pack(np.zeros((383, 128), dtype=np.uint8), train=128))
    edit_manifest(directory, actions=entry, files=read_manifest(directory)["files"] | files)
    assert verify_run(open_run(directory)) == [
        "actions.parquet: has 383 vector steps, which are not the run's 196608 frames"
    ]


def test_a_whole_log_travels_unless_it_is_left_behind(tmp_path, monkeypatch):
    long_run(tmp_path / "runs", monkeypatch)
    export_archive(tmp_path / "runs", tmp_path / "whole.tar.gz")
    export_archive(tmp_path / "runs", tmp_path / "light.tar.gz", whole_logs=False)
    for name, kept in (("whole", TRAIN + GREEDY), ("light", 5)):
        (spec,) = import_archive(tmp_path / f"{name}.tar.gz", tmp_path / name).added
        assert len(read_log(open_run(tmp_path / name / spec.directory)).kept) == kept


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path):
    directory = build_run(tmp_path)
    bomb = pack(np.zeros((8 << 20, 1), dtype=np.uint8), train=1).to_bytes()
    assert len(bomb) < 10_000
    (directory / ACTIONS_FILE).write_bytes(bomb)
    run = open_run(directory)
    assert isinstance(run, Run)
    with pytest.raises(ResultsError, match="is larger, unpacked, than the manifest's number of actions"):
        read_log(run)


@pytest.mark.parametrize("numbers", [[0, 0], [-1, 1], [1, 0], [1, 2]])
def test_environments_are_numbered_as_their_seeds_are(tmp_path: Path, numbers: list[int]):
    # A number below zero would count from the end of the list of seeds.
    log = pack(np.zeros((24_576, 2), dtype=np.uint8), train=2)
    place = log.table.schema.get_field_index("environment")
    forged = PackedLog(log.table.set_column(place, log.table.schema.field(place), pa.array(numbers, pa.int16())))
    directory = build_run(tmp_path, environment={"train_seeds": [7, 8]}, actions=None)
    entry, file = write_log(directory, forged)
    manifest = read_manifest(directory)
    write_manifest(directory, {**manifest, "actions": entry, "files": manifest["files"] | file})
    run = open_run(directory)
    assert isinstance(run, Run)
    problem = "actions.parquet: its environments are not those that the manifest has seeds for, the training ones first"
    assert problem in verify_run(run)
