"""The site as a reader meets it: accessible, without network, by keyboard, in every size and both colour schemes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reports.build import build
from suite.catalogue import catalogue

COMMITTED = Path(__file__).parents[2] / "results" / "runs"

pytestmark = pytest.mark.browser

PAGES = (
    "index.html",
    "claims/own.html",
    "claims/pqn-80.html",
    "claims/rank.html",
    "claims/cost.html",
    "claims/ablation.html",
    "games/Pong.html",
    "games/Alien.html",
    "games/Defender.html",
    "baselines/pqn.html",
    "why.html",
    "method.html",
)
EMPTY_PAGES = ("index.html", "claims/pqn-80.html", "games/Pong.html", "baselines/c51.html", "why.html", "method.html")
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN_AXE = """(tags) => axe.run(document, {preload: false, runOnly: {type: 'tag', values: tags}}).then((found) =>
    found.violations.map((v) => `${v.impact}: ${v.id}: ${v.nodes.map((n) => n.target).join(' ')}`))"""


def violations(page: Any, axe: str) -> list[str]:
    page.evaluate(axe)
    return page.evaluate(RUN_AXE, WCAG)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_violation_and_make_no_complaint(
    visit: Callable[..., Any], full_site: Path, axe: str, name: str, scheme: str
) -> None:
    opened = visit(full_site / name, scheme=scheme)
    assert opened.complaints == []
    assert violations(opened.page, axe) == []


@pytest.mark.parametrize("name", EMPTY_PAGES)
def test_pages_of_an_empty_report_are_as_good(visit: Callable[..., Any], empty_site: Path, axe: str, name: str) -> None:
    opened = visit(empty_site / name, width=390)
    assert opened.complaints == []
    assert violations(opened.page, axe) == []


def test_open_tables_have_no_violation(visit: Callable[..., Any], full_site: Path, axe: str) -> None:
    page = visit(full_site / "games/Pong.html", width=390).page
    page.eval_on_selector_all("details", "all => all.forEach((one) => one.open = true)")
    assert violations(page, axe) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1024, 1600])
@pytest.mark.parametrize(
    "name", ["index.html", "claims/own.html", "games/Pong.html", "baselines/pqn.html", "method.html"]
)
def test_no_page_scrolls_sideways(visit: Callable[..., Any], full_site: Path, name: str, width: int) -> None:
    page = visit(full_site / name, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_usual_screen_no_table_of_the_suites_own_report_is_cut(visit: Callable[..., Any], tmp_path: Path) -> None:
    site = build(results=COMMITTED, out=tmp_path, catalogue=catalogue()).index.parent
    pages = [*site.glob("*.html"), *site.glob("claims/*.html"), *site.glob("baselines/*.html")]
    pages += [
        site / f"games/{name}.html" for name in sorted({folder.parent.name for folder in COMMITTED.glob("*/*/4M")})
    ]
    cut = {}
    for path in pages:
        cut[path.name] = visit(path, width=1280).page.eval_on_selector_all(
            ".scroll:not(.numbers .scroll)",
            "all => all.filter((s) => s.scrollWidth > s.clientWidth).map((s) => s.ariaLabel)",
        )
    assert len(cut) > 30
    assert {name: tables for name, tables in cut.items() if tables} == {}


@pytest.mark.parametrize("width", [390, 1600])
def test_one_size_of_each_figure_is_shown(visit: Callable[..., Any], full_site: Path, width: int) -> None:
    page = visit(full_site / "index.html", width=width).page
    shown = page.eval_on_selector_all(
        "figure .plot", "all => all.map((p) => [...p.querySelectorAll('svg')].filter((s) => s.clientWidth > 0).length)"
    )
    assert shown
    assert set(shown) == {1}


def test_on_a_phone_claims_are_stacked_and_other_tables_scroll_inside(
    visit: Callable[..., Any], full_site: Path, axe: str
) -> None:
    page = visit(full_site / "index.html", width=390).page
    cells = page.eval_on_selector_all(
        "table.claims td, table.claims tbody th", "all => all.map((c) => c.getBoundingClientRect().right)"
    )
    assert max(cells) <= 390
    wide = page.eval_on_selector_all(
        ".scroll", "all => all.filter((s) => s.scrollWidth > s.clientWidth).map((s) => s.tabIndex)"
    )
    assert wide
    assert set(wide) == {0}  # so that the keyboard scrolls them too
    assert violations(page, axe) == []


def test_on_a_phone_a_leaderboard_shows_its_first_score(visit: Callable[..., Any], full_site: Path) -> None:
    """The names, sources, seeds and runs alone filled the screen."""
    page = visit(full_site / "index.html", width=390).page
    ends = page.eval_on_selector_all(
        ".wrap tbody tr", "all => all.map((row) => row.querySelector('.estimate .value').getBoundingClientRect().right)"
    )
    assert ends
    assert max(ends) <= 390


@pytest.mark.parametrize("width", [320, 390])
@pytest.mark.parametrize("name", ["claims/own.html", "index.html", "baselines/pqn.html"])
def test_on_a_phone_no_word_of_a_first_column_is_broken(
    visit: Callable[..., Any], full_site: Path, name: str, width: int
) -> None:
    page = visit(full_site / name, width=width).page
    broken = page.eval_on_selector_all(
        ".scroll tbody th[scope=row] :is(a, code)",
        "all => all.filter((one) => !/[\\s_-]/.test(one.textContent) && one.getClientRects().length > 1)"
        ".map((one) => one.textContent)",
    )
    assert broken == []


def test_text_in_figures_is_large_enough_to_read(visit: Callable[..., Any], full_site: Path) -> None:
    for width in (390, 1024, 1600):
        page = visit(full_site / "games/Pong.html", width=width).page
        heights = page.eval_on_selector_all(
            "figure svg text", "all => all.map((t) => t.getBoundingClientRect().height).filter((h) => h > 0)"
        )
        assert min(heights) >= 11, width


def test_the_tab_key_reaches_links_figures_and_tables_and_shows_where_it_is(
    visit: Callable[..., Any], full_site: Path
) -> None:
    page = visit(full_site / "games/Pong.html").page
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "(() => { const e = document.activeElement;"
                " return [e.tagName, e.getAttribute('class') || e.type || '', getComputedStyle(e).outlineStyle]; })()"
            )
        )
    tags = {tag for tag, _, _ in reached}
    assert {"A", "INPUT", "SUMMARY"} <= tags
    assert reached[0][1] == "skip"
    assert all(outline != "none" for tag, _, outline in reached if tag != "BODY")


def test_curves_are_read_by_the_arrow_keys(visit: Callable[..., Any], full_site: Path) -> None:
    page = visit(full_site / "games/Pong.html").page
    slider = page.locator("figure .reader input").first
    slider.focus()
    last = slider.get_attribute("aria-valuetext")
    assert last is not None
    assert "frames" in last
    page.keyboard.press("ArrowLeft")
    before = slider.get_attribute("aria-valuetext")
    assert before != last
    assert page.locator("figure .reader label").first.inner_text().startswith("At ")
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") not in (last, before)
    assert page.locator("figure .cursor[visibility=visible]").count() > 0


def test_curves_are_read_by_the_pointer_and_show_the_tables_numbers(visit: Callable[..., Any], full_site: Path) -> None:
    page = visit(full_site / "index.html").page
    figure = page.locator("figure[data-curves]").first
    plot = figure.locator("svg:visible").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    left, right = (float(plot.get_attribute(f"data-{side}") or 0) for side in ("left", "right"))
    scale = box["width"] / float((plot.get_attribute("viewBox") or "").split()[2])
    page.mouse.move(box["x"] + scale * (left + right) / 2, box["y"] + box["height"] / 2)
    assert "At 2M frames" in figure.locator(".reader label").inner_text()
    shown = figure.locator(".reader li").first.inner_text()
    figure.locator("summary").click()
    row = figure.locator("tbody tr", has=page.locator("th", has_text=re.compile("^2M$"))).first
    assert row.locator("td").first.inner_text() in shown.replace("PQN: ", "")


def test_everything_is_there_without_scripts(visit: Callable[..., Any], full_site: Path) -> None:
    page = visit(full_site / "index.html", scripts=False).page
    assert page.locator("table.claims tbody tr").count() == 8 + 1 + 6  # claims, one of a user's, other questions
    assert page.locator(".lead-question .progress").first.is_visible()
    assert page.locator("figure svg path.curve").count() > 0
    assert page.locator(".reader").count() == 0
    page.locator("figure summary").first.click()
    assert page.locator("figure table").first.is_visible()


def test_the_answer_stands_first(visit: Callable[..., Any], full_site: Path) -> None:
    page = visit(full_site / "index.html").page
    assert page.locator("h1").inner_text() == "Does Hadamax give what its paper says?"
    answer = page.locator(".answer").bounding_box()
    assert answer["y"] + answer["height"] < 600
    assert "reproduced" in page.locator(".answer").inner_text()


def test_paper_shows_no_navigation_and_all_claims(visit: Callable[..., Any], full_site: Path) -> None:
    page = visit(full_site / "index.html", scheme="dark").page
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("header nav").is_visible()
    assert page.locator("table.claims tbody tr").last.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    kept = "all => all.map((one) => getComputedStyle(one).printColorAdjust)"  # browsers leave out what is not exact
    assert set(page.eval_on_selector_all(".key, .progress .done", kept)) == {"exact"}
