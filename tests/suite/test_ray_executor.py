"""Runs on a real Ray cluster of three nodes on this machine."""

import os
import signal
import threading
import time

import pytest
from test_executors import Events, results_of
from tiny_runs import live, live_slowly, spec_of

from results.schema import EPISODES_FILE, METRICS_FILE
from results.store import open_run, run_directory
from results.verify import verify_run
from suite.cluster import Needs, Nodes
from suite.executors import LocalExecutor, Supervision
from suite.run_messages import RunOptions

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, in processes that it starts

from ray_clusters import cluster_of, kill_node  # noqa: E402

NEVER = Supervision(restarts=0, silent_seconds=600.0)
OPTIONS = RunOptions(device="cpu", threads=1, emulator_threads=1)
NEEDS = Needs(cpus=1, gpus=0)


def executor_of(results, specs, execute, *, supervision=NEVER, tell=print, **more):
    from suite.ray_executor import RayExecutor

    nodes = Nodes(NEEDS, specs, device="cpu", tell=tell)
    nodes.wait_for_answers()
    nodes.refuse_if_none_has_room()
    return RayExecutor(results, OPTIONS, supervision, nodes, NEEDS, lambda spec: 1.0, execute=execute, **more)


def tables_of(results, spec):
    folder = run_directory(results, spec)
    return [(folder / name).read_bytes() for name in (EPISODES_FILE, METRICS_FILE)]


def assert_same_as_local(results, folder, specs):
    outcomes = LocalExecutor(folder, [OPTIONS] * 2, NEVER, live).run(specs, Events())
    assert results_of(outcomes) == ["done"] * len(specs)
    for spec in specs:
        assert verify_run(open_run(run_directory(results, spec))) == []
        assert tables_of(results, spec) == tables_of(folder, spec)


def test_three_nodes_give_the_bytes_of_this_machine_and_a_lost_node_loses_no_work(tmp_path):
    specs = [spec_of("pqn", seed=seed, updates=25) for seed in (0, 1)] + [spec_of("c51", updates=25)]
    nodes_lost = []
    with cluster_of(3) as cluster:

        def lose_a_node(events):
            if not nodes_lost and any(status.frames > 600 for status in events.statuses):
                node = list(cluster.worker_nodes)[0]
                nodes_lost.append(node)
                kill_node(node)

        events = Events(lose_a_node)
        executor = executor_of(tmp_path / "ray", specs, live_slowly)
        outcomes = executor.run(specs, events)
    assert results_of(outcomes) == ["done", "done", "done"], outcomes
    assert nodes_lost
    assert len(events.restarts) == 1
    assert "was lost" in events.restarts[0][1]
    assert executor.parcels > 3
    assert_same_as_local(tmp_path / "ray", tmp_path / "local", specs)
