"""Runs on a real Ray cluster of some nodes on this machine."""

import os
import shutil
import signal
from contextlib import suppress
from dataclasses import replace

import psutil
import pytest
from fault_children import TINY
from test_executors import Events, results_of
from tiny_runs import live, live_slowly, spec_of

from baselines import registry
from results.schema import ACTIONS_FILE, EPISODES_FILE, METRICS_FILE
from results.store import open_run, run_directory
from results.verify import verify_run
from suite import opening
from suite.cli import main
from suite.cluster import Needs, Nodes
from suite.errors import UserError
from suite.executors import Supervision
from suite.own_code import own_files
from suite.own_shipping import pack_own
from suite.protocol import load_protocol, run_spec
from suite.run import execute
from suite.run_files import RUN_LOG_FILE
from suite.run_messages import RunOptions
from suite.run_process import execute_run

pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, of the processes and sockets that it leaves open

from ray_clusters import cluster_of, kill_node  # noqa: E402

NEVER = Supervision(restarts=0, silent_seconds=600.0)
OPTIONS = RunOptions(device="cpu", threads=1, emulator_threads=1)
NEEDS = Needs(cpus=1, gpus=0)


@pytest.fixture(autouse=True)
def _pins_as_they_were():
    pinned = opening.load_pinned
    yield
    opening.load_pinned = pinned


def executor_of(results, specs, execute, *, tell=print, shared=None, own=(), supervision=NEVER):
    from suite.ray_executor import RayExecutor

    nodes = Nodes(NEEDS, specs, device="cpu", tell=tell, shared=shared)
    nodes.wait_for_answers()
    nodes.refuse_if_none_has_room()
    return RayExecutor(
        results,
        OPTIONS,
        supervision,
        nodes,
        NEEDS,
        lambda spec: 1.0,
        execute=execute,
        shared=shared is not None,
        own=own,
    )


def assert_same_as_here(results, folder, specs):
    for spec in specs:
        live(spec, results=folder, options=OPTIONS, report=lambda status: None, stop_requested=lambda: False)
        run = open_run(run_directory(results, spec))
        assert verify_run(run) == []
        for name in (EPISODES_FILE, METRICS_FILE):
            assert (run.directory / name).read_bytes() == (run_directory(folder, spec) / name).read_bytes()


def once_under_way(act):
    """Acts at the first sign that a run trains."""
    done = []

    def on_status(events):
        if not done and events.statuses[-1].phase == "training":
            done.append(True)
            act()

    return on_status


def test_a_node_lost_in_the_middle_of_runs_changes_none_of_their_bytes(tmp_path):
    specs = [spec_of("pqn", updates=15), spec_of("c51", updates=20), spec_of("pqn", seed=1, updates=15)]
    with cluster_of(3) as cluster:
        lost = next(iter(cluster.worker_nodes))
        events = Events(once_under_way(lambda: kill_node(lost)))
        # A node whose processes are killed one by one may be seen as a crash first, when the machine is busy.
        executor = executor_of(tmp_path / "ray", specs, live_slowly, supervision=replace(NEVER, restarts=1))
        outcomes = executor.run(specs, events)
    assert results_of(outcomes) == ["done", "done", "done"], [(outcome.result, outcome.reason) for outcome in outcomes]
    seen = ("was lost", "was killed", "could not reach")
    assert any(sign in reason for _, reason in events.restarts for sign in seen), events.restarts
    assert executor.parcels >= 3
    printed = (run_directory(tmp_path / "ray", events.restarts[0][0]) / RUN_LOG_FILE).read_text()
    assert printed.count(", node ") >= 2  # where it began, and where it went on
    assert_same_as_here(tmp_path / "ray", tmp_path / "here", specs)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_node_lost_in_the_middle_of_four_runs_and_one_that_comes_instead_change_no_byte(tmp_path):
    specs = [spec_of(name, seed=seed, updates=20) for seed in range(3) for name in ("pqn", "c51")]
    settings = {"memory": 12_000_000_000, "object_store_memory": 80 << 20}
    with cluster_of(1) as cluster:
        lost = cluster.add_node(num_cpus=4, **settings)
        training = set()

        class KillsOnce(Events):
            def status(self, spec, status):
                super().status(spec, status)
                before = len(training)
                training.update([spec] if status.phase == "training" else [])
                if before < 5 == len(training):  # all places are taken: one here, four there
                    kill_node(lost)
                    cluster.add_node(num_cpus=4, **settings)

        events = KillsOnce()
        outcomes = executor_of(tmp_path / "ray", specs, live_slowly).run(specs, events)
    assert results_of(outcomes) == ["done"] * 6, [(outcome.result, outcome.reason) for outcome in outcomes]
    moved = {spec for spec, reason in events.restarts if "was lost" in reason}
    assert len(moved) == 4, events.restarts
    assert_same_as_here(tmp_path / "ray", tmp_path / "here", specs)


def train_own_here_and_there(tmp_path, toml):
    """The same run of a baseline of a user's own, here and on a node that has none of its files. Returns their folders.

    Its files are gone before the run starts there: what trains is what travelled.
    """
    name = registry.add_own(toml)
    try:
        pinned = registry.load_pinned(name)
        frames = 4 * pinned.config.frames_per_update
        spec = run_spec(pinned, load_protocol("paper"), game="Breakout", frames=frames, seed=0)
        own = pack_own([name])
        options = replace(OPTIONS, own=own_files([name]))
        execute(spec, results=tmp_path / "here", options=options, report=lambda _: None, stop_requested=lambda: False)
        shutil.rmtree(toml.parent)
        with cluster_of(1):
            outcomes = executor_of(tmp_path / "ray", [spec], execute_run, own=own).run([spec], Events())
    finally:
        registry._own.clear()
    assert results_of(outcomes) == ["done"], outcomes
    here, there = (run_directory(tmp_path / place, spec) for place in ("here", "ray"))
    assert verify_run(open_run(there)) == []
    return here, there


def assert_same_files(here, there, kept):
    assert sorted(path.name for path in (there / "code").iterdir()) == kept
    for file in (EPISODES_FILE, METRICS_FILE, ACTIONS_FILE, *(f"code/{file}" for file in kept)):
        assert (here / file).read_bytes() == (there / file).read_bytes(), file


def tiny_values():
    return "".join(f'{key} = {{ value = {value!r}, source = "ours" }}\n' for key, value in TINY["pqn"].items())


@pytest.mark.slow
def test_an_encoder_of_a_users_own_trains_on_a_node_that_has_no_file_of_it(tmp_path, capsys):
    assert main(["new", "encoder", "narrow", "--folder", str(tmp_path / "ideas")]) == 0
    with (tmp_path / "ideas" / "narrow.toml").open("a") as toml:  # few environments, for the time that it takes
        toml.write(tiny_values())
    here, there = train_own_here_and_there(tmp_path, tmp_path / "ideas" / "narrow.toml")
    assert_same_files(here, there, ["baseline.toml", "narrow.py"])


AGENT = """
from dataclasses import dataclass
from baselines.pqn import PqnAgent, PqnConfig
from floors import floored
@dataclass(frozen=True)
class CuriousAgentConfig(PqnConfig):
    least_epsilon: float
class CuriousAgent(PqnAgent):
    def __init__(self, config, task):
        super().__init__(config, task)
        self._least = config.least_epsilon
    def _exploration(self, epsilon):
        return super()._exploration(floored(epsilon, self._least))
"""


@pytest.mark.slow
def test_an_agent_of_a_users_own_trains_on_a_node_that_has_no_file_of_it(tmp_path):
    """It explores otherwise than PQN, by a function in a file beside it that travels too."""
    ideas = tmp_path / "ideas"
    ideas.mkdir()
    (ideas / "floors.py").write_text("def floored(value, least):\n    return max(value, least)\n")
    (ideas / "curious.py").write_text(AGENT)
    (ideas / "curious.toml").write_text(
        'name = "curious"\nextends = "pqn"\nalgorithm = "curious.py:CuriousAgent"\n[values]\n'
        f'least_epsilon = {{ value = 0.5, source = "ours" }}\n{tiny_values()}'
    )
    here, there = train_own_here_and_there(tmp_path, ideas / "curious.toml")
    assert_same_files(here, there, ["baseline.toml", "curious.py"])


@pytest.mark.slow
def test_a_preempted_node_sends_its_checkpoint_home_and_another_one_goes_on(tmp_path):
    spec = spec_of("pqn", updates=40)

    def preempt():
        for process in psutil.Process().children(recursive=True):  # the nodes of this test's own cluster
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                words = " ".join(process.cmdline())
                if "ray::" in words and str(spec) in words:
                    process.terminate()

    with cluster_of(2):
        events = Events(once_under_way(preempt))
        outcomes = executor_of(tmp_path / "ray", [spec], live_slowly).run([spec], events)
    assert results_of(outcomes) == ["done"], outcomes
    assert ["is taken away" in reason for _, reason in events.restarts] == [True]
    reasons = [entry["reason"] for entry in open_run(run_directory(tmp_path / "ray", spec)).manifest["interruptions"]]
    assert reasons == ["preempted: its node was taken away"]  # with a checkpoint of its own, not a kill
    assert_same_as_here(tmp_path / "ray", tmp_path / "here", [spec])


@pytest.mark.slow
def test_a_stopped_command_has_the_checkpoints_at_home_and_goes_on(tmp_path):
    specs = [spec_of("pqn", seed=seed, updates=40) for seed in range(3)]
    with cluster_of(2):
        events = Events(once_under_way(lambda: os.kill(os.getpid(), signal.SIGINT)))
        outcomes = executor_of(tmp_path / "ray", specs, live_slowly).run(specs, events)
        assert sorted(set(results_of(outcomes))) == ["interrupted", "not started"]
        assert events.told_to_stop == 1
        outcomes = executor_of(tmp_path / "ray", specs, live).run(specs, Events())
    assert results_of(outcomes) == ["done"] * 3, outcomes
    assert_same_as_here(tmp_path / "ray", tmp_path / "here", specs)


@pytest.mark.slow
def test_a_shared_folder_is_written_by_the_nodes_and_a_node_that_joins_gets_runs(tmp_path):
    specs = [spec_of("pqn", seed=seed, updates=15) for seed in range(4)]
    results = tmp_path / "ray"
    results.mkdir()
    with cluster_of(1) as cluster:
        executor = executor_of(results, specs, live_slowly, shared=results)
        cluster.add_node(num_cpus=1, memory=4_000_000_000, object_store_memory=80 << 20)
        outcomes = executor.run(specs, Events())
    assert results_of(outcomes) == ["done"] * 4, outcomes
    assert executor.parcels == 0
    jobs = {open_run(run_directory(results, spec)).manifest["hardware"]["jobs"] for spec in specs}
    assert jobs == {1}
    assert_same_as_here(results, tmp_path / "here", specs)


@pytest.mark.slow
def test_a_full_disk_at_home_stops_the_run_with_its_name_and_the_next_command_goes_on(tmp_path):
    """The folder of the results is a file system of 4 MB."""
    results = tmp_path / "ray"
    results.mkdir()
    if os.system(f"mount -t tmpfs -o size=1500k tmpfs {results} 2>/dev/null"):
        pytest.skip("no right to mount a small file system")
    spec = spec_of("pqn", updates=15)
    try:
        (results / "ballast").write_bytes(bytes(1_400_000))
        with cluster_of(1):
            events = Events()
            executor = executor_of(results, [spec], live)
            outcomes = executor.run([spec], events)
            assert results_of(outcomes) == ["failed"], outcomes
            assert "No space left on device" in outcomes[0].reason
            assert any("No space left on device" in line for line in events.notes)
            (results / "ballast").unlink()
            os.system(f"mount -o remount,size=100m {results}")
            assert results_of(executor_of(results, [spec], live).run([spec], Events())) == ["done"]
        assert_same_as_here(results, tmp_path / "here", [spec])
    finally:
        os.system(f"umount -l {results}")


@pytest.mark.slow
def test_a_cluster_without_room_for_a_run_is_refused_before_anything_starts(tmp_path):
    spec = spec_of("pqn")
    with cluster_of(1, memory=200_000_000), pytest.raises(UserError, match="no node has room for a single run: pqn"):
        executor_of(tmp_path, [spec], live)
    assert not list(tmp_path.iterdir())
