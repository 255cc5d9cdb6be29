"""C51 and Rainbow shrunk to four environments and blocks of 64 frames, for tests on real games."""

import dataclasses
import io

import numpy as np
import torch

from baselines.agent import FinishedGame, Progress, Task
from baselines.c51 import C51Agent
from baselines.rainbow import RainbowAgent
from baselines.registry import load_pinned
from suite.protocol import load_protocol

AGENTS = {"c51": C51Agent, "rainbow": RainbowAgent}
TINY = {"train_environments": 4, "block_vector_steps": 4, "batch": 4, "agent_steps_per_update": 8}
BLOCK_FRAMES = 4 * 4 * 4


def config_of(name, **changes):
    return dataclasses.replace(load_pinned(name).config, **{**TINY, **changes})


def agent_of(
    name,
    *,
    blocks=12,
    seed=0,
    game="Breakout-v5",
    emulator_threads=1,
    max_agent_steps=27000,
    protocol="paper",
    **changes,
):
    environment = dataclasses.replace(load_protocol(protocol).environment, max_agent_steps=max_agent_steps)
    task = Task(game, environment, blocks * BLOCK_FRAMES, seed, torch.device("cpu"), emulator_threads)
    return AGENTS[name](config_of(name, **changes), task)


def train(agent, blocks=None):
    """The next `blocks` reports of progress, all that are left by default."""
    reports = []
    for event in agent.train():
        if isinstance(event, Progress):
            reports.append(event)
            if len(reports) == blocks:
                break
    return reports


def checkpoint(agent):
    """The agent's state, through a file that may hold nothing but tensors and plain data."""
    file = io.BytesIO()
    torch.save(agent.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def retrace(agent, state, log):
    """Restores a fresh agent; returns the games that retracing gave."""
    agent.load_state_dict(state)
    return [event for event in agent.retrace(log) if isinstance(event, FinishedGame)]


def action_log(reports):
    return np.concatenate([report.actions for report in reports])


def assert_same_weights(a, b):
    for one, other in ((a.network, b.network), (a.target, b.target)):
        for (name, left), right in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
            assert torch.equal(left, right), name
