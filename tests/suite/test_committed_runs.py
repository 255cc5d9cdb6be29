"""The runs that are committed, as they are."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from results.proofs import PROOF_FILE, read_proofs
from results.store import Run, scan
from suite.proof import replay

RUNS = Path(__file__).parents[2] / "results" / "runs"


def test_games_of_one_run_a_day_are_played_again():
    logged = [run for run in scan(RUNS) if isinstance(run, Run) and run.manifest["actions"] is not None]
    if not logged:
        pytest.skip("no committed run has an action log yet")
    # A run of four million frames takes some seconds an environment: all of them are the nightly job's.
    today = datetime.date.today().toordinal()
    run = logged[int(np.random.default_rng(today).integers(len(logged)))]
    outcome = replay(run, sample=(1, today), threads=1, tick=lambda agent_steps: None)
    assert outcome.problems == [], f"{run.directory}, sample seed {today}"
    assert len(outcome.agreed) == 1


def test_no_proof_is_kept_of_a_run_that_is_another_now():
    proofs = read_proofs(RUNS)
    runs = {str(run.spec.directory): run for run in scan(RUNS) if isinstance(run, Run)}
    stale = [place for place, proof in proofs.items() if place not in runs or not proof.holds_for(runs[place])]
    assert stale == [], f"verify --replay, or take them out of {RUNS / PROOF_FILE}"
