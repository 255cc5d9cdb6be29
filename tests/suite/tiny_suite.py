"""`python -m suite` with PQN shrunk to 4 + 2 environments and rollouts of 8 steps: real runs of a second.

The processes that an executor starts import this file again, as the main module, and so are shrunk too.
"""

import dataclasses
import os
import sys
import time

from baselines import registry
from suite.cli import main

TINY = {"train_environments": 4, "greedy_environments": 2, "rollout_agent_steps": 8, "minibatches": 2}
FRAMES_PER_UPDATE = 128

_read_description = registry._read_description


def _read_tiny(path):
    description = _read_description(path)
    return dataclasses.replace(description, values={**description.values, **TINY})


registry._read_description = _read_tiny

if "TINY_UPDATE_NEVER_ENDS" in os.environ:
    from baselines import pqn  # here alone: it imports torch, and most commands need none

    pqn.train_minibatch = lambda *_: time.sleep(3600)

if __name__ == "__main__":
    sys.exit(main())
