"""The nightly job's own shell lines, against an origin on disk: how nights are kept on their branch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

WORKFLOW = Path(__file__).parents[2] / ".github/workflows/nightly.yml"
JOB = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["learning"]


def lines(name: str) -> str:
    (step,) = [step for step in JOB["steps"] if step.get("name") == name]
    return step["run"]


def shell(command: str, where: Path) -> None:
    """As a runner does: bash that stops at the first failure. Nothing of this machine's git settings is read."""
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["bash", "-e", "-c", command], cwd=where, env={**os.environ, **own, **JOB["env"]}, check=True)


def git(where: Path, *arguments: str) -> list[str]:
    said = subprocess.run(["git", *arguments], cwd=where, capture_output=True, text=True, check=True).stdout
    return said.splitlines()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    shell("git init -q -b main && echo nights/ > .gitignore && git add . && git commit -q -m First", made)
    shell("git clone -q --bare made origin.git", tmp_path)
    return tmp_path / "origin.git"


def test_each_night_is_a_commit_with_the_nights_before_it_and_nothing_else(origin: Path, tmp_path: Path) -> None:
    for number, found in ((1, []), (2, ["1.json"]), (3, ["1.json", "2.json"])):
        checkout = tmp_path / f"checkout-{number}"
        shell(f"git clone -q --depth 1 '{origin.as_uri()}' '{checkout}'", tmp_path)
        shell(lines("Fetch the nights before"), checkout)
        nights = checkout / "nights"
        assert sorted(path.name for path in nights.glob("*.json")) == found
        (nights / f"{number}.json").write_text("{}", encoding="utf-8")
        assert git(checkout, "status", "--porcelain") == []
        shell(lines("Keep the night, also one that failed"), nights)
    assert git(origin, "ls-tree", "--name-only", "nights") == ["1.json", "2.json", "3.json"]
    subjects = git(origin, "log", "--format=%an %s", "nights")
    assert len(subjects) == 4
    assert all(subject.startswith("nightly Night of ") for subject in subjects[:3])
    assert subjects[3] == "nightly No nights yet"
    assert git(origin, "ls-tree", "--name-only", "main") == [".gitignore"]
