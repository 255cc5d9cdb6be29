from __future__ import annotations

import errno
import gzip
import io
import os
import tarfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from run_builder import Game, build_run, edit_manifest

from results import actions, archive, tar_check
from results.archive import RUN_FILES, export_archive, import_archive, write_archive
from results.atomic import table_bytes
from results.errors import ResultsError
from results.schema import TIMING_SCHEMA
from results.store import parse_table
from results.tables import load_runs

PLACE = "pqn/Pong/200k/seed-0"


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def pack(path: Path, members: dict[str, bytes] | list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    if isinstance(members, dict):
        members = [(tarfile.TarInfo(name), data) for name, data in members.items()]
    with tarfile.open(path, "w:gz") as packed:
        for member, data in members:
            if member.isreg():
                member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for seed in (0, 1):
        directory = build_run(root, seed=seed)
        for name in ("checkpoint.pt", "actions.bin", "run.log", ".lock"):
            (directory / name).write_bytes(b"not for others")
    build_run(root, seed=2, status="interrupted", finished_at=None)
    return root


@pytest.fixture
def packed(source: Path, tmp_path: Path) -> Path:
    export_archive(source, tmp_path / "runs.tar.gz")
    return tmp_path / "runs.tar.gz"


def test_runs_arrive_as_they_left_without_checkpoints_and_logs(source: Path, packed: Path, tmp_path: Path):
    imported = import_archive(packed, tmp_path / "target" / "runs")
    assert [spec.seed for spec in imported.added] == [0, 1]
    assert imported.present == ()
    expected = {f"pqn/Pong/200k/seed-{seed}/{name}" for seed in (0, 1) for name in RUN_FILES}
    arrived = tree(tmp_path / "target" / "runs")
    assert set(arrived) == expected
    assert all(data == (source / name).read_bytes() for name, data in arrived.items())
    assert load_runs(tmp_path / "target" / "runs").broken == ()


def test_the_same_runs_give_the_same_archive(source: Path, packed: Path, tmp_path: Path):
    for path in source.rglob("*"):
        os.utime(path, (1, 1))
    export_archive(source, tmp_path / "again.tar.gz")
    assert packed.read_bytes()[4:8] == bytes(4)  # gzip's own time stamp
    assert (tmp_path / "again.tar.gz").read_bytes() == packed.read_bytes()


def test_other_runs_can_be_selected(source: Path, tmp_path: Path):
    specs = export_archive(source, tmp_path / "a.tar.gz", lambda run: run.spec.seed == 2).specs
    assert [spec.seed for spec in specs] == [2]
    import_archive(tmp_path / "a.tar.gz", tmp_path / "target")
    assert load_runs(tmp_path / "target").runs[0].status == "interrupted"


@pytest.mark.parametrize("bound", ["MAX_MEMBERS", "MAX_UNPACKED_BYTES"])
def test_what_no_import_would_take_is_not_exported(source: Path, tmp_path: Path, monkeypatch, bound: str):
    """2,500 runs used to be packed, and only whoever got them was told that they are too many."""
    monkeypatch.setattr(archive, bound, 7)
    with pytest.raises(ResultsError, match=r"more than an archive may have \(.*\b7 .*\); export fewer runs at a time"):
        export_archive(source, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


def test_an_archive_is_written_with_one_of_its_files_in_memory_at_a_time(tmp_path: Path):
    """Some 1,400 runs of 40M frames have gigabytes of actions, which nothing makes smaller."""
    tracemalloc.start()
    try:
        write_archive(tmp_path / "a.tar.gz", ((f"{number}.bin", os.urandom(1 << 20)) for number in range(24)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (tmp_path / "a.tar.gz").stat().st_size > 24 << 20
    assert peak < 6 << 20


def test_an_archive_that_cannot_be_finished_leaves_the_one_before_it(tmp_path: Path):
    def members():
        yield "a.bin", b"a"
        raise OSError(5, "Input/output error")

    file = tmp_path / "a.tar.gz"
    file.write_bytes(b"before")
    with pytest.raises(OSError, match="Input/output"):
        write_archive(file, members())
    assert file.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.tar.gz"]


def test_nothing_to_export_is_refused_and_nothing_written(source: Path, tmp_path: Path):
    with pytest.raises(ResultsError, match="no run to export"):
        export_archive(source, tmp_path / "a.tar.gz", lambda run: False)
    assert not (tmp_path / "a.tar.gz").exists()


def test_a_run_that_fails_its_check_is_not_exported(source: Path, tmp_path: Path):
    edit_manifest(source / PLACE, config={"baseline": {"changed": 1}, "protocol": {"name": "paper"}})
    with pytest.raises(ResultsError, match="will not export pqn Pong 200k seed 0: config: its hash"):
        export_archive(source, tmp_path / "a.tar.gz")
    assert not (tmp_path / "a.tar.gz").exists()


def test_importing_again_changes_nothing(packed: Path, tmp_path: Path):
    import_archive(packed, tmp_path / "target")
    before = tree(tmp_path / "target")
    imported = import_archive(packed, tmp_path / "target")
    assert imported.added == ()
    assert [spec.seed for spec in imported.present] == [0, 1]
    assert tree(tmp_path / "target") == before


def test_a_run_that_differs_is_never_replaced_and_no_other_comes_in(packed: Path, tmp_path: Path):
    target = tmp_path / "target"
    build_run(target, seed=1, games=[Game(10, episode_return=21.0)])
    before = tree(target)
    with pytest.raises(ResultsError, match=r"seed-1 is taken by a run that differs .* nothing was imported"):
        import_archive(packed, target)
    assert tree(target) == before
    assert os.listdir(target) == ["pqn"]


@pytest.mark.parametrize(
    "name",
    [
        f"../{PLACE}/manifest.json",
        f"/{PLACE}/manifest.json",
        f"pqn/../../{PLACE}/manifest.json",
        "..\\evil\\manifest.json",
        "C:/evil/manifest.json",
    ],
)
def test_a_member_that_points_elsewhere_is_refused(tmp_path: Path, name: str):
    path = pack(tmp_path / "evil.tar.gz", {name: b"{}"})
    with pytest.raises(ResultsError, match="is no plain file inside the archive; nothing was imported"):
        import_archive(path, tmp_path / "deep" / "target")
    assert os.listdir(tmp_path) == ["evil.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes):
    member = tarfile.TarInfo(f"{PLACE}/manifest.json")
    member.type = kind
    member.linkname = "/etc/passwd"
    path = pack(tmp_path / "evil.tar.gz", [(member, b"")])
    with pytest.raises(ResultsError, match="is no plain file"):
        import_archive(path, tmp_path / "target")
    assert os.listdir(tmp_path) == ["evil.tar.gz"]


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        f"{PLACE}/checkpoint.pt",
        "pqn/Pong/manifest.json",
        f"results/runs/{PLACE}/manifest.json",
        "./" + PLACE + "/manifest.json",
        "pqn/Pong/200k/seed-00/manifest.json",
    ],
)
def test_a_member_that_is_no_file_of_a_run_is_refused(tmp_path: Path, name: str):
    path = pack(tmp_path / "odd.tar.gz", {name: b"{}"})
    with pytest.raises(ResultsError, match="is no file of a run"):
        import_archive(path, tmp_path / "target")
    assert os.listdir(tmp_path) == ["odd.tar.gz"]


def test_runs_of_another_protocol_arrive_in_its_folder(tmp_path: Path):
    source, file = tmp_path / "source", tmp_path / "runs.tar.gz"
    build_run(source)
    build_run(source, protocol="sticky")
    export_archive(source, file)
    imported = import_archive(file, tmp_path / "target")
    assert {str(spec.directory) for spec in imported.added} == {PLACE, f"sticky/{PLACE}"}
    assert tree(tmp_path / "target") == tree(source)


@pytest.mark.parametrize(("protocol", "lies_in"), [("paper", "sticky"), ("sticky", "other")])
def test_a_run_in_another_protocols_folder_is_refused(tmp_path: Path, protocol: str, lies_in: str):
    source = tmp_path / "source"
    directory = build_run(source, protocol=protocol)
    files = {f"{lies_in}/{PLACE}/{path.name}": path.read_bytes() for path in directory.iterdir() if path.is_file()}
    with pytest.raises(ResultsError, match=r"whose place is (sticky/)?pqn/Pong/200k/seed-0; .*nothing was imported"):
        import_archive(pack(tmp_path / "odd.tar.gz", files), tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_a_member_that_is_there_twice_is_refused(tmp_path: Path):
    members = [(tarfile.TarInfo(f"{PLACE}/manifest.json"), b"{}") for _ in range(2)]
    with pytest.raises(ResultsError, match="is in it twice"):
        import_archive(pack(tmp_path / "odd.tar.gz", members), tmp_path / "target")


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b"no tar", mtime=0), b"\x1f\x8b\x08\x00"],
    ids=["empty", "text", "gzip of something else", "gzip cut short"],
)
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "odd.tar.gz").write_bytes(content)
    with pytest.raises(ResultsError, match=r"odd.tar.gz: no readable archive of runs"):
        import_archive(tmp_path / "odd.tar.gz", tmp_path / "target")
    assert os.listdir(tmp_path) == ["odd.tar.gz"]


def test_an_absent_and_an_empty_archive_are_refused(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"absent.tar.gz: no readable archive of runs \(No such file"):
        import_archive(tmp_path / "absent.tar.gz", tmp_path / "target")
    with pytest.raises(ResultsError, match="holds no runs"):
        import_archive(pack(tmp_path / "empty.tar.gz", {}), tmp_path / "target")


def test_an_archive_cut_short_brings_nothing(packed: Path, tmp_path: Path):
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size * 2 // 3])
    with pytest.raises(ResultsError, match="no readable archive"):
        import_archive(packed, tmp_path / "target")
    assert not (tmp_path / "target").exists()


def test_one_bad_run_keeps_all_out(source: Path, tmp_path: Path):
    members = {name: data for name, data in tree(source).items() if Path(name).name in RUN_FILES}
    members["pqn/Pong/200k/seed-1/episodes.parquet"] = b"PAR1"
    path = pack(tmp_path / "bad.tar.gz", members)
    with pytest.raises(ResultsError, match=r"the archive's pqn Pong 200k seed 1: episodes.parquet: SHA-256") as error:
        import_archive(path, tmp_path / "target")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "target").exists()


def test_a_run_at_anothers_place_is_refused(source: Path, tmp_path: Path):
    members = {f"c51/Pong/200k/seed-0/{name}": (source / PLACE / name).read_bytes() for name in RUN_FILES}
    with pytest.raises(ResultsError, match=r"the archive's c51/Pong/200k/seed-0/manifest.json: belongs to the run pqn"):
        import_archive(pack(tmp_path / "moved.tar.gz", members), tmp_path / "target")


def test_an_archive_larger_than_any_run_is_refused(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tar_check, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ResultsError, match="is larger than any run's"):
        import_archive(packed, tmp_path / "target")


def test_a_rename_that_fails_takes_back_the_runs_before_it(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rename = os.rename

    def fails_for_the_second(old: Path, new: Path) -> None:
        if str(new).endswith("seed-1"):
            raise OSError(28, "No space left on device")
        rename(old, new)

    monkeypatch.setattr(archive.os, "rename", fails_for_the_second)
    target = tmp_path / "target"
    (target / "c51").mkdir(parents=True)
    with pytest.raises(ResultsError, match=r"cannot be written .No space left.*; nothing was imported"):
        import_archive(packed, target)
    assert os.listdir(target) == ["c51"]


def test_a_results_folder_that_is_a_file_is_refused(packed: Path, tmp_path: Path):
    (tmp_path / "target").write_text("hello")
    with pytest.raises(ResultsError, match="is a file, not a folder of results"):
        import_archive(packed, tmp_path / "target")
    assert (tmp_path / "target").read_text() == "hello"


def pax(text: bytes, kind: bytes = tarfile.XHDTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """An extended header with one record, written without asking tarfile."""
    member = tarfile.TarInfo("pax")
    member.type = kind
    length = len(text) + 3
    record = b"%d %s\n" % (length + len(str(length)) - 1, text)
    member.size = len(record)
    return member, record


def pack_raw(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """Headers as they are; `tarfile` itself would refuse to write some of them."""
    blocks = [
        member.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE) for member, data in members
    ]
    path.write_bytes(gzip.compress(b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE), mtime=0))
    return path


def sized(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member


def refused(path: Path, tmp_path: Path) -> str:
    """The one line with which an archive is refused, once it is seen that nothing of it is there."""
    with pytest.raises(ResultsError) as error:
        import_archive(path, tmp_path / "deep" / "target")
    assert not (tmp_path / "deep").exists()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "record",
    [b"GNU.sparse.size=abc", b"GNU.sparse.map=1,2,x", b"GNU.sparse.major=1", b"size=99999999999999", b"size=-1"],
)
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE])
def test_a_header_that_says_another_size_is_refused(tmp_path: Path, record: bytes, kind: bytes):
    members = [pax(record, kind), (sized(f"{PLACE}/manifest.json", 2), b"{}")]
    assert "sparse or resized" in refused(pack_raw(tmp_path / "odd.tar.gz", members), tmp_path)


@pytest.mark.parametrize("record", [b"path=a\xff", b"mtime=abc", b"uid=x", b"hdrcharset=BINARY", b"noequals"])
def test_an_odd_header_is_one_line(tmp_path: Path, record: bytes):
    members = [pax(record), (sized(f"{PLACE}/manifest.json", 2), b"{}")]
    refused(pack_raw(tmp_path / "odd.tar.gz", members), tmp_path)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (sized("x", 1 << 30, tarfile.XHDTYPE), "larger than any run's"),
        (sized("x", 1 << 30, tarfile.GNUTYPE_LONGNAME), "larger than any run's"),
        (sized(f"{PLACE}/timing.parquet", 255 << 20), "larger than any run's"),
        (sized("folder", 512, tarfile.DIRTYPE), "no plain file"),
        (sized("link", 512, tarfile.SYMTYPE), "no plain file"),
        (sized("sparse", 512, tarfile.GNUTYPE_SPARSE), "no plain file"),
    ],
)
def test_what_a_header_announces_is_refused_before_it_is_read(tmp_path: Path, member: tarfile.TarInfo, words: str):
    path = tmp_path / "odd.tar.gz"
    path.write_bytes(gzip.compress(member.tobuf(tarfile.USTAR_FORMAT)))  # nothing of it follows
    assert words in refused(path, tmp_path)


def test_zeros_that_unpack_to_more_than_any_run_are_refused_before_anything_is_written(tmp_path: Path):
    files = [(sized(f"{PLACE}/{name}", 32 << 20), bytes(32 << 20)) for name in ("timing.parquet", "metrics.parquet")]
    path = pack_raw(tmp_path / "bomb.tar.gz", files)
    began = time.monotonic()
    assert "unpacks to more" in refused(path, tmp_path)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("kind", [tarfile.DIRTYPE, tarfile.REGTYPE])
def test_more_members_than_any_archive_of_runs_has_are_refused(tmp_path: Path, kind: bytes):
    members = [(sized(f"pqn/Pong/200k/seed-{i}/manifest.json", 0, kind), b"") for i in range(20_000)]
    assert "more than 10000 members" in refused(pack_raw(tmp_path / "many.tar.gz", members), tmp_path)


def test_a_small_table_that_announces_many_rows_is_refused_before_it_is_unpacked(tmp_path: Path):
    rows = 5_000_000
    zeros = pa.array(np.zeros(rows))
    table = pa.Table.from_arrays([zeros.cast(pa.int64()), zeros, zeros], schema=TIMING_SCHEMA)
    data = table_bytes(table)
    assert len(data) < 100_000
    with pytest.raises(ResultsError, match="announces 5000000 rows"):
        parse_table(data, "timing.parquet", where="timing.parquet")


def test_one_flipped_byte_anywhere_is_one_line_or_no_harm(packed: Path, tmp_path: Path):
    """The bytes of a compressed stream fail in many ways, zlib.error among them."""
    sound = packed.read_bytes()
    random = np.random.default_rng(0)
    outcomes = set()
    for position in random.integers(len(sound), size=60):
        data = bytearray(sound)
        data[position] ^= 1 << int(random.integers(8))
        packed.write_bytes(data)
        target = tmp_path / f"target-{position}"
        try:
            import_archive(packed, target)
            assert position < 10  # gzip's own time stamp and system
        except ResultsError as error:
            reason = str(error)
            assert "\n" not in reason
            assert not target.exists()
            outcomes.add("refused")
    assert "refused" in outcomes


def test_a_full_disk_is_named_as_the_cause(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "cannot be written (No space left on device)" in refused(packed, tmp_path)


def test_a_run_that_has_only_the_witnesses_gets_the_whole_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in a clone of a repository, where the whole log is not committed."""
    monkeypatch.setattr(actions, "WHOLE_BYTES", 0)
    build_run(tmp_path / "source")
    build_run(tmp_path / "source", seed=1)
    export_archive(tmp_path / "source", tmp_path / "light.tar.gz", lambda run: run.spec.seed == 0, whole_logs=False)
    export_archive(tmp_path / "source", tmp_path / "whole.tar.gz")
    target = tmp_path / "target"
    import_archive(tmp_path / "light.tar.gz", target)
    before = tree(target)

    def full(*_: object) -> None:
        raise ResultsError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "_place", full)
        with pytest.raises(ResultsError, match="the disk is full"):
            import_archive(tmp_path / "whole.tar.gz", target)
    assert tree(target) == before
    imported = import_archive(tmp_path / "whole.tar.gz", target)
    assert ([s.seed for s in imported.added], [s.seed for s in imported.present]) == ([1], [0])
    assert imported.completed == imported.present
    assert tree(target / "pqn") == tree(tmp_path / "source" / "pqn")
    assert import_archive(tmp_path / "whole.tar.gz", target).completed == ()


def test_a_folder_behind_a_link_to_another_disk_takes_runs(packed: Path, tmp_path: Path, monkeypatch):
    target, disk = tmp_path / "target", tmp_path / "disk"
    target.mkdir()
    disk.mkdir()
    (target / "pqn").symlink_to(disk)
    rename = os.rename

    def within_one_disk(source: Path, place: Path) -> None:
        if source.resolve().is_relative_to(disk) != place.parent.resolve().is_relative_to(disk):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, place)

    monkeypatch.setattr(os, "rename", within_one_disk)
    assert len(import_archive(packed, target).added) == 2
    assert load_runs(target).broken == ()
    assert len(load_runs(target).runs) == 2
    assert not list(tmp_path.rglob(".import.tmp-*"))
