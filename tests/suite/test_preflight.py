from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from packaging.specifiers import SpecifierSet

from results.games import ATARI57, GAMES
from suite import preflight
from suite.protocol import PROTOCOLS


@pytest.mark.parametrize(
    ("version", "wanted", "supported"),
    [
        ("2.13.0+cpu", ">=2.11", True),
        ("2.9.1", ">=2.11", False),
        ("1.2.5", ">=1.2.5,<1.3", True),
        ("1.3.0", ">=1.2.5,<1.3", False),
        ("1.2.4", ">=1.2.5,<1.3", False),
        ("3.0.0rc1", ">=2.2,<3", False),
        ("2.12.0rc1", ">=2.11", True),
        ("unknown", ">=1", False),
    ],
)
def test_a_version_is_in_its_range_or_not(version, wanted, supported):
    assert preflight.is_supported(version, SpecifierSet(wanted)) is supported


def test_every_requirement_of_the_installed_suite_is_a_row_and_those_of_extras_are_none(monkeypatch):
    asked = ["numpy<99,>=1.26", "psutil>=999", 'pytest>=8.3; extra == "test"', 'colorama; sys_platform == "win32"']
    monkeypatch.setattr(preflight.metadata, "requires", lambda _name: asked)
    _, *rows = preflight.check_versions()
    assert [(row.name, row.passed) for row in rows] == [("numpy", True), ("psutil", False)]
    assert rows[0].detail == f"{metadata.version('numpy')} (needs >= 1.26, < 99)"


def test_a_checkout_that_is_not_installed_is_one_failed_row_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(preflight, "DISTRIBUTION", "no-such-distribution")
    (row,) = preflight.check_versions()
    assert not row.passed
    assert "pip install -c constraints.txt -e ." in row.detail


def test_this_environment_passes_the_version_checks():
    assert [check.detail for check in preflight.check_versions() if not check.passed] == []


def test_an_absent_package_is_a_failed_row_that_says_how_to_install_it(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(preflight.metadata, "version", absent)
    rows = {check.name: check for check in preflight.check_versions()}
    assert not rows["torch"].passed
    assert "pip install" in rows["torch"].detail
    assert rows["python"].passed


def test_the_machine_is_checked_row_by_row(tmp_path):
    rows = {check.name: check for check in preflight.check_machine("cpu", tmp_path / "runs")}
    assert list(rows) == ["device", "memory", "results", "disk"]
    assert rows["results"].passed
    assert rows["device"].detail.startswith("cpu, ")


def test_a_device_or_folder_that_cannot_be_used_is_a_failed_row(tmp_path):
    (tmp_path / "file").write_text("")
    rows = {check.name: check for check in preflight.check_machine("cuda:999", tmp_path / "file")}
    assert not rows["device"].passed
    assert not rows["results"].passed
    assert "is not a folder" in rows["results"].detail


@pytest.fixture
def gpus(monkeypatch):
    """Two devices that pass for GPUs; returns those that were waited for."""
    waited_for = []
    monkeypatch.setattr(preflight, "parse_device", lambda _: ("cpu:0", "meta"))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(name="H100", total_memory=8e10))
    monkeypatch.setattr(torch.cuda, "synchronize", waited_for.append)
    return waited_for


def test_every_gpu_that_is_meant_computes_a_convolution(gpus, tmp_path):
    device, *_ = preflight.check_machine("cuda", tmp_path)
    assert (device.passed, device.detail) == (True, "cpu:0, H100, 80.0 GB, meta, H100, 80.0 GB")
    assert gpus == ["cpu:0", "meta"]


def test_a_gpu_that_can_not_compute_is_a_failed_row_with_its_error_in_one_line(gpus, tmp_path, monkeypatch):
    """Its properties can be read all the same, and every fast path would only be missed."""
    convolve = torch.nn.functional.conv2d

    def fails(images, *arguments, **keywords):
        if images.device.type == "meta":
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device\nCompile with ...")
        return convolve(images, *arguments, **keywords)

    monkeypatch.setattr(torch.nn.functional, "conv2d", fails)
    device, *_ = preflight.check_machine("cuda", tmp_path)
    assert not device.passed
    assert "convolution failed on meta: RuntimeError: CUDA error: no kernel image is available" in device.detail
    assert "cpu:0: " not in device.detail
    assert "install a torch that is built for this GPU" in device.detail
    assert "\n" not in device.detail


def test_too_little_memory_is_a_failed_row(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "LEAST_MEMORY_BYTES", 10**18)
    rows = {check.name: check for check in preflight.check_machine("cpu", tmp_path)}
    assert not rows["memory"].passed


def test_every_pinned_file_is_sound():
    checks = list(preflight.check_pinned())
    assert [check.detail for check in checks if not check.passed] == []
    assert {"protocol paper", "protocol dopamine"} <= {check.name for check in checks}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_game_has_an_expected_fingerprint(protocol):
    assert {GAMES[game].envpool_id for game in ATARI57} == set(preflight.expected_fingerprints(protocol))


def test_the_table_of_fingerprints_is_the_one_of_the_parity_fixtures():
    root = Path(__file__).parents[2]
    ours = root / "results" / "reference" / "environment_fingerprints.csv"
    assert ours.read_bytes() == (root / "tests" / "parity" / "environment_fingerprints.csv").read_bytes()


def test_a_game_that_gives_the_official_bytes_passes():
    (check,) = preflight.check_games(["Freeway"], full=False)
    assert check.passed
    assert check.detail == "3 actions; 100 agent steps x 8 environments: the official emulator's bytes"


def test_under_the_second_protocol_the_bytes_are_held_against_the_suites_own():
    (check,) = preflight.check_games(["Freeway"], full=False, protocol="dopamine")
    assert check.passed
    assert check.detail == "3 actions; 100 agent steps x 8 environments: the suite's own (envpool 1.2.5) bytes"


def test_other_bytes_are_a_failed_row_that_says_which(monkeypatch):
    expected = preflight.expected_fingerprints()
    spoiled = {**expected, "Freeway-v5": {**expected["Freeway-v5"], "signals_sha256_100": "0" * 64}}
    monkeypatch.setattr(preflight, "expected_fingerprints", lambda _protocol: spoiled)
    (check,) = preflight.check_games(["Freeway"], full=False)
    assert not check.passed
    assert check.detail == "rewards or ends differ from the official emulator's within 100 agent steps"


def test_one_game_that_cannot_be_played_is_one_failed_row(monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise RuntimeError("no\nROM")

    monkeypatch.setattr("baselines.emulator.fingerprints.AtariEnvironments", refuse)
    checks = list(preflight.check_games(["Freeway", "Pong"], full=False))
    assert [(check.name, check.passed, check.detail) for check in checks] == [
        ("Freeway", False, "RuntimeError: no ROM"),
        ("Pong", False, "RuntimeError: no ROM"),
    ]
