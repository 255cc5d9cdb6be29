"""Two protocols in one report: each by itself, and the one page where they meet."""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest
from made_up_runs import OWN_CLAIM, make_catalogue, raw, write_run

from reports.build import Other, build
from reports.summary import gather
from results.proofs import PROOF_FILE

PAPER = make_catalogue(others=("sticky",))
STICKY = make_catalogue(protocol="sticky", others=("paper",))
DOPAMINE = make_catalogue(protocol="dopamine", others=("paper",))


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("two") / "runs"
    for seed in range(3):
        write_run(root, "pqn", "Pong", 4_000_000, seed, 0.5)
        write_run(root, "pqn", "Pong", 4_000_000, seed, 0.2, protocol="sticky")
    write_run(root, "c51", "Qbert", 4_000_000, 0, 0.3, protocol="sticky")
    damaged = write_run(root, "c51", "Qbert", 4_000_000, 1, 0.3, protocol="sticky")
    (damaged / "manifest.json").write_text("{")
    return root


@pytest.fixture(scope="module")
def site(results, tmp_path_factory):
    out = tmp_path_factory.mktemp("two") / "html"
    return build(results=results, out=out, catalogue=PAPER, others=[Other(STICKY)]), out


def figures_of(page: Path) -> list[str]:
    """The markup of each figure of a page."""
    return re.findall(r"<figure.*?</figure>", page.read_text(encoding="utf-8"), re.DOTALL)


def labels_of(figure: str) -> list[str]:
    """What the curves of a figure are called, without the notes in brackets."""
    data = json.loads(re.search(r"<script type=\"application/json\">(.*?)</script>", figure, re.DOTALL)[1])
    return [re.sub(r" \([^()]*\)$", "", series["label"]) for series in data["series"]]


def test_each_protocol_has_its_own_leaderboard_and_runs(site):
    _, out = site
    ours, theirs = (json.loads((out / place / "summary.json").read_text()) for place in (".", "sticky"))
    assert (ours["protocol"], theirs["protocol"]) == ("paper", "sticky")
    assert (ours["results"]["runs"], theirs["results"]["runs"]) == (3, 5)  # a damaged one among theirs
    measured = [
        {row["baseline"]: row["median"]["estimate"] for row in s["leaderboard"] if row["source"] == "measured"}
        for s in (ours, theirs)
    ]
    assert measured[0] == {"pqn": pytest.approx(0.5)}
    assert measured[1] == {"pqn": pytest.approx(0.2), "c51": pytest.approx(0.3)}


def test_a_damaged_run_is_named_by_its_own_report(site):
    built, out = site
    ours, theirs = (json.loads((out / place / "summary.json").read_text()) for place in (".", "sticky"))
    assert ours["results"]["left_out"] == []
    (line,) = theirs["results"]["left_out"]
    assert line.startswith("sticky/c51/Qbert/4M/seed-1: ")
    assert built.left_out == (f"sticky: {line}",)


def test_the_papers_claims_are_asked_of_the_first_protocol_alone(site):
    _, out = site
    ours, theirs = (json.loads((out / place / "summary.json").read_text()) for place in (".", "sticky"))
    assert {claim["id"] for claim in ours["claims"]} >= {"pqn-80", "c51-70"}
    assert theirs["claims"] == []
    page = (out / "sticky" / "index.html").read_text(encoding="utf-8")
    assert "they are judged on the first one" in page
    assert "The paper&#39;s claims</h2>" not in page


def test_no_figure_but_the_comparisons_has_two_protocols(site):
    _, out = site
    for place, hns in (("data", 0.5), ("sticky/data", 0.2)):
        rows = list(csv.DictReader((out / place / "games" / "Pong.csv").read_text().splitlines()))
        final = [float(row["score"]) for row in rows if row["frames"] == "4000000"]
        assert len(rows) == 3 * 200
        assert final == pytest.approx([raw(hns, "Pong")] * 3)
    for page in ("games/Pong.html", "sticky/games/Pong.html"):
        (figure,) = [f for f in figures_of(out / page) if 'id="curve-Pong"' in f]
        assert labels_of(figure) == ["PQN"]


def test_the_comparison_names_both_and_marks_what_differs(site):
    _, out = site
    page = (out / "protocols.html").read_text(encoding="utf-8")
    assert 'href="sticky/games/Pong.html"' in page
    assert 'href="games/Pong.html"' in page
    assert "Qbert" not in re.sub(r"<nav.*?</nav>", "", page, flags=re.DOTALL)  # played under one alone
    (figure,) = figures_of(out / "protocols.html")
    assert labels_of(figure) == ["PQN, paper", "PQN, sticky"]
    (row,) = re.findall(r"<tr>\s*<th scope=\"row\"><code>sticky</code>.*?</tr>", page, re.DOTALL)
    assert "0.25" in row
    assert "<li>" in page[page.index('id="differs-sticky"') :]


def test_every_link_of_both_reports_leads_somewhere(site):
    _, out = site
    for page in [*out.glob("*.html"), *(out / "sticky").rglob("*.html")]:
        for target in re.findall(r'(?:href|src)="([^"#:]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page}: {target}"


def test_without_runs_of_the_other_protocol_there_is_no_report_of_it_and_the_command_is_told(tmp_path):
    write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, 0, 0.5)
    build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=PAPER, others=[Other(STICKY)])
    assert not (tmp_path / "html" / "sticky").exists()
    page = (tmp_path / "html" / "protocols.html").read_text(encoding="utf-8")
    assert "--protocol sticky" in page


def test_a_claim_of_ones_own_is_judged_on_the_reports_protocol(results, tmp_path):
    (tmp_path / "claims.toml").write_text(OWN_CLAIM)
    report = gather(results=results, catalogue=STICKY, claims_file=tmp_path / "claims.toml")
    (judgement,) = report.judgements
    assert judgement.claim.id == "own"
    assert judgement.missing.there == 3  # of PQN on Pong
    assert {run.protocol for run in judgement.missing.runs} == {"sticky"}
    assert all("--protocol sticky" in line for line in [judgement.missing.command, *judgement.missing.commands])


@pytest.mark.parametrize(("catalogue", "beside"), [(DOPAMINE, True), (PAPER, False)])
def test_published_dopamine_curves_share_a_figure_with_runs_of_that_protocol_alone(tmp_path, catalogue, beside):
    name = catalogue.protocol.name
    write_run(tmp_path / "runs", "c51", "Pong", 10_000_000, 0, 0.5, protocol=name)
    build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=catalogue)
    place = tmp_path / "html" / "games" / "Pong.html"
    figures = figures_of(place)
    published = {"C51 (Dopamine)", "Rainbow (Dopamine)"}
    assert [set(labels_of(figure)) for figure in figures] == (
        [{"C51", *published}] if beside else [{"C51"}, {"C51", "Rainbow"}]
    )
    assert ('id="curve-Pong-published"' in figures[-1]) is not beside
    assert ("method.html#differs" in place.read_text(encoding="utf-8")) is beside


def test_a_damaged_file_beside_the_runs_is_named_once(results, tmp_path):
    shutil.copytree(results, tmp_path / "runs")
    (tmp_path / "runs" / PROOF_FILE).write_text("{")
    outcome = build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=PAPER, others=[Other(STICKY)])
    assert len([line for line in outcome.left_out if PROOF_FILE in line]) == 1
