"""Who made a run that was sent in is said wherever the run is, as text."""

import re

from made_up_runs import make_catalogue, write_run

from reports.build import build
from results.credits import write_record
from results.manifest import read_manifest, write_manifest
from results.store import open_run
from results.submissions import Submission

NAME = "Ada & \"Co\" '{{ 1 }}'"
CITE = "@misc{x,\n title = {</pre><script>alert(1)</script>},\n doi = {10.1000/ada.1}\n}"


def test_the_maker_is_named_beside_the_run_and_on_the_page_on_method(tmp_path):
    results = tmp_path / "runs"
    place = write_run(results, "pqn", "Pong", 4_000_000, 0, 0.5)
    actions = {"sha256": "a" * 64, "environments": 1, "vector_steps": 1, "kept": "all"}
    write_manifest(place, read_manifest(place) | {"actions": actions})
    theirs = open_run(place)
    write_run(results, "pqn", "Pong", 4_000_000, 1, 0.5)
    submission = Submission(NAME, "https://ada.org/?a=1&b", "CC-BY-4.0", CITE, "0.1.0", {})
    write_record(results, submission, "ab" * 32, [theirs])
    (results / "submissions" / "odd-00000000.json").write_text("[]")
    built = build(results=results, out=tmp_path / "html", catalogue=make_catalogue())
    method, game = ((tmp_path / "html" / name).read_text() for name in ("method.html", "games/Pong.html"))
    assert '<tr id="submission-ada-co-1-abababab">' in method
    assert '<a href="https://ada.org/?a=1&amp;b" rel="nofollow">Ada &amp; &#34;Co&#34; &#39;{{ 1 }}&#39;</a>' in method
    assert '<a href="https://doi.org/10.1000/ada.1"' in method
    assert "&lt;/pre&gt;&lt;script&gt;" in method
    assert "<script>alert" not in method
    makers = re.findall(r'by <a href="../method.html#submission-ada-co-1-abababab">Ada &amp; ', game)
    assert len(makers) == 1
    assert any("submissions/odd-00000000.json" in line for line in built.left_out)


def test_without_submissions_nothing_is_said_of_them(tmp_path):
    write_run(tmp_path / "runs", "pqn", "Pong", 4_000_000, 0, 0.5)
    build(results=tmp_path / "runs", out=tmp_path / "html", catalogue=make_catalogue())
    assert "sent in" not in (tmp_path / "html" / "method.html").read_text()
