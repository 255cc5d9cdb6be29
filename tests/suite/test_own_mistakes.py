"""Mistakes in a user's own files at the command line: one line that says what to do, exit code 2, and nothing lost."""

import json
import shlex
from pathlib import Path

import pytest
from own_net import NET

from baselines import code, registry
from suite import bench, preflight
from suite.cli import main

TOML = 'name = "mine"\nextends = "pqn"\n[values]\nencoder = { value = "net.py:Net", source = "ours" }\n'


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_own", {})
    monkeypatch.setattr(code, "_sources", {})
    monkeypatch.setattr(code, "_modules", {})


def suite(line):
    return main(shlex.split(line))


def refused(line, capsys):
    """The one line that the command says."""
    capsys.readouterr()
    assert suite(line) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert said.out == ""
    return said.err


def write(source=NET, toml=TOML):
    Path("net.py").write_text(source, encoding="utf-8")
    Path("mine.toml").write_text(toml, encoding="utf-8")


def test_code_that_exits_does_not_end_the_suite_with_success(capsys):
    write("raise SystemExit\n")
    assert "net.py cannot be loaded: SystemExit (line 1)" in refused("list --baselines mine.toml", capsys)
    (row,) = preflight.check_own(["mine"])  # doctor's
    assert not row.passed
    assert "SystemExit" in row.detail


@pytest.mark.parametrize(
    ("name", "words"),
    [
        *((name, f"{name} is a module of Python's own") for name in ("random", "copy", "types", "queue", "token")),
        *((name, f"{name} can be imported already (") for name in ("suite", "pytest", "torch", "results")),
        ("conftest", "conftest.py is a file that pytest reads"),
        *((name, f"'{name}' can name no encoder") for name in ("none", "true", "false", "false-")),
    ],
)
def test_new_refuses_a_name_that_would_break_what_is_in_its_folder(name, words, capsys):
    assert words in refused(f"new encoder {name}", capsys)
    assert list(Path().iterdir()) == []


def test_new_takes_names_that_only_look_like_others(capsys):
    Path("ideas").mkdir()
    Path("plain.py").write_text("")
    for line in ("none-2", "my-random", "ideas", "plain --folder ideas"):
        assert suite(f"new encoder {line}") == 0


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nn.Linear(4 * 7 * 7, 16)", "nn.LazyLinear(16)", "give the layer its input width"),
        ("features = 16", "features = property(lambda self: 1 // 0)", "features failed: ZeroDivisionError"),
        ("features = 16", "features = 10**15", "net.py:Net cannot be used: RuntimeError"),
    ],
)
def test_an_ordinary_mistake_in_an_encoder_is_no_traceback(old, new, words, capsys):
    write(NET.replace(old, new))
    said = refused("list --baselines mine.toml", capsys)
    assert said.startswith("error: mine: net.py:Net")
    assert words in said


SOURCE = 'source = "ours" }'


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (SOURCE, "source = 3 }", "mine.toml: encoder: source must be a text, is 3; put it in quotes"),
        (SOURCE, "source = 2026-01-01 }", "encoder: source must be a text, is datetime.date(2026, 1, 1)"),
        ("[values]", "[sources]\nours = 2026-01-01\n[values]", "[sources] ours must be a text"),
        ("[values]", "[sources]\nours = ['a']\n[values]", "[sources] ours must be a text, is ['a']; put it in quotes"),
        ("[values]", 'title = "two\\nlines"\n[values]', "title must be one line of printable characters"),
        ("[values]", 'paper = "a\\tb"\n[values]', "paper must be one line of printable characters, is 'a\\tb'"),
        (
            "[values]",
            "[values]\nmore = { value = 2026-01-01, source = 'x' }",
            "more: datetime.date(2026, 1, 1) is no text",
        ),
        ("[values]", "[values]\nmore = { value = [10:00:00], source = 'x' }", "more: datetime.time(10, 0) is no text"),
    ],
)
def test_what_the_copy_of_a_run_could_not_hold_is_refused_before_it_is_trained(old, new, words, capsys):
    assert old in TOML
    write(toml=TOML.replace(old, new))
    assert words in refused("list baselines --baselines mine.toml", capsys)


@pytest.mark.parametrize(
    "line",
    [
        "list --baselines mine.toml --json",
        "run --games pong --frames 200k --baselines mine.toml --seeds 1 --device cpu --dry-run --json",
    ],
)
def test_what_an_encoder_prints_is_not_in_the_json(line, capsys):
    source = NET.replace("        super", "        print('in init')\n        super")
    source = source.replace("        images", "        print('in forward')\n        images")
    write("print('in module')\n" + source)
    assert suite(line) == 0
    said = capsys.readouterr()
    json.loads(said.out)
    assert all(where in said.err for where in ("in module", "in init", "in forward"))


def test_what_an_encoder_prints_while_it_is_measured_is_not_in_the_json(monkeypatch, capsys):
    monkeypatch.setattr(bench, "_measure_one", lambda job: print("in forward", job))
    bench._measure("a job")
    assert capsys.readouterr() == ("", "in forward a job\n")
