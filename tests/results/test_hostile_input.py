"""Bundles and tables of scores as somebody with bad intentions, or a broken tool, would make them."""

from __future__ import annotations

import gzip
import io
import math
import os
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_builder import build_run

from results.archive import export_archive, import_archive
from results.errors import ResultsError
from results.external import load_external, read_scores_csv, store_scores
from results.tables import load_runs

PLACE = "pqn/Pong/200k/seed-0"
FILES = ("manifest.json", "episodes.parquet", "metrics.parquet", "timing.parquet", "actions.parquet")
NAMES = st.one_of(
    st.sampled_from([f"{PLACE}/{name}" for name in FILES]),
    st.sampled_from(
        [
            "../evil",
            "/tmp/evil",
            f"{PLACE}/../../../../../evil",
            "..\\evil",
            "C:\\evil",
            f"{PLACE}/checkpoint.pt",
            f"{PLACE}/manifest.json/x",
            "pqn/<script>alert(1)</script>/200k/seed-0/manifest.json",
            "=HYPERLINK(1)/Pong/200k/seed-0/manifest.json",
            f"{'a' * 300}/Pong/200k/seed-0/manifest.json",
            "pqn/Pong/200k/seed-99999999999999999999/manifest.json",
            ".",
            "",
            "a\nb",
            "\udcff",
        ]
    ),
    st.text(max_size=40),
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE] * 6
    + [tarfile.AREGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE]
    + [tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME]
    + [tarfile.GNUTYPE_LONGLINK, tarfile.GNUTYPE_SPARSE, b"Z"]
)
PAX = st.sampled_from(
    [
        b"30 GNU.sparse.size=abcdefghi\n",
        b"22 GNU.sparse.major=1\n",
        b"19 path=../../evil\n",
        b"15 size=100000\n",
        b"x",
        b"999999999 path=a\n",
        b"-1 path=a\n",
        b"0 =\n",
    ]
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a sound run, by the names they have in an archive."""
    root = tmp_path_factory.mktemp("sound")
    directory = build_run(root)
    return {f"{PLACE}/{name}": (directory / name).read_bytes() for name in FILES}


def archive_of(members: list[tuple[str, bytes, bytes, int]]) -> bytes:
    """Headers with any type and any announced size: (name, type, content, size beyond the content's)."""
    blocks = []
    for name, kind, content, more in members:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        member.size = max(0, len(content) + more)
        try:
            header = member.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
        except (ValueError, UnicodeError):
            continue
        blocks.append(header + content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return b"".join(blocks) + bytes(2 * tarfile.BLOCKSIZE)


def import_into_nothing(data: bytes) -> bool:
    """Whether the archive came in; nothing lies outside its place, and nothing at all where it was refused."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "bundle.tar.gz")
        file.write_bytes(data)
        results = Path(folder, "deep", "results", "runs")
        try:
            import_archive(file, results)
        except ResultsError as error:
            reason = str(error)
            assert "\n" not in reason
            assert len(reason) < 1500
            assert os.listdir(folder) == ["bundle.tar.gz"]
            return False
        assert sorted(os.listdir(folder)) == ["bundle.tar.gz", "deep"]
        assert os.listdir(results) == ["pqn"]
        assert load_runs(results).broken == ()
        return True


@settings(max_examples=200, deadline=None)
@given(
    members=st.lists(
        st.tuples(
            NAMES, KINDS, st.one_of(st.binary(max_size=600), PAX), st.sampled_from([0, 0, 0, 1, 512, 1 << 40, -1])
        ),
        max_size=5,
    ),
    with_run=st.booleans(),
)
def test_a_hostile_bundle_is_one_line_and_leaves_nothing(sound, members, with_run):
    run = [(name, tarfile.REGTYPE, data, 0) for name, data in sound.items()] if with_run else []
    import_into_nothing(gzip.compress(archive_of([*members, *run]), 1))


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 10**9), mask=st.integers(1, 255), inside=st.booleans(), cut=st.booleans())
def test_a_bundle_damaged_anywhere_is_refused_or_comes_in_sound(sound, at, mask, inside, cut):
    """Inside: the tar within gzip, whose own checksum then fits."""
    plain = archive_of([(name, tarfile.REGTYPE, data, 0) for name, data in sound.items()])
    data = bytearray(plain if inside else gzip.compress(plain, 6, mtime=0))
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= mask
    import_into_nothing(gzip.compress(bytes(data), 1) if inside else bytes(data))


def test_the_bundle_that_those_are_made_of_comes_in(sound, tmp_path: Path):
    """Else they would be refused for another reason than the one meant."""
    plain = archive_of([(name, tarfile.REGTYPE, data, 0) for name, data in sound.items()])
    assert import_into_nothing(gzip.compress(plain))
    build_run(tmp_path / "source")
    export_archive(tmp_path / "source", tmp_path / "a.tar.gz")
    assert import_into_nothing((tmp_path / "a.tar.gz").read_bytes())


NUMBERS = ["0", "40M", "1.5", "-0", "nan", "inf", "1e308", "1e9999", "2_0", "0x10", "1,5", "-1", "1e5", "9" * 400]
WORDS = ["c51", "Pong", "None", "<b>", "=1+1", "@SUM(A1)", "../x", "\u0662", "\ufeff", "\u202e", "'", '"', "", " "]
CELLS = st.one_of(
    st.sampled_from([*NUMBERS, *WORDS]),
    st.text(max_size=12),
    st.floats().map(repr),
    st.integers().map(str),
)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, min_size=4, max_size=6).map(",".join), max_size=4),
    sound_rows=st.integers(0, 2),
    header=st.sampled_from(["baseline,game,seed,frames,score"] * 5 + ["score,frames,seed,game,baseline", "a,b", ""]),
)
def test_a_hostile_table_of_scores_is_one_line_or_plain_numbers(rows, sound_rows, header):
    lines = [header, *(f"c51,Pong,{seed},40M,1" for seed in range(sound_rows)), *rows]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scores.csv")
        file.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
        results = Path(folder, "results", "runs")
        try:
            scores = read_scores_csv(file)
        except ResultsError as error:
            reason = str(error)
            assert reason.startswith(str(file))
            assert "\n" not in reason
            return
        assert all(math.isfinite(score.score) and 0 < score.frames <= 10**12 for score in scores)
        store_scores(results, "set", scores, source="ours")
        found = load_external(results)
        assert found.broken == ()
        assert len(found.scores) == len(scores)


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_bytes_of_any_kind_are_one_line(data):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scores.csv")
        file.write_bytes(data)
        with pytest.raises(ResultsError) as error:
            read_scores_csv(file)
        assert "\n" not in str(error.value)
    assert import_into_nothing(data) is False
    assert import_into_nothing(gzip.compress(data)) is False
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as packed:
        member = tarfile.TarInfo(f"{PLACE}/manifest.json")
        member.size = len(data)
        packed.addfile(member, io.BytesIO(data))
    assert import_into_nothing(stream.getvalue()) is False
