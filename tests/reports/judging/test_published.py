"""Published figures: known answers, and their marks."""

from __future__ import annotations

import numpy as np
import pytest

from reports.judging.leaderboard import published_groups
from reports.judging.published import (
    dopamine_final_scores,
    dopamine_game_curves,
    dopamine_games,
    dopamine_median_curves,
    paper_curves,
)
from reports.statistics import aggregate
from results.external import dopamine_scores
from results.reference import DRAWN_ONLY, PAPER
from results.scores import human_normalised


@pytest.mark.parametrize(("agent", "median"), [("Rainbow", 1.48), ("C51", 1.09)])
def test_median_of_dopamines_runs_is_the_known_one(agent: str, median: float) -> None:
    scores = dopamine_final_scores(agent)
    assert scores.shape == (5, 55)
    assert aggregate.median(scores) == pytest.approx(median, abs=0.005)


@pytest.mark.parametrize("agent", ["Rainbow", "C51"])
def test_dopamines_final_scores_are_those_that_an_import_of_them_gives(agent: str) -> None:
    """The leaderboard's row of them, and `import dopamine-...`: two readers of one table."""
    imported = {(score.game, score.seed): score.score for score in dopamine_scores(agent)}
    runs = sorted({seed for _, seed in imported})
    columns = [[human_normalised(imported[game, run], game) for run in runs] for game in dopamine_games()]
    np.testing.assert_allclose(dopamine_final_scores(agent), np.array(columns).T, rtol=1e-12)


def test_dopamine_lacks_two_games() -> None:
    assert len(dopamine_games()) == 55
    assert not {"Defender", "Surround"} & set(dopamine_games())
    assert dopamine_game_curves("Defender") == []


def test_dopamines_median_curve_ends_near_its_final_median() -> None:
    curve = dopamine_median_curves()["Rainbow"]
    assert np.median(curve.values[-5:]) == pytest.approx(1.48, abs=0.05)


def test_the_papers_curves_carry_the_suites_names() -> None:
    names = [curve.name for curve in paper_curves()]
    assert names == ["hadamax-pqn", "pqn", "resnet15-pqn"]


def test_published_rows_are_marked_and_say_where_they_come_from() -> None:
    rows = [row for group in published_groups() for row in group.rows]
    assert {row.source for row in rows} == {"published"}
    assert all(row.origin and row.protocol for row in rows)
    paper = {row.baseline: row.metrics["median"].estimate for row in rows if row.frames == 200_000_000}
    assert paper["hadamax-pqn"] == 3.19
    assert paper["pqn"] == 1.82


def test_agents_that_the_papers_figure_only_draws_are_not_said_to_have_played_its_protocol() -> None:
    rows = [row for group in published_groups() for row in group.rows if row.frames == 200_000_000]
    own = {row.baseline for row in rows if row.protocol == PAPER.protocol}
    assert own == {"pqn", "hadamax-pqn", "resnet15-pqn"}
    others = {row.baseline: row.protocol for row in rows if row.baseline not in own}
    assert others == dict.fromkeys(("rainbow", "c51", "ddqn", "dqn"), DRAWN_ONLY)
    assert "reproduces" not in DRAWN_ONLY
