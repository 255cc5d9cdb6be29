"""Choosing a cluster, judging its nodes: what needs no cluster."""

import dataclasses
import subprocess
import sys

import pytest

from suite import cli
from suite.cluster import Needs, Node
from suite.commands.run import what_came_home
from suite.node_checks import NodeFacts, own_facts, probe, problems, source_digest

OURS = NodeFacts({"python": "3.11.7", "torch": "2.13.0+cpu", "envpool": "1.2.5"}, "c0de", ())


def with_versions(**versions):
    return {"facts": dataclasses.replace(OURS, versions={**OURS.versions, **versions})}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (
            {"error": "the suite cannot be imported (ModuleNotFoundError: No module named 'envpool')"},
            "install the suite there",
        ),
        (with_versions(envpool=None), "envpool is absent, here 1.2.5"),
        (with_versions(torch="2.12.0"), "torch 2.12.0, here 2.13.0+cpu"),
        ({"facts": dataclasses.replace(OURS, code="other")}, "other code of the suite (other, here c0de)"),
        ({"facts": dataclasses.replace(OURS, failed=("Pong: frames differ",))}, "Pong: frames differ"),
        ({"facts": dataclasses.replace(OURS, folder=False)}, "--shared /data is not there or cannot be written"),
    ],
)
def test_a_node_that_differs_is_named_with_what_differs(found, said):
    assert said in "; ".join(problems(found, OURS, "/data"))


def test_a_node_with_another_build_of_the_same_torch_is_fit():
    assert problems(with_versions(torch="2.13.0+cu128"), OURS, None) == []


def test_this_machine_is_fit_for_itself():
    facts = own_facts(("Pong",), "cpu")
    assert problems({"facts": facts}, own_facts((), "cpu"), None) == []
    assert facts.code == source_digest()


@pytest.mark.parametrize(
    ("name", "is_told"),
    [
        ("baselines/fast/kernels/vectors.h", True),
        ("results/reference/environment_fingerprints.csv", True),
        ("results/reference/dopamine_atari_curves.parquet", True),
        ("results/runs/my-own/Pong/4M/seed-0/code/net.py", False),
        ("results/runs/my-own/Pong/4M/seed-0/code/baseline.toml", False),
    ],
)
def test_a_node_is_told_apart_by_what_computes_there_and_not_by_what_users_ran(tmp_path, name, is_told):
    for package in ("suite", "baselines", "baselines/fast", "results", "reports"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    before = source_digest(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("changed")
    assert (source_digest(tmp_path) != before) == is_told


def test_a_node_without_the_suite_can_be_asked_and_says_so():
    """The question travels by its code: a Python without the suite, which has Ray's own pickler, answers it."""
    ray = pytest.importorskip("ray")
    code = ray.cloudpickle.dumps(probe()).hex()
    answer = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {_standard_library()!r}\n"
         "import pickle, types\n"
         f"sys.path.append({str(ray.cloudpickle.__path__[0]).rsplit('/ray/', 1)[0]!r})\n"
         f"ask = __import__('ray.cloudpickle').cloudpickle.loads(bytes.fromhex({code!r}))\n"
         "sys.modules['suite'] = None\n"
         "print(ask((), 'cpu', None))"],
        capture_output=True, text=True, check=True, cwd="/",
    )  # fmt: skip
    assert "the suite cannot be imported (ModuleNotFoundError" in answer.stdout


def _standard_library():
    return [path for path in sys.path if "site-packages" not in path and "lib/python" in path]


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        ({"CPU": 8.0, "memory": 10e9}, 5),
        ({"CPU": 8.0, "memory": 1e9}, 0),
        ({"CPU": 3.0, "memory": 10e9}, 1),
        ({}, 0),
    ],
)
def test_a_node_has_as_many_places_as_its_scarcest_resource(resources, slots):
    needs = Needs(1, 0) if resources.get("CPU") != 3.0 else Needs(2, 0)
    assert Node("id", "name", resources).slots(needs, 2 * 10**9) == slots


def test_a_gpu_is_shared_out_exactly():
    node = Node("id", "name", {"CPU": 64.0, "GPU": 2.0, "memory": 1e12})
    assert [node.slots(Needs(1, share), 10**9) for share in (1.0, 0.5, 0.25, 0.2, 0.1)] == [2, 4, 8, 10, 20]


RUN = ["run", "--games", "pong", "--frames", "200k"]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--executor", "rya"], "unknown executor 'rya'; allowed: local, ray"),
        (["--gpus-per-run", "1"], "--gpus-per-run goes with --executor ray"),
        (["--shared"], "--shared goes with --executor ray"),
        (["--address", "auto"], "--address goes with --executor ray"),
        (["--executor", "ray", "--jobs", "2"], "--jobs goes with --executor local"),
        (["--executor", "ray", "--device", "cuda", "--groups", "2"], "--groups goes with --executor local"),
        (["--executor", "ray", "--address", ""], "give auto, or HOST:PORT"),
        (["--executor", "ray", "--device", "cuda:1"], "give auto, cpu or cuda"),
        (["--executor", "ray", "--device", "cpu", "--gpus-per-run", "1"], "do not fit"),
        (["--executor", "ray", "--gpus-per-run", "2"], "a share of one GPU up to 1"),
        (["--executor", "ray", "--cpus-per-run", "0"], "--cpus-per-run '0' is not allowed"),
        (["--executor", "ray", "--address", "here"], "give auto, or HOST:PORT"),
        (["--executor", "ray", "--address", "localhost:99999"], "give auto, or HOST:PORT"),
        (["--executor", "ray", "--address", "127.0.0.1:1"], "nothing answers there"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_writes_nothing(flags, said, tmp_path, capsys):
    assert cli.main([*RUN, *flags, "--results", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not list(tmp_path.rglob("manifest.json"))


@pytest.mark.parametrize(
    ("given", "left_out"),
    [
        (["--full"], "leave out --full, or"),
        (["--baselines", "pqn", "--results", "elsewhere"], "leave out --baselines, --results, or"),
    ],
)
def test_a_doctor_of_nodes_refuses_what_it_asks_this_machine_alone(capsys, given, left_out):
    assert cli.main(["doctor", "--executor", "ray", "--address", "127.0.0.1:1", *given]) == 2
    error = capsys.readouterr().err
    assert left_out in error
    assert error.count("\n") == 1


def test_without_the_extra_one_line_says_how_to_install_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main([*RUN, "--executor", "ray", "--results", str(tmp_path)]) == 2
    assert "needs Ray, which is not installed; pip install -c constraints.txt -e .[ray]" in capsys.readouterr().err


def test_other_versions_than_the_clusters_are_one_line(tmp_path, capsys, monkeypatch):
    ray = pytest.importorskip("ray")

    def init(**_):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.40.0\n    Python: 3.12.1\n")

    monkeypatch.setattr(ray, "init", init)
    assert cli.main([*RUN, "--executor", "ray", "--results", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "Ray: 2.40.0 Python: 3.12.1" in error
    assert error.count("\n") == 1


def test_the_log_of_a_run_is_printed(tmp_path, capsys):
    folder = tmp_path / "pqn/Pong/4M/seed-0"
    folder.mkdir(parents=True)
    (folder / "run.log").write_text("the emulator warns\n")
    assert cli.main(["status", "--results", str(tmp_path), "--log", "pqn/Pong/4M/seed-0"]) == 0
    assert capsys.readouterr().out == "the emulator warns\n"
    assert cli.main(["status", "--results", str(tmp_path), "--log", "pqn/Pong/4M/seed-1"]) == 2
    assert "name a run as it stands below --results" in capsys.readouterr().err


def test_the_last_line_says_what_each_run_sent_home():
    line = what_came_home(6, {"checkpoints": 9_000_000, "actions": 300_000, "tables": 0}, runs=3)
    assert line == (
        "9.3 MB came home in 6 parcels, of each run 3.1 MB in 2.0 on average (actions 300.0 kB, checkpoints 9.0 MB)"
    )
