"""What the trial of a user's encoder refuses, each in a line that says what to do."""

from pathlib import Path

import pytest
import torch
from own_net import NET

from baselines import code
from baselines.config import ConfigError
from baselines.networks.diagnostics import layer_diagnostics
from baselines.networks.distribution_network import build_c51_network
from baselines.networks.q_network import build_q_network
from baselines.networks.rainbow_network import build_rainbow_network
from baselines.networks.trial import Tried, try_encoder

FORWARD = "    def forward(self, observations):\n"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(code, "_sources", {})
    monkeypatch.setattr(code, "_modules", {})


def found(folder: Path, source: str) -> str:
    (folder / "net.py").write_text(source, encoding="utf-8")
    return code.find_source("net.py:Net", folder).reference


def tried(folder: Path, source: str, precision: str = "float32") -> Tried:
    return try_encoder(found(folder, source), folder / "net.py", {}, precision)


def refused(folder: Path, source: str) -> str:
    with pytest.raises(ConfigError) as caught:
        tried(folder, source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def forward_with(line: str) -> str:
    return NET.replace(FORWARD, f"{FORWARD}        {line}\n")


def test_a_sound_encoder_passes(tmp_path):
    assert tried(tmp_path, NET).notes == ()
    assert tried(tmp_path, NET, "bf16").parameters == 4 * 7 * 7 * 16 + 16


@pytest.mark.parametrize("line", ["observations[:, 0] = 0", "observations //= 2", "observations.transpose_(2, 3)"])
def test_one_that_writes_into_its_input_is_refused(tmp_path, line):
    assert refused(tmp_path, forward_with(line)) == (
        "net.py:Net: forward changes its input; work on a copy (observations.clone())"
    )


def test_one_that_writes_into_its_input_when_diagnosed_is_refused(tmp_path):
    source = NET.replace(FORWARD, "    layer_names = ()\n    def forward(self, observations, activations=None):\n")
    source = source.replace(
        "        images =", "        if activations is not None: observations.zero_()\n        images ="
    )
    assert "forward changes its input" in refused(tmp_path, source)


INIT = "    def __init__(self):\n        super().__init__()\n"
RESET = "\n    def reset_parameters(self, generator):\n        "


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import sys\nsys.exit(0)\n" + NET, "net.py cannot be loaded: SystemExit: 0 (line 2)"),
        (NET.replace(INIT, INIT + "        sys.exit()\n"), "cannot be built without arguments: SystemExit (line 8)"),
        (forward_with("sys.exit('enough')"), "forward failed: SystemExit: enough (line 10)"),
        (NET + RESET + "sys.exit(3)\n", "reset_parameters(generator) failed: SystemExit: 3"),
        (NET + "    def __deepcopy__(self, memo):\n        sys.exit(3)\n", "cannot be copied and saved (SystemExit: 3"),
    ],
    ids=["module", "init", "forward", "reset", "copy"],
)
def test_one_that_ends_the_process_is_refused(tmp_path, source, words):
    assert words in refused(tmp_path, source)


def test_ctrl_c_is_not_taken_for_a_fault_of_the_code(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tried(tmp_path, forward_with("raise KeyboardInterrupt"))


NAMES = "    def forward(self, observations, activations=None):\n"
EXTRA = "    def set_extra_state(self, state): pass\n    def get_extra_state(self):\n        return {'a': 1}\n"


def init_with(line: str) -> str:
    return NET.replace("        self.dense =", f"        {line}\n        self.dense =")


def named(line: str) -> str:
    return NET.replace(FORWARD, NAMES).replace("    features = 16\n", f"    features = 16\n    {line}\n")


MISTAKES = {
    "lazy": (NET.replace("nn.Linear(4 * 7 * 7, 16)", "nn.LazyLinear(16)"), "give the layer its input width"),
    "layer_names None": (named("layer_names = None"), "layer_names must be names of its parts"),
    "layer_names 5": (named("layer_names = 5"), "layer_names must be names of its parts"),
    "layer_names a text": (named("layer_names = 'dense'"), "layer_names must be names of its parts"),
    "layer_names numbers": (named("layer_names = ('dense', 3)"), "is ('dense', 3)"),
    "rectified_layers None": (named("layer_names = (); rectified_layers = None"), "rectified_layers must be names"),
    "features 0": (NET.replace("features = 16", "features = 0"), "a whole number from 1 (it is 0)"),
    "features True": (NET.replace("features = 16", "features = True"), "a whole number from 1 (it is True)"),
    "no features": (NET.replace("    features = 16\n", ""), "a whole number from 1 (it is missing)"),
    "features raises": (
        NET.replace("features = 16", "features = property(lambda self: 1 // 0)"),
        "features failed: ZeroDivisionError",
    ),
    "smooth raises": (
        NET.replace("features = 16", "features = 16; smooth = property(lambda self: 1 // 0)"),
        "net.py:Net is no encoder: ZeroDivisionError",
    ),
    "forward None": (NET + "    forward = None\n", "forward must be a method, is None"),
    "extra state": (NET + EXTRA, "_extra_state in its state is no tensor (dict)"),
    "sparse": (
        init_with("self.register_buffer('rows', torch.eye(3).to_sparse())"),
        "rows is a sparse tensor, which nothing here can copy; make it dense",
    ),
    "parts by chance": (
        init_with("Net.made = getattr(Net, 'made', 0) + 1; setattr(self, f'part{Net.made}', nn.Linear(2, 2))"),
        "is not the same in every build",
    ),
    "widths by chance": (
        init_with("Net.made = getattr(Net, 'made', 0) + 1; self.part = nn.Linear(2, Net.made)"),
        "part.weight is not the same in every build",
    ),
    "state raises": (
        NET + "    def state_dict(self, *args, **kwargs):\n        return 1 // 0\n",
        "its weights cannot be compared: ZeroDivisionError",
    ),
}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
@pytest.mark.parametrize(("source", "words"), MISTAKES.values(), ids=MISTAKES.keys())
def test_an_ordinary_mistake_is_told_in_one_line(tmp_path, source, words):
    said = refused(tmp_path, source)
    assert words in said
    assert said.startswith("net.py:Net")


def test_a_buffer_that_begins_with_nan_is_no_chance(tmp_path):
    assert tried(tmp_path, init_with("self.register_buffer('mean', torch.full((3,), torch.nan))")).notes == ()


OWN_WEIGHTS = (
    NET.replace(
        "16)\n    def",
        "16)\n        self.scale = nn.Parameter(torch.rand(16))\n        self.drawn = torch.zeros(1)\n    def",
    )
    + """    def reset_parameters(self, generator):
        self.drawn = torch.rand(1, generator=generator)
"""
)
BUILDERS = {
    "pqn": lambda name, generator: build_q_network(name, 6, generator),
    "c51": lambda name, generator: build_c51_network(name, 6, 51, generator),
    "rainbow": lambda name, generator: build_rainbow_network(name, 6, 51, 0.5, generator),
}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_every_agent_draws_all_weights_of_an_encoder_from_its_seed_and_lets_it_draw_its_own(tmp_path, build):
    name = found(tmp_path, OWN_WEIGHTS)
    first, again, other = (build(name, torch.Generator().manual_seed(seed)).encoder.net for seed in (0, 0, 1))
    assert torch.equal(first.scale, again.scale)
    assert not torch.equal(first.scale, other.scale)
    assert first.drawn.item() == again.drawn.item() != 0


SPECTRAL = "nn.utils.parametrizations.spectral_norm(nn.Linear(4 * 7 * 7, 16))"


def test_a_pass_may_change_buffers_as_spectral_norm_does(tmp_path):
    source = NET.replace("nn.Linear(4 * 7 * 7, 16)", SPECTRAL).replace("self.dense.weight.dtype", "torch.float32")
    assert tried(tmp_path, source).notes == ()


def test_diagnosing_an_encoder_leaves_no_hooks_in_it_and_knows_its_relu(tmp_path):
    """Hooks that stay would hold every batch's activations, and be in each graph that is recorded afterwards."""
    source = NET.replace("nn.Linear(4 * 7 * 7, 16)", "nn.Sequential(nn.Linear(4 * 7 * 7, 16), nn.ReLU())")
    source = source.replace("self.dense.weight.dtype", "torch.float32")
    network = build_q_network(found(tmp_path, source), 6, torch.Generator().manual_seed(0))
    assert network.encoder.rectified_layers == ("dense",)
    assert not network.encoder.smooth
    layer_diagnostics(network, torch.zeros(8, 4, 84, 84, dtype=torch.uint8))
    assert [name for name, part in network.named_modules() if part._forward_hooks] == []
