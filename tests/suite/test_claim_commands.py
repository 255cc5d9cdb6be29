"""`run --claim` and `report --markdown`, in this process; nothing is trained."""

import json

import pytest
from stored_runs import store_run

from suite.cli import main


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_a_claim_names_the_runs_it_lacks(call):
    code, out, _ = call("run", "--claim", "pqn-atari10", "--dry-run", "--json", "--device", "cpu")
    assert code == 0
    runs = json.loads(out)["runs"]
    assert {run["baseline"] for run in runs} == {"pqn", "hadamax-pqn"}
    assert {run["frames"] for run in runs} == {40_000_000}
    assert len(runs) == 2 * 10 * 3
    assert {run["state"] for run in runs} == {"missing"}


def test_the_ablation_names_its_variants(call):
    code, out, _ = call("run", "--claim", "ablation", "--dry-run", "--json", "--device", "cpu")
    assert code == 0
    baselines = [run["baseline"] for run in json.loads(out)["runs"]]
    parts = ("no-maxpool", "no-product", "relu")
    assert set(baselines) == {"hadamax-pqn", *(f"hadamax-pqn-{part}" for part in parts)}
    assert len(baselines) == 4 * 10 * 3


def test_a_claim_may_have_more_seeds(call):
    code, out, _ = call("run", "--claim", "bf16-alike", "--seeds", "5", "--dry-run", "--json", "--device", "cpu")
    assert code == 0
    runs = json.loads(out)["runs"]
    assert {run["seed"] for run in runs} == set(range(5))
    assert len(runs) == 2 * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--claim", "pqn-81"], "unknown claim 'pqn-81'"),
        (["--claim", "pqn-80", "--games", "pong"], "--claim says which runs; leave out --games"),
        (
            ["--claim", "pqn-80", "--baselines", "pqn"],
            "--claim says which runs; --baselines beside it goes with claims",
        ),
        (["--claim", "pqn-80", "--seeds", "3,4"], "--claim says which seeds; give a count of them"),
        (["--claim", "pqn-80", "--seeds", "2"], "a verdict needs 3 seeds of every game and side; 2 are too few"),
        (["--claim", "cost-cpu", "--seeds", "9"], "claim 'cost-cpu' is about time"),
        (["--games", "pong", "--frames", "4M", "--claims", "mine.toml"], "--claims goes with --claim"),
    ],
)
def test_what_a_claim_cannot_mean_is_refused(call, arguments, message):
    code, out, err = call("run", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1


def test_markdown_goes_to_stdout_and_writes_no_report(call, tmp_path):
    code, out, _ = call("report", "--markdown")
    assert code == 0
    assert "| Hadamax-PQN gains 80 % over PQN | **insufficient evidence** |" in out
    assert "| pqn | published | Atari-57 | 200M |" in out
    assert list(tmp_path.iterdir()) == []


def test_markdown_and_what_needs_a_report_exclude_each_other(call):
    code, out, err = call("report", "--markdown", "--out", "somewhere", "--open", "--json", "--no-clips")
    assert (code, out) == (2, "")
    assert "--markdown writes no report; leave out --json, --open, --out, --no-clips" in err


def test_markdown_names_what_it_leaves_out(call, tmp_path):
    store_run(tmp_path / "runs")
    for seed in (1, 2):
        (store_run(tmp_path / "runs", seed=seed) / "manifest.json").write_bytes(b"spoiled")
    code, out, err = call("report", "--markdown", "--results", "runs")
    assert code == 0
    assert "3 runs, 1 counted, 2 broken." in out
    told = err.splitlines()
    assert [line.split(": ")[:2] for line in told] == [["left out", f"pqn/Pong/200k/seed-{seed}"] for seed in (1, 2)]
