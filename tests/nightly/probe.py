"""What no table of a run holds, noted while it trains: wrapped functions read, and change nothing.

A row of `series` has the mean of what was noted since the row before, as the run's own metrics have it. Names:

    repeats             share of agent steps in which an environment repeats its action of the step before
    action_entropy      bits, of the actions of all environments together
    largest_reward      of those that the learner sees
    past_end            PQN: mean |target - reward| where an episode ended, 0 by the definition of lambda-returns
    largest_discount    of a batch from the replay memory: the discount to the power of n
    terminals           share of a batch with nothing left to gain
    distinct_starts     share of 16 environments whose observation no environment before them has: the largest in the
                        first 64 agent steps of one and the same action
    distinct_seeds      share of environments with a seed of their own
    target_distance     |online - target| / |online| over all weights, when the run ends
    priority_spread     standard deviation over mean of the replay priorities, when the run ends
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from baselines import pqn
from baselines.emulator.envs import AtariEnvironments
from baselines.replay.memory import ReplayMemory
from suite.checkpoint import checkpoint_files
from suite.protocol import load_protocol
from suite.recorder import Recorder


class Probe:
    """Notes figures of the one run of this process."""

    def __init__(self) -> None:
        self.series: dict[str, list[tuple[int, float]]] = defaultdict(list)  # name -> (frames, value)
        self.whole: dict[str, float] = {}  # of the run as a whole
        self._noted: dict[str, list[float]] = defaultdict(list)
        self._last_actions: np.ndarray | None = None

    def attach(self) -> None:
        """Wraps what the figures are read from, for the rest of this process."""
        returns, gather, add = pqn.lambda_returns, ReplayMemory.gather, Recorder.add

        def noted_returns(rewards: torch.Tensor, dones: torch.Tensor, values: torch.Tensor, **how: float) -> Any:
            targets = returns(rewards, dones, values, **how)
            self._noted["largest_reward"].append(float(rewards.abs().max()))
            if dones.any():
                self._noted["past_end"].append(float((targets - rewards)[dones].abs().mean()))
            return targets

        def noted_gather(memory: ReplayMemory, *arguments: Any) -> Any:
            batch = gather(memory, *arguments)
            self._noted["largest_reward"].append(float(batch.rewards.abs().max()))
            self._noted["largest_discount"].append(float(batch.discounts.max()))
            self._noted["terminals"].append(float((batch.discounts == 0).float().mean()))
            return batch

        def noted_add(recorder: Recorder, progress: Any, *seconds: float) -> None:
            add(recorder, progress, *seconds)
            self._note_actions(progress.actions)
            for name, values in self._noted.items():
                self.series[name].append((progress.frames, float(np.mean(values))))
            self._noted.clear()

        # The classes are patched, not objects: the run makes its own.
        pqn.lambda_returns = noted_returns
        ReplayMemory.gather = noted_gather  # type: ignore[method-assign]
        Recorder.add = noted_add  # type: ignore[method-assign]

    def finish(self, directory: Path, manifest: dict[str, Any]) -> None:
        """Adds what the files of a run that ended or was stopped tell."""
        seeds = manifest["environment"]["train_seeds"]
        self.whole["distinct_seeds"] = len(set(seeds)) / len(seeds)
        self.whole["distinct_starts"] = distinct_starts(manifest["environment"]["envpool_id"], seeds[:16])
        state = torch.load(checkpoint_files(directory)[0], map_location="cpu", weights_only=True)["agent"]
        if "target" in state:
            online, target = state["network"], state["target"]
            gap = sum(float((online[name].double() - target[name].double()).square().sum()) for name in online)
            size = sum(float(online[name].double().square().sum()) for name in online)
            self.whole["target_distance"] = (gap / size) ** 0.5
        if "priorities" in state:
            weights = state["priorities"]["weights"].double().numpy()
            weights = weights[weights > 0]
            self.whole["priority_spread"] = float(weights.std() / weights.mean())

    def _note_actions(self, actions: np.ndarray) -> None:
        """`actions` [T, environments] uint8, since the update before."""
        before = actions[:0] if self._last_actions is None else self._last_actions[None]
        joined = np.concatenate([before, actions])
        self._last_actions = actions[-1]
        self._noted["repeats"].append(float(np.mean(joined[1:] == joined[:-1])))
        shares = np.bincount(actions.ravel()) / actions.size
        shares = shares[shares > 0]
        self._noted["action_entropy"].append(float(-(shares * np.log2(shares)).sum()))


def distinct_starts(envpool_id: str, seeds: Sequence[int]) -> float:
    """The largest share of distinct observations among environments with these seeds that all act alike."""
    environments = AtariEnvironments(envpool_id, seeds, load_protocol("paper").environment, threads=1)
    observations, largest = environments.reset(), 0.0
    for _ in range(64):
        largest = max(largest, len({o.tobytes() for o in observations}) / len(seeds))
        observations = environments.step(np.zeros(len(seeds), dtype=np.int32)).observations
    environments.close()
    return largest
