"""Made-up results that several tests read."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_runs import CLAIMED_GAMES, LAYERS, OWN_CLAIM, make_catalogue, write_run

from reports.catalogue import Catalogue

SPREAD = (0.97, 1.0, 1.03)  # of three seeds


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return make_catalogue()


@pytest.fixture
def own_claim(tmp_path: Path) -> Path:
    path = tmp_path / "claims.toml"
    path.write_text(OWN_CLAIM)
    return path


@pytest.fixture(scope="session")
def mixed_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of every standing: a claim's worth at 4M, and some that are broken, foreign, unfinished or off protocol."""
    root = tmp_path_factory.mktemp("mixed") / "runs"
    diagnostics = {f"{kind}/{layer}": value for layer in LAYERS for kind, value in _DIAGNOSTICS}
    for game in CLAIMED_GAMES:
        for seed, factor in enumerate(SPREAD):
            write_run(root, "pqn", game, 4_000_000, seed, 0.5 * factor, diagnostics=diagnostics)
            write_run(
                root,
                "hadamax-pqn",
                game,
                4_000_000,
                seed,
                0.8 * factor,
                diagnostics={name: 1.5 * value for name, value in diagnostics.items()},
                frames_per_second=4500.0,
            )
    write_run(root, "pqn", "Pong", 40_000_000, 0, 0.9, status="interrupted", frames_done=20_000_000)
    write_run(root, "pqn", "Qbert", 40_000_000, 1, 0.9, changes={"discount": 0.97})
    write_run(root, "rainbow", "Pong", 4_000_000, 0, 0.1, off_protocol=["replay of 100k, not 1M"])
    write_run(root, "pqn", "Freeway", 4_000_000, 0, 0.9, status="failed", frames_done=1_000_000)
    (write_run(root, "pqn", "Alien", 4_000_000, 0, 0.9) / "episodes.parquet").write_bytes(b"junk")
    (write_run(root, "pqn", "Alien", 4_000_000, 1, 0.9) / "manifest.json").write_bytes(b"{")
    return root


_DIAGNOSTICS = (("effective_rank", 40.0), ("dead_fraction", 0.04))
