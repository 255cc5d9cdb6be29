import dataclasses
import json
import os
import socket

import pytest
from stored_runs import store_run

from baselines import registry
from baselines.replay.schedule import schedule
from reports.judging.claims_file import load_claims
from results.lock import RunLock
from results.manifest import read_manifest, write_manifest
from results.store import scan
from suite import plan
from suite.errors import UserError

STOPPED = {"finished_at": None, "frames_done": 49_152, "updates_done": 3}


def wanted(results, *, seeds=(0,)):
    return plan.wanted_states(plan.plan_runs(["pqn"], ["Pong"], 200_000, seeds), results)


def test_a_finished_run_is_done_with_its_score(tmp_path):
    store_run(tmp_path)
    (state,) = wanted(tmp_path)
    assert (state.state, state.fraction, state.score) == ("done", 1.0, -20.0)


def test_a_whole_comparison_comes_before_a_second_seed_of_anything():
    specs = plan.plan_runs(["pqn", "c51"], ["Pong", "Alien"], 200_000, [1, 0])
    assert [(spec.seed, spec.game, spec.baseline) for spec in specs] == [
        (seed, game, name) for seed in (1, 0) for game in ("Pong", "Alien") for name in ("pqn", "c51")
    ]


def test_a_run_without_a_folder_is_missing(tmp_path):
    store_run(tmp_path)
    assert [s.state for s in wanted(tmp_path, seeds=(0, 1))] == ["done", "missing"]


def test_a_finished_run_that_lost_its_manifest_is_not_written_over(tmp_path):
    run = store_run(tmp_path)
    (run / "actions.parquet").write_bytes(b"packed when the run was done")
    (run / "manifest.json").unlink()
    (state,) = wanted(tmp_path)
    assert state.state == "broken"
    with pytest.raises(UserError, match=r"has the actions of a finished run but no manifest\.json; move it away"):
        plan.refuse_unusable([state])


@pytest.mark.parametrize("status", ["interrupted", "running"])
def test_a_run_that_nobody_works_on_is_part_done(tmp_path, status):
    store_run(tmp_path, status=status, **STOPPED)
    (state,) = wanted(tmp_path)
    assert (state.state, state.frames_done) == ("part done", 49_152)
    assert state.fraction == pytest.approx(0.24576)


def test_a_run_whose_lock_is_held_is_running_and_says_by_whom(tmp_path):
    directory = store_run(tmp_path, status="running", **STOPPED)
    with RunLock(directory):
        (state,) = wanted(tmp_path)
        assert (state.state, state.note) == ("running", f"by pid {os.getpid()} on {socket.gethostname()}")
    assert wanted(tmp_path)[0].state == "part done"


def test_a_run_whose_process_was_killed_is_not_running(tmp_path):
    directory = store_run(tmp_path, status="running", **STOPPED)
    with RunLock(directory):
        left_behind = {file.name: file.read_text() for file in directory.glob(".*lock") if file.read_text()}
    for name, text in left_behind.items():
        (directory / name).write_text(text.replace(str(os.getpid()), str(2**22 + 1)))  # above any pid
    assert left_behind
    assert wanted(tmp_path)[0].state == "part done"


def test_a_failed_run_says_why(tmp_path):
    store_run(tmp_path, status="failed", error={"type": "RuntimeError", "message": "no"}, **STOPPED)
    (state,) = wanted(tmp_path)
    assert (state.state, state.note) == ("failed", "RuntimeError: no")


def test_a_run_of_changed_values_is_another_configuration_and_refused(tmp_path):
    store_run(tmp_path, values={"discount": 0.9})
    states = wanted(tmp_path)
    assert states[0].state == "other configuration"
    assert states[0].fraction == 1.0  # it is done, for all that
    with pytest.raises(UserError, match=r"made with another configuration; move it away or choose another --results"):
        plan.refuse_unusable(states)


def test_an_unreadable_manifest_is_broken_and_refused(tmp_path):
    for seed in (0, 1):
        (store_run(tmp_path, seed=seed) / "manifest.json").write_text("{")
    states = wanted(tmp_path, seeds=(0, 1, 2))
    assert [s.state for s in states] == ["broken", "broken", "missing"]
    with pytest.raises(UserError, match=r"manifest\.json: no JSON .* \(and 1 more\); move it away"):
        plan.refuse_unusable(states)


def test_what_can_go_on_is_not_refused(tmp_path):
    store_run(tmp_path)
    store_run(tmp_path, seed=1, status="failed", error={"type": "E", "message": ""}, **STOPPED)
    plan.refuse_unusable(wanted(tmp_path, seeds=(0, 1, 2)))


def test_states_of_a_scan_include_runs_of_baselines_that_are_not_pinned(tmp_path):
    manifest = read_manifest(store_run(tmp_path))
    manifest["spec"]["baseline"] = "someones-own"
    own = tmp_path / "someones-own" / "Pong" / "200k" / "seed-0"
    own.mkdir(parents=True)
    write_manifest(own, manifest)
    states = [plan.state_of(run) for run in scan(tmp_path)]
    assert [(s.spec.baseline, s.state) for s in states] == [("pqn", "done"), ("someones-own", "done")]


def test_rows_are_plain_data(tmp_path):
    store_run(tmp_path)
    (state,) = wanted(tmp_path)
    row = json.loads(json.dumps(state.as_row()))
    assert row["score"] == -20.0
    assert row["directory"] == str(tmp_path / "pqn" / "Pong" / "200k" / "seed-0")
    missing = dataclasses.replace(state, state="missing", manifest=None)
    assert missing.as_row()["score"] is None


def specs_of(baselines, frames):
    return plan.plan_runs(baselines, ["Pong"], frames, [0, 1])


def test_a_budget_below_one_update_is_refused_with_the_least_that_works():
    assert plan.budget_notes(specs_of(["pqn", "hadamax-pqn"], 16_384)) == []
    with pytest.raises(UserError, match=r"--frames 16383 is too small .* of pqn; the least that works is 16384 frames"):
        plan.budget_notes(specs_of(["pqn"], 16_383))


def test_a_budget_that_scales_settings_is_noted_with_the_least_that_does_not():
    (note,) = plan.budget_notes(specs_of(["pqn", "c51", "hadamax-c51", "rainbow"], 2_000_000))
    assert note == (
        "note: 2M frames are too few for the protocol of c51, hadamax-c51 (enough: 16M); rainbow (enough: 4M): "
        "settings are scaled, and such runs count for no claim"
    )
    assert plan.budget_notes(specs_of(["pqn", "c51", "rainbow"], 16_000_000)) == []


@pytest.mark.parametrize("name", ["c51", "rainbow"])
def test_the_least_budget_on_the_protocol_is_the_least(name):
    config = registry.load_pinned(name).config
    least = config.frames_on_protocol
    assert schedule(config, least).off_protocol == ()
    assert schedule(config, least - 4).off_protocol != ()
    assert dataclasses.replace(config, short_budget_fraction=0.0).frames_on_protocol == 0


@pytest.mark.parametrize("claim", load_claims(), ids=lambda claim: claim.id)
def test_a_claim_asks_for_runs_that_count(claim):
    assert plan.budget_notes(specs_of(claim.sides, claim.frames)) == []


@pytest.mark.parametrize(("changes", "least"), [({"batch": 512}, 3 * 1024), ({"n_steps": 20}, 2 * 1024)])
def test_the_least_budget_of_a_replay_agent_of_ones_own_holds_an_update(monkeypatch, changes, least):
    """A large batch or long window is waited for, and the first block goes by: the user was told to give its frames."""
    rainbow = registry.load_pinned("rainbow")
    own = dataclasses.replace(rainbow, config=dataclasses.replace(rainbow.config, **changes))
    monkeypatch.setattr(plan, "load_pinned", lambda name: own)
    plan.budget_notes(specs_of(["rainbow"], least))
    for frames in (1000, least - 1):
        with pytest.raises(UserError, match=f"is too small for .* of rainbow; the least that works is {least} frames"):
            plan.budget_notes(specs_of(["rainbow"], frames))


def test_more_groups_than_environments_are_refused_before_anything_runs():
    plan.refuse_many_groups(["pqn", "c51"], 128)
    plan.refuse_many_groups(["pqn", "c51"], None)
    with pytest.raises(UserError, match=r"--groups 129 is more than the 128 training environments of pqn; give from 1"):
        plan.refuse_many_groups(["c51", "pqn"], 129)
