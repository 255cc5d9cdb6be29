"""Options and fixtures shared by the tests.

`--parity DIR` checks the code against another folder of parity fixtures (README in tests/parity); write
`--parity=DIR` when no test path stands on the command line. `--parity-report` prints the largest difference per file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from parity_fixtures import COMMITTED_FOLDER, DTYPES, Comparison, ParityFile, ParityFolder, report_lines


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity")
    group.addoption("--parity", metavar="DIR", default=str(COMMITTED_FOLDER), help="folder of parity fixtures")
    group.addoption("--parity-report", action="store_true", help="print the largest difference per fixture file")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "parity_files(*patterns): run once per matching fixture file, given as the argument `parity_file`",
    )
    folder = Path(config.getoption("--parity"))
    if not folder.is_dir():
        raise pytest.UsageError(f"--parity: {folder} is not a folder; give one made like tests/parity")
    config.stash[_FOLDER] = ParityFolder(folder)
    # Two cores and many small tensors: one thread is faster, and several test processes do not fight.
    torch.set_num_threads(1)


_FOLDER = pytest.StashKey[ParityFolder]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("parity_files")
    if marker is None:
        return
    folder = metafunc.config.stash[_FOLDER]
    files = [file for pattern in marker.args for file in folder.files(pattern)]
    if files and "precision" in metafunc.fixturenames:
        cases = [(file, precision) for file in files for precision in DTYPES if _has(file, precision)]
        ids = [f"{file.path.stem}-{precision}" for file, precision in cases]
        metafunc.parametrize(("parity_file", "precision"), cases, ids=ids)
        return
    if files:
        metafunc.parametrize("parity_file", files, ids=[file.path.stem for file in files])
        return
    missing = f"no file of {folder.path} matches {' or '.join(marker.args)}"
    if folder.path.resolve() == COMMITTED_FOLDER.resolve():
        raise pytest.UsageError(missing)
    skipped = pytest.mark.skip(reason=missing)
    names = [name for name in ("parity_file", "precision") if name in metafunc.fixturenames]
    metafunc.parametrize(names, [pytest.param(*[None] * len(names), marks=skipped)], ids=["missing"])


def _has(file: ParityFile, precision: str) -> bool:
    """Whether the file can be met in this precision: only Hadamax networks have anything to fuse."""
    return not precision.endswith("fused") or "hadamax" in file.path.stem


@pytest.fixture(scope="session")
def parity_folder(request: pytest.FixtureRequest) -> ParityFolder:
    return request.config.stash[_FOLDER]


@pytest.fixture
def cuda() -> torch.device:
    """The first GPU; skips without one."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda:0")


@pytest.fixture
def number_formats() -> Iterator[None]:
    """Sets back what a test sets as for a GPU: other tests of the process compute on the CPU."""
    matmul = torch.backends.cuda.matmul
    precision, of_bf16 = torch.get_float32_matmul_precision(), matmul.allow_bf16_reduced_precision_reduction
    yield
    torch.set_float32_matmul_precision(precision)
    matmul.allow_bf16_reduced_precision_reduction = of_bf16


@pytest.fixture
def compare(request: pytest.FixtureRequest) -> Comparison:
    return Comparison(request.node.user_properties)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--parity-report"):
        return
    records = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in getattr(report, "user_properties", [])
        if name == "parity" and getattr(report, "when", None) == "call"
    ]
    terminalreporter.section("parity: largest |difference| / max(1, |expected|)")
    for line in report_lines(records):
        terminalreporter.write_line(line)
