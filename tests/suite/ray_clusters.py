"""Real Ray clusters of some nodes on this machine, for tests."""

import os
from contextlib import contextmanager
from pathlib import Path

import psutil

# Before Ray is imported: it reads them once. Loopback, no statistics, no colours.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # by itself 15: beside other work its workers would starve
# What runs on a node imports the suite and its stand-ins for runs from here, as nodes of a lab have them installed.
_HERE = Path(__file__).parent
os.environ["PYTHONPATH"] = f"{_HERE.parents[1]}:{_HERE}"
NODE = {"num_cpus": 1, "memory": 4_000_000_000, "object_store_memory": 80 << 20}


@contextmanager
def cluster_of(nodes, **node):
    """A cluster that this process has joined; gone at the end."""
    import ray
    from ray.cluster_utils import Cluster

    from suite.cluster import connect

    settings = {**NODE, **node}
    cluster = Cluster(initialize_head=True, head_node_args={**settings, "include_dashboard": False})
    try:
        for _ in range(nodes - 1):
            cluster.add_node(**settings)
        connect(cluster.address)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def kill_node(node):
    """SIGKILL to all processes of a node, as when its machine is lost."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    processes = [raylet, *raylet.children(recursive=True)]
    for process in processes:
        process.kill()
