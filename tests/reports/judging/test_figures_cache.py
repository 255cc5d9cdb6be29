"""Figures that an earlier report read: used only where nothing that they follow from has changed."""

import dataclasses
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from made_up_runs import make_catalogue, write_run

from reports.build import build
from reports.judging import figures_cache
from reports.judging.evidence import Reading
from reports.judging.figures_cache import FiguresCache
from reports.judging.run_figures import figures_of
from results.errors import ResultsError
from results.store import open_run

FRACTIONS = (0.45,)
DIAGNOSTICS = {"effective_rank/conv2": 60.0, "dead_fraction/conv3": 0.05}


@pytest.fixture(autouse=True)
def _files_count_as_settled(monkeypatch):
    monkeypatch.setattr(figures_cache, "SETTLED_SECONDS", -60.0)


@pytest.fixture
def run(tmp_path):
    return open_run(write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, 0, 0.5, diagnostics=DIAGNOSTICS))


@pytest.fixture
def kept(run, tmp_path):
    """The folder, with the run's figures in it."""
    FiguresCache(tmp_path / "cache").of(run, FRACTIONS)
    return tmp_path / "cache"


def is_read(run, folder, fractions=FRACTIONS):
    """Whether tables were read; what comes back is what they hold, in either case."""
    cache = FiguresCache(folder)
    found = cache.of(run, fractions)
    for ours, theirs in zip(vars(found).values(), vars(figures_of(run, fractions)).values(), strict=True):
        if isinstance(ours, dict):
            assert list(ours) == list(theirs)
            ours, theirs = list(ours.values()), list(theirs.values())
        np.testing.assert_array_equal(ours, theirs)
    return cache.read == 1


def test_a_run_that_did_not_change_is_not_read_again(run, kept):
    assert not is_read(run, kept)


def test_without_a_folder_every_run_is_read(run):
    assert is_read(run, None)


@pytest.mark.parametrize("games", [0, 120])
def test_missing_scores_come_back_as_missing(tmp_path, games):
    run = open_run(
        write_run(
            tmp_path / "runs", "c51", "Pong", 20_000, 0, 0.5, games=games, frames_done=9_000, status="interrupted"
        )
    )
    assert is_read(run, tmp_path / "cache")
    assert not is_read(run, tmp_path / "cache")


def rewrite_in_place(run):
    """Same size, same inode, and the old time put back: only the time of the change tells."""
    path = run.directory / "metrics.parquet"
    before = path.stat()
    with path.open("r+b") as file:
        file.write(path.read_bytes()[:4])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(run):
    path = run.directory / "metrics.parquet"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


@pytest.mark.parametrize("change", [rewrite_in_place, replace])
def test_a_table_that_was_touched_is_read_again(run, kept, change):
    change(run)
    assert is_read(run, kept)
    assert not is_read(run, kept)


def test_a_damaged_table_is_found_although_its_figures_are_kept(run, kept):
    with (run.directory / "episodes.parquet").open("r+b") as file:
        file.seek(100)
        file.write(b"?")
    with pytest.raises(ResultsError, match="SHA-256 differs"):
        FiguresCache(kept).of(run, FRACTIONS)


def test_another_manifest_fractions_or_code_count_as_another_run(run, kept, monkeypatch):
    changed = dataclasses.replace(run, manifest={**run.manifest, "frames_done": run.frames_done - 1})
    assert is_read(changed, kept)
    FiguresCache(kept).of(run, FRACTIONS)
    assert is_read(run, kept, (0.2, 0.45))
    FiguresCache(kept).of(run, FRACTIONS)
    monkeypatch.setattr(figures_cache, "code_digest", lambda: "newer")
    assert is_read(run, kept)


def test_code_that_a_run_keeps_is_no_code_of_reports(tmp_path):
    for package in ("results", "reports", "reports/judging"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    before = figures_cache.code_digest(tmp_path)
    own = tmp_path / "results/runs/my-own/Pong/4M/seed-0/code/net.py"
    own.parent.mkdir(parents=True)
    own.write_text("a user's own")
    figures_cache.code_digest.cache_clear()
    assert figures_cache.code_digest(tmp_path) == before
    (tmp_path / "reports/judging/curves.py").write_text("ours")
    figures_cache.code_digest.cache_clear()
    assert figures_cache.code_digest(tmp_path) != before


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda _: b""]
)
def test_a_damaged_file_of_the_cache_is_read_over_and_mended(run, kept, damage):
    (file,) = (path for path in kept.rglob("*") if path.is_file())
    file.write_bytes(damage(file.read_bytes()))
    assert is_read(run, kept)
    assert not is_read(run, kept)


def test_a_table_younger_than_its_times_can_tell_is_not_kept(run, tmp_path, monkeypatch):
    monkeypatch.setattr(figures_cache, "SETTLED_SECONDS", 3600.0)
    assert is_read(run, tmp_path / "cache")
    assert is_read(run, tmp_path / "cache")


def test_a_cache_that_cannot_be_written_only_costs_time(run, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert is_read(run, tmp_path / "cache")


def test_reports_with_and_without_it_have_the_same_bytes_also_two_at_once(tmp_path):
    for seed, name in enumerate(("pqn", "hadamax-pqn", "pqn", "hadamax-pqn")):
        write_run(tmp_path / "runs", name, "Pong", 4_000_000, seed, 0.4 + seed / 10, diagnostics=DIAGNOSTICS)

    def report(name, folder):
        reading = Reading(figures=FiguresCache(folder))
        site = build(results=tmp_path / "runs", out=tmp_path / name, catalogue=make_catalogue(), reading=reading)
        files = {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        assert site.index.is_file()
        return reading.figures.read, files

    plain = report("plain", None)
    with ThreadPoolExecutor() as threads:
        both = list(threads.map(report, ("one", "two"), (tmp_path / "cache",) * 2))
    last = report("last", tmp_path / "cache")
    assert (plain[0], last[0]) == (4, 0)
    assert all(files == plain[1] for _, files in (*both, last))
