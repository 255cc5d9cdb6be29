"""Facts about the project as a whole: what it promises in its packaging, its documents and its layout."""

from __future__ import annotations

import ast
import configparser
import graphlib
import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from markdown_it import MarkdownIt
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from baselines.fast.names import KEPT_MEMORY
from baselines.registry import BASELINES, load_pinned
from reports.judging.timing import ALLOCATOR
from results.shipped import DATA_FOLDERS, shipped_files
from suite import preflight
from suite.arguments import parse_games
from suite.cli import build_parser
from suite.flags import parse_selection

ROOT = Path(__file__).parent.parent
PACKAGES = ("suite", "baselines", "results", "reports")
MAY_IMPORT = {
    "suite": {"baselines", "results", "reports"},
    "reports": {"results"},
    "baselines": set(),
    "results": set(),
}
GENERATED = (ROOT / "results/runs", ROOT / "results/external", ROOT / "reports/html")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENTS = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
MODULES = shipped_files(PACKAGES, (".py",))  # and no code of a user's own that a run below results/runs keeps


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tox_settings() -> configparser.ConfigParser:
    settings = configparser.ConfigParser(interpolation=None)
    settings.read(ROOT / "tox.ini", encoding="utf-8")
    return settings


def imports_of(path: Path) -> set[str]:
    """Names of the modules that a file imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


# Layout ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_package_imports_only_the_packages_its_layer_may(path: Path):
    package = path.relative_to(ROOT).parts[0]
    ours = {name.split(".")[0] for name in imports_of(path)} & set(PACKAGES) - {package}
    assert ours <= MAY_IMPORT[package]


# Wings of a package: which ones a wing may use, itself aside. "" holds the flat files that stand above the wings.
# baselines: the agents (and what knows them all) use any wing; a wing may use the flat leaves, but no agent.
# reports: build -> pages -> summary -> wording -> judging -> statistics. Rooms of one file are named by it.
WINGS: dict[str, dict[str, set[str]]] = {
    "baselines": {
        "": {"emulator", "networks", "replay", "fast", "leaf"},
        "replay": {"emulator", "fast", "leaf"},
        "emulator": {"fast", "leaf"},
        "networks": {"fast", "leaf"},
        "fast": {"leaf"},
        "leaf": {"emulator", "fast"},  # the contract of an agent names its environments and its paths
    },
    "reports": {
        "build": {"pages", "summary", "wording", "judging", "statistics", "leaf"},
        "pages": {"summary", "wording", "judging", "statistics", "leaf"},
        "markdown": {"wording", "judging", "statistics", "leaf"},
        "summary": {"wording", "judging", "statistics", "leaf"},
        "wording": {"judging", "statistics", "leaf"},
        "judging": {"statistics", "leaf"},
        "statistics": {"leaf"},
        "leaf": set(),
    },
}
LEAVES = {
    "baselines": {
        "agent",
        "config",
        "code",
        "description",
        "families",
        "seeding",
        "returns",
        "distributional",
        "exploration",
        "optim",
        "spans",
        "made_up",
    },
    "reports": {"errors", "catalogue", "numerals", "measures", "told"},
}


def module_of(path: Path) -> str:
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


NAMES = {module_of(path): path for path in MODULES}


def our_imports(path: Path) -> set[str]:
    """Names of our own modules that a file imports, anywhere in it; under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES.keys()
            outer = any(f"{node.module}.{alias.name}" not in NAMES for alias in node.names)
            found |= inner | ({node.module} if outer else set())
    return found & NAMES.keys()


def wing_of(module: str) -> str:
    package, *parts = module.split(".")
    if not parts or parts[0] in LEAVES[package]:
        return "leaf"
    return parts[0] if parts[0] in WINGS[package] else ""


@pytest.mark.parametrize("path", [p for p in MODULES if p.relative_to(ROOT).parts[0] in WINGS], ids=name_of)
def test_a_wing_uses_only_the_wings_below_it(path: Path):
    module = module_of(path)
    package, wing = module.split(".")[0], wing_of(module)
    used = {wing_of(name) for name in our_imports(path) if name.split(".")[0] == package} - {wing}
    assert used <= WINGS[package][wing], f"{wing or 'an agent'} may not use {used - WINGS[package][wing]}"


def test_reports_know_the_allocators_path_by_the_name_that_runs_write():
    """reports may not import baselines; were the name another, no run would ever be timed."""
    assert ALLOCATOR == KEPT_MEMORY


def test_no_two_files_import_each_other_however_far_around():
    """Imports under TYPE_CHECKING count as well: a circle of names is a circle for whoever reads the files."""
    graph = {name: our_imports(path) - {name} for name, path in NAMES.items()}
    sorter = graphlib.TopologicalSorter(graph)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_has_one_idea_and_at_most_400_lines(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
    assert path.stem not in {"utils", "util", "common", "helpers", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_begins_with_a_docstring(path: Path):
    source = path.read_text(encoding="utf-8")
    assert not source.strip() or ast.get_docstring(ast.parse(source))


# Packaging ---------------------------------------------------------------------------------------------------------


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found = {}
    for requirement in requirements:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", f"{requirement} is no exact version"
        found[canonicalize_name(requirement.name)] = specifier.version
    assert len(found) == len(requirements), "a package is listed twice"
    return found


def direct_requirements() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [text for extra in project["optional-dependencies"].values() for text in extra]
    return [Requirement(text) for text in project["dependencies"] + extras]


def test_constraints_pin_every_direct_dependency_within_its_range():
    pinned = pins()
    for requirement in direct_requirements():
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is missing from constraints.txt"
        assert requirement.specifier.contains(version), f"{version} is outside {requirement}"


def test_constraints_pin_every_dependency_of_a_dependency():
    pinned, todo, seen = pins(), direct_requirements(), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if (name, frozenset(requirement.extras)) in seen:
            continue
        seen.add((name, frozenset(requirement.extras)))
        # torch pins its own CUDA libraries exactly; they depend on the build, not on this project.
        if name.startswith(("nvidia-", "cuda-")) or name == "triton":
            continue
        assert name in pinned, f"{name} is missing from constraints.txt"
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # of the extra `lint`, where only the tests' extra is installed
        for need in map(Requirement, needs):
            environments = [{"extra": extra} for extra in ("", *requirement.extras)]
            if need.marker is None or any(need.marker.evaluate(environment) for environment in environments):
                todo.append(need)
    assert len(seen) > 30


def test_every_package_that_is_imported_is_declared():
    # envpool brings envpool-assets, its own other half, of the version it needs; torch for a GPU brings triton.
    # Ray is an extra of its own, imported by what `--executor ray` needs alone.
    distributions = {"markdown_it": "markdown-it-py", "envpool_assets": "envpool", "PIL": "pillow"}
    imported = {name.split(".")[0] for path in MODULES for name in imports_of(path)}
    third_party = imported - sys.stdlib_module_names - set(PACKAGES) - {"__future__"}
    extras = PROJECT["project"]["optional-dependencies"]
    declared = {Requirement(text).name for text in PROJECT["project"]["dependencies"] + extras["video"]}
    assert {distributions.get(name, name) for name in third_party} == declared | {"triton", "ray"}


def test_the_tests_have_what_videos_need():
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras["video"]) <= set(extras["test"])


def test_tox_installs_the_constrained_versions_everywhere_and_tests_by_default():
    settings = tox_settings()
    assert settings["testenv"]["constraints"] == "constraints.txt"
    assert settings["tox"]["env_list"].split() == ["tests"]
    for name in ("tests", "lint", "demo", "smoke"):
        assert "constraints" not in settings[f"testenv:{name}"]


def test_the_suite_runs_in_a_folder_that_holds_results_and_reports_of_its_own(tmp_path: Path):
    try:
        metadata.distribution(PROJECT["project"]["name"])
    except metadata.PackageNotFoundError:
        pytest.skip("the suite is not installed here; pip install -c constraints.txt -e .")
    for folder in ("results/runs", "reports/html", "baselines", "suite"):
        (tmp_path / folder).mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "suite", "status"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_data_file_of_a_package_is_shipped_with_it():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for package in PACKAGES:
        folder = ROOT / package
        shipped = {path for pattern in patterns[package] for path in folder.glob(pattern)}
        data = {
            path
            for path in folder.rglob("*")
            if path.is_file()
            and path.suffix not in {".py", ".pyc"}
            and not any(generated in path.parents for generated in GENERATED)
        }
        assert data <= shipped, f"not in package-data: {sorted(map(name_of, data - shipped))}"


def test_code_and_data_that_compute_are_what_nodes_and_caches_are_told_apart_by():
    """A folder that is no package and not among DATA_FOLDERS would be in no digest, and its modules in no test."""
    suffixes = {".py", ".toml", ".cpp", ".h", ".csv", ".parquet"}
    there = {
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in suffixes and not any(generated in path.parents for generated in GENERATED)
    }
    assert there == set(shipped_files(PACKAGES, suffixes))
    shipped = [pattern for patterns in PROJECT["tool"]["setuptools"]["package-data"].values() for pattern in patterns]
    assert {pattern.split("/")[-2] for pattern in shipped if "/" in pattern} <= {*DATA_FOLDERS, "statistics"}


def test_the_version_is_one_that_packaging_tools_accept():
    text = (ROOT / "suite/__init__.py").read_text(encoding="utf-8")
    (version,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    assert str(Version(version)) == version


# Licence and citation ----------------------------------------------------------------------------------------------


def test_the_licence_is_apache_2():
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


def test_the_citation_names_the_paper_and_the_source_of_every_baseline_and_tool():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == "Apache-2.0"
    assert citation["message"]
    assert citation["authors"]
    references = citation["references"]
    for reference in references:
        assert reference["title"]
        assert reference["authors"], reference["title"]
        assert 2013 <= reference["year"] <= 2025, reference["title"]
        assert reference["url"].startswith("https://"), reference["title"]
    assert references[0]["title"].startswith("Hadamax Encoding")
    cited = {identifier["value"] for reference in references for identifier in reference.get("identifiers", [])}
    for arxiv in ("2505.15345", "2407.04811", "1707.06887", "1710.02298", "2108.13264", "1207.4708", "2206.10558"):
        assert f"arXiv:{arxiv}" in cited
    papers = [load_pinned(name).paper for name in BASELINES]
    for arxiv in re.findall(r"\d{4}\.\d{5}", " ".join(papers)):
        assert f"arXiv:{arxiv}" in cited


# Continuous integration --------------------------------------------------------------------------------------------


def test_ci_runs_the_readmes_own_test_command():
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert "SUITE_REQUIRE_BROWSER=1" in text
    commands = [line.split() for line in text.splitlines()]
    assert ["tox", "run", '"$@"'] in commands
    assert "pip install tox && tox run " in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=name_of)
def test_a_workflow_is_sound_yaml_whose_jobs_end(path: Path):
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"]["contents"] == "read"
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] <= 120
        assert job["steps"][0]["uses"].startswith("actions/checkout@")


def test_every_workflow_is_held_against_githubs_schema():
    lint = tox_settings()["testenv:lint"]["commands"]
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        assert path.relative_to(ROOT).as_posix() in lint.split()


def test_the_report_is_published_anew_when_anything_that_it_shows_or_is_made_by_changes():
    workflow = yaml.safe_load((ROOT / ".github/workflows/pages.yml").read_text(encoding="utf-8"))
    paths = workflow[True]["push"]["paths"]  # YAML 1.1 reads `on` as true
    assert {f"{folder}/**" for folder in (*PACKAGES, "docs")} <= set(paths)


def test_every_tox_environment_that_is_named_anywhere_exists():
    environments = {section.removeprefix("testenv:") for section in tox_settings().sections()}
    files = [*DOCUMENTS, ROOT / "tox.ini", ROOT / "constraints.txt", *(ROOT / ".github/workflows").glob("*.yml")]
    named = {name for path in files for name in re.findall(r"tox run -e ([a-z]+)", path.read_text(encoding="utf-8"))}
    assert {"demo", "lint", "smoke"} <= named
    assert named <= environments


def test_the_nightly_job_trains_every_baseline_and_keeps_its_report():
    nightly = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text(encoding="utf-8"))
    steps = nightly["jobs"]["smoke"]["steps"]
    assert any("tox run -e smoke" in step.get("run", "") for step in steps)
    (upload,) = [step for step in steps if step.get("uses", "").startswith("actions/upload-artifact@")]
    assert upload["if"] == "${{ !cancelled() }}"
    commands = tox_settings()["testenv:smoke"]["commands"].splitlines()
    (run,) = [line for line in commands if "suite run" in line]
    assert "--baselines" not in run  # all of them, whatever is added
    (out,) = [line.split()[-1] for line in commands if "suite report" in line]
    assert out in upload["with"]["path"].split()


@pytest.mark.parametrize("day", range(1, 8))
def test_a_week_of_nights_plays_all_games_again(day: int):
    nightly = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text(encoding="utf-8"))
    command = nightly["jobs"]["proof-of-play"]["steps"][-1]["run"]
    # Today's day of the week is what the parts go by.
    stand_ins = f'date() {{ test "$*" = +%u && echo {day}; }}; python() {{ echo "$@"; }}'
    said = subprocess.run(["bash", "-c", f"{stand_ins}; {command}"], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["-m", "suite", "verify", "--protocol", "all", "--replay", "--part", f"{day}/7"]


# Documents ---------------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    """Names of a document's headings as GitHub links to them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_between_documents_lead_somewhere(path: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        aim = (path.parent / file).resolve() if file else path
        assert aim.exists(), f"{target} leads nowhere"
        assert not anchor or anchor in anchors(aim), f"{aim.name} has no heading #{anchor}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_paragraphs_headings_and_blocks_of_a_document_stand_apart(path: Path):
    lines = path.read_text(encoding="utf-8").splitlines()
    tokens = MarkdownIt("commonmark").enable("table").parse("\n".join(lines))
    blocks = [token for token in tokens if token.level == 0 and token.map and token.nesting >= 0]
    assert not [lines[block.map[0]] for block in blocks if block.map[0] and lines[block.map[0] - 1].strip()]
    texts = [part.content for token in tokens for part in token.children or () if part.type == "text"]
    assert not [text for text in texts if "  " in text], "two paragraphs that became one, or a stray space"


def documented_commands() -> list[tuple[str, str]]:
    """Every `python -m suite ...` in a code block of a document or a workflow, and in tox.ini: (file, arguments)."""
    found = []
    for path in DOCUMENTS:
        for block in re.findall(
            r"^```(?:sh|bash)\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            found += [(name_of(path), line) for line in re.findall(r"^python -m suite (.+)$", block, re.MULTILINE)]
    for path in [ROOT / "tox.ini", *(ROOT / ".github/workflows").glob("*.yml")]:
        commands = re.findall(r"python -m suite (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        found += [(name_of(path), line) for line in commands]
    return found


@pytest.mark.parametrize(("file", "arguments"), documented_commands())
def test_a_documented_command_is_one_that_the_command_line_takes(file: str, arguments: str):
    words = shlex.split(arguments.partition(" > ")[0], comments=True)  # where the output goes is the shell's
    parsed = build_parser().parse_args(words)  # a UserError if it does not
    # A file that the page tells the reader to write cannot be there yet.
    if hasattr(parsed, "games") and ".toml" not in arguments:
        parse_selection(parsed) if hasattr(parsed, "seeds") else parse_games(parsed.games)


def test_the_readme_shows_every_common_step():
    commands = {arguments.split()[0] for file, arguments in documented_commands() if file == "README.md"}
    assert {"doctor", "run", "status", "report"} <= commands


def test_preflight_reads_the_distribution_that_pyproject_names():
    assert canonicalize_name(PROJECT["project"]["name"]) == preflight.DISTRIBUTION


@pytest.mark.parametrize("baseline", BASELINES)
def test_a_baseline_has_a_page_with_numbered_deviations_and_their_effects(baseline: str):
    text = (ROOT / f"docs/baselines/{baseline}.md").read_text(encoding="utf-8")
    deviations = re.split(r"^## Deviations.*$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    items = re.split(r"^\d+\. ", deviations, flags=re.MULTILINE)[1:]
    assert items
    assert f"baselines/pinned/{baseline}.toml" in text
    for item in items:
        assert "*Effect:*" in item, item
    assert "](" not in deviations, "reports show these paragraphs, where a link to another document leads nowhere"


def test_hadamax_pqn_is_pqn_with_another_encoder_and_nothing_else():
    plain, hadamax = load_pinned("pqn").values, load_pinned("hadamax-pqn").values
    assert plain.keys() == hadamax.keys()
    assert {key for key in plain if plain[key] != hadamax[key]} == {"encoder"}
