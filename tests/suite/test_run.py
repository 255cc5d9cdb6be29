"""One run, on a real game, with PQN shrunk to 4 + 2 environments and 8 steps a rollout (128 frames an update)."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fused import require_native
from shrunk import shrunk

from baselines.agent import RetraceMismatch
from baselines.emulator.envs import AtariEnvironments
from baselines.fast.names import FOURIER, FUSED_BLOCK, FUSED_INPUT, KEPT_MEMORY
from results.errors import ResultsError
from results.manifest import read_manifest, write_manifest
from results.store import read_episodes, read_metrics, run_directory
from suite import opening, run, run_manifest
from suite.checkpoint import ActionLog, checkpoint_files
from suite.protocol import load_protocol, run_spec
from suite.run import RunOptions, execute
from suite.run_files import ACTION_LOG_FILE

TINY = {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 8, "minibatches": 2, "epochs": 1}
FRAMES_PER_UPDATE = 128
UPDATES = 36  # 288 agent steps an environment: games end
TABLES = ("episodes.parquet", "metrics.parquet")
OPTIONS = RunOptions(device="cpu", threads=1, emulator_threads=1)


def tiny_pinned(name):
    return shrunk(name, TINY)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setattr(opening, "load_pinned", tiny_pinned)


def spec_of(*, baseline="pqn", game="Breakout", updates=UPDATES, seed=0):
    return run_spec(
        tiny_pinned(baseline), load_protocol("paper"), game=game, frames=updates * FRAMES_PER_UPDATE, seed=seed
    )


def go(spec, results, *, stop_after=None, options=OPTIONS):
    """Executes; stops after that many statuses. Returns the outcome and the statuses seen."""
    seen = []
    outcome = execute(
        spec,
        results=results,
        options=options,
        report=seen.append,
        stop_requested=lambda: stop_after is not None and len(seen) >= stop_after,
    )
    return outcome, seen


def table_bytes(spec, results):
    directory = run_directory(results, spec)
    return {name: (directory / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Results with the run of `spec_of()`, never stopped; what the tests compare theirs with."""
    results = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "load_pinned", tiny_pinned)
        outcome, seen = go(spec_of(), results)
    assert outcome == "done"
    assert seen[-1].frames == spec_of().frames
    return results


def test_a_run_leaves_a_manifest_and_tables_that_can_be_read_back(whole):
    spec = spec_of()
    directory = run_directory(whole, spec)
    manifest = read_manifest(directory)
    assert manifest["status"] == "done"
    assert manifest["frames_done"] == spec.frames
    assert manifest["updates_done"] == UPDATES
    assert manifest["environment"]["envpool_id"] == "Breakout-v5"
    assert len(manifest["environment"]["train_seeds"]) == 4
    assert manifest["config"]["baseline"]["train_environments"] == 4
    episodes = read_episodes(directory)
    assert set(episodes["kind"]) == {"train", "greedy"}
    assert (episodes["frames"] <= spec.frames).all()
    metrics = read_metrics(directory)
    losses = metrics[metrics["name"] == "loss"]
    assert len(losses) == UPDATES  # fewer updates than half per cents: a row each
    assert np.isfinite(metrics["value"]).all()
    epsilon = metrics[metrics["name"] == "epsilon"]["value"].to_numpy()
    assert epsilon[0] == 1.0
    assert epsilon[-1] == pytest.approx(0.001)
    assert {"effective_rank/conv2", "dead_fraction/conv3", "gradient_norm/dense"} <= set(metrics["name"])


def test_a_budget_is_rounded_down_to_whole_updates(tmp_path):
    spec = dataclasses.replace(spec_of(), frames=3 * FRAMES_PER_UPDATE + 100)
    go(spec, tmp_path)
    assert read_manifest(run_directory(tmp_path, spec))["frames_done"] == 3 * FRAMES_PER_UPDATE


def test_the_same_spec_twice_gives_the_same_bytes_whatever_the_emulator_threads(whole, tmp_path):
    spec = spec_of()
    go(spec, tmp_path, options=dataclasses.replace(OPTIONS, emulator_threads=2))
    assert table_bytes(spec, whole) == table_bytes(spec, tmp_path)


def test_another_seed_gives_other_bytes(whole, tmp_path):
    other = spec_of(seed=1)
    go(other, tmp_path)
    assert table_bytes(spec_of(), whole) != table_bytes(other, tmp_path)


@pytest.mark.parametrize("stop_after", [[1], [2, 25, 20]])
def test_a_run_stopped_and_resumed_ends_with_the_bytes_and_weights_of_one_never_stopped(whole, tmp_path, stop_after):
    spec = spec_of()
    for statuses in stop_after:
        assert go(spec, tmp_path, stop_after=statuses)[0] == "interrupted"
    assert go(spec, tmp_path)[0] == "done"
    assert table_bytes(spec, whole) == table_bytes(spec, tmp_path)
    interruptions = read_manifest(run_directory(tmp_path, spec))["interruptions"]
    assert [entry["reason"] for entry in interruptions] == ["stopped by the user"] * len(stop_after)
    assert all(entry["replay_seconds"] is not None for entry in interruptions)
    one, two = (
        torch.load(checkpoint_files(run_directory(results, spec))[0], weights_only=True)["agent"]["network"]
        for results in (whole, tmp_path)
    )
    assert all(torch.equal(one[key], two[key]) for key in one)


KILLED = """
    import sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, str(Path({tests!r}).parent)]
    import test_run
    from suite import opening, run
    opening.load_pinned = test_run.tiny_pinned
    spec = test_run.spec_of()
    statuses = 0
    def report(status):
        global statuses
        statuses += 1
        print(status.phase, statuses, flush=True)
    options = run.RunOptions(device="cpu", threads=1, emulator_threads=1, checkpoint_seconds=0.0)
    run.execute(spec, results=Path({results!r}), options=options, report=report, stop_requested=lambda: False)
"""


def test_a_run_killed_with_sigkill_resumes_to_the_same_bytes(whole, tmp_path):
    spec = spec_of()
    program = textwrap.dedent(KILLED).format(tests=os.path.dirname(__file__), results=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("training") and int(line.split()[1]) >= 30:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    manifest = read_manifest(run_directory(tmp_path, spec))
    assert manifest["status"] == "running"
    assert 0 < manifest["frames_done"] < spec.frames
    assert go(spec, tmp_path)[0] == "done"
    assert table_bytes(spec, whole) == table_bytes(spec, tmp_path)
    assert read_manifest(run_directory(tmp_path, spec))["interruptions"][0]["reason"] == "killed"


def test_what_a_killed_run_logged_past_its_checkpoint_is_cut_off(tmp_path):
    log = ActionLog(tmp_path / "actions.bin", 3)
    log.append(np.arange(12, dtype=np.uint8).reshape(4, 3))
    log.close()
    resumed = ActionLog(tmp_path / "actions.bin", 3, vector_steps=2)
    resumed.append(np.full((1, 3), 9, dtype=np.uint8))
    np.testing.assert_array_equal(resumed.read(), [[0, 1, 2], [3, 4, 5], [9, 9, 9]])
    resumed.close()


def test_a_log_shorter_than_its_checkpoint_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="shorter than its checkpoint"):
        ActionLog(tmp_path / "actions.bin", 3, vector_steps=2)


def test_a_finished_run_is_skipped_and_left_as_it_was(tmp_path):
    spec = spec_of(updates=3)
    go(spec, tmp_path)
    manifest = (run_directory(tmp_path, spec) / "manifest.json").read_bytes()
    assert go(spec, tmp_path) == ("skipped", [])
    assert (run_directory(tmp_path, spec) / "manifest.json").read_bytes() == manifest


def test_a_directory_of_another_configuration_is_refused_and_left_as_it_was(tmp_path, monkeypatch):
    spec = spec_of(updates=3)
    go(spec, tmp_path)
    before = table_bytes(spec, tmp_path)

    def other(name):
        pinned = tiny_pinned(name)
        return dataclasses.replace(
            pinned,
            config=dataclasses.replace(pinned.config, discount=0.9),
            values={**pinned.values, "discount": 0.9},
        )

    monkeypatch.setattr(opening, "load_pinned", other)
    changed = run_spec(other("pqn"), load_protocol("paper"), game="Breakout", frames=spec.frames, seed=0)
    with pytest.raises(ResultsError, match="another configuration"):
        go(changed, tmp_path)
    assert table_bytes(spec, tmp_path) == before


def test_a_spec_whose_hash_is_not_the_pinned_one_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="not the pinned one"):
        go(dataclasses.replace(spec_of(), config_hash="0" * 16), tmp_path)


def test_two_processes_never_write_one_run(tmp_path):
    spec = spec_of(updates=3)

    def second(status):
        with pytest.raises(ResultsError, match="another process"):
            go(spec, tmp_path)

    execute(spec, results=tmp_path, options=OPTIONS, report=second, stop_requested=lambda: False)


def test_a_failure_is_told_in_the_manifest_and_the_run_goes_on_when_called_again(whole, tmp_path):
    spec = spec_of()
    options = dataclasses.replace(OPTIONS, checkpoint_seconds=0.0)

    def burst(status):
        if status.frames >= 10 * FRAMES_PER_UPDATE:
            raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="on fire"):
        execute(spec, results=tmp_path, options=options, report=burst, stop_requested=lambda: False)
    manifest = read_manifest(run_directory(tmp_path, spec))
    assert manifest["status"] == "failed"
    assert manifest["error"] == {"type": "RuntimeError", "message": "the disk is on fire"}
    assert go(spec, tmp_path)[0] == "done"
    assert table_bytes(spec, tmp_path) == table_bytes(spec, whole)
    manifest = read_manifest(run_directory(tmp_path, spec))
    assert manifest["error"] is None
    assert [stop["reason"] for stop in manifest["interruptions"]] == ["failed: RuntimeError"]


def test_a_run_that_ctrl_c_ends_at_once_was_interrupted_and_has_not_failed(tmp_path):
    def leave(status):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(spec_of(updates=2), results=tmp_path, options=OPTIONS, report=leave, stop_requested=lambda: False)
    assert read_manifest(run_directory(tmp_path, spec_of(updates=2)))["status"] == "interrupted"


def test_a_corrupt_checkpoint_is_named_with_what_to_do(tmp_path):
    spec = spec_of()
    go(spec, tmp_path, stop_after=3)
    for path in checkpoint_files(run_directory(tmp_path, spec)):
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(ResultsError, match=r"cannot read .* to start this run anew"):
        go(spec, tmp_path)
    manifest = read_manifest(run_directory(tmp_path, spec))
    assert manifest["status"] == "failed"
    assert "cannot read" in manifest["error"]["message"]


def test_an_altered_action_log_is_noticed(tmp_path):
    spec = spec_of()
    go(spec, tmp_path, stop_after=40)
    path = run_directory(tmp_path, spec) / ACTION_LOG_FILE
    actions = np.fromfile(path, dtype=np.uint8)
    (3 - actions).astype(np.uint8).tofile(path)
    before = read_manifest(run_directory(tmp_path, spec))
    with pytest.raises(ResultsError, match="does not hold the actions"):
        go(spec, tmp_path)
    after = read_manifest(run_directory(tmp_path, spec))
    assert after["status"] == "failed"
    assert (after["frames_done"], after["files"]) == (before["frames_done"], before["files"])


def test_a_resumed_run_notes_what_changed_since_it_stopped(tmp_path, monkeypatch):
    spec = spec_of(updates=20)
    go(spec, tmp_path, stop_after=1)
    newer = {**run_manifest.provenance.versions(), "torch": "99.0"}
    monkeypatch.setattr(run_manifest.provenance, "versions", lambda: newer)
    go(spec, tmp_path)
    (interruption,) = read_manifest(run_directory(tmp_path, spec))["interruptions"]
    assert interruption["changed"] == [f"torch: {torch.__version__} -> 99.0"]


def test_hadamax_pqn_runs_and_resumes_too(tmp_path):
    spec = spec_of(baseline="hadamax-pqn", updates=2)
    go(spec, tmp_path / "whole")
    go(spec, tmp_path / "broken", stop_after=1)
    go(spec, tmp_path / "broken")
    assert table_bytes(spec, tmp_path / "whole") == table_bytes(spec, tmp_path / "broken")


def test_a_plain_run_says_which_fast_paths_were_turned_off(tmp_path):
    require_native()
    spec = spec_of(baseline="hadamax-pqn", updates=1)
    go(spec, tmp_path, options=dataclasses.replace(OPTIONS, plain=True))
    manifest = read_manifest(run_directory(tmp_path, spec))
    assert manifest["path"] == "plain"
    assert manifest["hardware"]["fast_paths_missed"] == [
        f"{path}: turned off" for path in (KEPT_MEMORY, FUSED_BLOCK, FOURIER, FUSED_INPUT)
    ]


def test_a_resume_stopped_while_it_retraces_leaves_everything_as_it_was(tmp_path):
    spec = spec_of()
    go(spec, tmp_path, stop_after=60)  # some 20 updates: more than one sign of life in the log
    directory = run_directory(tmp_path, spec)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    outcome, seen = go(spec, tmp_path, stop_after=1)
    assert outcome == "interrupted"
    assert [status.phase for status in seen] == ["retracing"]
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_an_emulator_that_goes_another_way_is_noticed(tmp_path, monkeypatch):
    spec = spec_of()
    go(spec, tmp_path, stop_after=40)
    step = AtariEnvironments.begin
    monkeypatch.setattr(AtariEnvironments, "begin", lambda self, actions: step(self, 3 - actions))
    with pytest.raises(RetraceMismatch, match="did not reproduce the logged games"):
        go(spec, tmp_path)
    assert read_manifest(run_directory(tmp_path, spec))["status"] == "failed"


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 3] ^= 2
    path.write_bytes(data)


def test_a_flipped_bit_in_a_checkpoint_is_never_trained_on(whole, tmp_path):
    spec = spec_of()
    options = dataclasses.replace(OPTIONS, checkpoint_seconds=0.0)
    go(spec, tmp_path, stop_after=60, options=options)
    directory = run_directory(tmp_path, spec)
    newest, older = checkpoint_files(directory)
    flip_a_bit(newest)
    assert go(spec, tmp_path)[0] == "done"  # from the older one
    assert table_bytes(spec, whole) == table_bytes(spec, tmp_path)
    changed = read_manifest(directory)["interruptions"][-1]["changed"]
    assert any(newest.name in line and "not those that were written" in line for line in changed)
    assert older.name not in [path.name for path in checkpoint_files(directory)]


def test_a_run_without_a_sound_checkpoint_is_refused(tmp_path):
    spec = spec_of()
    go(spec, tmp_path, stop_after=20)
    for path in checkpoint_files(run_directory(tmp_path, spec)):
        flip_a_bit(path)
    with pytest.raises(ResultsError, match="not those that were written"):
        go(spec, tmp_path)


def test_a_log_cut_short_falls_back_to_the_checkpoint_that_it_reaches(whole, tmp_path):
    spec = spec_of()
    options = dataclasses.replace(OPTIONS, checkpoint_seconds=0.0)
    go(spec, tmp_path, stop_after=60, options=options)
    log = run_directory(tmp_path, spec) / ACTION_LOG_FILE
    log.write_bytes(log.read_bytes()[:-1])
    assert go(spec, tmp_path)[0] == "done"
    assert table_bytes(spec, whole) == table_bytes(spec, tmp_path)


def test_an_agent_that_cannot_be_built_leaves_its_reason_and_nothing_open(tmp_path, monkeypatch):
    spec = spec_of(updates=3)

    def no_rom(pinned, task):
        raise FileNotFoundError("breakout.bin is not there")

    with monkeypatch.context() as patch:
        patch.setattr(opening, "make_agent", no_rom)
        with pytest.raises(FileNotFoundError):
            go(spec, tmp_path)
    manifest = read_manifest(run_directory(tmp_path, spec))
    assert manifest["status"] == "failed"
    assert manifest["error"] == {"type": "FileNotFoundError", "message": "breakout.bin is not there"}
    assert go(spec, tmp_path)[0] == "done"


def test_a_run_begun_when_checkpoints_had_no_digest_goes_on(whole, tmp_path):
    spec = spec_of()
    go(spec, tmp_path, stop_after=20)
    directory = run_directory(tmp_path, spec)
    (path,) = checkpoint_files(directory)
    state = torch.load(path, weights_only=True)
    del state["actions_sha256"], state["environments"], state["recorder"]["cpu_seconds"]
    path.unlink()
    torch.save(state, directory / "checkpoint.pt")
    assert go(spec, tmp_path)[0] == "done"
    assert table_bytes(spec, whole) == table_bytes(spec, tmp_path)
    assert not (directory / "checkpoint.pt").exists()


def test_a_stop_that_comes_with_the_last_update_leaves_a_run_that_is_done(tmp_path):
    spec = spec_of(updates=1)
    assert go(spec, tmp_path, stop_after=0)[0] == "done"
    assert read_manifest(run_directory(tmp_path, spec))["interruptions"] == []


def test_a_finished_runs_log_that_was_never_packed_stays_when_it_is_skipped(tmp_path):
    """Code before packed logs left it so, and `pack` needs it; one that is packed is spare."""
    spec = spec_of(updates=1)
    go(spec, tmp_path)
    directory = run_directory(tmp_path, spec)
    manifest = read_manifest(directory)
    for actions, stays in ((manifest["actions"], False), (None, True)):
        write_manifest(directory, {**manifest, "actions": actions})
        (directory / ACTION_LOG_FILE).write_bytes(b"left behind")
        assert go(spec, tmp_path)[0] == "skipped"
        assert (directory / ACTION_LOG_FILE).exists() is stays


def test_a_checkpoint_is_written_each_time_that_so_many_seconds_are_over(tmp_path, monkeypatch):
    """One after every update, once the first was due, would take longer than the training."""
    now, saved = [0.0], []
    clock = SimpleNamespace(perf_counter=lambda: now[0], process_time=lambda: now[0])
    save = run._save

    def noted(opened, status):
        saved.append((now[0], status))
        save(opened, status)

    def later(status):
        now[0] += 10 if status.phase == "training" and status.frames % FRAMES_PER_UPDATE == 0 else 0

    monkeypatch.setattr(run, "time", clock)
    monkeypatch.setattr(run, "_save", noted)
    options = dataclasses.replace(OPTIONS, checkpoint_seconds=25.0)
    execute(spec_of(updates=8), results=tmp_path, options=options, report=later, stop_requested=lambda: False)
    assert saved == [(30.0, "running"), (60.0, "running"), (80.0, "done")]
