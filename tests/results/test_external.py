from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from results import external
from results.errors import ResultsError
from results.external import (
    ExternalScore,
    dopamine_scores,
    load_external,
    read_scores_csv,
    store_dopamine,
    store_scores,
)
from results.scores import human_normalised
from results.store import external_directory

HEADER = "baseline,game,seed,frames,score\n"
SCORES = [
    ExternalScore("c51", "BattleZone", 0, 40_000_000, 24_500.0),
    ExternalScore("c51", "Pong", 0, 40_000_000, 18.25),
    ExternalScore("c51", "Pong", 1, 40_000_000, -0.1),
]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results" / "runs"


def write(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "scores.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_reads_scores_and_writes_games_as_the_table_does(tmp_path: Path):
    path = write(
        tmp_path, HEADER + "c51,pong,1,40M,-0.1\nc51,Pong-v5,0,40000000,1.825e1\nc51,battle_zone,0,40M,24500\n"
    )
    assert read_scores_csv(path) == SCORES


def test_columns_may_stand_in_any_order_and_blanks_do_not_matter(tmp_path: Path):
    text = "\ufeffscore, seed, game ,frames,baseline\r\n\r\n18.25, 0, Pong, 40M, c51\r\n"
    assert read_scores_csv(write(tmp_path, text)) == [SCORES[1]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty; a CSV with the columns baseline, game, seed, frames, score is expected"),
        ("\n \n", "is empty"),
        (b"\x89PNG\r\n\x1a\n\0\0", "is no text"),
        (b"PK\x03\x04\0", "is no text"),
        ((HEADER + "c51,Pong,0,40M,1\n").encode("utf-16"), "is no text in UTF-8; save it as CSV in UTF-8, with"),
        (HEADER.encode() + b"caf\xe9,Pong,0,40M,1\n", "is no text in UTF-8"),
        (HEADER.encode() + b"c51,Pong,0,40M,1\xc3", "is no text in UTF-8"),
        (HEADER.replace(",", ";") + "c51;Pong;0;40M;1,5\n", "by commas, not by semicolons, and write numbers with a"),
        ("sep=;\n" + HEADER.replace(",", ";"), "line 1: the columns must .* separate the cells by commas, not by semi"),
        (HEADER.replace(",", "\t") + "c51\tPong\t0\t40M\t1\n", "separate the cells by commas, not by tabs"),
        (HEADER, "has a header and no scores"),
        ("game,score\nPong,1\n", "line 1: the columns must be baseline, game, seed, frames, score; found game, score"),
        (HEADER[:-1] + ",note\nc51,Pong,0,40M,1,x\n", "line 1: the columns must be"),
        ("baseline,game,game,frames,score\nc51,Pong,0,40M,1\n", "line 1: the columns must be"),
        ("c51,Pong,0,40M,1\n", "line 1: the columns must be"),
        (HEADER + "c51,Pong,0,40M\n", "line 2: 4 cells, the header has 5"),
        (HEADER + "c51,Pong,0,40M,1,000\n", "line 2: 6 cells, the header has 5"),
        (HEADER + "c51,Pong,0,40M,1\nc51,Pnog,1,40M,1\n", r"line 3, column game: unknown game 'Pnog' \(nearest: Pong"),
        (HEADER + "C51!,Pong,0,40M,1\n", "line 2, column baseline: 'C51!' is no name"),
        (HEADER + ",Pong,0,40M,1\n", "line 2, column baseline: '' is no name"),
        (HEADER + "c51,Pong,-1,40M,1\n", "line 2, column seed: '-1' is no whole number"),
        (HEADER + "c51,Pong,0.5,40M,1\n", "line 2, column seed: '0.5'"),
        (HEADER + "c51,Pong,0,4e7,1\n", "line 2, column frames: '4e7' is no number of emulator frames"),
        (HEADER + "c51,Pong,0,0,1\n", "line 2, column frames: '0'"),
        (HEADER + "c51,Pong,0,-5,1\n", "line 2, column frames: '-5'"),
        (HEADER + "c51,Pong,0,,1\n", "line 2, column frames: ''"),
        (HEADER + "c51,Pong,0,40M,high\n", "line 2, column score: 'high' is no number"),
        (HEADER + "c51,Pong,0,40M,\n", "line 2, column score: '' is no number"),
        (HEADER + "c51,Pong,0,40M,nan\n", "line 2, column score: 'nan' is not finite"),
        (HEADER + "c51,Pong,0,40M,-inf\n", "line 2, column score: '-inf' is not finite"),
        (HEADER + 'c51,Pong,0,40M,"1\n', "no CSV"),
        (HEADER + "c51,Pong,0,40M,2_0\n", "line 2, column score: '2_0' is no number"),
        (HEADER + "c51,Pong,0,40M,\u0662\u0660\n", "line 2, column score: '\u0662\u0660' is no number"),
        (HEADER + "c51,Pong,0,40M,1e308\n", "line 2, column score: '1e308' is more than any game gives"),
        (HEADER + "c51,Pong,0,40M,-1e308\n", "line 2, column score: '-1e308' is more than any game gives"),
        (HEADER + "c51,Pong,0,40M,1e9999\n", "line 2, column score: '1e9999' is more than any game gives"),
        (HEADER + f"c51,Pong,0,40M,{'9' * 5000}\n", r"column score: '9+\.\.\. \(5,002 characters\) is no number"),
        (HEADER + "c51,Pong,0,99999999999999999999M,1\n", "line 2, column frames: '99999999999999999999M'"),
        (HEADER + f"c51,Pong,0,{'9' * 5000}M,1\n", r"line 2, column frames: '9+\.\.\. \(5,003 characters\)"),
        (HEADER + f"{'c' * 101},Pong,0,40M,1\n", "line 2, column baseline: 'c+.* is no name"),
        (HEADER + f"c51,{'x' * 10000},0,40M,1\n", r"unknown game 'x+\.\.\. \(10,002 characters\)"),
        (HEADER + "c51,Pong,\u0662,40M,1\n", "line 2, column seed: '\u0662' is no whole number"),
        (
            HEADER + "c51,Pong,0,40M,1\nc51,Pong,1,40M,1\nc51,pong,0,40000000,2\n",
            "line 4: the same baseline, game, seed and frames as line 2",
        ),
    ],
)
def test_what_is_no_score_is_refused_by_line_and_column(tmp_path: Path, text: str | bytes, reason: str):
    path = write(tmp_path, text)
    with pytest.raises(ResultsError, match=reason) as error:
        read_scores_csv(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_an_unknown_baseline_is_refused_where_names_are_given(tmp_path: Path):
    path = write(tmp_path, HEADER + "c15,Pong,0,40M,1\n")
    assert read_scores_csv(path)[0].baseline == "c15"
    with pytest.raises(
        ResultsError, match=r"line 2, column baseline: unknown baseline 'c15' \(nearest: c51\); if it is new, add"
    ):
        read_scores_csv(path, baselines=("pqn", "c51"))


def test_an_absent_file_and_a_folder_are_named(tmp_path: Path):
    with pytest.raises(ResultsError, match=r"absent.csv: cannot be read \(No such file"):
        read_scores_csv(tmp_path / "absent.csv")
    with pytest.raises(ResultsError, match="cannot be read"):
        read_scores_csv(tmp_path)


def test_stored_scores_come_back_with_where_they_are_from(results: Path):
    path = store_scores(results, "my-c51", SCORES, source="my laptop", protocol="sticky actions")
    assert path == results.parent / "external" / "my-c51.csv"
    stored = load_external(results)
    assert stored.broken == ()
    assert list(stored.scores.columns) == ["set", "baseline", "game", "seed", "frames", "score"]
    rows = [ExternalScore(*row) for row in stored.scores.drop(columns="set").itertuples(index=False, name=None)]
    assert rows == SCORES
    assert set(stored.scores["set"]) == {"my-c51"}
    provenance = stored.provenance["my-c51"]
    assert (provenance["source"], provenance["protocol"], provenance["rows"]) == ("my laptop", "sticky actions", 3)


def test_nothing_imported_is_an_empty_table(results: Path):
    stored = load_external(results)
    assert (len(stored.scores), stored.provenance, stored.broken) == (0, {}, ())
    assert "score" in stored.scores.columns


def test_storing_the_same_again_changes_nothing_and_another_is_refused(results: Path):
    path = store_scores(results, "mine", SCORES, source="here")
    files = {file: file.read_bytes() for file in external_directory(results).iterdir()}
    assert store_scores(results, "mine", list(reversed(SCORES)), source="here") == path
    with pytest.raises(ResultsError, match=r"mine.csv holds other scores already"):
        store_scores(results, "mine", SCORES[:1], source="here")
    assert {file: file.read_bytes() for file in external_directory(results).iterdir()} == files


@pytest.mark.parametrize(("source", "protocol"), [("here", "paper"), ("Table 3", "unknown"), ("Table 3", "paper")])
def test_another_source_or_protocol_of_a_kept_set_is_refused_and_not_passed_over(
    results: Path, source: str, protocol: str
):
    words = "with source 'here' and protocol 'unknown'; delete it and mine.json, and import them again"
    store_scores(results, "mine", SCORES, source="here")
    with pytest.raises(ResultsError, match=re.escape(words)):
        store_scores(results, "mine", SCORES, source=source, protocol=protocol)
    assert load_external(results).provenance["mine"]["protocol"] == "unknown"


def test_a_score_is_imported_once(results: Path):
    store_scores(results, "mine", SCORES, source="here")
    with pytest.raises(ResultsError, match=r"the set 'mine' has a score of c51 Pong seed 0 at 40000000 frames already"):
        store_scores(results, "yours", SCORES[1:2], source="there")
    store_scores(results, "yours", [ExternalScore("c51", "Pong", 2, 40_000_000, 1.0)], source="there")
    assert sorted(load_external(results).provenance) == ["mine", "yours"]


def test_a_run_at_two_budgets_has_two_scores(results: Path):
    at = [ExternalScore("c51", "Pong", 0, frames, 1.0) for frames in (40_000_000, 100_000_000, 200_000_000)]
    store_scores(results, "mine", at[:2], source="here")
    store_scores(results, "yours", at[2:], source="there")
    assert load_external(results).scores["frames"].tolist() == [score.frames for score in at]


@pytest.mark.parametrize("score", [1 / 3, 1_234_567.25, -1e-9, 1e15])
def test_a_score_comes_back_to_its_last_digit(results: Path, score: float):
    store_scores(results, "mine", [ExternalScore("c51", "Pong", 0, 40_000_000, score)], source="here")
    assert load_external(results).scores["score"].tolist() == [score]


def test_a_set_of_a_newer_suite_is_named_and_left_out(results: Path):
    path = store_scores(results, "mine", SCORES, source="here").with_suffix(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 2}))
    stored = load_external(results)
    assert (len(stored.scores), stored.provenance) == (0, {})
    assert [broken.reason for broken in stored.broken] == [f"{path}: format 2 is unknown: upgrade the suite"]


def test_duplicates_and_empty_sets_and_unfit_names_are_refused(results: Path):
    with pytest.raises(ResultsError, match="the same baseline, game, seed and frames"):
        store_scores(results, "mine", [SCORES[0], SCORES[0]], source="here")
    with pytest.raises(ResultsError, match="no scores"):
        store_scores(results, "mine", [], source="here")
    with pytest.raises(ResultsError, match="is no name for a set"):
        store_scores(results, "../mine", SCORES, source="here")
    assert not external_directory(results).exists()


def test_a_failed_second_write_leaves_nothing_imported(results: Path, monkeypatch: pytest.MonkeyPatch):
    def disk_full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(external, "write_json", disk_full)
    with pytest.raises(OSError, match="No space left"):
        store_scores(results, "mine", SCORES, source="here")
    assert not external_directory(results).exists()


def test_a_set_without_provenance_or_with_changed_bytes_is_named_and_left_out(results: Path):
    good = store_scores(results, "good", SCORES[:1], source="here")
    store_scores(results, "edited", SCORES[1:2], source="here").write_text(HEADER + "c51,Pong,0,40000000,21.0\n")
    store_scores(results, "halved", SCORES[2:], source="here").with_suffix(".json").unlink()
    strange = good.with_name("strange.csv")
    strange.write_text(HEADER)
    strange.with_suffix(".json").write_text(json.dumps({"name": "strange"}))
    stored = load_external(results)
    assert list(stored.provenance) == ["good"]
    reasons = {broken.directory.stem: broken.reason for broken in stored.broken}
    assert "SHA-256 differs" in reasons["edited"]
    assert "import it again" in reasons["halved"]
    assert "must have the keys" in reasons["strange"]
    store_scores(results, "halved", SCORES[2:], source="here")
    assert sorted(load_external(results).provenance) == ["good", "halved"]


def test_dopamines_runs_as_scores_give_the_medians_known_for_them(results: Path):
    scores = dopamine_scores("Rainbow")
    assert {score.baseline for score in scores} == {"dopamine-rainbow"}
    games = sorted({score.game for score in scores})
    assert len(games) == 55
    normalised = [
        human_normalised(float(np.mean([score.score for score in scores if score.game == game])), game)
        for game in games
    ]
    assert np.median(normalised) == pytest.approx(1.48, abs=0.005)
    store_dopamine(results, "rainbow")
    assert "sticky actions" in load_external(results).provenance["dopamine-rainbow"]["protocol"]


def test_a_score_of_dopamines_is_the_mean_of_a_runs_last_five_iterations(monkeypatch: pytest.MonkeyPatch):
    """Whatever the order of the table; a run of fewer iterations has no score."""
    points = [("Pong", 0, frames, frames) for frames in (7, 3, 6, 1, 5, 4, 2)] + [("Pong", 1, f, 9) for f in range(4)]
    curves = pd.DataFrame(points, columns=["game", "run", "frames", "mean_return"])
    monkeypatch.setattr(external, "dopamine_curves", lambda agents: curves)
    assert dopamine_scores("C51") == [ExternalScore("dopamine-c51", "Pong", 0, 199_000_000, 5.0)]


def test_an_unknown_agent_of_dopamines_is_refused():
    with pytest.raises(ResultsError, match=r"unknown Dopamine agent 'a3c' \(allowed: c51, dqn, iqn, rainbow\)"):
        dopamine_scores("a3c")


@pytest.mark.parametrize("cell", ["20", "+20", "20.", "2e1", "20.0", "200E-1", "  20 "])
def test_a_number_may_be_written_in_every_usual_way(tmp_path: Path, cell: str):
    assert read_scores_csv(write(tmp_path, HEADER + f"c51,Pong,0,40M,{cell}\n"))[0].score == 20.0


def test_a_table_too_large_or_too_long_is_refused_before_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path, HEADER + "".join(f"c51,Pong,{seed},40M,1\n" for seed in range(200)))
    monkeypatch.setattr(external, "MAX_CSV_ROWS", 100)
    with pytest.raises(ResultsError, match="line 102: more than 100 scores"):
        read_scores_csv(path)
    monkeypatch.setattr(external, "MAX_CSV_BYTES", 1000)
    with pytest.raises(ResultsError, match="has more than 1000 bytes"):
        read_scores_csv(path)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"name": "a" * 300}, r"'a+\.\.\. \(302 characters\) is no name"),
        ({"name": "set", "source": "caf\udce9"}, "the source .* is no text in UTF-8"),
        ({"name": "set", "source": "x" * 1001}, "must be one line of 1 to 1000"),
        ({"name": "set", "source": "ours", "protocol": "two\nlines"}, "the protocol .* must be one line"),
    ],
)
def test_words_that_cannot_be_kept_leave_nothing(results: Path, words: dict[str, str], reason: str):
    with pytest.raises(ResultsError, match=reason):
        store_scores(results, scores=SCORES, **{"source": "ours", **words})
    assert not external_directory(results).exists()


def test_a_full_disk_leaves_no_folder(results: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(external, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        store_scores(results, "set", SCORES, source="ours")
    assert not external_directory(results).exists()


def test_a_file_put_there_by_hand_is_not_written_over(results: Path, monkeypatch: pytest.MonkeyPatch):
    folder = external_directory(results)
    folder.mkdir(parents=True)
    theirs = folder / "set.csv"
    theirs.write_text("my own notes, three years of them\n")
    with pytest.raises(ResultsError, match=r"set.csv is there, with other scores, .* move it away, or give another"):
        store_scores(results, "set", SCORES, source="ours")
    assert theirs.read_text() == "my own notes, three years of them\n"

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    # The message about a set without provenance says to import it again: from where it lies, say.
    theirs.write_text(HEADER + "c51,pong-v5,0,40M,18.25\n")
    before = theirs.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(external, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            store_scores(results, "set", SCORES[1:2], source="ours")
    assert theirs.read_bytes() == before
    store_scores(results, "set", read_scores_csv(theirs), source="ours")
    assert list(load_external(results).provenance) == ["set"]
