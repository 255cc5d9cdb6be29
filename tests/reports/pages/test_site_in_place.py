"""A site takes the place of an earlier one whole, wherever that is cut short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports.errors import ReportsError
from reports.pages.site import MARKER, Site

KILLED = """
import os, pathlib, shutil, sys
from reports.pages.site import MARKER, Site

calls = 0

def kill_at(number, action):
    def act(first, *others, **options):
        global calls
        calls += 1
        if calls == number:
            (pathlib.Path(first) / MARKER).unlink(missing_ok=True)  # as far as a deletion may have come
            os._exit(9)
        return action(first, *others, **options)
    return act

what, number, out = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
with Site("a report", out) as site:
    site.add("index.html", "new")
    holder, name = (shutil, "rmtree") if what == "deletes" else (pathlib.Path, "rename")
    setattr(holder, name, kill_at(number, getattr(holder, name)))
    site.finish()
"""


def make(out: Path, content: str) -> None:
    with Site("a report", out) as site:
        site.add("index.html", content)
        site.finish()


@pytest.mark.parametrize("killed", ["deletes 1", "renames 2"])
def test_a_report_that_was_killed_while_it_replaced_another_does_not_keep_the_next_one_out(
    tmp_path: Path, killed: str
) -> None:
    out = tmp_path / "html"
    make(out, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, *killed.split(), str(out)], timeout=120)
    assert done.returncode == 9
    make(out, "newest")
    assert (out / "index.html").read_text() == "newest"
    assert [path.name for path in tmp_path.iterdir()] == ["html"]


def test_where_the_new_report_cannot_be_put_in_place_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = tmp_path / "html", Path.rename
    make(out, "old")

    def full(path: Path, target: Path) -> Path:
        if ".new-" in path.name:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(ReportsError, match=r"cannot be written \(No space left on device\)"):
        make(out, "new")
    assert (out / "index.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["html"]


def test_a_file_that_the_report_did_not_make_is_never_deleted_with_it(tmp_path: Path) -> None:
    out = tmp_path / "html"
    make(out, "old")
    (out / ".git").mkdir()
    (out / ".git" / "HEAD").write_text("a published folder")
    with pytest.raises(ReportsError, match=r"holds \.git/HEAD, which no report made, and a new report would delete it"):
        make(out, "new")
    assert (out / "index.html").read_text() == "old"


def test_what_a_file_manager_leaves_keeps_no_report_out(tmp_path: Path) -> None:
    out = tmp_path / "html"
    make(out, "old")
    (out / ".DS_Store").write_text("icons")
    make(out, "new")
    assert (out / "index.html").read_text() == "new"


def test_a_report_of_an_older_suite_which_named_no_files_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "html"
    make(out, "old")
    (out / MARKER).write_text("")
    make(out, "new")
    assert (out / "index.html").read_text() == "new"
