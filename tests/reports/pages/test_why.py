"""Why it works: what is compared with what, and what is said where nothing can be."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_runs import LAYERS, make_catalogue, write_run

from reports import summary
from reports.build import build
from reports.catalogue import Catalogue
from reports.pages.site import Site
from reports.pages.why import why_page

ABLATION = ("hadamax-pqn-no-maxpool", "hadamax-pqn-no-product", "hadamax-pqn-relu")
WIDTH = ("hadamax-pqn-half-width",)


def catalogue() -> Catalogue:
    plain = make_catalogue(("pqn", "hadamax-pqn", "pqn-bf16", "hadamax-pqn-bf16", *ABLATION, *WIDTH))
    families = dict.fromkeys(ABLATION, "ablation") | dict.fromkeys(WIDTH, "width")
    return replace(
        plain,
        baselines=tuple(
            replace(info, family=families.get(info.name, ""), is_variant=info.name in families)
            for info in plain.baselines
        ),
        families={"ablation": "one part taken out", "width": "other widths"},
    )


def play(root: Path, name: str, hns: float, *, frames: int = 4_000_000, game: str = "Breakout", **more: float) -> None:
    size = more.pop("observations", 2048)
    found = {f"dead_fraction/{layer}": more.get("dead", 0.1) for layer in LAYERS}
    found |= {f"effective_rank{'' if size == 256 else f'_{size}'}/{layer}": more.get("rank", 100.0) for layer in LAYERS}
    for seed in range(int(more.get("seeds", 1))):
        write_run(root, name, game, frames, seed, hns + 0.01 * seed, diagnostics=found)


def page(root: Path) -> dict:
    return why_page(summary.gather(results=root, catalogue=catalogue()), Site("test", root.parent / "site"))


def rows(view: dict, section: str) -> dict[str, dict]:
    return {row["name"]: row for found in view["sections"] if found["id"] == section for row in found["rows"]}


def test_a_variant_is_compared_at_the_budget_and_in_the_games_that_both_have_played(tmp_path: Path) -> None:
    play(tmp_path, "hadamax-pqn", 1.0, seeds=3)
    play(tmp_path, "hadamax-pqn-relu", 0.8, seeds=3)
    play(tmp_path, "hadamax-pqn-relu", 9.0, game="Pong")  # Hadamax-PQN has not played it
    play(tmp_path, "hadamax-pqn-relu", 9.0, frames=40_000_000)  # nor this budget
    found = rows(page(tmp_path), "ablation")
    assert list(found) == ["hadamax-pqn", "hadamax-pqn-relu"]
    assert found["hadamax-pqn-relu"]["runs"] == "Breakout, 4M, 3 seeds"
    assert found["hadamax-pqn-relu"]["score"] == "0.81"
    assert found["hadamax-pqn-relu"]["gain"] == "+25\N{NO-BREAK SPACE}%"
    assert re.match(r"\+2\d.% to \+2\d.%", found["hadamax-pqn-relu"]["ends"])
    assert (found["hadamax-pqn"]["gain"], found["hadamax-pqn"]["why_none"]) == ("", "")


def test_fewer_seeds_than_a_verdict_needs_are_called_a_first_look(tmp_path: Path) -> None:
    play(tmp_path, "hadamax-pqn", 1.0, seeds=3)
    play(tmp_path, "pqn", 0.8, seeds=3)
    assert "first look" not in page(tmp_path)["sections"][0]["caption"]
    play(tmp_path, "hadamax-pqn-relu", 0.9, seeds=2)
    assert page(tmp_path)["sections"][0]["caption"].endswith("A first look: a verdict needs 3 seeds of every game")


def test_all_rows_are_over_the_games_that_all_have_played(tmp_path: Path) -> None:
    for name, hns in (("hadamax-pqn", 1.0), ("pqn", 0.5)):
        play(tmp_path, name, hns)
        play(tmp_path, name, 100 * hns, game="Pong")
    play(tmp_path, "hadamax-pqn-no-maxpool", 0.8)
    view = page(tmp_path)
    found = rows(view, "ablation")
    assert {row["runs"] for row in found.values()} == {"Breakout, 4M, 1 seed"}
    assert [found[name]["score"] for name in ("hadamax-pqn", "pqn", "hadamax-pqn-no-maxpool")] == [
        "1.00",
        "0.50",
        "0.80",
    ]
    assert found["pqn"]["gain"] == "+100\N{NO-BREAK SPACE}%"
    assert "on Breakout, which all of them have played" in view["sections"][0]["caption"]


def test_rows_over_different_games_have_no_figure_of_scores(tmp_path: Path) -> None:
    play(tmp_path, "hadamax-pqn", 1.0)
    play(tmp_path, "pqn", 0.5, game="Pong")
    figures = [figure["id"] for figure in page(tmp_path)["sections"][0]["figures"]]
    assert figures == ["why-ablation-rank", "why-ablation-dead"]


def test_without_a_shared_budget_no_gain_is_told(tmp_path: Path) -> None:
    play(tmp_path, "hadamax-pqn", 1.0, frames=2_000_000)
    play(tmp_path, "pqn", 0.5, frames=4_000_000)
    play(tmp_path, "pqn", 0.5, frames=40_000_000, game="Pong")
    found = rows(page(tmp_path), "ablation")["pqn"]
    assert (found["gain"], found["why_none"]) == ("", "no game played by both at one budget")
    assert found["runs"].startswith("Breakout, 4M")


def test_precisions_are_never_in_one_table(tmp_path: Path) -> None:
    for name in ("hadamax-pqn", "pqn", "hadamax-pqn-bf16", "pqn-bf16"):
        play(tmp_path, name, 1.0)
    view = page(tmp_path)
    assert [section["id"] for section in view["sections"]] == ["ablation", "ablation-bf16"]
    assert list(rows(view, "ablation")) == ["hadamax-pqn", "pqn"]
    assert list(rows(view, "ablation-bf16")) == ["hadamax-pqn-bf16", "pqn-bf16"]


@pytest.mark.parametrize(("frames", "sections"), [(200_000, ["ablation"]), (40_000_000, ["ablation-bf16", "ablation"])])
def test_two_encoders_alone_are_left_out_where_the_other_precision_has_variants_in_longer_runs(
    tmp_path: Path, frames: int, sections: list[str]
) -> None:
    for name in ("hadamax-pqn", "pqn", "hadamax-pqn-relu"):
        play(tmp_path, name, 1.0)
    for name in ("hadamax-pqn-bf16", "pqn-bf16"):
        play(tmp_path, name, 1.0, frames=frames)
    view = page(tmp_path)
    assert [section["id"] for section in view["sections"]] == sections
    assert list(rows(view, "ablation")) == ["hadamax-pqn", "pqn", "hadamax-pqn-relu"]


def test_the_precision_with_the_longer_runs_comes_first_in_its_family(tmp_path: Path) -> None:
    for name in ("hadamax-pqn", "pqn", *WIDTH):
        play(tmp_path, name, 1.0, frames=200_000)
    for name in ("hadamax-pqn-bf16", "pqn-bf16"):
        play(tmp_path, name, 1.0)
    assert [section["id"] for section in page(tmp_path)["sections"]] == ["ablation-bf16", "ablation", "width"]


def test_ranks_tell_their_ceiling_and_the_figure_has_one_sample_size_alone(tmp_path: Path) -> None:
    play(tmp_path, "hadamax-pqn", 1.0, rank=300.0)
    play(tmp_path, "pqn", 1.0, rank=240.0, observations=256, dead=0.25)
    view = page(tmp_path)
    found = rows(view, "ablation")
    assert found["hadamax-pqn"]["rank"] == "300 and 300 of 2,048"
    assert found["pqn"]["rank"] == "240 and 240 of 256"
    assert found["pqn"]["dead"] == "25.0\N{NO-BREAK SPACE}%"
    figures = {figure["id"]: figure for figure in view["sections"][0]["figures"]}
    assert list(figures) == ["why-ablation-score", "why-ablation-rank", "why-ablation-dead"]
    assert "240" not in str(figures["why-ablation-rank"]["table"]["rows"])
    assert "hadamax-pqn" in str(figures["why-ablation-rank"]["table"]["columns"]).lower()


def test_games_weigh_the_same_however_many_seeds_they_have(tmp_path: Path) -> None:
    """Figures said 'mean over games' and averaged runs: a game with three seeds weighed three times one with one."""
    for name in ("hadamax-pqn", "pqn"):
        play(tmp_path / "runs", name, 1.0, seeds=3, rank=300.0, dead=0.1)
        play(tmp_path / "runs", name, 3.0, game="Pong", rank=100.0, dead=0.3)
    row = rows(page(tmp_path / "runs"), "ablation")["pqn"]
    assert row["rank"] == "200 and 200 of 2,048"
    assert row["dead"] == "20.0\N{NO-BREAK SPACE}%"
    site = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=catalogue()).index.parent
    last = {}
    for short in ("score", "rank", "dead"):
        lines = (site / f"data/why-ablation-{short}.csv").read_text("utf-8").splitlines()
        last[short] = next(float(line.split(",")[2]) for line in reversed(lines) if line.startswith("pqn,"))
    assert last == {"score": pytest.approx(2.005), "rank": pytest.approx(200.0), "dead": pytest.approx(0.2)}


def test_the_figure_of_scores_ends_at_the_scores_of_the_table(tmp_path: Path) -> None:
    """The table has the median over games. The figure beside it had the mean: 4.00 where the table said 2.00."""
    for name in ("hadamax-pqn", "pqn"):
        for game, hns in (("Breakout", 1.0), ("Pong", 2.0), ("Qbert", 9.0)):
            play(tmp_path, name, hns, game=game)
    view = page(tmp_path)
    assert rows(view, "ablation")["pqn"]["score"] == "2.00"
    figure = view["sections"][0]["figures"][0]
    assert figure["caption"].startswith("Human-normalised score; median over games")
    assert figure["table"]["rows"][-1]["cells"] == ["2.00", "2.00"]


def test_families_without_runs_are_named_with_the_command_that_makes_some(tmp_path: Path) -> None:
    play(tmp_path, "hadamax-pqn", 1.0)
    play(tmp_path, WIDTH[0], 1.0)
    view = page(tmp_path)
    assert [found["title"] for found in view["lacking"]] == ["One part taken out"]
    assert view["lacking"][0]["command"].endswith(f"--baselines hadamax-pqn,ablation --results {tmp_path}")
    assert [claim["id"] for claim in view["claims"]] == ["rank", "dead-8", "ablation"]


@pytest.mark.parametrize("there", [(), ("pqn",), ("hadamax-pqn",)])
def test_with_nothing_to_compare_the_page_stands_without_tables(tmp_path: Path, there: tuple[str, ...]) -> None:
    (tmp_path / "runs").mkdir()
    for name in there:
        play(tmp_path / "runs", name, 1.0)
    built = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=catalogue())
    text = (built.index.parent / "why.html").read_text("utf-8")
    assert "Not run yet" in text
    assert "<caption>Hadamax-PQN against" not in text


def test_a_gain_rests_on_runs_that_count_though_longer_ones_do_not_and_the_row_shows_these(tmp_path: Path) -> None:
    for name, hns in (("hadamax-pqn", 1.0), ("hadamax-pqn-relu", 0.5)):
        play(tmp_path, name, hns)
        found = {f"dead_fraction/{layer}": 0.1 for layer in LAYERS}
        write_run(tmp_path, name, "Breakout", 8_000_000, 0, 3.0, diagnostics=found, off_protocol=["scaled"])
    row = rows(page(tmp_path), "ablation")["hadamax-pqn-relu"]
    assert row["runs"] == "Breakout, 4M, 1 seed"
    assert (row["score"], row["gain"]) == ("0.50", "+100\N{NO-BREAK SPACE}%")
