"""A report that is still what its inputs say is left as it is; any change of theirs or of its own makes it anew."""

import json
import os
import shutil
from pathlib import Path

import pytest
from stored_runs import store_run

from suite import report_cache
from suite.cli import main
from suite.report_cache import Made, inputs_of, recall, remember

MADE = Made({"pages": 79}, ("left out: a run",))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(report_cache, "_SETTLED_NS", -1)
    store_run(Path("runs"))
    Path("html").mkdir()
    Path("html/index.html").write_text("<p>a page")
    Path("html/summary.json").write_text("{}")
    Path("claims.toml").write_text("# mine")


def inputs(choices=("html", False)):
    return inputs_of([Path("runs")], [Path("claims.toml")], choices)


def edit(path):
    """A byte is another one; size and time of the file are what they were."""
    data, before = path.read_bytes(), path.stat()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_was_said_of_a_report_comes_back_while_nothing_changed():
    assert recall(Path("html"), inputs()) is None
    remember(Path("html"), inputs(), MADE)
    assert recall(Path("html"), inputs()) == MADE
    assert recall(Path("other"), inputs()) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda: store_run(Path("runs"), seed=1),
        lambda: edit(Path("runs/pqn/Pong/200k/seed-0/timing.parquet")),
        lambda: Path("runs/pqn/Pong/200k/seed-0").chmod(0o700),
        lambda: Path("runs/proof.json").write_text("{"),
        lambda: edit(Path("claims.toml")),
        lambda: edit(Path("html/index.html")),
        lambda: Path("html/summary.json").unlink(),
        lambda: Path("html/more.txt").write_text("of someone"),
    ],
    ids=["a run more", "a table", "rights", "proofs", "claims", "a page", "a page less", "a file more"],
)
def test_any_change_makes_it_anew(change):
    remember(Path("html"), inputs(), MADE)
    change()
    assert recall(Path("html"), inputs()) is None


def test_locks_that_came_and_went_change_nothing():
    before = inputs()
    lock = Path("runs/pqn/Pong/200k/seed-0/.lock")
    lock.touch()
    assert inputs() != before
    lock.unlink()
    assert inputs() == before


def test_other_flags_or_versions_make_it_anew(monkeypatch):
    remember(Path("html"), inputs(), MADE)
    assert recall(Path("html"), inputs(("html", True))) is None
    monkeypatch.setattr(report_cache, "_versions", lambda: ["another numpy"])
    assert recall(Path("html"), inputs()) is None


def test_changed_code_makes_it_anew(tmp_path, monkeypatch):
    for name in report_cache._CODE:
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "reports/pages.py").write_text("1")
    monkeypatch.setattr(report_cache, "_ROOT", tmp_path)
    remember(Path("html"), inputs(), MADE)
    assert recall(Path("html"), inputs()) == MADE
    (tmp_path / "reports/__pycache__").mkdir()
    (tmp_path / "reports/__pycache__/pages.pyc").write_text("0")
    assert recall(Path("html"), inputs()) == MADE
    edit(tmp_path / "reports/pages.py")
    assert recall(Path("html"), inputs()) is None


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data.replace(b"79", b"78"), lambda _: b"{}"])
def test_a_damaged_or_deleted_cache_makes_it_anew(tmp_path, damage):
    remember(Path("html"), inputs(), MADE)
    (file,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    file.write_bytes(damage(file.read_bytes()))
    assert recall(Path("html"), inputs()) is None
    file.unlink()
    assert recall(Path("html"), inputs()) is None


def test_files_that_may_change_again_unseen_are_not_settled(monkeypatch):
    assert inputs().are_settled
    monkeypatch.setattr(report_cache, "_SETTLED_NS", 3600 * 10**9)
    assert not inputs().are_settled


def test_a_second_report_says_the_same_and_makes_nothing(capsys):
    said = []
    for _ in range(2):
        assert main(["report", "--results", "runs", "--out", "site", "--no-clips"]) == 0
        said.append(capsys.readouterr())
        before = {path: path.stat().st_mtime_ns for path in Path("site").rglob("*.*")}
    assert said[0].out == said[1].out
    assert said[1].err == said[0].err + "nothing changed since this report was made; it stays as it is\n"
    assert main(["report", "--results", "runs", "--out", "site", "--no-clips", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 1
    assert {path: path.stat().st_mtime_ns for path in Path("site").rglob("*.*")} == before


def test_scores_that_were_imported_since_make_it_anew(capsys):
    report = ["report", "--results", "runs", "--out", "site", "--no-clips"]
    assert main(report) == 0
    Path("scores.csv").write_text("baseline,game,seed,frames,score\npqn,Pong,5,200000,-19\n")
    assert main(["import", "scores.csv", "--results", "runs", "--source", "a colleague", "--protocol", "paper"]) == 0
    capsys.readouterr()
    assert main(report) == 0
    assert "nothing changed" not in capsys.readouterr().err
    assert json.loads(Path("site/summary.json").read_text())["results"]["external_scores"] == 1


def test_of_many_scores_that_are_left_out_for_one_reason_a_few_are_named(capsys):
    rows = [f"theirs,Pong,{seed},200000,-19" for seed in range(9)]
    Path("scores.csv").write_text("\n".join(["baseline,game,seed,frames,score", *rows]))
    imported = ["import", "scores.csv", "--results", "runs", "--new-baselines", "theirs", "--protocol", "sticky"]
    assert main(imported) == 0
    capsys.readouterr()
    for _ in range(2):  # made, and found as it was
        assert main(["report", "--results", "runs", "--out", "site", "--no-clips"]) == 0
        *first, last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("left out")]
        assert [line.partition(": not")[0] for line in first] == [
            f"left out: theirs Pong 200k seed {seed}" for seed in range(3)
        ]
        assert last.startswith("left out: 6 more, all in summary.json: not comparable: ")
    assert len(json.loads(Path("site/summary.json").read_text())["results"]["left_out"]) == 9


def test_a_folder_given_twice_or_copied_into_itself_counts_its_runs_once(capsys):
    shutil.copytree("runs/pqn", "runs/backup/pqn")
    given = ("runs", "runs/../runs", str(Path("runs").absolute()), ".")
    folders = [word for folder in given for word in ("--results", folder)]
    assert main(["report", *folders, "--out", "site", "--no-clips"]) == 0
    found = json.loads(Path("site/summary.json").read_text())["results"]
    assert found["left_out"] == [line.removeprefix("left out: ") for line in capsys.readouterr().err.splitlines()]
    (line,) = found["left_out"]
    assert line.startswith("backup/pqn/Pong/200k/seed-0: ")
