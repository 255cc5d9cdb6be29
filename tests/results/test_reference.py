from __future__ import annotations

from importlib.resources import files

import numpy as np
import pytest

from results.games import GAMES
from results.reference import dopamine_curves, paper_median_curves, published_points
from results.scores import human_normalised


def test_the_papers_final_medians():
    points = published_points()
    medians = points[points["metric"] == "median_hns"].set_index("baseline")["value"]
    assert medians["hadamax-pqn"] == 3.19
    assert medians["pqn"] == 1.82
    assert (points["source"].str.len() > 0).all()
    assert (points["how"].str.len() > 0).all()


def test_the_papers_curves_have_the_suites_names_and_its_headline():
    curves = paper_median_curves()
    assert set(curves["baseline"]) == {"pqn", "hadamax-pqn", "resnet15-pqn"}
    at = curves.pivot(index="frames", columns="baseline", values="median_hns")
    assert at.loc[40_000_000, "hadamax-pqn"] / at.loc[40_000_000, "pqn"] - 1 == pytest.approx(0.65, abs=0.005)
    reached = at.index[at["hadamax-pqn"] >= 2.30].min()
    assert 85_000_000 < reached <= 90_000_000


def test_the_readme_says_how_far_the_two_readings_of_the_final_medians_differ():
    readme = " ".join((files("results") / "reference/README.md").read_text(encoding="utf-8").split())
    points = published_points()
    final = points[points["metric"] == "median_hns"].set_index("baseline")["value"]
    curves = paper_median_curves()
    at_end = curves[curves["frames"] == 200_000_000].set_index("baseline")["median_hns"]
    assert abs(final - at_end).dropna().nlargest(2).round(2).to_dict() == {"hadamax-pqn": 0.07, "pqn": 0.01}
    gains = [f"+{100 * (one['hadamax-pqn'] / one['pqn'] - 1):.0f} %" for one in (final, at_end)]
    assert "0.07 apart" in readme
    assert f"By the single figures the gain is {gains[0]}, by the curves {gains[1]}." in readme


def test_dopamines_curves_give_the_medians_known_for_them():
    curves = dopamine_curves()
    last = curves[curves["frames"].between(195_000_000, 199_000_000)]
    means = last.groupby(["agent", "game"])["mean_return"].mean()
    for agent, median in (("Rainbow", 1.48), ("C51", 1.09)):
        normalised = [human_normalised(score, game) for game, score in means[agent].items()]
        assert len(normalised) == 55
        assert np.median(normalised) == pytest.approx(median, abs=0.005)


def test_dopamines_sources_are_never_mixed_unasked():
    assert set(dopamine_curves(agents=["C51"])["source"]) == {"dopamine"}
    assert set(dopamine_curves(sources=["dopamine-jax-impala"], agents=["DQN"])["agent"]) == {"DQN"}
    assert set(dopamine_curves()["game"]) == set(GAMES) - {"Defender", "Surround"}


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown A3C"):
        dopamine_curves(agents=["A3C"])
    with pytest.raises(ValueError, match="unknown paper"):
        dopamine_curves(sources=["paper"])
