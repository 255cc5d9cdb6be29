"""What a run gives, and whether it counts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import HARDWARE, make_catalogue, raw, write_run

from reports.judging.evidence import load
from reports.pages.baseline import baseline_page
from reports.pages.site import Site
from reports.summary import gather, summarise
from results.external import ExternalScore, store_scores
from results.store import external_directory, read_episodes

CATALOGUE = make_catalogue()


def test_a_run_gives_its_score_curve_and_diagnostics(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 2_000_000, 3, 0.5, games=200, diagnostics={"effective_rank/conv2": 40.0})
    evidence = load(tmp_path, CATALOGUE, fractions=[0.45])
    (entry,) = evidence.entries
    assert (entry.baseline, entry.game, entry.frames, entry.seed, entry.standing) == (
        "pqn",
        "Pong",
        2_000_000,
        3,
        "counts",
    )
    assert entry.score == pytest.approx(raw(0.5, "Pong"))
    assert entry.hns == pytest.approx(0.5)
    assert entry.run is not None
    assert entry.run.games == 200
    assert entry.run.curve[-1] == pytest.approx(entry.score)
    assert entry.run.at_fraction[0.45] == entry.run.curve[89]
    assert entry.run.final_diagnostics == {"effective_rank/conv2": 40.0}
    assert np.isnan(entry.run.diagnostics["effective_rank/conv2"][0])
    assert entry.run.diagnostics["effective_rank/conv2"][-1] == 40.0
    assert evidence.budgets("pqn") == [2_000_000]


@pytest.mark.parametrize(
    ("path", "taken", "expected"), [("plain", [], "plain path"), ("fast", ["freed memory kept"], "fast path")]
)
def test_the_path_of_a_run_is_the_one_that_its_manifest_names(
    tmp_path: Path, path: str, taken: list[str], expected: str
) -> None:
    """A run without any fast path was called fast where none was missed."""
    hardware = HARDWARE | {"fast_paths": taken, "fast_paths_missed": []}
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, hardware=hardware, path=path)
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.run is not None
    assert entry.run.hardware == f"Made-up CPU (AVX2), 2 cores, {expected}"


def test_an_unfinished_runs_curve_ends_where_it_stopped(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 2_000_000, 0, 0.5, status="interrupted", frames_done=1_000_000)
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.standing == "unfinished"
    assert entry.score is None
    assert entry.run is not None
    assert not np.isnan(entry.run.curve[99])
    assert np.isnan(entry.run.curve[100:]).all()


def test_an_unfinished_run_has_no_final_diagnostics_however_far_it_got(tmp_path: Path) -> None:
    """A claim about layers would take them for those of a whole run."""
    write_run(
        tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5,
        metric_rows=200, diagnostics={"dead_fraction/dense": 0.25}, status="interrupted", frames_done=990_000,
    )  # fmt: skip
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.run is not None
    assert entry.run.final_diagnostics == {}
    assert entry.run.diagnostics["dead_fraction/dense"][98] == 0.25
    assert np.isnan(entry.run.diagnostics["dead_fraction/dense"][99])


def test_a_final_diagnostic_is_the_mean_over_the_last_tenth_of_the_budget(tmp_path: Path) -> None:
    rising = np.arange(1.0, 101.0)  # one value each 1 % of the budget; the last ten are 91 to 100
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, metric_rows=200, diagnostics={"dead_fraction/dense": rising})
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.run is not None
    assert entry.run.final_diagnostics["dead_fraction/dense"] == pytest.approx(95.5)
    np.testing.assert_array_equal(entry.run.diagnostics["dead_fraction/dense"], rising)


def test_a_diagnostic_is_drawn_where_it_was_taken_alone(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, metric_rows=100, diagnostics={"dead_fraction/dense": 0.25})
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.run is not None
    curve = entry.run.diagnostics["dead_fraction/dense"]
    assert np.isnan(curve[0::2]).all()  # one value each 2 % of the budget, and a point each 1 %
    assert (curve[1::2] == 0.25).all()


def test_the_median_is_of_the_games_that_the_score_is_the_mean_of(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, games=400)
    (entry,) = load(tmp_path, CATALOGUE).entries
    assert entry.run is not None
    games = read_episodes(directory)
    last = games[games["kind"] == "train"]["episode_return"].to_numpy()[-100:]
    assert entry.run.median_score == np.median(last)
    assert entry.score == pytest.approx(np.mean(last))


def test_a_run_stopped_before_its_first_tables_is_unfinished_and_not_broken(tmp_path: Path) -> None:
    directory = write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5, status="running", frames_done=0, games=1)
    for name in ("episodes.parquet", "metrics.parquet", "timing.parquet"):
        (directory / name).unlink()
    evidence = load(tmp_path, CATALOGUE)
    assert [entry.standing for entry in evidence.entries] == ["unfinished"]
    assert evidence.broken == ()


def test_a_changed_table_is_broken_and_the_others_are_read(tmp_path: Path) -> None:
    broken = write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5)
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 1, 0.5)
    other = tmp_path / "pqn/Pong/1M/seed-1/episodes.parquet"
    (broken / "episodes.parquet").write_bytes(other.read_bytes())
    evidence = load(tmp_path, CATALOGUE)
    assert [entry.seed for entry in evidence.entries] == [1]
    ((place, reason),) = evidence.broken
    assert place == "pqn/Pong/1M/seed-0"
    assert "SHA-256 differs" in reason
    assert str(tmp_path) not in reason


def test_a_table_of_proofs_that_cannot_be_read_is_named_and_every_run_is_on_its_word(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5)
    (tmp_path / "proof.json").write_text("[")
    evidence = load(tmp_path, CATALOGUE)
    ((place, reason),) = evidence.broken
    assert place == "proof.json"
    assert "no JSON" in reason
    assert [entry.run.proof for entry in evidence.entries if entry.run] == ["on its word"]


@pytest.mark.parametrize("roots", [("y/runs", "y"), ("y", "y/runs"), ("y/runs", "link"), ("y/runs", "y/../y/runs")])
def test_a_run_below_several_folders_counts_once_and_nothing_is_left_out(
    tmp_path: Path, roots: tuple[str, str]
) -> None:
    write_run(tmp_path / "y/runs", "pqn", "Pong", 1_000_000, 0, 0.5)
    write_run(tmp_path / "y/runs", "pqn", "Pong", 1_000_000, 0, 0.5, protocol="sticky")  # another report's
    (tmp_path / "link").symlink_to(tmp_path / "y/runs")
    first, second = (tmp_path / name for name in roots)
    evidence = load(first, make_catalogue(others=("sticky",)), more=[second])
    assert [entry.standing for entry in evidence.entries] == ["counts"]
    assert evidence.broken == ()


def test_a_copied_run_is_named_and_the_report_is_made(tmp_path: Path) -> None:
    """It counted as a second seed, and the report ended in numpy's traceback about arrays without a truth value."""
    write_run(tmp_path / "runs", "hadamax-pqn", "Pong", 1_000_000, 0, 0.5)
    shutil.copytree(tmp_path / "runs/hadamax-pqn", tmp_path / "runs/backup/hadamax-pqn")
    report = gather(results=tmp_path / "runs", catalogue=CATALOGUE)
    assert [entry.seed for entry in report.evidence.entries] == [0]
    ((place, reason),) = report.evidence.broken
    assert place == "backup/hadamax-pqn/Pong/1M/seed-0"
    assert "delete it if it is a copy" in reason
    assert str(tmp_path) not in reason


def test_of_a_run_that_lies_in_two_folders_the_first_sound_copy_counts_and_the_other_is_named(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for root, hns in ((first, 0.5), (second, 0.9)):
        write_run(root, "pqn", "Pong", 1_000_000, 0, hns)
    evidence = load(first, CATALOGUE, more=[second])
    assert [entry.hns for entry in evidence.entries] == [pytest.approx(0.5)]
    place = "pqn/Pong/1M/seed-0"
    assert evidence.broken == ((place, f"{second} has it a second time; the one in {first} is used"),)
    (first / place / "episodes.parquet").write_bytes(b"junk")
    evidence = load(first, CATALOGUE, more=[second])
    assert [entry.hns for entry in evidence.entries] == [pytest.approx(0.9)]
    ((broken, reason),) = evidence.broken
    assert (broken, "SHA-256 differs" in reason) == (place, True)


def test_runs_of_an_unknown_baseline_count_if_they_are_of_one_configuration(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path, "mine", "Pong", 1_000_000, seed, 0.5)
    assert [entry.standing for entry in load(tmp_path, CATALOGUE).entries] == ["counts"] * 2
    write_run(tmp_path, "mine", "Pong", 1_000_000, 2, 0.5, changes={"discount": 0.9})
    entries = load(tmp_path, CATALOGUE).entries
    assert {(entry.standing, entry.reason) for entry in entries} == {
        ("not comparable", "not pinned, and its runs have several configurations")
    }


def test_two_entries_are_equal_only_if_they_are_one(tmp_path: Path) -> None:
    write_run(tmp_path, "pqn", "Pong", 1_000_000, 0, 0.5)
    one, other = (load(tmp_path, CATALOGUE).entries[0] for _ in range(2))
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_scores_beside_two_folders_of_results_count_once(tmp_path: Path) -> None:
    folders = [tmp_path / "runs", tmp_path / "runs2"]
    for folder in folders:
        folder.mkdir()
    store_scores(folders[0], "theirs", [ExternalScore("pqn", "Pong", 0, 4_000_000, 1.0)], source="a table")
    (external_directory(folders[0]) / "bad.csv").write_text("no scores")
    report = gather(results=folders[0], more=folders[1:], catalogue=CATALOGUE)
    assert [entry.source for entry in report.evidence.entries] == ["external"]
    assert [place for place, _ in report.evidence.broken] == ["external/bad.csv"]


def test_a_copy_of_imported_scores_beside_another_folder_is_no_second_seed(tmp_path: Path) -> None:
    """Two seeds, imported beside two folders, used to be four: enough for a verdict, with too narrow an interval."""
    folders = [tmp_path / "first/runs", tmp_path / "second/runs"]
    scores = [ExternalScore("pqn", "Pong", seed, 4_000_000, 1.0 + seed) for seed in (0, 1)]
    for folder, more in zip(folders, (0, 1), strict=True):
        folder.mkdir(parents=True)
        theirs = [*scores, *(ExternalScore("pqn", "Pong", 2, 4_000_000, 5.0) for _ in range(more))]
        store_scores(folder, "theirs", theirs, source="a table", protocol="paper")
    report = gather(results=folders[0], more=folders[1:], catalogue=CATALOGUE)
    assert [(entry.seed, entry.score) for entry in report.evidence.entries] == [(0, 1.0), (1, 2.0), (2, 5.0)]
    ((place, reason),) = report.evidence.broken_files
    assert place == "external/theirs"
    assert reason == f"2 scores of {folders[1]} are there a second time; what lies beside {folders[0]} is used"


def test_a_set_of_scores_that_was_copied_by_hand_is_no_second_seed(tmp_path: Path) -> None:
    """`import` refuses a score that is there already; a copy of its two files went past it, and counted twice."""
    root = tmp_path / "runs"
    root.mkdir()
    scores = [ExternalScore("pqn", "Pong", seed, 4_000_000, 1.0 + seed) for seed in (0, 1)]
    stored = store_scores(root, "theirs", scores, source="a table", protocol="paper")
    for file in (stored, stored.with_suffix(".json")):
        shutil.copy(file, file.with_stem("yours"))
    report = gather(results=root, catalogue=CATALOGUE)
    assert [(entry.seed, entry.score) for entry in report.evidence.entries] == [(0, 1.0), (1, 2.0)]
    told = f"2 scores of {root} are there a second time; external/theirs is used"
    assert report.evidence.broken_files == (("external/yours", told),)


def test_a_baselines_page_has_no_mean_of_measured_and_imported_scores(tmp_path: Path) -> None:
    """The mean of a game used to be over both, and of scores that state no protocol too."""
    runs = tmp_path / "runs"
    for seed in (0, 1):
        write_run(runs, "pqn", "Pong", 4_000_000, seed, 0.5)
    for name, seed, protocol in (("theirs", 0, "paper"), ("others", 1, "unknown")):
        score = ExternalScore("pqn", "Pong", seed, 4_000_000, 14.0)
        store_scores(runs, name, [score], source="a table", protocol=protocol)
    report = gather(results=runs, catalogue=CATALOGUE)
    info = next(info for info in CATALOGUE.baselines if info.name == "pqn")
    rows = baseline_page(info, report, Site("test", tmp_path / "site"))["games"]
    assert [(row["seeds"], row["hns"], row["note"]) for row in rows] == [
        (2, "0.50", ""),
        (1, "0.98", "imported"),
        (1, "0.98", "imported, off-protocol"),
    ]


def test_broken_files_beside_the_runs_are_named_and_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "runs/submissions").mkdir(parents=True)
    for place in ("runs/proof.json", "runs/submissions/a.json", "external/bad.csv"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_text("[")
    broken = write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, 0, 0.5)
    (broken / "manifest.json").write_text("{")
    report = gather(results=tmp_path / "runs", catalogue=CATALOGUE)
    assert [place for place, _ in report.evidence.broken_runs] == ["pqn/Pong/1M/seed-0"]
    files = ["proof.json", "submissions/a.json", "external/bad.csv"]
    assert [place for place, _ in report.evidence.broken_files] == files
    found = summarise(report)["results"]
    assert (found["runs"], found["broken"], len(found["left_out"])) == (1, 1, 4)
