"""The site as files: complete, linked, the same bytes twice, and honest about what it lacks."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import jsonschema
import pytest
from made_up_runs import HARDWARE, make_catalogue, write_run

import reports
from reports.build import Outcome, build, summarise
from reports.errors import ReportsError
from reports.markdown import render
from reports.statistics.bootstrap import SAME_DRAWS
from reports.summary import LEADERBOARD_HEADER
from results.errors import ResultsError
from results.games import ATARI5

CATALOGUE = make_catalogue()
SCHEMA_FILE = Path(reports.__file__).parent / "summary.schema.json"


@pytest.fixture(scope="session")
def built(mixed_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return build(results=mixed_results, out=tmp_path_factory.mktemp("site") / "html", catalogue=CATALOGUE)


def claim(summary: dict, claim_id: str) -> dict:
    return next(entry for entry in summary["claims"] if entry["id"] == claim_id)


def test_there_is_a_page_for_everything(built: Outcome) -> None:
    site = built.index.parent
    assert built.pages == 1 + 15 + 57 + 5 + 1 + 1
    assert len(list(site.glob("games/*.html"))) == 57
    assert (site / "claims/c51-70.html").exists()
    assert (site / "baselines/hadamax-c51.html").exists()
    assert (site / "method.html").exists()


def test_the_summary_follows_its_schema(built: Outcome) -> None:
    schema = json.loads(SCHEMA_FILE.read_text())
    written = json.loads(built.summary_file.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(written, schema)
    assert written == json.loads(json.dumps(built.summary))


def test_runs_are_counted_by_standing_and_what_was_left_out_is_named(built: Outcome) -> None:
    found = built.summary["results"]
    assert found["runs"] == built.runs == 24
    assert found["counted"] == 18
    assert (found["off_protocol"], found["unfinished"], found["not_comparable"], found["broken"]) == (1, 2, 1, 2)
    lines = "\n".join(built.left_out)
    assert "pqn/Alien/4M/seed-0" in lines
    assert "SHA-256" in lines
    assert "pqn/Alien/4M/seed-1" in lines
    assert "discount is 0.97" in lines
    assert "failed after 25 %" in lines
    assert "interrupted, 50 % of its frames done" in lines
    page = (built.index.parent / "method.html").read_text()
    assert "pqn/Alien/4M/seed-0" in page
    assert "discount is 0.97, pinned 0.99" in page


def test_the_leaderboard_keeps_sources_and_standings_apart(built: Outcome) -> None:
    rows = built.summary["leaderboard"]
    measured = [row for row in rows if row["source"] == "measured"]
    assert [(r["baseline"], r["games"], r["frames"], r["off_protocol"]) for r in measured] == [
        ("pqn", "Breakout, Pong, Qbert", 4_000_000, False),
        ("hadamax-pqn", "Breakout, Pong, Qbert", 4_000_000, False),
        ("rainbow", "Pong", 4_000_000, True),
    ]
    assert measured[0]["median"]["estimate"] == pytest.approx(0.5)
    assert measured[1]["median"]["estimate"] == pytest.approx(0.8)
    assert measured[1]["median"]["ci_low"] < 0.8 < measured[1]["median"]["ci_high"]
    assert measured[2]["median"]["ci_low"] is None
    published = [row for row in rows if row["source"] == "published"]
    page = built.index.read_text()
    assert "Protocol of Rainbow, C51, Double DQN and DQN: as drawn in the paper" in page
    assert "Protocol of PQN, Hadamax-PQN and PQN (ResNet-15): the paper" in page
    assert {row["frames"] for row in published} == {199_000_000, 200_000_000}
    text = (built.index.parent / "leaderboard.csv").read_text()
    assert tuple(text.splitlines()[0].split(",")) == LEADERBOARD_HEADER
    assert len(list(csv.DictReader(io.StringIO(text)))) == len(rows)


def test_a_gain_over_nothing_is_no_preliminary_estimate(tmp_path: Path) -> None:
    for baseline, hns in (("pqn", -0.05), ("hadamax-pqn", 0.1)):
        for seed in range(3):
            write_run(tmp_path / "runs", baseline, "Breakout", 1_000_000, seed, hns)
    site = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    page = site.index.read_text()
    assert "has the runs that a verdict needs." in page
    assert "preliminary estimate" not in page
    page = (site.index.parent / "claims/pqn-80.html").read_text()
    assert "no difference over a score of 0.02 or less" in page


def test_a_preliminary_estimate_is_labelled_with_what_it_rests_on(built: Outcome) -> None:
    found = claim(built.summary, "pqn-80")
    assert found["verdict"] == "insufficient evidence"
    assert found["preliminary"]
    assert found["estimate"] == pytest.approx(0.6)
    assert found["frames"] == 4_000_000
    assert found["missing"]["runs"] == 342
    page = (built.index.parent / "claims/pqn-80.html").read_text()
    assert "preliminary estimate" in page
    assert "3 games (Breakout, Pong, Qbert), at 4M frames, 3 seeds a game and side" in page
    assert "python -m suite run" in page


def test_the_same_results_give_the_same_bytes(built: Outcome, mixed_results: Path, tmp_path: Path) -> None:
    again = build(results=mixed_results, out=tmp_path / "html", catalogue=CATALOGUE)
    first, second = built.index.parent, again.index.parent
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(second) for path in second.rglob("*") if path.is_file())
    different = [name for name in names if (first / name).read_bytes() != (second / name).read_bytes()]
    assert different == []


class Links(HTMLParser):
    """Collects what a page refers to and the ids it has."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        found = [value for name in ("href", "src") if (value := values.get(name))]
        # The reader may follow a link to the paper; nothing is loaded from there.
        self.targets += [value for value in found if (tag, value) != ("a", "https://arxiv.org/abs/2505.15345")]
        if values.get("id"):
            self.ids.append(values["id"])  # type: ignore[arg-type]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(tag)


def read(page: Path) -> Links:
    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    return links


def test_some_page_leads_to_every_table(built: Outcome) -> None:
    site = built.index.parent
    pages = "".join(page.read_text() for page in site.rglob("*.html"))
    tables = [path.relative_to(site).as_posix() for path in site.glob("data/**/*.csv")]
    assert tables
    assert [table for table in tables if table not in pages] == []


def test_every_link_leads_to_a_file_of_the_site_and_none_to_the_network(built: Outcome) -> None:
    site = built.index.parent
    pages = {page: read(page) for page in site.rglob("*.html")}
    wrong = []
    for page, links in pages.items():
        assert len(set(links.ids)) == len(links.ids), f"{page}: an id twice"
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme == "data":
                continue
            place = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            is_outside = parts.scheme or parts.netloc or not place.is_file()
            if is_outside or (parts.fragment and parts.fragment not in pages[place].ids):
                wrong.append((page.name, target))
    assert wrong == []


def test_headings_go_down_one_level_at_a_time(built: Outcome) -> None:
    for page in built.index.parent.rglob("*.html"):
        levels = [int(tag[1]) for tag in read(page).headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), page


def test_without_results_the_page_says_so_and_how_to_make_some(tmp_path: Path) -> None:
    outcome = build(results=tmp_path / "none", out=tmp_path / "html", catalogue=CATALOGUE)
    page = outcome.index.read_text()
    assert "No runs yet" in page
    assert "python -m suite run <span>--games pong,breakout</span>" in page
    where = f"<span>--results {tmp_path / 'none'}</span>"  # elsewhere, this report would not find them
    assert f"<span>--seeds 3</span> {where}" in page
    assert f"<span>--frames 40M</span> {where}" in (outcome.index.parent / "games/Pong.html").read_text()
    assert "Nearest evidence" not in (outcome.index.parent / "claims/rank.html").read_text()
    assert outcome.runs == 0
    assert {entry["verdict"] for entry in outcome.summary["claims"]} == {"insufficient evidence"}


def test_one_run_of_one_game_gives_a_report(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, 0, 0.5)
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    row = outcome.summary["leaderboard"][0]
    assert (row["baseline"], row["median"]["ci_low"]) == ("pqn", None)
    assert "a single seed has no spread" in outcome.index.read_text()


def test_of_one_or_two_seeds_no_winner_is_named(tmp_path: Path) -> None:
    """With one seed a side the table used to bold the higher one, and to tell a chance of 100 %; so it did with two."""
    write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, 0, 0.5)
    write_run(tmp_path / "runs", "hadamax-pqn", "Pong", 1_000_000, 0, 0.6)
    page = build(results=tmp_path / "runs", out=tmp_path / "one", catalogue=CATALOGUE).index.read_text()
    board = page[page.index('id="singles"') : page.index('id="published"')]
    assert "0.60" in board
    assert "<strong>0." not in board
    assert "Probability of improvement" not in board
    for name, hns in (("pqn", 0.51), ("hadamax-pqn", 0.61)):
        write_run(tmp_path / "runs", name, "Pong", 1_000_000, 1, hns)
    page = build(results=tmp_path / "runs", out=tmp_path / "two", catalogue=CATALOGUE).index.read_text()
    board = page[page.index('id="group-1M-0"') : page.index('id="published"')]
    assert "<strong>0." not in board
    assert "Probability of improvement" not in board
    assert "do not tell how far seeds spread. Such a row has no interval" in board  # others have theirs


def test_a_chance_of_improvement_that_every_draw_agrees_on_has_no_interval(tmp_path: Path) -> None:
    """Three runs above three others used to have a chance of 100 %, interval 100 % to 100 %."""
    for seed in range(3):
        write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, seed, 0.5 + 0.01 * seed)
        write_run(tmp_path / "runs", "hadamax-pqn", "Pong", 1_000_000, seed, 0.6 + 0.01 * seed)
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    (chance,) = outcome.summary["improvements"]
    assert (chance["estimate"], chance["ci_low"], chance["ci_high"]) == (1.0, None, None)
    page = outcome.index.read_text()
    board = page[page.index('id="group-1M-0"') : page.index('id="published"')]
    assert "<strong>0." in board
    assert "Probability of improvement" in board
    assert f"No interval: {SAME_DRAWS}." in board


def test_of_two_that_read_alike_no_winner_is_named(tmp_path: Path) -> None:
    for seed in range(3):
        write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, seed, 0.501 + 0.1 * seed)
        write_run(tmp_path / "runs", "hadamax-pqn", "Pong", 1_000_000, seed, 0.502 + 0.1 * seed)
    page = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE).index.read_text()
    board = page[page.index('id="group-1M-0"') : page.index('id="published"')]
    assert "0.60" in board
    assert "<strong>0." not in board


def test_runs_that_ended_before_any_game_did_have_their_rows(tmp_path: Path) -> None:
    for name in ("rainbow", "pqn"):
        write_run(tmp_path / "runs", name, "Pong", 20_000, 0, 0.5, games=0)
    write_run(tmp_path / "runs", "c51", "Pong", 20_000, 0, 0.5, games=0, status="interrupted")
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    rows = [row for row in outcome.summary["leaderboard"] if row["source"] == "measured"]
    assert [(row["baseline"], row["runs"], row["median"]["estimate"]) for row in rows] == [
        ("pqn", 1, None),
        ("rainbow", 1, None),
    ]
    page = outcome.index.read_text()
    assert "These runs ended before any game did" in page
    assert "has no spread" not in page
    assert "| rainbow | measured | Pong | 20k | 1 |" in render(outcome.summary)


def test_a_baseline_that_is_not_pinned_is_shown_under_its_name(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "my-own", "Pong", 1_000_000, 0, 0.5)
    found = summarise(results=tmp_path / "runs", catalogue=CATALOGUE)
    assert found["leaderboard"][0]["baseline"] == "my-own"
    write_run(tmp_path / "runs", "my-own", "Pong", 1_000_000, 1, 0.5, changes={"discount": 0.9})
    found = summarise(results=tmp_path / "runs", catalogue=CATALOGUE)
    assert found["results"]["not_comparable"] == 2


def test_a_variant_has_its_page_and_row_once_it_has_results(tmp_path: Path) -> None:
    catalogue = make_catalogue()
    variant = replace(catalogue.find("pqn"), name="pqn-bf16", title="PQN (bf16)", is_variant=True)
    catalogue = replace(catalogue, baselines=(*catalogue.baselines, variant))
    without = build(results=tmp_path / "none", out=tmp_path / "without", catalogue=catalogue)
    assert not (without.index.parent / "baselines/pqn-bf16.html").exists()
    write_run(tmp_path / "runs", "pqn-bf16", "Pong", 1_000_000, 0, 0.5)
    built = build(results=tmp_path / "runs", out=tmp_path / "with", catalogue=catalogue)
    assert "PQN (bf16)" in (built.index.parent / "baselines/pqn-bf16.html").read_text()
    assert "PQN (bf16)" in built.index.read_text()


def test_words_from_outside_are_escaped(tmp_path: Path) -> None:
    reason = "<script>alert(1)</script> & </script>"
    write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, 0, 0.5, off_protocol=[reason])
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    for page in outcome.index.parent.rglob("*.html"):
        assert "<script>alert" not in page.read_text(), page


def test_a_report_replaces_an_earlier_one_but_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "html"
    write_run(tmp_path / "runs", "pqn", "Pong", 1_000_000, 0, 0.5)
    build(results=tmp_path / "runs", out=out, catalogue=CATALOGUE)
    assert (out / "data/games/Pong.csv").exists()
    build(results=tmp_path / "none", out=out, catalogue=CATALOGUE)
    assert not (out / "data/games/Pong.csv").exists()
    (out / "notes.html").write_text("mine")
    with pytest.raises(ReportsError, match=r"holds notes\.html, which no report made"):
        build(results=tmp_path / "none", out=out, catalogue=CATALOGUE)
    assert (out / "notes.html").read_text() == "mine"
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years of work")
    with pytest.raises(ReportsError, match="holds files that no report made"):
        build(results=tmp_path / "none", out=precious, catalogue=CATALOGUE)
    assert (precious / "thesis.tex").read_text() == "years of work"
    (tmp_path / "file").write_text("")
    with pytest.raises(ReportsError, match="is a file; choose another --out"):
        build(results=tmp_path / "none", out=tmp_path / "file", catalogue=CATALOGUE)


def test_results_that_are_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(ResultsError, match="is a file"):
        build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    assert not (tmp_path / "html").exists()


def test_the_suites_own_questions_stand_apart_and_settle_no_claim(tmp_path: Path) -> None:
    """Answered, a question changes neither the tally nor the sentence on the paper's claims."""
    names = ("hadamax-pqn-bf16", "pqn-bf16")
    catalogue = make_catalogue(names=(*(info.name for info in CATALOGUE.baselines), *names))
    for game in ATARI5:
        for seed, factor in enumerate((0.98, 1.0, 1.02)):
            write_run(tmp_path / "runs", names[0], game, 4_000_000, seed, 0.8 * factor, games=100, metric_rows=2)
            write_run(tmp_path / "runs", names[1], game, 4_000_000, seed, 0.5 * factor, games=100, metric_rows=2)
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=catalogue)
    found = claim(outcome.summary, "one-million")
    assert (found["family"], found["verdict"], found["preliminary"]) == ("suite", "ahead", False)
    page = outcome.index.read_text()
    places = [page.index(f'<h2 id="{name}">') for name in ("lead", "claims", "questions")]
    assert places == sorted(places)
    assert places[0] < page.index("claims/one-million.html") < places[1]
    answered = page[places[0] : places[1]]
    assert "+60\N{NO-BREAK SPACE}%" in answered
    assert "The whole interval lies above zero. In 5 of 5 games hadamax-pqn-bf16 scores more than pqn-bf16." in answered
    assert "Median human-normalised score 0.80 against 0.50." in answered
    assert "The gain at every frame count" in answered
    assert "begin at 10M frames, of runs of 200M: none of it" in answered
    assert "Estimate for 57 games" in page
    assert "Every game weighs the same. Band: pointwise 95" in page  # the profiles'
    assert "none of the 8 claims has the runs that a verdict needs" in page
    assert '<ul class="tally"' not in page  # nothing is judged of the paper's
    hero = page[page.index('class="answer"') :].split("</section>")[0]
    assert "ahead" not in hero
    own = (tmp_path / "html/claims/one-million.html").read_text()
    assert "What is asked" in own
    assert "Mean of each side (human-normalised score) and its seeds" in own
    assert "15 on its word" in own
    text = render(outcome.summary)
    assert "## The suite's own questions" in text
    assert "one million agent steps? | **ahead**" in text


def test_folders_of_results_are_read_into_one_report_and_a_run_counts_once(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write_run(first, "pqn", "Pong", 4_000_000, 0, 0.5)
    write_run(second, "pqn", "Pong", 4_000_000, 0, 0.9)
    write_run(second, "pqn", "Pong", 400_000, 0, 0.3)
    outcome = build(results=first, out=tmp_path / "html", catalogue=CATALOGUE, more=(second,))
    site = outcome.index.parent
    assert (outcome.summary["results"]["counted"], outcome.summary["results"]["broken"]) == (2, 1)
    assert f"has it a second time; the one in {first} is used" in "\n".join(outcome.left_out)
    manifest = json.loads((site / "runs/pqn/Pong/4M/seed-0.json").read_text())
    assert manifest == json.loads((first / "pqn/Pong/4M/seed-0/manifest.json").read_text())
    game = (site / "games/Pong.html").read_text()
    assert game.count("<figure") == 3  # every run, the first frames closer, and what others published
    assert "400k-frame run" in game


def test_a_game_has_one_figure_whatever_the_budgets_and_the_others_are_labelled(tmp_path: Path) -> None:
    """It used to have one a budget, so that a curve stood alone."""
    for name, frames in (("pqn", 4_000_000), ("c51", 4_000_000), ("rainbow", 2_000_000)):
        write_run(tmp_path / "runs", name, "Pong", frames, 0, 0.5)
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    page = (outcome.index.parent / "games/Pong.html").read_text()
    assert page.count("<figure") == 2  # the runs, and apart from them what others published under another protocol
    assert page.count('class="curve main') == 2 * 2  # in two sizes
    assert page.count('class="curve other') == 2
    assert "2M-frame run" in page
    board = outcome.index.read_text()
    assert 'id="curve-4M' not in board


def test_mean_and_median_of_the_last_games_stand_side_by_side(tmp_path: Path) -> None:
    write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, 0, 0.5)
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE)
    for page in ("games/Pong.html", "baselines/pqn.html"):
        head = (outcome.index.parent / page).read_text()
        assert '<th scope="col" class="n">Mean</th><th scope="col" class="n">Median</th>' in head


def test_a_baseline_says_what_it_is_and_leads_to_others(built: Outcome) -> None:
    page = (built.index.parent / "baselines/hadamax-c51.html").read_text()
    assert 'What hadamax-c51 is, beside <a href="pqn.html">PQN</a> and speed.' in page


def test_the_diagnostics_of_a_single_run_have_no_band_and_runs_left_out_are_counted(tmp_path: Path) -> None:
    """A single run had a band from its value to its value."""
    for seed, size in enumerate(("", "_2048")):
        ranks = {"dead_fraction/conv1": 0.1 * seed, f"effective_rank{size}/conv1": 100.0}
        write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, seed, 0.5, diagnostics=ranks)
    site = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE).index.parent
    page = (site / "baselines/pqn.html").read_text()
    assert "From 1 of 2 runs at 4M frames, those with the largest sample." in page
    assert "Mean of 2 runs at 4M frames; band: middle half of the runs." in page
    ranks, dead = ((site / f"data/pqn-{name}.csv").read_text() for name in ("effective_rank", "dead_fraction"))
    assert ranks.splitlines()[-1].endswith(",100.0,,")
    assert [float(end) for end in dead.splitlines()[-1].split(",")[3:]] == pytest.approx([0.025, 0.075])


def test_a_baselines_page_says_why_runs_have_no_speed(tmp_path: Path) -> None:
    """It gave every reason that there is, whichever was the runs'."""
    for seed in range(3):
        hardware = HARDWARE | ({"jobs": 2} if seed else {"fast_paths": [], "fast_paths_missed": []})
        write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, seed, 0.5, hardware=hardware)
    site = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=CATALOGUE).index.parent
    assert (
        "3 runs are not timed here: other runs went on beside it, and the wall time is theirs too (2); "
        "the manifest does not say whether freed memory was kept (1)."
    ) in (site / "baselines/pqn.html").read_text()


def test_what_a_reader_may_take_for_more_than_it_is_is_said(built: Outcome) -> None:
    """Nothing is corrected for the number of claims; bold is no finding; a run's speed is not the cost table's."""
    site = built.index.parent
    method, front = (site / "method.html").read_text(), built.index.read_text()
    assert "nothing is corrected for how many there are" in method
    assert "the seeds of a side agree to the last digit" in method
    assert "where intervals overlap, another may be as good" in front
    assert "Frames/s: emulator frames by the clock on the wall" in (site / "games/Pong.html").read_text()
    by_game = (site / "claims/pqn-80.html").read_text()
    assert "circle: Hadamax-PQN, square: PQN, dashes: zero, on a square-root scale; <a" in by_game
    assert "Thick: conv3; thin: conv2." in (site / "claims/rank.html").read_text()


def test_markdown_has_every_claim_and_row(built: Outcome) -> None:
    text = render(built.summary)
    for entry in built.summary["claims"]:
        assert entry["title"] in text
    assert "| hadamax-pqn | measured | Breakout, Pong, Qbert | 4M | 3 | 0.80 [" in text
    assert "| pqn | published | Atari-57 | 200M | \N{EN DASH} | 1.82 |" in text
    assert "2 broken" in text
