"""Which files are the suite's own: what it is told apart by, and never what was measured or made with it."""

from pathlib import Path

import pytest

from results.shipped import digest_of, shipped_files

FILES = ("suite/__init__.py", "suite/run.py", "suite/fast/__init__.py", "suite/fast/kernels/a.h", "suite/pinned/b.toml")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_packages_and_their_data_are_listed_sorted(root: Path):
    found = shipped_files(["suite"], [".py", ".h", ".toml"], root)
    assert found == sorted(root / name for name in FILES)
    assert shipped_files(["suite"], [".h"], root) == [root / "suite/fast/kernels/a.h"]


@pytest.mark.parametrize("folder", ["runs/own/Pong/4M/seed-0/code", "mine/own/Pong/4M/seed-0/code", "__pycache__"])
def test_files_of_runs_and_of_python_are_not_listed(root: Path, folder: str):
    (root / "suite" / folder).mkdir(parents=True)
    for name in ("net.py", "baseline.toml"):
        (root / "suite" / folder / name).write_text("a user's own")
    assert len(shipped_files(["suite"], [".py", ".h", ".toml"], root)) == len(FILES)


def test_a_digest_tells_names_and_bytes_and_where_a_file_ends(root: Path):
    def digest() -> str:
        return digest_of(shipped_files(["suite"], [".py", ".h"], root), root)

    seen = [digest()]
    (root / "suite/fast/kernels/a.h").write_text("changed")
    seen.append(digest())
    (root / "suite/fast/kernels/a.h").rename(root / "suite/fast/kernels/b.h")
    seen.append(digest())
    one, two = root / "suite/run.py", root / "suite/sun.py"
    one.write_text("x")
    two.write_bytes(b"y")
    seen.append(digest())
    one.write_bytes(b"xsuite/sun.py\0y")
    two.unlink()
    seen.append(digest())
    assert len(set(seen)) == len(seen)
