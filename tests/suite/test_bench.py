"""The benchmark, made tiny: what it reports is tested, never how fast anything was."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from types import SimpleNamespace

import psutil
import pytest
import torch

from baselines.fast.paths import Paths
from baselines.speed import Speed, Stretch
from suite import bench
from suite.cli import main


def measured(baseline, path, *loop, at_once=1):
    job = bench.Job(baseline, path, "Pong", "cpu", 1, len(loop), at_once)
    return bench.Measured(job, loop, (8.0,), (4.0, 5.0, 6.0), {"acting": 0.25}, (), (), 1000, None, 1, {}, 0.01)


def test_ratios_are_of_medians_of_the_same_run():
    found = bench.Bench(
        emulator={136: (90.0, 100.0, 110.0), 16: (50.0,)},
        measured=(
            measured("c51", bench.FAST, 4.0, 1.0, 30.0),
            measured("c51", bench.PLAIN, 2.0),
            measured("c51", bench.SINGLE, 1.0),
            measured("pqn", bench.FAST, 10.0),
            measured("pqn", bench.FAST, 25.0, at_once=4),
        ),
        planned=5,
    )
    c51, _, single, pqn, together = found.rows()
    assert (c51["agent_steps_per_second"], c51["slowest"], c51["fastest"]) == (4.0, 1.0, 30.0)
    assert c51["frames_per_second"] == 16.0
    assert c51["share_of_emulator"] == 0.04
    assert c51["share_of_learning_alone"] == 0.8
    assert (c51["over_plain"], c51["over_one_environment"]) == (2.0, 4.0)
    assert (single["over_plain"], single["over_one_environment"]) == (0.5, 1.0)
    assert (pqn["over_plain"], pqn["over_one_environment"], pqn["over_one_run"]) == (None, None, 1.0)
    assert (together["label"], together["runs_at_once"], together["over_one_run"]) == ("fast, 4 runs", 4, 2.5)
    assert (together["share_of_emulator"], together["share_of_learning_alone"]) == (0.25, None)
    assert (together["acting_alone"], together["learning_alone"]) == (None, None)


def test_runs_at_once_are_measured_until_the_last_has_ended():
    stretches = [
        Stretch(began=1.0, ended=3.0, agent_steps=100, cpu_seconds=1.0),
        Stretch(began=1.5, ended=5.0, agent_steps=300, cpu_seconds=1.0),
    ]
    assert bench._joint_speed(stretches) == 100.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--game", "pong,breakout"], "--game takes one game; give a name such as breakout"),
        (["--game", ""], "--game takes one game; give a name such as breakout"),
        (["--game", "pogn"], "unknown game 'pogn'"),
        (["--repeats", "0"], "--repeats"),
        (["--baselines", "dqn"], "dqn"),
        (["--threads", "none"], "--threads"),
        (["--device", "tpu"], "tpu"),
        (["--jobs", "0"], "--jobs"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


@pytest.mark.parametrize(("platform", "peak"), [("linux", 5 * 1024), ("darwin", 5)])
def test_memory_is_in_bytes_whatever_the_system_counts_in(monkeypatch, platform, peak):
    monkeypatch.setattr(bench.sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=5))
    assert bench._peak_bytes() == peak


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--show", "a.json", "--json"], "--show measures nothing and prints Markdown; leave out --json"),
        (["--show", "a.json", "--game", "pong", "--jobs", "2"], "leave out --game, --jobs"),
        (["--compare", "a.json", "b.json", "--baselines", "pqn"], "--compare measures nothing and prints Markdown; "),
        (["--compare", "a.json", "b.json", "--device", "cpu", "--threads", "1"], "leave out --device, --threads"),
        (["--show", "a.json", "--repeats", "2", "--protocol", "dopamine"], "leave out --protocol, --repeats"),
    ],
)
def test_what_says_how_to_measure_is_refused_where_nothing_is_measured(capsys, given, words):
    assert main(["bench", *given]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert words in err


def test_the_emulator_and_an_agent_are_measured_for_real(monkeypatch, capsys):
    monkeypatch.setattr(bench, "EMULATOR_ENVIRONMENTS", (5, 2))  # making one takes 0.2 s
    few = ["--baselines", "c51", "--game", "pong", "--repeats", "1", "--threads", "1", "--jobs", "2"]
    assert main(["bench", *few, "--json"]) == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert set(facts["emulator"]) == {"5", "2"}
    assert [row["path"] for row in facts["rows"]] == ["fast", "plain", "one environment", "fast"]
    assert [row["runs_at_once"] for row in facts["rows"]] == [1, 1, 1, 2]
    for row in facts["rows"]:
        assert sum(row["time_shares"].values()) == pytest.approx(1)
        assert set(row["time_shares"]) == {"waiting for emulation", "acting", "sampling", "learning", "the rest"}
        assert row["agent_steps_per_second"] > 0
        if row["runs_at_once"] == 1:
            assert min(row["acting_alone"], row["learning_alone"]) > 0
        assert row["peak_bytes"] > 100_000_000
    assert "4 of 4: c51, fast, 2 runs" in err


@pytest.mark.parametrize("done", [0, 1])
def test_what_is_measured_before_ctrl_c_is_shown(monkeypatch, capsys, done):
    def until_ctrl_c(job, signals):
        if job.path == bench.PLAIN or not done:
            os.kill(os.getpid(), signal.SIGINT)
            in_processes(1, signals, time.sleep, 600)
        return measured(job.baseline, job.path, 10.0)

    in_processes = bench._in_processes
    monkeypatch.setattr(bench, "_in_processes", lambda *_: [(100.0,)])
    monkeypatch.setattr(bench, "_measure_together", until_ctrl_c)
    few = ["bench", "--baselines", "pqn", "--game", "pong", "--repeats", "1", "--threads", "1"]
    assert main(few) == 130
    out, err = capsys.readouterr()
    assert f"stopped: {done} of 2 measurements are done" in err
    assert out.count("pqn, fast: acting") == done
    assert main([*few, "--json"]) == 130
    assert [row["label"] for row in json.loads(capsys.readouterr().out)["rows"]] == ["fast"] * done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_stopped_ends_its_processes_and_says_what_it_has(number):
    few_environments = (
        "from suite import bench, cli; bench.EMULATOR_ENVIRONMENTS = (4, 2); raise SystemExit(cli.main())"
    )
    few = ["--baselines", "pqn", "--game", "pong", "--repeats", "50", "--threads", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", few_environments, "bench", *few],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if "alone" in line:
                break
        # SIGKILL comes in the middle of a measurement: a process that is just starting would miss its parent by itself.
        children = wait_for_children(process.pid, busy_seconds=5 if number == signal.SIGKILL else 0)
        os.kill(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert (out, "Traceback" in err) == ("", False)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "stopped: 0 of 2 measurements are done" in err
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_ctrl_c_while_a_process_is_being_started_is_heard_once_it_has(monkeypatch):
    """Raised in there, it would leave `concurrent.futures` with a thread that it can neither join nor end."""
    start = threading.Thread.start

    def start_at_ctrl_c(thread):
        os.kill(os.getpid(), signal.SIGINT)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_at_ctrl_c)
    few = {"game": "Pong", "device": "cpu", "threads": 1, "repeats": 50, "paths": (bench.FAST,), "at_once": 1}
    found = bench.run_bench(["pqn"], tell=lambda _: None, **few)
    assert (found.emulator, found.measured, found.planned) == ({}, (), 1)
    assert multiprocessing.active_children() == []


def wait_for_children(pid, *, busy_seconds):
    """The processes under `pid`, once one that measures has used so much of a processor."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        children = psutil.Process(pid).children(recursive=True)
        with suppress(psutil.NoSuchProcess):
            measuring = [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
            if any(child.cpu_times().user >= busy_seconds for child in measuring):
                return children
        time.sleep(0.05)
    raise AssertionError("no process was at work")


def test_rollouts_by_number_of_groups_are_a_table_where_they_were_measured(capsys):
    from suite.commands.bench import _print_groups

    def row(baseline, speeds, at_once=1):
        return {"baseline": baseline, "group_speeds": speeds, "environment_groups": 3, "runs_at_once": at_once}

    speeds = {"2": 20_000.0, "3": 31_000.0, "4": 29_000.0}
    _print_groups([row("pqn", speeds), row("pqn", speeds, at_once=4), row("c51", {})])
    title, header, *rows = capsys.readouterr().out.strip().splitlines()
    assert "groups of environments" in title
    assert header.split() == ["baseline", "2", "3", "4", "taken"]
    assert [line.split() for line in rows if "pqn" in line] == [["pqn", "20,000", "31,000", "29,000", "3"]]
    _print_groups([row("c51", {})])
    assert capsys.readouterr().out == ""


def test_a_gpus_peak_counts_what_torch_keeps_of_it_and_not_only_what_tensors_fill(monkeypatch):
    """Memory that graphs keep is nobody else's: a plan that is held against tensors alone would look too large."""
    agent = SimpleNamespace(paths=Paths(), close=lambda: None)
    monkeypatch.setattr("suite.machine.prepare", lambda *_, **__: Paths())
    monkeypatch.setattr("baselines.registry.make_agent", lambda *_: agent)
    monkeypatch.setattr("baselines.speed.measure", lambda *_, **__: Speed((Stretch(0.0, 1.0, 10, 0.5),), (), (), {}))
    monkeypatch.setattr(bench, "_barrier", SimpleNamespace(wait=None), raising=False)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: 5)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 7)
    found, _ = bench._measure_one(bench.Job("pqn", bench.FAST, "Pong", "cuda:0", 1, 1))
    assert found.device_peak_bytes == 7


@pytest.mark.parametrize(
    ("path", "device", "at_once", "groups"),
    [
        (bench.FAST, "cuda:0", 1, None),  # measured, as by a run that goes alone
        (bench.FAST, "cuda:0", 4, 3),
        (bench.PLAIN, "cuda:0", 1, None),
        (bench.FAST, "cpu", 4, None),
    ],
)
def test_an_agent_that_is_measured_has_the_groups_of_a_run(monkeypatch, path, device, at_once, groups):
    """Four at once used to measure each its own, while the others did, and some took two or four."""
    tasks = []
    agent = SimpleNamespace(paths=Paths(), close=lambda: None)
    monkeypatch.setattr("suite.machine.prepare", lambda *_, **__: Paths())
    monkeypatch.setattr("baselines.registry.make_agent", lambda _pinned, task: tasks.append(task) or agent)
    monkeypatch.setattr("baselines.speed.measure", lambda *_, **__: Speed((Stretch(0.0, 1.0, 10, 0.5),), (), (), {}))
    monkeypatch.setattr(bench, "_barrier", SimpleNamespace(wait=None), raising=False)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda _: 7)
    bench._measure_one(bench.Job("pqn", path, "Pong", device, 1, 1, at_once))
    assert [task.groups for task in tasks] == [groups]
