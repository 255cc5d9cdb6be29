"""Published figures, with where each came from. None was measured by this project (`results/reference/README.md`)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Provenance:
    """Where a published set of figures comes from and what to know before comparing with it."""

    title: str
    source: str
    licence: str | None
    suite_protocol: str  # the protocol of the suite's that is its own, or comes nearest to it
    protocol: str  # how far it is that one, in words
    how: str  # how the figures were taken


PAPER = Provenance(
    title="Hadamax paper (arXiv 2505.15345)",
    source="training-curve figure of the official Hadamax repository, performance.png",
    licence=None,
    suite_protocol="paper",
    protocol="the paper's own, which this suite's `paper` protocol reproduces",
    how="read off the figure; a median may be wrong by 0.03 either way, Hadamax-PQN's final one by 0.07",
)
DRAWN_ONLY = "as drawn in the paper's figure beside its own agents; under which protocol is not stated"
DOPAMINE = Provenance(
    title="Dopamine baselines",
    source="google/dopamine, baselines/atari/data, commit 5873f54",
    licence="Apache-2.0",
    suite_protocol="dopamine",
    protocol="Dopamine's: sticky actions (0.25), no end of an episode at a lost life, 55 games; this suite's "
    "`dopamine` protocol comes nearest to it",
    how="its result files; mean return of each iteration of 1M frames",
)
# The names of hadamax_paper_median_curves.csv, as the suite writes them.
_PAPER_NAMES = {"pqn": "pqn", "hadamax_pqn": "hadamax-pqn", "pqn_resnet15": "resnet15-pqn"}
PAPER_AGENTS = tuple(_PAPER_NAMES.values())  # those that the paper trained; others are only drawn in its figure
DOPAMINE_SOURCES = ("dopamine", "dopamine-jax-cnn", "dopamine-jax-impala")
DOPAMINE_AGENTS = ("C51", "DQN", "IQN", "Rainbow")
DOPAMINE_FRAMES = 199_000_000  # where their curves end


def published_points() -> pd.DataFrame:
    """Single published figures: baseline, games, frames, metric, value, unit, source, how.

    `games` is "atari57" or "single_game"; `source` and `how` are each row's provenance.
    """
    return _read_csv("published_points.csv")


def paper_median_curves() -> pd.DataFrame:
    """The paper's learning curves: baseline, frames, median_hns over the 57 games. Provenance: `PAPER`."""
    curves = _read_csv("hadamax_paper_median_curves.csv")
    curves["baseline"] = curves["baseline"].map(_PAPER_NAMES)
    return curves


def dopamine_curves(*, sources: Sequence[str] = ("dopamine",), agents: Sequence[str] = DOPAMINE_AGENTS) -> pd.DataFrame:
    """Dopamine's learning curves: source, agent, game, run, frames, mean_return (raw). Provenance: `DOPAMINE`.

    Args:
        sources: of `DOPAMINE_SOURCES`. Three sets of runs: never average over them.
        agents: of `DOPAMINE_AGENTS`.
    Raises: ValueError for a name outside those.
    """
    for name, allowed in ((sources, DOPAMINE_SOURCES), (agents, DOPAMINE_AGENTS)):
        unknown = sorted(set(name) - set(allowed))
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)} (allowed: {', '.join(allowed)})")
    table = pq.read_table(io.BytesIO(_bytes("dopamine_atari_curves.parquet")))
    keep = pc.and_(
        pc.is_in(table["source"].cast(pa.string()), pa.array(list(sources), pa.string())),
        pc.is_in(table["agent"].cast(pa.string()), pa.array(list(agents), pa.string())),
    )
    curves = table.filter(keep).to_pandas()
    for column in ("source", "agent", "game"):
        curves[column] = curves[column].astype(str)
    return curves.astype({"run": "int64", "frames": "int64", "mean_return": "float64"})


def _read_csv(name: str) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(_bytes(name)))


def _bytes(name: str) -> bytes:
    return resources.files("results").joinpath("reference", name).read_bytes()
