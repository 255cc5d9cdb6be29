from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from results import atomic
from results.atomic import remove_leftovers, table_bytes, write_bytes, write_json

posix_only = pytest.mark.skipif(os.name == "nt", reason="SIGKILL")

KILLED_AT = """
import os, signal, sys
from pathlib import Path
from results.atomic import write_bytes
setattr(os, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
write_bytes(Path(sys.argv[1]), b"new" * 1000)
"""
WRITES_FOR_EVER = """
import sys
from pathlib import Path
from results.atomic import write_bytes
while True:
    for letter in b"ab":
        write_bytes(Path(sys.argv[1]), bytes([letter]) * 4_000_000)
"""


def test_replaces_a_file_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "data"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str):
    path = tmp_path / "data"
    write_bytes(path, b"old")

    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic.os, step, disk_full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["data"]


@posix_only
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_writer_killed_before_the_rename_leaves_the_old_file(tmp_path: Path, step: str):
    path = tmp_path / "data"
    write_bytes(path, b"old")
    killed = subprocess.run([sys.executable, "-c", KILLED_AT, str(path), step], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2  # and what it was writing, hidden
    remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == ["data"]


@posix_only
def test_a_writer_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path):
    path = tmp_path / "data"
    writer = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, str(path)])
    try:
        deadline = time.monotonic() + 60
        while not (path.exists() and list(tmp_path.glob(".data.tmp-*"))):
            assert writer.poll() is None
            assert time.monotonic() < deadline
    finally:
        writer.kill()
        writer.wait()
    data = path.read_bytes()
    assert data in (b"a" * 4_000_000, b"b" * 4_000_000)


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path):
    (tmp_path / "plain").write_bytes(b"")
    write_bytes(tmp_path / "data", b"")
    assert (tmp_path / "data").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_keeps_the_order_of_its_keys_and_ends_in_a_newline(tmp_path: Path):
    write_json(tmp_path / "a.json", {"b": 1, "a": ["ü", None, 0.1]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert list(json.loads(text)) == ["b", "a"]
    assert "ü" in text


def test_json_refuses_what_is_not_finite_and_writes_nothing(tmp_path: Path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


def test_equal_rows_give_equal_bytes_however_the_table_was_put_together():
    whole = pa.table({"x": [1, 2, 3]})
    pieces = pa.concat_tables([whole.slice(0, 1), whole.slice(1)])
    assert pieces.column("x").num_chunks == 2
    assert table_bytes(pieces) == table_bytes(whole)
