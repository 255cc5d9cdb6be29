"""How much memory a run takes, told before it starts.

Frames, bookkeeping, priorities and weights are counted; what surrounds them (interpreter, libraries, emulators,
activations) was measured once, and rounded up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch

from baselines.c51 import C51Config
from baselines.code import is_reference, load_class
from baselines.networks.distribution_network import C51_ENCODERS, DistributionNetwork
from baselines.networks.load import load_encoder
from baselines.networks.pqn_variants import ALL_PQN_ENCODERS
from baselines.networks.q_network import QNetwork
from baselines.networks.rainbow_network import RAINBOW_ENCODERS, RainbowNetwork
from baselines.pqn import PqnConfig
from baselines.rainbow import RainbowConfig
from baselines.replay.schedule import ReplayConfig, replay_layout

ALL_ACTIONS = 18  # the most a game has
_PROCESS_BYTES = 600_000_000  # measured 0.56 GB: python, torch, envpool with 16 environments, what malloc keeps
_OWN_AGENT_BYTES = 2_000_000_000  # a guess: nothing is known of an agent of a user's own
_FLOATS_PER_PARAMETER = 5  # weights, gradients, two moments, target network
_DIAGNOSED = 256  # observations in the largest forward pass
_UPDATED = 3  # a graph of an update takes as much as diagnostics of so many of its batches
# Activations of one observation, forward only: measured at the peak of diagnostics, whose largest are ranks over 2,048
# observations of one layer at a time.
_BYTES_PER_OBSERVATION = {
    "nature": 1_200_000,
    "nature-torso": 1_200_000,
    "hadamax-c51": 4_000_000,
    "hadamax-torso": 4_000_000,
}

# PQN beside its rollout: measured peaks are 0.95 GB (PQN) and 2.04 GB (Hadamax-PQN).
_PQN_PROCESS_BYTES = 700_000_000  # interpreter, torch, emulators, network
_STACK_BYTES = 4 * 84 * 84
_MINIBATCH_BYTES_PER_SAMPLE = {
    "nature-layernorm": 1_200_000,
    "hadamax": 10_000_000,
    "hadamax-double-width": 20_000_000,
}  # activations, gradients
_WITH_GRADIENTS = 3  # times the memory of a forward pass alone, at least
_RANKED_BYTES = 310_000_000  # ranks over 2,048 observations with PQN's encoder; Hadamax's minibatch takes more
# What CUDA keeps for a process before the first tensor: context, libraries, workspaces, graphs. A guess: on the H200
# of docs/gpu.md nobody measured it. 0.5 to 0.8 GB are usual.
_CUDA_BYTES = 1_000_000_000


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes of one run; on a GPU `frames` and `learner` are the device's."""

    frames: int  # the ring of single frames, or PQN's rollout
    bookkeeping: int  # actions, rewards, ends, priorities; always on the host
    learner: int  # weights, gradients, moments, target network, activations
    process: int  # everything else on the host
    graphs: int  # on a GPU alone, beside `learner`: graphs keep their memory while diagnostics take their own

    @property
    def total(self) -> int:
        return self.frames + self.bookkeeping + self.learner + self.process

    @property
    def on_device(self) -> int:
        """Bytes of a GPU that the run learns on, what CUDA keeps for the process included."""
        return self.frames + self.learner + self.graphs + _CUDA_BYTES


def memory_plan(config: Any, budget_frames: int, *, actions: int = ALL_ACTIONS) -> MemoryPlan:
    """What a run of this budget takes at its peak; of an agent of a user's own, a guess.

    Args:
        config: of an algorithm of the suite's, or of an agent of a user's own.

    Raises ConfigError: code of a user's own cannot be loaded.
    """
    if isinstance(config, PqnConfig):
        return _pqn_plan(config, actions)
    if not isinstance(config, ReplayConfig):
        return MemoryPlan(frames=0, bookkeeping=0, learner=0, process=_OWN_AGENT_BYTES, graphs=0)
    layout = replay_layout(config, budget_frames)
    priorities = 9 * layout.slots * layout.environments if isinstance(config, RainbowConfig) else 0
    parameters = parameter_count(config, actions=actions)
    # An encoder that nobody measured is taken for the largest.
    of_one = _BYTES_PER_OBSERVATION.get(getattr(config, "encoder", ""), max(_BYTES_PER_OBSERVATION.values()))
    return MemoryPlan(
        frames=layout.frame_bytes,
        bookkeeping=layout.bookkeeping_bytes + priorities,
        learner=4 * _FLOATS_PER_PARAMETER * parameters + _DIAGNOSED * of_one,
        process=_PROCESS_BYTES,
        graphs=(_UPDATED * config.batch + config.train_environments) * of_one,
    )


def _pqn_plan(config: PqnConfig, actions: int) -> MemoryPlan:
    of_a_sample = _MINIBATCH_BYTES_PER_SAMPLE.get(config.encoder, max(_MINIBATCH_BYTES_PER_SAMPLE.values()))
    learned = config.minibatch * of_a_sample
    forward = (_DIAGNOSED + config.train_environments + config.greedy_environments) * of_a_sample // _WITH_GRADIENTS
    return MemoryPlan(
        frames=config.rollout_agent_steps * config.train_environments * _STACK_BYTES,
        bookkeeping=0,
        learner=max(learned, _RANKED_BYTES)
        + (4 * _FLOATS_PER_PARAMETER * parameter_count(config, actions=actions) if is_reference(config.encoder) else 0),
        process=_PQN_PROCESS_BYTES,
        graphs=min(learned, _RANKED_BYTES) + forward,
    )


def parameter_count(config: Any, *, actions: int = ALL_ACTIONS) -> int:
    """Weights of a run's network; 0 for an agent of a user's own, whose network only itself knows."""
    if not isinstance(config, PqnConfig | C51Config | RainbowConfig):
        return 0
    own_encoder = load_class(config.encoder) if is_reference(config.encoder) else None
    return _counted(config, actions, own_encoder)


@lru_cache(maxsize=256)
def _counted(config: PqnConfig | C51Config | RainbowConfig, actions: int, own_encoder: Any) -> int:
    """A plan of a thousand runs asks for a few networks some thousand times; each is built once.

    `own_encoder` is a user's class: a file that has changed is counted again.
    """
    # The suite's own take no memory to be counted; a user's may want to compute with what they make.
    with torch.device("meta" if own_encoder is None else "cpu"):
        network: torch.nn.Module
        if isinstance(config, PqnConfig):
            network = QNetwork(load_encoder(config.encoder, ALL_PQN_ENCODERS), actions)
        elif isinstance(config, C51Config):
            network = DistributionNetwork(load_encoder(config.encoder, C51_ENCODERS), actions, config.atoms)
        else:
            network = RainbowNetwork(load_encoder(config.encoder, RAINBOW_ENCODERS), actions, config.atoms)
    return sum(parameter.numel() for parameter in network.parameters())
