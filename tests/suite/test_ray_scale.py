"""Many runs that do nothing, through the whole path of a cluster: what each costs, and that nothing grows."""

import json
import os
import resource
import time

import psutil
import pytest
from nothing_runs import NothingProcess, finish
from stored_runs import stored_spec
from test_executors import Events

from results.store import open_run, run_directory, scan
from results.verify import verify_run
from suite.cluster import Needs, Nodes
from suite.executors import Supervision
from suite.run_messages import RunOptions

pytest.importorskip("ray")
GAMES = ("Pong", "Breakout")
RUNS = int(os.environ.get("SUITE_NOTHING_RUNS", "400"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600 + RUNS),
    pytest.mark.filterwarnings("ignore"),  # Ray's own, as in test_ray_executor
]

from ray_clusters import cluster_of  # noqa: E402


def resident():
    """MB of this process, and of Ray's beside it by what they are."""
    found = {"command": psutil.Process().memory_info().rss / 1e6}
    for process in psutil.Process().children(recursive=True):
        try:
            name = next((n for n in ("gcs_server", "raylet", "Keeper") if n in " ".join(process.cmdline())), None)
            if name:
                found[name] = found.get(name, 0.0) + process.memory_info().rss / 1e6
        except psutil.Error:
            continue
    return found


def test_runs_that_do_nothing_cost_little_each_and_nothing_grows(tmp_path):
    specs = [stored_spec(game=GAMES[number % 2], seed=number // 2) for number in range(RUNS)]
    needs, samples = Needs(cpus=1, gpus=0), []
    began = time.monotonic(), time.process_time()

    class Sampling(Events):
        def finished(self, outcome):
            super().finished(outcome)
            if len(self.outcomes) % max(1, RUNS // 10) == 0:
                seconds, cpu = time.monotonic() - began[0], time.process_time() - began[1]
                samples.append({"ended": len(self.outcomes), "seconds": seconds, "command_cpu": cpu, **resident()})
                print(json.dumps(samples[-1]), flush=True)

    with cluster_of(1, num_cpus=2):
        from suite.ray_executor import RayExecutor

        nodes = Nodes(needs, specs, device="cpu")
        nodes.wait_for_answers()
        executor = RayExecutor(
            tmp_path,
            RunOptions(device="cpu", threads=1, emulator_threads=1),
            Supervision(restarts=0, silent_seconds=600.0),
            nodes,
            needs,
            lambda spec: 1.0,
            execute=finish,
            process_of=NothingProcess,
        )
        outcomes = executor.run(specs, Sampling())
    command = time.process_time() - began[1]
    facts = {
        "runs": RUNS,
        "seconds_a_run": (time.monotonic() - began[0]) / RUNS,
        "command_cpu_ms_a_run": 1000 * command / RUNS,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        "kept_kb_a_run": executor.bytes_kept.total() / RUNS / 1000,
    }
    print(json.dumps(facts, indent=1))
    assert {outcome.result for outcome in outcomes} == {"done"}, [o for o in outcomes if o.result != "done"][:3]
    assert len(scan(tmp_path)) == RUNS
    assert verify_run(open_run(run_directory(tmp_path, specs[-1]))) == []
    # From the first tenth to the last, MB. Ray's own head keeps a history of its last 100,000 tasks.
    for name, most in (("command", 0.01), ("gcs_server", 0.05), ("raylet", 0.01), ("Keeper", 0.01)):
        growth = samples[-1].get(name, 0.0) - samples[0].get(name, 0.0)
        assert growth < 30 + most * RUNS, (name, samples)
