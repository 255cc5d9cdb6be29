"""Faults planted on purpose, each into a copy of the suite: the bands are worth something if every one is caught."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from figures import ROOT, NightError

PACKAGES = ("baselines", "suite", "results", "reports")


@dataclass(frozen=True)
class Fault:
    """A mistake that somebody could make, as a replacement of text."""

    name: str
    what: str  # it does, in a sentence
    baseline: str  # in whose run it is looked for
    parts: int  # of the plan's, after which the run is stopped: a fault that shows early need not be trained to the end
    file: str  # from the top of the checkout
    old: str  # stands in it exactly once
    new: str


FAULTS = (
    Fault(
        "pqn-learns-nothing",
        "PQN's weights stay as they began.",
        "pqn",
        2,
        "baselines/pqn.py",
        "optimizer.step()",
        "pass",
    ),
    Fault(
        "c51-learns-nothing",
        "C51's weights stay as they began.",
        "c51",
        2,
        "baselines/c51.py",
        "optimizer.step()",
        "pass",
    ),
    Fault(
        "rainbow-learns-nothing",
        "Rainbow's weights stay as they began.",
        "rainbow",
        2,
        "baselines/rainbow.py",
        "optimizer.step()",
        "pass",
    ),
    Fault(
        "lambda-return-unmasked",
        "PQN's targets carry value across the end of an episode.",
        "pqn",
        1,
        "baselines/returns.py",
        "discount * mixed * ~dones[t]",
        "discount * mixed",
    ),
    Fault(
        "layernorm-over-all-axes",
        "LayerNorm runs over channels, height and width together.",
        "pqn",
        2,
        "baselines/networks/pqn_encoders.py",
        "F.layer_norm(images.permute(0, 2, 3, 1), scale.shape, scale, bias, NORM_EPSILON)",
        "F.layer_norm(images, images.shape[1:], eps=NORM_EPSILON).permute(0, 2, 3, 1) * scale + bias",
    ),
    Fault(
        "one-branch-twice",
        "Both branches of a Hadamax layer are one and the same convolution.",
        "hadamax-pqn",
        2,
        "baselines/networks/pqn_encoders.py",
        "self.conv_b = nn.Conv2d(in_channels, channels, kernel_size)",
        "self.conv_b = self.conv_a",
    ),
    Fault(
        "c51-one-branch-twice",
        "Both branches of a Hadamax-C51 layer are one and the same convolution.",
        "hadamax-c51",
        2,
        "baselines/networks/distribution_network.py",
        "self.conv_b = nn.Conv2d(in_channels, channels, kernel_size, padding=padding)",
        "self.conv_b = self.conv_a",
    ),
    Fault(
        "rewards-unclipped",
        "The learner sees the game's own points.",
        "c51",
        2,
        "baselines/emulator/envs.py",
        "reward_clip=config.reward_clip,",
        "reward_clip=False,",
    ),
    Fault(
        "exploration-stuck",
        "Actions stay random, though the recorded epsilon falls.",
        "c51",
        2,
        "baselines/c51.py",
        "self._streams.exploration.random(self.environments) < epsilon",
        "self._streams.exploration.random(self.environments) < self.config.epsilon_start",
    ),
    Fault(
        "seeds-shared",
        "All environments get the first one's seed, though the manifest names others.",
        "c51",
        1,
        "baselines/emulator/envs.py",
        "seed=list(seeds),",
        "seed=[seeds[0]] * len(seeds),",
    ),
    Fault(
        "target-never-copied",
        "C51's target network stays as it began.",
        "c51",
        4,
        "baselines/c51.py",
        "self.target.load_state_dict(self.network.state_dict())",
        "pass",
    ),
    Fault(
        "priorities-never-updated",
        "Rainbow's replay goes on with the priorities that transitions entered with.",
        "rainbow",
        2,
        "baselines/rainbow.py",
        "self._sampler.update(indices, np.minimum(priorities, self.config.max_priority))",
        "pass",
    ),
    Fault(
        "n-step-off-by-one",
        "The replay memory sums one step more than pinned.",
        "rainbow",
        1,
        "baselines/replay/memory.py",
        "np.arange(layout.n_steps)) % layout.slots",
        "np.arange(layout.n_steps + 1)) % layout.slots",
    ),
)


def chosen(names: str | None) -> list[Fault]:
    """The faults of a list such as "seeds-shared,rewards-unclipped"; all for None. Raises NightError for an unknown."""
    known = {fault.name: fault for fault in FAULTS}
    wanted = list(known) if names is None else names.split(",")
    for name in wanted:
        if name not in known:
            raise NightError(f"unknown fault {name!r} (allowed: {', '.join(known)})")
    return [known[name] for name in wanted]


def plant(fault: Fault, folder: Path, root: Path = ROOT) -> None:
    """Copies the suite's packages into `folder`, replacing what is there, with the fault in them.

    Raises: NightError if the text that it replaces does not stand in its file exactly once.
    """
    source = patched(fault, root)
    for package in PACKAGES:
        shutil.rmtree(folder / package, ignore_errors=True)
        shutil.copytree(root / package, folder / package, ignore=_not_needed)
    (folder / fault.file).write_text(source, encoding="utf-8")


def patched(fault: Fault, root: Path = ROOT) -> str:
    """The text of the fault's file with the fault in it. Raises as `plant`."""
    text = (root / fault.file).read_text(encoding="utf-8")
    count = text.count(fault.old)
    if count != 1:
        raise NightError(
            f"fault {fault.name}: {fault.old!r} stands {count} times in {fault.file}, not once; "
            "the code has changed, so change the fault in tests/nightly/faults.py with it"
        )
    return text.replace(fault.old, fault.new)


def _not_needed(folder: str, names: list[str]) -> list[str]:
    """Results and pages are large, and no run reads them."""
    place = Path(folder)
    leave = {"__pycache__"}
    if place.name == "results":
        leave |= {"runs", "external"}
    if place.name == "reports":
        leave |= {"html"}
    return [name for name in names if name in leave]
