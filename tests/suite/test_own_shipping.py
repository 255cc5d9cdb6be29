"""A user's own baselines on their way to a node."""

import dataclasses

import pytest

from baselines import code, registry
from results.errors import ResultsError
from suite.own_shipping import pack_own, unpack_own
from suite.protocol import pinned_hash

NET = "import helper\nimport torch\nfrom pieces.block import Block\n\n\nclass Net(torch.nn.Module):\n    pass\n"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    for module, name in ((registry, "_own"), (code, "_sources"), (code, "_modules")):
        monkeypatch.setattr(module, name, {})


@pytest.fixture
def toml(tmp_path):
    folder = tmp_path / "ideas"
    (folder / "pieces").mkdir(parents=True)
    (folder / "net.py").write_text(NET)
    (folder / "helper.py").write_text("import deeper\n")
    (folder / "deeper.py").write_text("VALUE = 1\n")
    (folder / "unused.py").write_text("raise SystemExit\n")
    (folder / "pieces/block.py").write_text("Block = None\n")
    path = folder / "mine.toml"
    path.write_text(
        'name = "mine"\nextends = "pqn"\n[values]\nencoder = { value = "net.py:Net", source = "ours" }\n'
        'learning_rate = { value = 1e-3, source = "ours" }\n'
    )
    return path


def forget():
    registry._own.clear()
    code._sources.clear()


def test_what_arrives_is_the_same_configuration_with_all_that_it_imports_from_beside_it(toml, tmp_path):
    ours = pinned_hash(registry.describe(registry.add_own(toml)), "paper")
    packed = pack_own(["pqn", "mine", "mine"])
    assert [own.name for own in packed] == ["mine"]
    forget()
    (file,) = unpack_own(packed, tmp_path / "node")
    assert pinned_hash(registry.describe(registry.add_own(file)), "paper") == ours
    there = {path.relative_to(file.parent).as_posix() for path in file.parent.rglob("*.*")}
    assert there == {"baseline.toml", "net.py", "helper.py", "deeper.py", "pieces/block.py"}


def test_what_a_run_keeps_there_is_what_it_would_keep_here(toml, tmp_path):
    from suite.own_code import keep_code

    kept, path = [], toml
    for place in ("here", "node"):
        (tmp_path / place).mkdir()
        listed = keep_code(tmp_path / place, registry.describe(registry.add_own(path)))
        kept.append((listed, {file.name: file.read_bytes() for file in (tmp_path / place / "code").iterdir()}))
        (path,) = unpack_own(pack_own(["mine"]), tmp_path / "shipped")
        forget()
    assert kept[0] == kept[1]


def test_bytes_that_changed_on_the_way_are_refused_before_anything_is_written(toml, tmp_path):
    registry.add_own(toml)
    (own,) = pack_own(["mine"])
    spoiled = dataclasses.replace(own, files={**own.files, "helper.py": b"import os"})
    with pytest.raises(ResultsError, match=r"mine: the bytes of helper\.py changed on the way"):
        unpack_own([spoiled], tmp_path / "node")
    assert not (tmp_path / "node").exists()


def test_code_that_imports_a_whole_tree_of_files_is_refused_with_the_way_out(toml):
    (toml.parent / "pieces/weights.py").write_bytes(b"#" * (17 << 20))
    registry.add_own(toml)
    with pytest.raises(ResultsError, match="install it on every node as a package"):
        pack_own(["mine"])
