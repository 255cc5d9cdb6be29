"""Clips on a game's page, as a reader meets them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import make_catalogue, write_run

from reports.build import build
from reports.pages.clips import Clip, Clips

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """Pong's page with clips of two baselines: two seconds of a moving bar."""
    pytest.importorskip("av")
    from suite.video import png, video_file

    root = tmp_path_factory.mktemp("clips")
    picture = np.zeros((472, 320, 3), dtype=np.uint8)
    with video_file(root / "bar.webm", pictures_per_second=60) as write:
        for row in range(120):
            moved = picture.copy()
            moved[3 * row : 3 * row + 20] = (200, 90, 30)
            write(moved)
    clip = Clip(
        baseline="pqn",
        game="Pong",
        budget=4_000_000,
        seed=1,
        row=7,
        kind="greedy",
        score=3.0,
        game_frames=5_000,
        first_frame=1_200,
        seconds=2.0,
        pictures_per_second=60,
        width=320,
        height=472,
        video=(root / "bar.webm").read_bytes(),
        poster=png(picture + 60),
    )
    both = (clip, dataclasses.replace(clip, baseline="hadamax-pqn", score=4.0))
    for baseline in ("pqn", "hadamax-pqn"):
        write_run(root / "runs", baseline, "Pong", 4_000_000, 1, 0.5)
    built = build(results=root / "runs", out=root / "html", catalogue=make_catalogue(), clips=Clips(both))
    return built.index.parent / "games/Pong.html"


@pytest.mark.parametrize("width", [390, 1280])
def test_clips_load_only_when_played_and_then_play(visit, page, axe, width):
    seen = visit(page, width=width)
    asked = []
    seen.page.on("request", lambda request: asked.append(request.url))
    seen.page.reload()
    assert not [url for url in asked if url.endswith(".webm")]
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [video.bounding_box() for video in seen.page.locator(".clip video").all()]
    assert len(boxes) == 2
    assert (boxes[0]["y"] == boxes[1]["y"]) == (width > 700)  # side by side where there is room
    durations = seen.page.evaluate(
        """async () => {
            const found = [];
            for (const video of document.querySelectorAll(".clip video")) {
                await video.play();
                found.push(video.duration);
            }
            return found;
        }"""
    )
    assert durations == pytest.approx([2.0, 2.0], abs=0.1)
    seen.page.evaluate(axe)
    found = seen.page.evaluate("axe.run(document.querySelector('.clips'))")["violations"]
    assert [violation["id"] for violation in found] == []
    assert seen.complaints == []


def test_without_scripts_the_clip_has_controls_a_poster_and_words(visit, page):
    seen = visit(page, scripts=False)
    video = seen.page.locator(".clip video").first
    assert video.get_attribute("controls") is not None
    assert video.get_attribute("autoplay") is None
    assert video.get_attribute("aria-label") == "PQN plays Pong: 2 seconds of a game with score 3.00"
    caption = seen.page.locator(".clip figcaption").first.inner_text()
    assert "seed 1" in caption
    assert "score 3.00" in caption
