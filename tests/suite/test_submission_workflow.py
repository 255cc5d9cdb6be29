"""The workflow that checks a pull request's bundles: its shell on small repositories, with a stand-in for the suite.

`python -m suite import --check` has tests of its own, so here a stand-in says which bundle it was given.
"""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci/check-submissions"
WORKFLOW = ROOT / ".github/workflows/submission.yml"
STAND_IN = """#!/bin/sh
echo "verdict on $(cat "$4"): $5 $6 $7 $8 in $(pwd)"
! grep -q bad "$4"
"""


@pytest.fixture
def proposed(tmp_path):
    """A repository with one commit, which is where the pull request began."""
    folder = tmp_path / "proposed"
    git(folder.parent, "init", "-q", "-b", "main", "proposed")
    (folder / "README.md").write_text("a project")
    commit(folder)
    git(folder, "tag", "base")
    return folder


def git(folder, *arguments):
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True)


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "change")


def add(folder, name, content="good"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    commit(folder)


def check(proposed):
    """(exit code, what the summary says)."""
    base, tools, summary = (proposed.parent / name for name in ("base", "tools", "summary.md"))
    base.mkdir()
    tools.mkdir()
    (tools / "python").write_text(STAND_IN)
    (tools / "python").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    arguments = [str(SCRIPT), str(base), str(proposed), "base", "salt-1", str(summary)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == summary.read_text()
    return done.returncode, done.stdout


def test_each_bundle_that_is_added_is_checked_in_the_base_with_the_salt(proposed):
    add(proposed, "submissions/ada.tar.gz")
    add(proposed, "submissions/grace.tar.gz", "good too")
    code, said = check(proposed)
    assert code == 0
    assert (
        f"### submissions/ada.tar.gz\nverdict on good: --check --markdown --salt salt-1 in {proposed.parent}/base"
        in said
    )
    assert "verdict on good too: " in said


def test_one_refused_bundle_fails_it_and_the_others_are_checked_all_the_same(proposed):
    add(proposed, "submissions/a.tar.gz", "bad")
    add(proposed, "submissions/b.tar.gz")
    code, said = check(proposed)
    assert code == 1
    assert "verdict on bad" in said
    assert "verdict on good" in said


@pytest.mark.parametrize(
    "name",
    ["README.md", "suite/x.py", "submissions/x.sh", "submissions/a b.tar.gz", "submissions/$(touch evil).tar.gz"],
)
def test_a_pull_request_that_does_more_is_refused(proposed, name):
    add(proposed, "submissions/ada.tar.gz")
    add(proposed, name)
    code, said = check(proposed)
    assert code == 1
    assert "a submission adds files submissions/NAME.tar.gz and does nothing else" in said
    assert "$(" not in said
    assert not list(proposed.parent.rglob("evil"))


def test_a_link_is_no_bundle(proposed):
    (proposed / "submissions").mkdir()
    (proposed / "submissions/a.tar.gz").symlink_to("/etc/passwd")
    commit(proposed)
    code, said = check(proposed)
    assert code == 1
    assert "`submissions/a.tar.gz` is no plain file" in said
    assert "verdict" not in said


def test_a_bundle_that_was_there_and_is_changed_is_refused(proposed):
    add(proposed, "submissions/a.tar.gz")
    git(proposed, "tag", "-f", "base")
    add(proposed, "submissions/a.tar.gz", "another")
    assert check(proposed)[0] == 1


def test_nothing_added_is_said(proposed):
    assert check(proposed) == (1, "No bundle was added below submissions/.\n")


def test_the_workflow_has_no_secrets_and_runs_the_base_branchs_script():
    text = WORKFLOW.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert list(workflow[True]) == ["pull_request"]  # YAML reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets" not in text.replace("No secrets", "")
    steps = workflow["jobs"]["check"]["steps"]
    base, proposed = (step["with"] for step in steps if step.get("uses", "").startswith("actions/checkout@"))
    assert (base["path"], base["ref"]) == ("base", "${{ github.event.pull_request.base.sha }}")
    assert proposed["path"] == "proposed"
    assert not base["persist-credentials"]
    assert not proposed["persist-credentials"]
    for step in steps:
        if "run" in step:
            # What a stranger can choose never stands in a command, where a shell would read it.
            assert "${{" not in step["run"]
            assert step.get("working-directory") == "base" or step["run"].startswith("base/.ci/check-submissions base ")
    assert os.access(SCRIPT, os.X_OK)
