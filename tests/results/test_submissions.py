"""The words of a submission, and the records of those that were taken in: from anybody, so nothing is trusted."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_builder import build_run

from results.credits import read_credits, record_name, write_record
from results.errors import ResultsError
from results.store import open_run
from results.submissions import (
    SUBMISSION_FILE,
    Submission,
    begins_with_submission,
    cite_link,
    is_extra_member,
    parse_by,
    parse_licence,
    read_submission,
)

PLACE = "pqn/Pong/200k/seed-0"
SOUND = {
    "format_version": 1,
    "by": {"name": "Ada Lovelace", "link": "https://orcid.org/0000-0002-1825-0097"},
    "licence": "CC-BY-4.0",
    "cite": "Lovelace 2026",
    "suite": "0.1.0",
    "files": {f"{PLACE}/manifest.json": "0" * 64},
}
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=30),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "\u202egnp",
            "\x00",
            "\ud800",
            "javascript:alert(1)",
            "https://",
            "=1+1",
            "x" * 20_000,
        ]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)
PATHS = st.sampled_from(
    [("by",), ("by", "name"), ("by", "link"), ("licence",), ("cite",), ("suite",), ("files",), ("format_version",)]
    + [("files", name) for name in (f"{PLACE}/manifest.json", f"{PLACE}/code/x.py", "../x", "\ud800", "")]
    + [("more",), ("by", "more")]
)


def read(content: object) -> Submission:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SUBMISSION_FILE)
        path.write_text(json.dumps(content))
        return read_submission(path, "bundle")


def test_what_the_fuzz_begins_with_is_sound():
    assert read(SOUND).as_json() == SOUND


@settings(max_examples=200, deadline=None)
@given(path=PATHS, value=ODD, remove=st.booleans())
def test_a_hostile_submission_json_is_one_line_or_plain_letters(path, value, remove):
    content = json.loads(json.dumps(SOUND))
    *parents, key = path
    holder = content
    for parent in parents:
        holder = holder[parent]
    if remove and key in holder:
        del holder[key]
    else:
        holder[key] = value
    try:
        submission = read(content)
    except ResultsError as error:
        reason = str(error)
        assert reason.startswith("bundle: ")
        assert "\n" not in reason
        assert len(reason) < 1500
        reason.encode("utf-8")
        return
    assert submission.name.isprintable()
    assert not set("<>") & set(submission.name)
    assert submission.link.startswith("https://")
    assert not set("<>\"' \\") & set(submission.link)
    assert "\x1b" not in submission.cite


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_bytes_of_any_kind_are_one_line(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, SUBMISSION_FILE)
        path.write_bytes(data)
        with pytest.raises(ResultsError, match=r"\Abundle: .*\Z"):
            read_submission(path, "bundle")
        assert not begins_with_submission(path)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("@article{a, doi = {10.1000/abc.12}, url = {https://a.org}}", "https://doi.org/10.1000/abc.12"),
        ("Lovelace, arXiv:2505.15345v2", "https://arxiv.org/abs/2505.15345"),
        ("Lovelace, arXiv 2505.15345.", "https://arxiv.org/abs/2505.15345"),
        ("see https://a.org/x.", "https://a.org/x"),
        ("http://a.org javascript:alert(1)", None),
    ],
)
def test_a_citation_leads_to_its_doi_else_arxiv_else_a_link(text, link):
    assert cite_link(text) == link


def test_an_orcid_is_a_link_and_its_check_digit_counts():
    assert parse_by("  Ada  <0000-0001-5109-3700> ") == ("Ada", "https://orcid.org/0000-0001-5109-3700")
    assert parse_by("X <https://orcid.org/0000-0002-1694-233X>")[1].endswith("233X")
    with pytest.raises(ResultsError, match="check digit"):
        parse_by("X <0000-0002-1694-2330>")


def test_a_licence_is_written_as_spdx_does():
    assert parse_licence("cc-by-4.0") == "CC-BY-4.0"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        (SUBMISSION_FILE, True),
        (f"{PLACE}/code/mine.py", True),
        (f"{PLACE}/code/package/mine.py", True),
        (f"{PLACE}/code/", False),
        (f"{PLACE}/code/../x.py", False),
        (f"{PLACE}/code/x.sh", False),
        ("code/x.py", False),
        (f"x/{SUBMISSION_FILE}", False),
    ],
)
def test_only_sources_in_a_runs_code_folder_are_members_beside_its_files(name, allowed):
    assert is_extra_member(name, 10) is allowed
    assert not is_extra_member(name, 100 << 20)


@pytest.fixture
def kept(tmp_path):
    run = open_run(build_run(tmp_path))
    submission = read(SOUND | {"by": SOUND["by"] | {"name": "Ödön & Co."}})
    return run, write_record(tmp_path, submission, "ab" * 32, [run])


def test_a_record_says_whose_a_run_is(kept, tmp_path):
    run, path = kept
    assert path.name == "odon-co-abababab.json"
    assert read_credits(tmp_path).of(run).name == "Ödön & Co."
    assert record_name(read(SOUND | {"by": SOUND["by"] | {"name": "李"}}), "0" * 64) == "somebody-00000000"


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(name="other"),
        lambda record: record.update(more=1),
        lambda record: record["by"].update(name="<b>"),
        lambda record: record["runs"].update({PLACE: 3}),
        lambda record: record.update(runs=[]),
    ],
)
def test_a_damaged_record_is_named_and_left_out(kept, tmp_path, change):
    run, path = kept
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    credits = read_credits(tmp_path)
    assert credits.of(run) is None
    ((file, reason),) = credits.broken
    assert file == f"submissions/{path.name}"
    assert "\n" not in reason


def test_a_record_of_another_bundle_with_the_same_name_is_not_changed(kept, tmp_path):
    run, path = kept
    before = path.read_bytes()
    with pytest.raises(ResultsError, match="is the record of another bundle"):
        write_record(tmp_path, read(SOUND | {"by": {**SOUND["by"], "name": "Odon Co"}}), "ab" * 4 + "cd" * 28, [run])
    assert path.read_bytes() == before


def test_a_record_keeps_the_runs_that_it_had_when_the_rest_of_its_bundle_lands(kept, tmp_path):
    run, path = kept
    rest = open_run(build_run(tmp_path, seed=1))
    submission = read(SOUND | {"by": SOUND["by"] | {"name": "Ödön & Co."}})
    assert write_record(tmp_path, submission, "ab" * 32, [rest]) == path
    credits = read_credits(tmp_path)
    assert [credits.of(found).record for found in (run, rest)] == [path.stem, path.stem]


@pytest.mark.parametrize(
    ("by", "words"),
    [
        (f"{'x' * 101} <https://a.org>", "is too long; at most 100 characters"),
        (f"Ada <https://a.org/{'x' * 200}>", "nor a plain https link"),
    ],
)
def test_words_too_long_for_a_page_are_refused_where_they_are_given(by, words):
    """Whoever takes the bundle in would refuse them, days later."""
    with pytest.raises(ResultsError, match=words):
        parse_by(by)
