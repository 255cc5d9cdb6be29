"""Runs as code before packed logs left them: a manifest of format 1, and actions.bin beside it."""

import json
import lzma

import pytest
from played_runs import copied, opened, play

from results.actions import read_log
from results.schema import ACTIONS_FILE as PACKED_FILE
from results.schema import MANIFEST_FILE
from results.verify import verify_run
from suite.cli import main
from suite.proof import replay
from suite.run_files import ACTION_LOG_FILE


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    return play(tmp_path_factory.mktemp("played"), updates=30)


@pytest.fixture
def old(played, tmp_path):
    run = copied(played, tmp_path)
    log = read_log(run)
    (run.directory / ACTION_LOG_FILE).write_bytes(log.actions(log.names).tobytes())
    (run.directory / PACKED_FILE).unlink()
    manifest = json.loads((run.directory / MANIFEST_FILE).read_text())
    for key in ("cpu_seconds", "actions", "checksum"):
        del manifest[key]
    del manifest["files"][PACKED_FILE]
    manifest["format_version"] = 1
    (run.directory / MANIFEST_FILE).write_text(json.dumps(manifest, indent=2))
    return opened(run.directory)


def pack(run, *arguments):
    return main(["pack", *map(str, arguments), "--results", str(run.directory.parents[3])])


def test_an_old_log_is_packed_and_earns_its_games(played, old):
    assert verify_run(old) == []
    assert pack(old) == 0
    assert not (old.directory / ACTION_LOG_FILE).exists()
    packed = opened(old.directory)
    assert verify_run(packed) == []
    assert {**packed.manifest, "cpu_seconds": None} == {**played.manifest, "cpu_seconds": None}
    assert (packed.directory / PACKED_FILE).read_bytes() == (played.directory / PACKED_FILE).read_bytes()
    assert replay(packed, sample=(1, 0), threads=1, tick=lambda _: None).problems == []


def test_a_log_under_xz_is_taken_from_anywhere_and_left_there(old, tmp_path):
    file = tmp_path / "log.actions.bin.xz"
    file.write_bytes(lzma.compress((old.directory / ACTION_LOG_FILE).read_bytes()))
    (old.directory / ACTION_LOG_FILE).unlink()
    assert pack(old, old.spec.directory, "--actions", file) == 0
    assert file.exists()
    assert verify_run(opened(old.directory)) == []


def test_a_log_of_another_length_is_refused_and_nothing_is_changed(old, capsys):
    log = old.directory / ACTION_LOG_FILE
    log.write_bytes(log.read_bytes()[:-1])
    before = (old.directory / MANIFEST_FILE).read_bytes()
    assert pack(old) == 2
    assert "has 1439 actions; pqn Breakout 3840 seed 0 took 240 steps in 6 environments" in capsys.readouterr().err
    assert (old.directory / MANIFEST_FILE).read_bytes() == before
    assert log.exists()
    assert not (old.directory / PACKED_FILE).exists()


def test_a_packing_that_was_killed_is_done_again(old):
    (old.directory / PACKED_FILE).write_bytes(b"half")
    assert pack(old) == 0
    assert verify_run(opened(old.directory)) == []


def test_only_the_log_that_is_packed_is_removed_afterwards(old, capsys):
    log, data = old.directory / ACTION_LOG_FILE, (old.directory / ACTION_LOG_FILE).read_bytes()
    assert pack(old) == 0
    log.write_bytes(b"\0" * 1440)
    assert pack(old, old.spec.directory) == 2
    assert "has a packed action log already, and this is another one" in capsys.readouterr().err
    log.write_bytes(data)
    assert pack(old) == 0
    assert not log.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--actions", "a.bin"], "name that one RUN"),
        (["pqn/Pong/4M/seed-0"], "cannot be read"),
        (["pqn/Breakout/3840/seed-0", "--actions", "nowhere.bin"], "nowhere.bin: cannot be read"),
    ],
)
def test_bad_arguments_are_one_line(old, arguments, words, capsys):
    assert pack(old, *arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
