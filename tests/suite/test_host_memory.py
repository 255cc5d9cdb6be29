import json
from types import SimpleNamespace

import psutil
import pytest

from results.schema import RunSpec
from suite import control_groups, host_memory
from suite.commands import run
from suite.dry_run import DryRun
from suite.errors import UserError
from suite.host_memory import all_bytes, free_bytes, host_bytes, host_need, tell_short_memory
from suite.plan import wanted_states
from suite.run_messages import RunOptions

GB = 10**9


def specs(baseline="rainbow", count=10, frames=40_000_000):
    return [RunSpec(baseline, "Pong", frames, seed, "0" * 64) for seed in range(count)]


@pytest.fixture
def machine(monkeypatch):
    """Sets free and whole memory, in GB."""

    def of(free, size):
        monkeypatch.setattr(host_memory, "free_bytes", lambda: int(free * GB))
        monkeypatch.setattr(host_memory, "all_bytes", lambda: int(size * GB))

    return of


def told(runs, jobs, *, on_gpu=False):
    lines = []
    tell_short_memory(runs, jobs, on_gpu=on_gpu, tell=lines.append)
    return lines


def test_runs_that_do_not_fit_into_what_is_free_are_told_of_with_the_number_that_does(machine):
    """Their memories fill for an hour, and then the system kills them one after the other."""
    machine(free=17, size=34)
    assert told(specs(), 2) == []
    assert told(specs(), 3) == [
        "note: memory: 3 runs at once need about 24.4 GB, 17.0 GB of 34.0 GB are free, and the system kills a run "
        "that finds no room: give --jobs 2"
    ]
    assert told(specs(count=2), 3) == []  # there are only two
    assert told(specs(frames=400_000), 3) == []  # a memory need not hold more than the whole run


def test_runs_that_would_not_fit_if_nothing_else_ran_are_refused(machine):
    machine(free=10, size=16)
    with pytest.raises(
        UserError, match=r"memory: 3 runs at once need about 24.4 GB, 10.0 GB of 16.0 GB .*: give --jobs 1$"
    ):
        told(specs(), 3)


def test_a_single_run_that_does_not_fit_is_told_what_would_help(machine):
    machine(free=5, size=16)
    (line,) = told(specs(), 1)
    assert line.startswith("note: memory: 1 run needs about 8.1 GB, 5.0 GB of 16.0 GB are free")
    assert line.endswith("not even the largest run alone fits now: close other programs first")
    machine(free=5, size=7)
    with pytest.raises(UserError, match="the largest run alone does not fit into this machine: take one with more mem"):
        told(specs(), 1)


def test_the_largest_runs_count_for_any_may_meet_any(machine):
    machine(free=10, size=32)
    assert told([*specs("pqn", 5), *specs("rainbow", 1)], 2) == []
    (line,) = told([*specs("pqn", 5), *specs("rainbow", 2)], 2)
    assert line.endswith("give --jobs 1")


def test_beside_a_gpu_the_machine_needs_little(machine):
    machine(free=4, size=16)
    assert told(specs(), 4, on_gpu=True) == []
    assert host_need(specs(), 4, on_gpu=True).needed < 4 * GB


def test_the_command_says_it_before_a_run_starts(tmp_path, machine, monkeypatch, capsys):
    class NoRun(Exception):
        pass

    def started(*_):
        raise NoRun

    monkeypatch.setattr(run, "LocalExecutor", started)
    slots = [RunOptions(device="cpu", threads=1, emulator_threads=1, plain=True)] * 3
    machine(free=17, size=34)
    with pytest.raises(NoRun):
        run._train(specs(), tmp_path, slots, None)
    assert "memory: 3 runs at once need about 24.4 GB" in capsys.readouterr().err
    machine(free=10, size=16)
    with pytest.raises(UserError, match="give --jobs 1"):
        run._train(specs(), tmp_path, slots, None)


@pytest.mark.parametrize(
    ("size", "line"),
    [
        (64, "memory: 3 runs at once need about 24.4 GB, 60.0 GB of 64.0 GB are free"),
        (28, "memory: 3 runs at once need about 24.4 GB, 24.0 GB of 28.0 GB are free: give --jobs 2"),
        (
            16,
            "memory: 3 runs at once need about 24.4 GB, 12.0 GB of 16.0 GB are free (the command would be "
            "refused: give --jobs 1)",
        ),
    ],
)
def test_a_dry_run_says_what_is_needed_what_is_free_and_what_to_do(tmp_path, machine, size, line):
    machine(free=size - 4, size=size)
    dry = DryRun.of(wanted_states(specs(), tmp_path), tmp_path, jobs=3, device="cpu")
    assert line in dry.as_text(rows=False).splitlines()
    facts = json.loads(dry.as_json())
    assert facts["memory_free_bytes"] == (size - 4) * GB
    assert facts["memory_bytes"] == 3 * host_bytes(specs()[0], on_gpu=False)


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Writes files of control groups; the machine has 64 GB, 60 of them free."""
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    memory = SimpleNamespace(total=64 * GB, available=60 * GB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)

    def write(own, files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    return write


def test_a_machine_without_control_groups_has_what_it_has(group):
    assert (free_bytes(), all_bytes()) == (60 * GB, 64 * GB)


def test_a_container_is_held_to_its_limit(group):
    """Version 2: it sees its own group as the root. What files hold is given back where a run needs it."""
    stat = f"anon {2 * GB}\ninactive_file {3 * GB}"
    group("0::/\n", {"memory.max": 8 * GB, "memory.current": 5 * GB, "memory.stat": stat})
    assert (free_bytes(), all_bytes()) == (6 * GB, 8 * GB)
    group("0::/../..\n", {})  # entered from outside
    assert all_bytes() == 8 * GB
    group("0::/\n", {"memory.max": "max"})
    assert (free_bytes(), all_bytes()) == (60 * GB, 64 * GB)


def test_a_batch_job_is_held_to_the_least_limit_above_it(group):
    """Version 1, as Slurm has it: the job is limited, and the step that runs in it is not."""
    job = "memory/slurm/job_7"
    files = {f"{job}/memory.limit_in_bytes": 16 * GB, f"{job}/memory.usage_in_bytes": GB}
    files |= {f"{job}/step_0/memory.limit_in_bytes": 2**63 - 4096, f"{job}/step_0/memory.usage_in_bytes": GB}
    group("5:cpuset:/slurm\n4:memory:/slurm/job_7/step_0\n0::/\n", files)
    assert (free_bytes(), all_bytes()) == (15 * GB, 16 * GB)


def test_a_limit_that_is_used_up_leaves_nothing(group):
    group("0::/\n", {"memory.max": GB, "memory.current": 2 * GB})
    assert free_bytes() == 0
