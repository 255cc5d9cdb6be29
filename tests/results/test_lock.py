from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from results.errors import ResultsError
from results.lock import LockLost, RunLock, writer, writer_here

HOLDS = """
import sys
from pathlib import Path
from results.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_kept_out_and_told_by_whom(tmp_path: Path, holder: subprocess.Popen):
    for _ in range(2):  # being refused once does not make the second try forget
        with pytest.raises(ResultsError, match=rf"another process \(pid {holder.pid} on .+\) is writing {tmp_path}"):
            RunLock(tmp_path).__enter__()
    holder.communicate("\n")
    with RunLock(tmp_path):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, holder: subprocess.Popen):
    holder.kill()
    holder.wait()
    with RunLock(tmp_path):
        pass


def test_two_locks_of_one_process_exclude_each_other(tmp_path: Path):
    with RunLock(tmp_path), pytest.raises(ResultsError, match="is writing"):
        RunLock(tmp_path).__enter__()
    with RunLock(tmp_path):
        pass


def test_is_free_again_after_an_exception(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path):
        raise ZeroDivisionError
    with RunLock(tmp_path):
        pass


def test_clears_what_a_killed_writer_left(tmp_path: Path):
    leftover = tmp_path / ".episodes.parquet.tmp-1234-abcd"
    leftover.write_bytes(b"half")
    (tmp_path / "episodes.parquet").write_bytes(b"whole")
    with RunLock(tmp_path):
        assert not leftover.exists()
    assert (tmp_path / "episodes.parquet").read_bytes() == b"whole"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ResultsError, match=r"cannot write .*seed-0"):
        RunLock(tmp_path / "file" / "seed-0").__enter__()


def sign(directory: Path, text: str) -> None:
    (directory / ".holder.lock").write_text(text, encoding="utf-8")


def test_the_writer_is_named_as_long_as_it_lives(tmp_path: Path, holder: subprocess.Popen):
    assert writer(tmp_path) == f"pid {holder.pid} on {socket.gethostname()}"
    holder.kill()
    holder.wait()
    assert writer(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="who has ended and was not waited for shows in another way there")
def test_a_dead_process_that_nobody_waited_for_holds_nothing(tmp_path: Path, holder: subprocess.Popen):
    """In a container whose first process waits for no children, a killed command's runs stay in the list for good."""
    holder.kill()
    process = psutil.Process(holder.pid)
    while process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1:
        time.sleep(0.01)
    assert writer(tmp_path) is None
    assert writer_here(tmp_path) is None
    with RunLock(tmp_path):
        pass


def test_a_later_process_with_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path: Path):
    with RunLock(tmp_path):
        signed = json.loads((tmp_path / ".holder.lock").read_text())
        assert signed["pid"] == os.getpid()
        assert signed["since_boot"] > 0
        assert writer(tmp_path) is not None
    sign(tmp_path, json.dumps({**signed, "since_boot": signed["since_boot"] - 3600}))
    assert writer(tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="the start of a process is counted in another way there")
@pytest.mark.parametrize("seconds", [-86_400, 86_400])
def test_a_clock_that_is_set_does_not_make_a_living_writer_dead(tmp_path: Path, monkeypatch, seconds: int):
    # The system then tells another start of its own; a process's is counted from there.
    boot_time = psutil.boot_time()
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time + seconds)
    before = psutil.Process().create_time()
    with RunLock(tmp_path):
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: boot_time - 2 * seconds)
        assert abs(psutil.Process().create_time() - before) > 3600
        assert writer(tmp_path) is not None


def test_a_removed_lock_file_lets_nobody_in_beside_a_living_writer(tmp_path: Path, holder: subprocess.Popen):
    (tmp_path / ".lock").unlink()
    for _ in range(2):
        with pytest.raises(ResultsError, match=rf"another process \(pid {holder.pid} on .+\) is writing .+ removed"):
            RunLock(tmp_path).__enter__()
    holder.kill()
    holder.wait()
    with RunLock(tmp_path):
        pass


def test_a_writer_notices_that_its_folder_was_removed(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    with RunLock(folder) as lock:
        lock.check()
        shutil.rmtree(folder)
        with pytest.raises(LockLost, match="was removed while this run was written to it"):
            lock.check()
        folder.mkdir()
        with pytest.raises(LockLost, match=r"the lock of .+ was removed"):
            lock.check()


def test_a_writer_notices_that_another_took_its_place_and_leaves_it_alone(tmp_path: Path):
    folder = tmp_path / "run"
    folder.mkdir()
    with RunLock(folder) as lock:
        sign(folder, json.dumps({"pid": 7, "since_boot": 1.0, "host": "elsewhere"}))
        with pytest.raises(LockLost, match=r"another process \(pid 7 on elsewhere\) has taken over .+run"):
            lock.check()
    assert writer(folder) == "pid 7 on elsewhere"


def test_a_process_of_another_machine_is_taken_at_its_word(tmp_path: Path):
    sign(tmp_path, json.dumps({"pid": 2**31 - 1, "since_boot": 1.0, "host": "elsewhere"}))
    assert writer(tmp_path) == "pid 2147483647 on elsewhere"


@pytest.mark.parametrize(
    "pid", ["1e999", str(10**23), "-1", "0", "true", '"1"', "null", "[]", "1.5", str(2**31), "9" * 5000]
)
def test_a_number_that_no_process_has_names_nobody(tmp_path: Path, pid: str):
    sign(tmp_path, f'{{"pid": {pid}, "host": "{socket.gethostname()}"}}')
    assert writer(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "7", '{"pid": 1}', '{"pid": 1, "host": "a\\nb"}', "[" * 10**5])
def test_what_is_no_signature_names_nobody(tmp_path: Path, text: str):
    sign(tmp_path, text)
    assert writer(tmp_path) is None
