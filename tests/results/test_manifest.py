from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from run_builder import CONFIG, DELETE, build_run, edit_manifest

from results.errors import ResultsError
from results.hashing import config_hash
from results.manifest import read_manifest, read_spec, write_manifest
from results.schema import MANIFEST_FILE, MANIFEST_KEYS, RunSpec

SPEC = {"baseline": "pqn", "game": "Pong", "frames": 200_000, "seed": 0, "config_hash": config_hash(CONFIG)}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return build_run(tmp_path)


def test_comes_back_as_it_was_written(directory: Path):
    manifest = read_manifest(directory)
    assert tuple(manifest) == MANIFEST_KEYS
    assert manifest["config"] == CONFIG
    assert read_spec(manifest) == RunSpec("pqn", "Pong", 200_000, 0, config_hash(CONFIG))
    before = (directory / MANIFEST_FILE).read_bytes()
    write_manifest(directory, dict(reversed(manifest.items())))
    assert (directory / MANIFEST_FILE).read_bytes() == before


def test_writing_refuses_a_missing_and_an_unknown_key_and_leaves_the_old_file(directory: Path):
    manifest = read_manifest(directory)
    before = (directory / MANIFEST_FILE).read_bytes()
    with pytest.raises(ValueError, match="missing status"):
        write_manifest(directory, {key: value for key, value in manifest.items() if key != "status"})
    with pytest.raises(ValueError, match="unknown note"):
        write_manifest(directory, {**manifest, "note": "hello"})
    with pytest.raises(ValueError, match="wall_seconds must be"):
        write_manifest(directory, {**manifest, "wall_seconds": float("nan")})
    assert (directory / MANIFEST_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no JSON"),
        (b'{"format_version": 1,', "no JSON"),
        (b"\xff\xfe\x00", "no JSON"),
        (b"PAR1\x00\x00", "no JSON"),
        (b"[1, 2]", "a JSON object is expected"),
        (b"null", "a JSON object is expected"),
        (b'{"name": "somebody else\'s"}', "format_version is None"),
        (b'{"format_version": true}', "format_version is True"),
        (b'{"format_version": 0}', "format_version is 0"),
        (b'{"format_version": 1}', "missing spec, protocol"),
        (b'{"format_version": NaN}', "NaN is no number"),
        (b'{"format_version": 3, "anything": 1}', "made by a newer suite .*upgrade"),
        (b'{"format_version": 2, "anything": 1}', "missing spec, protocol"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line_that_names_it(directory: Path, content: bytes, reason: str):
    (directory / MANIFEST_FILE).write_bytes(content)
    with pytest.raises(ResultsError, match=reason) as error:
        read_manifest(directory)
    assert str(error.value).startswith(f"{directory / MANIFEST_FILE}: ")
    assert "\n" not in str(error.value)


def test_an_absent_manifest_is_named(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"manifest\.json: cannot be read \(No such file"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"status": "finished"}, "status must be one of running, interrupted, failed, done, is 'finished'"),
        ({"status": ["done"]}, "status must be one of"),
        ({"path": "quick"}, "path must be one of plain, fast"),
        ({"frames_done": -1}, "frames_done must be a number of emulator frames, is -1"),
        ({"frames_done": True}, "frames_done must be"),
        ({"frames_done": "many"}, "frames_done must be"),
        ({"updates_done": 1.5}, "updates_done must be"),
        ({"off_protocol": "everything"}, "off_protocol must be a list of texts"),
        ({"environment": None}, "environment must be an object"),
        ({"started_at": "yesterday"}, "started_at must be a time in UTC"),
        ({"started_at": "2026-13-01T00:00:00+00:00"}, "started_at must be a time in UTC"),
        ({"finished_at": "2026-11-01T10:00:00+02:00"}, "finished_at must be a time in UTC"),
        ({"wall_seconds": -1}, "wall_seconds must be"),
        ({"frames_per_second": "fast"}, "frames_per_second must be"),
        ({"interruptions": {}}, "interruptions must be a list"),
        ({"error": "boom"}, "error must be an object or null"),
        ({"config": {"baseline": {}}}, "config: missing protocol"),
        ({"config": {"baseline": {}, "protocol": "paper"}}, "config: protocol must be an object, is 'paper'"),
        ({"score": {"train": {"mean": 1.0, "games": 1}}}, "score: missing greedy"),
        ({"score": {"train": {"mean": "high", "games": 1}, "greedy": {"mean": None, "games": 0}}}, "score of train"),
        ({"score": {"train": 3.0, "greedy": {"mean": None, "games": 0}}}, "score of train: must be an object"),
        ({"files": {"notes.txt": {"sha256": "0" * 64, "rows": 1}}}, "files: unknown 'notes.txt'"),
        (
            {"files": {"episodes.parquet": {"sha256": "0" * 63, "rows": 1}}},
            "episodes.parquet: sha256 must be a SHA-256",
        ),
        ({"spec": {**SPEC, "note": 1}}, "spec: unknown note"),
        ({"spec": {key: SPEC[key] for key in SPEC if key != "seed"}}, "spec: missing seed"),
        ({"spec": {**SPEC, "game": "Chess"}}, "spec: game must be one of the 57 Atari games, is 'Chess'"),
        ({"spec": {**SPEC, "baseline": "../pqn"}}, "spec: baseline must be a name"),
        ({"spec": {**SPEC, "seed": -1}}, "spec: seed must be a number from 0"),
        ({"spec": {**SPEC, "frames": 0}}, "spec: frames must be a positive number"),
        ({"spec": {**SPEC, "config_hash": "XYZ"}}, "spec: config_hash must be 16 hex digits"),
        ({"config": DELETE}, "missing config"),
        ({"environment": {"train_seeds": None}}, "environment: train_seeds must be a list of seeds, is None"),
        ({"environment": {"envpool_config": []}}, "environment: envpool_config must be an object"),
        ({"environment": {"rom_sha256": "?"}}, "environment: rom_sha256 must be a SHA-256"),
        ({"versions": {"torch": 2.1}}, "versions: 'torch' must be a text or null, is 2.1"),
        ({"revision": {"commit": "a" * 40}}, "revision: missing clean"),
        ({"revision": {"commit": None, "clean": True}}, "revision: commit must be a text"),
        ({"interruptions": [{}]}, "interruption 1: missing at, frames"),
        ({"error": {"type": "OSError", "message": ["full"]}}, "error: message must be a text"),
        ({"frames_per_second": 0}, "frames_per_second must be a positive number or null, is 0"),
        ({"score": {"train": {"mean": 10**400, "games": 1}, "greedy": {"mean": None, "games": 0}}}, "1329 bits"),
        ({"config": {"baseline": {"x": [1, 10**400]}, "protocol": {}}}, "config must be plain data, .* 1329 bits"),
        ({"config": {"baseline": {"x": "\ud800"}, "protocol": {}}}, "config must be plain data"),
        ({"protocol": "\ud800"}, "protocol must be a name"),
        ({"actions": {"sha256": "a" * 64, "environments": 0, "vector_steps": 1, "kept": "all"}}, "a number from 1"),
        ({"actions": {"sha256": "a" * 64, "environments": 1, "vector_steps": 1, "kept": "some"}}, "kept must be one"),
        ({"colour": "red"}, "unknown colour"),
    ],
)
def test_a_changed_key_is_named_with_what_it_should_be(directory: Path, changes: dict[str, Any], reason: str):
    edit_manifest(directory, **changes)
    with pytest.raises(ResultsError, match=reason) as error:
        read_manifest(directory)
    assert str(error.value).startswith(f"{directory / MANIFEST_FILE}: ")


@pytest.mark.parametrize(
    "spec",
    [{**SPEC, "seed": 1}, {**SPEC, "game": "Breakout"}, {**SPEC, "frames": 201_000}, {**SPEC, "baseline": "c51"}],
)
def test_a_manifest_of_another_run_than_its_path_is_refused_with_its_place(directory: Path, spec: dict[str, Any]):
    edit_manifest(directory, spec=spec)
    with pytest.raises(ResultsError, match=f"whose place is {RunSpec(**spec).directory}"):
        read_manifest(directory)


def test_a_relative_path_is_as_good(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(directory)
    assert read_manifest(Path()) == read_manifest(directory)


def test_a_bit_that_flipped_anywhere_in_it_is_noticed(directory: Path):
    data = bytearray((directory / MANIFEST_FILE).read_bytes())
    noticed = 0
    for position in range(0, len(data), 7):
        data[position] ^= 1
        (directory / MANIFEST_FILE).write_bytes(data)
        data[position] ^= 1
        try:
            read_manifest(directory)
        except ResultsError:
            noticed += 1
        else:  # a blank between two values
            assert chr(data[position]).isspace()
    assert noticed > 100


def test_a_manifest_of_the_first_format_has_null_for_what_came_later(directory: Path):
    edit_manifest(directory, format_version=1, actions=DELETE, cpu_seconds=DELETE, checksum=DELETE)
    manifest = read_manifest(directory)
    assert (manifest["format_version"], manifest["actions"], manifest["cpu_seconds"]) == (1, None, None)
    write_manifest(directory, manifest)
    assert read_manifest(directory)["format_version"] == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [("fast_paths", None), ("jobs", [1]), ("cpu", 5), ("torch_threads", 10**400), ("device", {"cpu": 1})],
)
def test_hardware_of_another_type_is_refused(directory: Path, key: str, value: Any):
    edit_manifest(directory, hardware={"device": "cpu", "cpu": "Some CPU", "gpu": None, key: value})
    with pytest.raises(ResultsError, match=f"hardware: {key} must be"):
        read_manifest(directory)


@pytest.mark.parametrize("key", ["wall_seconds", "cpu_seconds", "frames_per_second"])
@pytest.mark.parametrize("value", [10**400, 2e15])
def test_a_number_beyond_all_reason_is_refused(directory: Path, key: str, value: float):
    edit_manifest(directory, **{key: value})
    with pytest.raises(ResultsError, match=f"{key} must be"):
        read_manifest(directory)


def test_a_manifest_cannot_pass_for_an_older_one_to_be_rid_of_its_checksum(directory: Path):
    edit_manifest(directory, format_version=1)
    with pytest.raises(ResultsError, match="says it is of format 1, which has no cpu_seconds or actions"):
        read_manifest(directory)


def test_values_within_values_have_an_end(directory: Path):
    deep: list[Any] = []
    for _ in range(200):
        deep = [deep]
    edit_manifest(directory, config={"baseline": {"x": deep}, "protocol": {}})
    with pytest.raises(ResultsError, match="config: is nested too deeply"):
        read_manifest(directory)


def test_every_flipped_bit_of_a_digit_or_letter_is_noticed(directory: Path):
    path = directory / MANIFEST_FILE
    data = path.read_bytes()
    sound = read_manifest(directory)
    places = [place for place, byte in enumerate(data) if chr(byte).isalnum()]
    for place in places[:: max(1, len(places) // 400)]:
        flipped = bytearray(data)
        flipped[place] ^= 1
        path.write_bytes(bytes(flipped))
        with pytest.raises(ResultsError):
            assert read_manifest(directory) == sound, place


@pytest.mark.parametrize("number", ["1e999", "-1e999"])
def test_a_number_too_large_for_a_float_is_no_value_of_a_configuration(directory: Path, number: str):
    """JSON has no infinity, but numbers of which Python makes one: no JSON could be written of them again."""
    edit_manifest(directory, config={"baseline": {"x": [12345.5]}, "protocol": {}})
    path = directory / MANIFEST_FILE
    path.write_text(path.read_text().replace("12345.5", number))
    with pytest.raises(ResultsError, match=r"config must be plain data, is or holds -?inf"):
        read_manifest(directory)
