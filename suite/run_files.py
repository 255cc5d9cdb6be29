"""Names of the files that a run in progress has beside its tables and its manifest."""

from __future__ import annotations

import re

RUN_LOG_FILE = "run.log"  # what its process prints
ACTION_LOG_FILE = "actions.bin"  # one byte an action, append-only; packed and removed when the run is done
CHECKPOINT_NAME = re.compile(r"checkpoint-(?P<vector_steps>[0-9]{12})-(?P<sha256>[0-9a-f]{64})\.pt")
