"""Baselines of a user's own from the command line: real games, with networks and rollouts that take seconds."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from baselines import code, registry
from baselines.own_trial import try_file
from results.manifest import read_manifest
from results.store import open_run
from results.verify import verify_run
from suite.cli import main
from suite.plan import plan_runs
from suite.run import RunOptions, execute
from suite.run_process import execute_run

DOC = Path(__file__).parents[2] / "docs" / "add-an-encoder.md"
TINY = """
precision = { value = "float32", source = "ours" }
train_environments = { value = 4, source = "ours" }
greedy_environments = { value = 2, source = "ours" }
rollout_agent_steps = { value = 8, source = "ours" }
minibatches = { value = 2, source = "ours" }
"""
NET = """
from torch import nn
class Net(nn.Module):
    features = 16
    def __init__(self):
        super().__init__()
        self.pool = nn.AvgPool2d(12)
        self.dense = nn.Sequential(nn.Linear(4 * 7 * 7, 16), nn.ReLU())
    def forward(self, observations):
        images = observations.to(self.dense[0].weight.dtype) / 255
        return self.dense(self.pool(images).flatten(1))
"""
# Every pass of it moves a buffer on: state that a checkpoint must bring back.
WITH_SPECTRAL_NORM = NET.replace(
    "from torch import nn", "from torch import nn\nfrom torch.nn.utils import parametrizations"
)
WITH_SPECTRAL_NORM = WITH_SPECTRAL_NORM.replace(
    "nn.Linear(4 * 7 * 7, 16)", "parametrizations.spectral_norm(nn.Linear(4 * 7 * 7, 16))"
)
FRAMES = 40 * 128
RUN = f"run --games breakout --frames {FRAMES} --seeds 1 --device cpu --threads 1"


def stand_in(folder, patch):
    """In an empty folder outside of the package, in a process that knows no baseline of a user's."""
    patch.chdir(folder)
    patch.setattr(registry, "_own", {})
    patch.setattr(code, "_sources", {})
    patch.setattr(code, "_modules", {})


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """The folder of a user who has run mine.toml."""
    folder = tmp_path_factory.mktemp("mine")
    with pytest.MonkeyPatch.context() as patch:
        stand_in(folder, patch)
        write()
        assert suite(f"{RUN} --baselines mine.toml") == 0
    return folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch)


@pytest.fixture
def trained(place, first_run):
    shutil.copytree(first_run, ".", dirs_exist_ok=True)


def write(name="mine", *, source=NET, reference="net.py:Net", extends="pqn", values=TINY):
    Path("net.py").write_text(source, encoding="utf-8")
    path = Path(f"{name}.toml")
    path.write_text(
        f'name = "{name}"\nextends = "{extends}"\n[values]\n'
        f'encoder = {{ value = "{reference}", source = "ours" }}\n{values}',
        encoding="utf-8",
    )
    return path


def suite(line):
    return main(shlex.split(line))


def place_of(name="mine", results="results/runs"):
    return Path(results) / name / "Breakout" / str(FRAMES) / "seed-0"


def test_it_is_trained_kept_and_verified_and_its_copy_is_the_same_configuration(trained, capsys):
    manifest = read_manifest(place_of())
    assert manifest["config"]["code"] == {"net.py:Net": manifest["code"]["net.py:Net"]["sha256"]}
    assert sorted(path.name for path in (place_of() / "code").iterdir()) == ["baseline.toml", "net.py"]
    assert (place_of() / "code" / "net.py").read_text() == NET
    assert suite("verify") == 0
    registry._own.clear()
    copy = registry.describe(registry.add_own(place_of() / "code" / "baseline.toml"))
    from suite.protocol import pinned_hash

    assert pinned_hash(copy, "paper") == manifest["spec"]["config_hash"]
    capsys.readouterr()
    assert suite("status --baselines mine.toml --json") == 2  # two files of one name in one process
    assert "both have the name mine" in capsys.readouterr().err


def test_diagnostics_are_those_of_its_parts(trained):
    from results.store import read_metrics

    names = set(read_metrics(place_of())["name"].unique())
    assert {"effective_rank/dense", "dead_fraction/dense", "gradient_norm/dense"} <= names


@pytest.mark.parametrize("source", [NET, WITH_SPECTRAL_NORM], ids=["plain", "spectral norm"])
def test_a_run_that_was_stopped_ends_with_the_same_bytes(source):
    toml = write(source=source)
    assert try_file(toml).notes == ()
    name = registry.add_own(toml)
    (spec,) = plan_runs([name], ["Breakout"], FRAMES, [0])
    options = RunOptions(device="cpu", threads=1, emulator_threads=1, own=(toml.resolve(),))
    seen = []
    for results, stop_after in (("whole", None), ("cut", 20), ("cut", None)):
        seen.clear()
        outcome = execute(
            spec,
            results=Path(results),
            options=options,
            report=seen.append,
            stop_requested=lambda stop=stop_after: stop is not None and len(seen) >= stop,
        )
        assert outcome == ("interrupted" if stop_after else "done")
    for table in ("episodes", "metrics"):
        whole, cut = (place_of(results=results) / f"{table}.parquet" for results in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()


def test_edited_code_is_another_configuration_which_is_refused_and_written_over_nothing(trained, capsys):
    before = (place_of() / "manifest.json").read_bytes()
    write(source=NET + "\n# a comment\n")
    capsys.readouterr()
    assert suite(f"{RUN} --baselines mine.toml") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "give the baseline a new name" in error
    assert (place_of() / "manifest.json").read_bytes() == before
    assert suite("status --baselines mine.toml") == 0
    assert "its TOML or its code is another" in capsys.readouterr().out


def test_its_code_travels_in_an_archive_and_a_changed_byte_is_noticed(trained):
    assert suite("export mine.tar.gz") == 0
    assert suite("import mine.tar.gz --results other") == 0
    there = place_of(results="other")
    assert (there / "code" / "net.py").read_bytes() == (place_of() / "code" / "net.py").read_bytes()
    (there / "code" / "net.py").write_text(NET + "#")
    assert any(problem.startswith("code/net.py: SHA-256") for problem in verify_run(open_run(there)))
    (there / "code" / "net.py").write_text(NET)
    toml = there / "code" / "baseline.toml"
    toml.write_text(toml.read_text().replace("train_environments = { value = 4", "train_environments = { value = 5"))
    assert verify_run(open_run(there)) == ["code/baseline.toml: is not the configuration that the manifest has"]


def test_reading_results_executes_no_code_of_it(capsys):
    mark = "import pathlib\npathlib.Path('executed').write_text('x')\n"
    write(source=mark + NET)
    suite(f"{RUN} --baselines mine.toml")
    Path("executed").unlink()
    assert suite("status --baselines mine.toml") == 0
    assert suite("verify") == 0
    assert suite("export mine.tar.gz --baselines mine.toml") == 0
    assert suite("import mine.tar.gz --results other") == 0
    assert suite("report --out report") == 0
    assert not Path("executed").exists()
    code._modules.clear()
    assert suite("list --baselines mine.toml") == 0
    assert Path("executed").exists()


def test_an_installed_packages_class_is_found_without_executing_its_init(monkeypatch, capsys):
    package = Path("site/widepackage")
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import pathlib\npathlib.Path('executed').write_text('x')\n")
    (package / "nets.py").write_text(NET)
    monkeypatch.syspath_prepend("site")
    path = write(reference="widepackage.nets:Net")
    description = registry.describe(registry.add_own(path))
    assert not Path("executed").exists()
    assert list(description.code) == ["widepackage.nets:Net"]
    assert suite(f"{RUN} --baselines mine.toml --dry-run") == 0


@pytest.mark.parametrize("extends", ["c51", "rainbow"])
def test_replay_agents_take_an_encoder_too(extends, capsys):
    values = """
train_environments = { value = 4, source = "ours" }
block_vector_steps = { value = 8, source = "ours" }
replay_transitions = { value = 400, source = "ours" }
learning_start_agent_steps = { value = 64, source = "ours" }
"""
    write(extends=extends, values=values)
    assert suite(f"{RUN} --baselines mine.toml") == 0
    assert read_manifest(place_of())["updates_done"] > 10


AGENT = """
from dataclasses import dataclass
from baselines.pqn import PqnAgent, PqnConfig
@dataclass(frozen=True)
class QuietAgentConfig(PqnConfig):
    quietness: float
class QuietAgent(PqnAgent):
    pass
"""


def test_an_agent_of_ones_own_is_trained_with_the_config_beside_it():
    write(source=NET)
    Path("quiet.py").write_text(AGENT)
    Path("quiet.toml").write_text(
        'name = "quiet"\nextends = "pqn"\nalgorithm = "quiet.py:QuietAgent"\n[values]\n'
        f'quietness = {{ value = 0.5, source = "ours" }}\n{TINY}'
    )
    assert suite(f"{RUN} --baselines quiet.toml") == 0
    assert list(read_manifest(place_of("quiet"))["code"]) == ["quiet.py:QuietAgent"]
    assert suite("verify") == 0


def test_a_loss_that_is_no_number_ends_the_run_in_one_line_that_says_what_to_do():
    values = TINY + 'learning_rate = { value = 1e30, source = "ours" }\n'
    toml = write(values=values)
    name = registry.add_own(toml)
    (spec,) = plan_runs([name], ["Breakout"], FRAMES, [0])
    options = RunOptions(device="cpu", threads=1, emulator_threads=1, own=(toml.resolve(),))
    with pytest.raises(Exception, match=r"the loss of mine is (nan|inf) by update \d+ .*; lower its learning rate"):
        execute_run(spec, results=Path("r"), options=options, report=lambda _: None, stop_requested=lambda: False)
    assert read_manifest(place_of(results="r"))["error"]["type"] == "Diverged"


def net(*, init="", result="self.dense(x)"):
    return (
        "import random, torch\nfrom torch import nn\nclass Net(nn.Module):\n    features = 16\n"
        "    def __init__(self):\n        super().__init__()\n        self.dense = nn.Linear(4 * 84 * 84, 16)\n"
        f"        {init or 'pass'}\n    def forward(self, observations):\n"
        f"        x = observations.flatten(1).float() / 255\n        return {result}\n"
    )


MISTAKES = {
    "a class that is not there": ({"reference": "net.py:Nett"}, "net.py has no class Nett (its classes: Net)"),
    "a file that is not there": ({"reference": "nett.py:Net"}, "nett.py cannot be read (No such file or directory)"),
    "a reference without class": ({"reference": "net.py"}, 'write "my_net.py:MyClass" or "my_package.module:MyClass"'),
    "a module that is not there": ({"reference": "no_such.nets:Net"}, "there is no module no_such"),
    "a wrong shape": ({"source": net(result="x")}, "forward returns (8, 28224) for 8 observations"),
    "what cannot be copied": ({"source": net(init="self.rows = (i for i in range(3))")}, "cannot be copied and saved"),
    "weights from elsewhere": (
        {"source": net(init="self.w = nn.Parameter(torch.full((16,), random.random()))")},
        "w is drawn outside the given generator",
    ),
    "a root of zero": ({"source": net(result="(self.dense(x) * 0).sqrt()")}, "is not finite in the first update"),
    "dropout": ({"source": net(result="torch.dropout(self.dense(x), 0.5, True)")}, "two outputs for one input"),
    "state outside of buffers": (
        {"source": net(init="self.calls = iter(range(1, 99))", result="self.dense(x) * next(self.calls)")},
        "keep what changes in buffers",
    ),
    "no features": ({"source": net().replace("features", "feature")}, "must have `features`"),
    "no module": ({"source": "class Net:\n    features = 3\n"}, "derive it from torch.nn.Module"),
    "no Python": ({"source": "class Net(\n"}, "net.py cannot be loaded: SyntaxError"),
    "an import that is missing": ({"source": "import no_such\n"}, "No module named 'no_such' (line 1)"),
    "float32 in bf16": ({"source": net(), "extends": "pqn-bf16", "values": ""}, "bring the observations to the dtype"),
    "a name of the suite's": ({"name": "pqn"}, "pqn is a baseline of the suite's own; give yours another name"),
    "a baseline that is not there": ({"extends": "pqm"}, "extends: unknown baseline 'pqm'"),
    "an unknown value": ({"values": 'rate = { value = 1, source = "ours" }'}, "unknown rate (allowed: "),
    "a value without source": ({"values": "learning_rate = 1e-4"}, 'must be written { value = ..., source = "..." }'),
    "an unknown encoder": ({"reference": "hadamx"}, "unknown encoder 'hadamx'"),
}


@pytest.mark.parametrize(("given", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_newcomers_mistake_is_one_line_and_leaves_nothing(given, words, capsys):
    path = write(**given)
    assert suite(f"{RUN} --baselines {path}") == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not Path("results").exists()


def test_a_name_that_would_leave_the_results_folder_is_refused(capsys):
    Path("up.toml").write_text('name = "../up"\nextends = "pqn"\n')
    assert suite(f"{RUN} --baselines up.toml") == 2
    assert "can name no folder of results" in capsys.readouterr().err


def test_what_is_not_hashed_is_said(capsys):
    Path("beside.py").write_text("WIDTH = 16\n")
    write(source="from beside import WIDTH\n" + NET)
    assert suite(f"{RUN} --baselines mine.toml --dry-run") == 0
    assert "note: mine: net.py imports beside, which the config hash does not cover" in capsys.readouterr().err


def test_new_writes_three_files_that_work_and_writes_over_none(capsys):
    assert suite("new encoder narrow --json") == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["narrow.toml", "narrow.py", "test_narrow.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_narrow.py"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert suite("list --baselines narrow.toml") == 0
    assert "826,096 weights, 512 features; diagnostics of conv1, conv2, conv3, dense" in capsys.readouterr().out
    assert suite("new encoder narrow") == 2
    assert "exists already" in capsys.readouterr().err
    for name in ("pqn", "Ab", "../x", "class", "1st"):
        assert suite(f"new encoder {name}") == 2


def test_against_asks_whether_it_gains_and_names_the_runs_that_are_lacking(trained, capsys):
    assert suite("report --against pqn --no-clips --out html") == 0
    page = Path("html/claims/mine-against-pqn.html").read_text(encoding="utf-8")
    assert "Does mine (yours) gain over PQN?" in page
    assert "insufficient evidence" in page
    said = re.sub(r"<[^>]+>", "", page)
    assert f"suite run --baselines pqn --games Breakout --frames {FRAMES} --seeds 3" in said
    own = f"results/runs/mine/Breakout/{FRAMES}/seed-0/code/baseline.toml"  # what a command takes for the user's side
    assert f"suite run --baselines {own} --games Breakout --frames {FRAMES} --seeds 1,2" in said
    index = re.sub(r"<[^>]+>", "", Path("html/index.html").read_text(encoding="utf-8"))
    assert re.search(r"Does mine \(yours\) gain over PQN\?\s+yours", index)
    shown = Path("html/baselines/mine.html").read_text(encoding="utf-8")
    assert "self.pool = nn.AvgPool2d(12)" in shown  # its source
    assert "class Net(nn.Module):" in shown
    for line, message in (
        ("report --against mine.toml --no-clips", "compares mine with itself"),
        ("report --against nobody --no-clips", "nobody"),
        ("report --against pqn --baselines c51 --no-clips", "c51 has no finished run to compare"),
        ("report --baselines mine.toml", "--baselines goes with --against"),
    ):
        assert suite(line) == 2
        assert message in capsys.readouterr().err


def test_against_refuses_an_unfit_file_of_claims_as_a_report_without_it_does(trained, capsys):
    Path("binary.toml").write_bytes(b"\xff\xfe")
    Path("unfit.toml").write_text(CLAIM.replace('"ahead"', '"behind"'), encoding="utf-8")
    for file in ("absent", "binary", "unfit"):
        line = f"report --no-clips --claims {file}.toml"
        assert suite(line) == 2
        told = capsys.readouterr().err
        assert f"{file}.toml" in told
        assert suite(f"{line} --against pqn") == 2
        assert capsys.readouterr().err == told


def test_a_title_of_any_letters_may_be_asked_about(trained):
    from reports.judging.claims_file import load_claims
    from suite.catalogue import catalogue
    from suite.own_catalogue import claims_against, with_own

    known = with_own(catalogue("paper"), [Path("results/runs")])
    title = "Mine \N{ROCKET} \x7f"
    named = replace(known, baselines=tuple(replace(info, title=title) for info in known.baselines))
    Path("claims.toml").write_text(claims_against("pqn", ["mine"], [Path("results/runs")], named), encoding="utf-8")
    (claim,) = load_claims(Path("claims.toml"), with_built_in=False)
    assert claim.title == f"Does {title} gain over {title}?"


@pytest.mark.slow
@pytest.mark.timeout(3600)  # five minutes where nothing else runs
def test_the_page_on_encoders_works_as_it_is_written():
    """Every command of its first block, literally, in an empty folder."""
    block = re.search(r"^```sh\n(.*?)^```", DOC.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for line in block[1].splitlines():
        words = [sys.executable if word == "python" else word for word in shlex.split(line)]
        subprocess.run(words, check=True)
    assert "narrow" in Path("reports/html/index.html").read_text(encoding="utf-8").lower()


CLAIM = """
[[claim]]
id = "mine-gains"
kind = "ahead"
family = "suite"
title = "Mine is ahead"
statement = "Is it?"
source = "ours"
baseline = "mine"
reference = "pqn"
games = ["Breakout"]
frames = "4M"
measure = "median"
"""


def test_the_runs_that_a_claim_on_a_baseline_of_ones_own_lacks(trained, capsys):
    Path("claims.toml").write_text(CLAIM)
    lacking = "run --claim mine-gains --claims claims.toml --device cpu --dry-run --json"
    assert suite(lacking) == 0  # by the code that its run keeps
    runs = json.loads(capsys.readouterr().out)["runs"]
    needed = {(name, seed) for name in ("mine", "pqn") for seed in range(3)}
    assert {(run["baseline"], run["seed"]) for run in runs} == needed

    registry._own.clear()
    assert suite(f"{lacking} --baselines mine.toml --results other") == 0  # it has no run there
    assert {(run["baseline"], run["seed"]) for run in json.loads(capsys.readouterr().out)["runs"]} == needed

    registry._own.clear()
    assert suite(f"{lacking} --results other") == 2
    assert "give one of your own with --baselines FILE.toml" in capsys.readouterr().err
    assert suite(f"{lacking} --baselines pqn") == 2
    assert "--baselines beside it takes files of your own alone, so leave out pqn" in capsys.readouterr().err
