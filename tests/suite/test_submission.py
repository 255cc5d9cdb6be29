"""Submissions from end to end on real games: what is packed, what is taken, what forgery is found."""

import dataclasses
import json
import shutil
import tempfile

import pytest
from played_runs import copied, opened, play, tiny_pinned, with_actions, with_games, with_manifest
from submitted_runs import BY, export, members_of, rewrite, stated, take, with_member

from results import archive
from results.actions import read_log
from results.archive import export_archive, write_archive
from results.credits import read_credits
from results.errors import ResultsError
from results.hashing import config_hash, sha256_hex
from results.manifest import read_manifest, write_manifest
from results.proofs import proof_state, read_proofs
from results.store import BrokenRun, open_run, read_episodes, run_directory, scan
from results.submissions import SUBMISSION_FILE, Submission
from suite import submission_checks, submission_rules
from suite.cli import main
from suite.proof import Replayed, choose
from suite.submission_checks import Examined, Sample, Verdict, _environments_for
from suite.submission_rules import first_problems
from suite.submission_verdict import as_table


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("played")
    return [stated(play(folder, updates=30, seed=seed)) for seed in (0, 1)]


@pytest.fixture(autouse=True)
def tiny_is_pinned(monkeypatch):
    monkeypatch.setattr(submission_rules, "describe", tiny_pinned)


@pytest.fixture
def mine(tmp_path, played):
    """A folder of two finished runs."""
    for run in played:
        copied(run, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def runs(mine):
    return [opened(run.directory) for run in scan(mine)]


@pytest.fixture
def file(tmp_path):
    return tmp_path / "bundle.tar.gz"


@pytest.fixture
def theirs(tmp_path):
    """The folder that takes it in: not there yet."""
    return tmp_path / "deep" / "theirs"


def richer(games):
    games.loc[games.index[-1], "episode_return"] += 1
    return games


def assert_nothing_landed(theirs):
    assert not theirs.parent.exists()


# Packing -------------------------------------------------------------------------------------------------------------


def test_the_same_runs_and_maker_give_the_same_bytes_with_every_checksum(mine, file, tmp_path, capsys):
    assert export(mine, file) == 0
    assert "2 runs by Ada Lovelace (https://orcid.org/0000-0002-1825-0097), CC-BY-4.0: " in capsys.readouterr().out
    assert export(mine, tmp_path / "again.tar.gz") == 0
    assert (tmp_path / "again.tar.gz").read_bytes() == file.read_bytes()
    members = members_of(file)
    submission = json.loads(members.pop(SUBMISSION_FILE))
    assert submission["files"] == {name: sha256_hex(data) for name, data in members.items()}
    assert len(members) == 10
    assert submission["cite"] == "doi 10.1000/ada.1"


def test_runs_are_named_by_their_places_or_chosen(mine, runs, file, capsys, monkeypatch):
    place = str(runs[1].spec.directory)
    assert export(mine, file, place) == 0
    assert export(mine, file, "--seeds", "0,", "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out.partition("\n")[2])["runs"] == [str(runs[0].spec.directory)]
    monkeypatch.chdir(mine.parent)
    assert export(mine, file, f"{mine.name}/{place}", "--force", "--json") == 0  # as a shell completes it
    assert json.loads(capsys.readouterr().out)["runs"] == [place]
    assert export(mine, file, place, "--seeds", "0,", "--force") == 2
    assert "not both" in capsys.readouterr().err


def test_a_copy_that_lies_elsewhere_is_not_packed_as_the_run_itself(mine, runs, file, capsys):
    shutil.copytree(mine / "pqn", mine / "backup" / "pqn")
    place = runs[0].spec.directory
    assert export(mine, file, f"backup/{place}") == 2
    assert f"its place there is {place}" in capsys.readouterr().err
    assert not file.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(status="interrupted", finished_at=None), "is interrupted, "),
        (lambda m: m.update(revision=None), "was made outside a checkout"),
        (lambda m: m.update(revision={"commit": "b" * 40, "clean": False}), "its checkout of bbbbbbbbbbbb was not"),
        (lambda m: m.update(revision={"commit": "v1.0\n", "clean": True}), r"commit 'v1.0\n', which is none"),
        (lambda m: (m.update(actions=None), m["files"].pop("actions.parquet")), "actions.parquet: is there, but"),
        (lambda m: m["files"]["episodes.parquet"].update(sha256="0" * 64), "episodes.parquet: SHA-256 is "),
    ],
)
def test_a_run_that_is_not_in_order_is_not_packed(mine, runs, file, change, words, capsys):
    with_manifest(runs[0], change)
    assert export(mine, file, str(runs[0].spec.directory)) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not file.exists()


def test_a_run_without_its_log_is_told_how_to_pack_it(mine, runs, file, capsys):
    with_manifest(runs[0], lambda m: (m.update(actions=None), m["files"].pop("actions.parquet")))
    (runs[0].directory / "actions.parquet").unlink()
    assert export(mine, file) == 2
    assert "has no action log" in capsys.readouterr().err
    (runs[0].directory / "actions.bin").touch()
    assert export(mine, file) == 2
    assert "python -m suite pack makes it of actions.bin" in capsys.readouterr().err


def test_a_value_that_is_not_the_pinned_one_is_named(mine, runs, file, capsys, monkeypatch):
    def pinned(name):
        tiny = tiny_pinned(name)
        return dataclasses.replace(tiny, values={**tiny.values, "learning_rate": 1.0, "more": 2})

    monkeypatch.setattr(submission_rules, "describe", pinned)
    assert export(mine, file) == 2
    error = capsys.readouterr().err
    assert "configuration: learning_rate is 0.00025, pinned 1.0 (and 1 more cannot be sent in)" in error
    (_, problems) = first_problems(runs[0])
    assert problems[1] == "configuration: more is not there, pinned 2"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--by", "Ada", "--cite", "x"], "does not say who"),
        (["--by", "<script>alert(1)</script> <https://a.org>", "--cite", "x"], "does not say who"),
        (["--by", "Ada <javascript:alert(1)>", "--cite", "x"], "nor a plain https link"),
        (["--by", "Ada <0000-0002-1825-0098>", "--cite", "x"], "its check digit does not fit"),
        (["--by", "A\u202eda <https://a.org>", "--cite", "x"], "letters that cannot be seen"),
        (["--by", BY], "add --by"),
        (["--cite", "x"], "add --by"),
        (["--by", BY, "--cite", ""], "needs a line"),
        (["--by", BY, "--cite", "none.bib"], "cannot be read"),
        (["--by", BY, "--cite", "x", "--licence", "all mine"], "is no SPDX licence"),
        (["--by", BY, "--cite", "x", "--licence", "LicenseRef-mine"], "is no SPDX licence"),
        (["--by", BY, "--cite", "x", "--licence", ""], "is no SPDX licence"),
        (["--by", BY, "--cite", "x", "--without-logs"], "carries whole action logs"),
        (["--by", BY, "--cite", "x", "--protocol", "dopamine", "pqn/Pong/4M/seed-9"], "and --protocol; not both"),
        (["--by", BY, "--cite", "x", "pqn/Pong/4M/seed-9"], "cannot be read"),
    ],
)
def test_a_mistake_in_packing_is_one_line_and_writes_nothing(mine, file, arguments, words, capsys):
    assert main(["export", "--submission", str(file), *arguments, "--results", str(mine)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not file.exists()


# Taking in -----------------------------------------------------------------------------------------------------------


def test_an_honest_bundle_lands_with_its_makers_name_and_its_proof(mine, runs, file, theirs, capsys):
    assert export(mine, file) == 0
    assert take(file, theirs, "--check", "--sample", "1") == 0
    assert "0 of 2 runs refused, 2 would be added" in capsys.readouterr().out
    assert_nothing_landed(theirs)
    assert take(file, theirs, "--replay-all") == 0
    assert "2 runs added to " in capsys.readouterr().out
    credits, proofs = read_credits(theirs), read_proofs(theirs)
    for run in scan(theirs):
        assert credits.of(run).name == "Ada Lovelace"
        assert proof_state(run, proofs) == "re-played"
        for name in ("manifest.json", "episodes.parquet", "actions.parquet"):
            assert (run.directory / name).read_bytes() == (mine / run.spec.directory / name).read_bytes()
    assert take(file, theirs) == 0  # the same bundle again
    assert "nothing to add" in capsys.readouterr().out


def test_a_credit_ends_where_the_run_is_another(mine, file, theirs):
    assert export(mine, file) == 0
    assert take(file, theirs, "--sample", "1") == 0
    first, second = scan(theirs)
    with_games(first, richer)
    credits = read_credits(theirs)
    assert credits.of(opened(first.directory)) is None
    assert credits.of(second).licence == "CC-BY-4.0"


def test_one_forged_run_keeps_all_out_unless_partly(mine, runs, file, theirs, capsys):
    with_games(runs[0], richer)
    assert export(mine, file) == 0  # every checksum fits
    assert take(file, theirs, "--replay-all") == 1
    said = capsys.readouterr().out
    assert "9 of 10  " in said
    assert f"refused: {runs[0].spec}: " in said
    assert " in the table, " in said
    assert "nothing was added: 1 of 2 runs refused; --partly takes the other 1" in said
    assert_nothing_landed(theirs)
    assert take(file, theirs, "--replay-all", "--partly") == 0
    assert "1 run added to " in capsys.readouterr().out
    (run,) = scan(theirs)
    assert run.spec == runs[1].spec
    assert list(read_credits(theirs).records[0].runs) == [str(run.spec.directory)]


def one_action_more(actions):
    actions = actions.copy()
    actions[:, 1] = (actions[:, 1] + 1) % 4
    return actions


FORGERIES = {
    "an altered return": lambda run: with_games(run, richer),
    "a game left out": lambda run: with_games(run, lambda games: games.drop(games.index[2])),
    "altered actions": lambda run: with_actions(run, one_action_more),
    "an altered seed": lambda run: with_manifest(run, lambda m: m["environment"]["train_seeds"].reverse()),
    "another ROM": lambda run: with_manifest(run, lambda m: m["environment"].update(rom_sha256="0" * 64)),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_what_fits_every_checksum_is_found_by_playing(runs, mine, file, theirs, forge, capsys):
    forge(runs[0])
    assert export(mine, file, str(runs[0].spec.directory)) == 0
    assert take(file, theirs, "--replay-all", "--partly") == 1
    assert "refused: pqn Breakout 3840 seed 0: " in capsys.readouterr().out
    assert_nothing_landed(theirs)


def swap_games(members):
    """The games of seed 1 as those of seed 0."""
    first, second = (next(n for n in members if f"seed-{s}/episodes" in n) for s in (0, 1))
    members[first] = members[second]


def move_run(members):
    """The run of seed 1 in the place of seed 7."""
    for name in [name for name in members if "seed-1/" in name]:
        members[name.replace("seed-1/", "seed-7/")] = members.pop(name)


def flip(members):
    name = next(name for name in members if name.endswith("seed-0/metrics.parquet"))
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


@pytest.mark.parametrize(
    ("change", "with_checksums", "words"),
    [
        (flip, False, "its SHA-256 is not the one that submission.json says"),
        (flip, True, "metrics.parquet: SHA-256 is "),
        (swap_games, True, "episodes.parquet: SHA-256 is "),
        (move_run, True, "belongs to the run pqn Breakout 3840 seed 1"),
        (move_run, False, "submission.json lists it, and it is not in the bundle"),
        (
            lambda members: members.pop(next(n for n in members if "seed-0/act" in n)),
            True,
            "actions.parquet: cannot be",
        ),
        (lambda m: m.update({"pqn/Breakout/3840/seed-0/code/x.py": b"1"}), True, "the manifest does not list it"),
        (
            lambda m: m.update({"pqn/Breakout/3840/seed-9/code/x.py": b"1"}),
            True,
            "seed-9: pqn/Breakout/3840/seed-9/man",
        ),
    ],
)
def test_a_bundle_changed_afterwards_is_refused_run_by_run(mine, file, theirs, change, with_checksums, words, capsys):
    assert export(mine, file) == 0
    rewrite(file, change, with_checksums=with_checksums)
    assert take(file, theirs, "--sample", "1") == 1
    assert words in capsys.readouterr().out
    assert_nothing_landed(theirs)


def passed_off_as_bf16(run, results):
    """A copy of `run` beside it, under another baseline's name."""
    manifest = run.manifest
    manifest["config"]["baseline"]["precision"] = "bf16"
    manifest["spec"] |= {"baseline": "pqn-bf16", "config_hash": config_hash(manifest["config"])}
    place = run_directory(results, dataclasses.replace(run.spec, baseline="pqn-bf16"))
    shutil.copytree(run.directory, place)
    write_manifest(place, manifest)
    return place


def test_a_copy_under_another_baselines_name_is_refused(mine, runs, file, theirs, capsys):
    """Seeds follow from the run's seed alone: another baseline's run of the same seed could be passed off as one."""
    passed_off_as_bf16(runs[0], mine)
    assert export(mine, file) == 0
    assert take(file, theirs) == 1
    said = capsys.readouterr().out
    assert "its actions are those of pqn Breakout 3840 seed 0 to the last one: one of them is a copy" in said
    assert "its actions are those of pqn-bf16 Breakout 3840 seed 0 to" in said


def test_a_copy_with_an_action_that_changes_no_game_is_refused(mine, runs, file, theirs, capsys):
    def last_action(actions):
        actions = actions.copy()
        actions[-1, 1] = (actions[-1, 1] + 1) % 4
        return actions

    with_actions(opened(passed_off_as_bf16(runs[0], mine)), last_action)
    assert export(mine, file) == 0
    assert take(file, theirs) == 1
    said = capsys.readouterr().out
    assert "its games are those of pqn Breakout 3840 seed 0 to the last one: one of them is a copy" in said
    assert_nothing_landed(theirs)


def test_a_copy_of_a_run_that_is_here_is_refused_when_it_comes_alone(mine, runs, file, theirs, capsys):
    copy = passed_off_as_bf16(runs[0], mine)
    copied(runs[0], theirs)
    assert export(mine, file, str(copy.relative_to(mine))) == 0
    assert take(file, theirs) == 1
    assert "its actions are those of pqn Breakout 3840 seed 0 to the last one" in capsys.readouterr().out
    assert [run.spec for run in scan(theirs)] == [runs[0].spec]


def test_two_runs_that_never_score_may_have_the_same_games(mine, runs, file, theirs, monkeypatch, capsys):
    games = read_episodes(runs[0].directory).astype({"kind": str, "end": str}).assign(episode_return=0.0)
    for run in runs:
        with_games(run, lambda _: games)
    monkeypatch.setattr(submission_checks, "replay", lambda run, **_: Replayed(run, len(games)))
    assert export(mine, file) == 0
    assert take(file, theirs, "--check") == 0, capsys.readouterr().out
    scored = richer(games.copy())
    for run in runs:
        with_games(run, lambda _: scored)
    assert export(mine, file, "--force") == 0
    assert take(file, theirs, "--check") == 1


def test_a_temporary_folder_that_is_not_there_is_one_line(file, theirs, tmp_path, monkeypatch, capsys):
    write_archive(file, [(SUBMISSION_FILE, b"{}")])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    assert take(file, theirs) == 2
    error = capsys.readouterr().err
    assert "absent" in error
    assert error.count("\n") == 1


def test_a_problem_in_a_table_is_one_line():
    submission = Submission("A", "https://a.org", "MIT", "x", "1", {})
    verdict = Verdict("pqn/Pong/4M/seed-0", problems=["\x1b[2Ja\nrefused: b"])
    lines = as_table(Examined("f", "0" * 64, submission, Sample(1), (verdict,))).splitlines()
    assert lines[-1] == "refused: pqn/Pong/4M/seed-0: ?[2Ja refused: b"
    assert len(lines) == 3


@pytest.mark.parametrize("first_by", ["Grace Hopper <https://hopper.org>", None])
def test_a_run_that_is_here_already_is_not_taken_under_another_name(mine, file, theirs, tmp_path, first_by, capsys):
    if first_by is None:  # measured here
        shutil.copytree(mine, theirs)
    else:
        assert export(mine, tmp_path / "first.tar.gz", by=first_by) == 0
        assert take(tmp_path / "first.tar.gz", theirs, "--sample", "1") == 0
    before = sorted(path for path in theirs.rglob("*"))
    assert export(mine, file) == 0
    capsys.readouterr()
    assert take(file, theirs, "--partly") == 1
    whose = "sent in by Grace Hopper (https://hopper.org)" if first_by else "as one of this project's own"
    assert capsys.readouterr().out.count(f"is here already, {whose}") == 2
    assert sorted(path for path in theirs.rglob("*")) == before


def test_a_place_that_another_run_has_is_named(mine, runs, file, theirs, capsys):
    shutil.copytree(mine, theirs)
    with_manifest(opened(run_directory(theirs, runs[0].spec)), lambda manifest: manifest.update(wall_seconds=1.0))
    assert export(mine, file, str(runs[0].spec.directory)) == 0
    assert take(file, theirs) == 1
    assert "is taken by a run that differs from" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.pop("licence"), "missing licence"),
        (lambda s: s.update(licence="mine"), "is no SPDX licence"),
        (lambda s: s["by"].update(name="<img src=x onerror=alert(1)>"), "is no name"),
        (lambda s: s["by"].update(name="x" * 101), "at most 100 characters"),
        (lambda s: s["by"].update(link="http://a.org"), "nor a plain https link"),
        (lambda s: s["by"].update(link='https://a.org/"><script>'), "nor a plain https link"),
        (lambda s: s.update(cite="\x1b[2J"), "letters that cannot be seen"),
        (lambda s: s.update(more=1), "unknown more"),
        (lambda s: s.update(format_version=2), "this one reads 1): upgrade"),
        (lambda s: s["files"].update({"../../x": "0" * 64}), "is no file of a run"),
        (lambda s: s["files"].update({"pqn/Pong/4M/seed-0/\x1b[2J\nsound": "0" * 64}), "is no file of a run"),
    ],
)
def test_an_unfit_submission_json_refuses_the_bundle(mine, file, theirs, change, words, capsys):
    assert export(mine, file) == 0

    def rewritten(members):
        submission = json.loads(members[SUBMISSION_FILE])
        change(submission)
        members[SUBMISSION_FILE] = json.dumps(submission).encode()

    rewrite(file, rewritten, with_checksums=False)
    assert take(file, theirs) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert_nothing_landed(theirs)


@pytest.mark.parametrize(
    "name",
    [
        SUBMISSION_FILE,
        "pqn/Breakout/3840/seed-0/manifest.json",
        "../evil",
        "/etc/evil",
        "pqn/Breakout/3840/seed-0/code/../../evil.py",
        "pqn/Breakout/3840/seed-0/code/run.sh",
        "pqn/Breakout/3840/seed-0/code/.hidden.py",
    ],
)
def test_a_member_that_is_there_twice_or_leads_elsewhere_refuses_the_bundle(mine, file, theirs, name, capsys):
    assert export(mine, file) == 0
    with_member(file, name, b"{}")
    assert take(file, theirs) == 2
    assert "nothing was imported" in capsys.readouterr().err
    assert_nothing_landed(theirs)


def test_the_sample_follows_from_the_bundle_and_the_salt(mine, file, theirs, capsys):
    assert export(mine, file) == 0

    def sampled(*more):
        assert take(file, theirs, "--check", "--sample", "1", *more, "--json") == 0
        return [run["environments_replayed"] for run in json.loads(capsys.readouterr().out)["runs"]]

    capsys.readouterr()
    assert sampled() == sampled()
    assert len({str(sampled("--salt", str(salt))) for salt in range(4)}) > 1


def test_another_bundle_has_another_sample(mine, tmp_path, theirs, monkeypatch):
    """Whoever packs a bundle could else leave the same environments unplayed each time, and alter those."""
    seeds = []

    def noted(run, *, sample, **_):
        seeds.append(sample[1])
        return Replayed(run, 1, agreed={"train 0": 1})

    monkeypatch.setattr(submission_checks, "replay", noted)
    for name in ("Ada", "Grace"):
        bundle = tmp_path / f"{name}.tar.gz"
        assert export(mine, bundle, by=f"{name} <https://a.org>") == 0
        assert take(bundle, theirs, "--check", "--sample", "1") == 0
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]


def test_so_many_environments_are_drawn_as_hold_the_games_that_are_wanted(played):
    log, table = read_log(played[0]), read_episodes(played[0].directory)

    def held(count):
        chosen = choose(played[0], log.kept, count=count, seed=5)
        return sum(environment in chosen for environment in zip(table["kind"], table["environment"], strict=True))

    for games in (1, 2, held(2), held(2) + 1, len(table)):
        count = _environments_for(played[0], games, 5)
        assert held(count) >= games
        assert all(held(fewer) < games for fewer in range(1, count))
    assert _environments_for(played[0], len(table) + 1, 5) == len(log.kept)


def test_without_a_record_that_can_be_read_nothing_is_taken(file, theirs, capsys):
    write_archive(file, [(SUBMISSION_FILE, b"{}")])
    (theirs / "submissions").mkdir(parents=True)
    (theirs / "submissions" / "ada-00000000.json").write_text("[")
    assert take(file, theirs) == 2
    assert "without it nobody can tell whose runs are here" in capsys.readouterr().err


def test_a_plain_archive_is_no_submission(mine, file, theirs, capsys):
    export_archive(mine, file)
    assert take(file, theirs, "--check", "--markdown") == 2
    said = capsys.readouterr()
    assert "## Refused: the whole bundle" in said.out
    assert "is no submission, which --check is for" in said.err
    assert main(["import", str(file), "--results", str(theirs)]) == 0  # the way it always was
    assert read_credits(theirs).records == ()


def test_to_take_some_runs_while_only_checking_is_refused(mine, file, theirs, capsys):
    assert export(mine, file) == 0
    assert take(file, theirs, "--check", "--partly") == 2
    assert "--check takes in nothing, so --partly has nothing to say" in capsys.readouterr().err
    assert_nothing_landed(theirs)


def test_a_landing_that_fails_takes_the_record_back(mine, runs, file, theirs, monkeypatch, capsys):
    def full(*arguments):
        raise ResultsError("the disk is full")

    assert export(mine, file) == 0
    monkeypatch.setattr(archive, "_place", full)
    assert take(file, theirs, "--sample", "1") == 2
    assert "the disk is full" in capsys.readouterr().err
    assert_nothing_landed(theirs)


def test_a_landing_that_fails_leaves_the_record_of_what_landed_before(mine, runs, file, theirs, monkeypatch, capsys):
    assert export(mine, file) == 0
    assert take(file, theirs, "--sample", "1") == 0
    shutil.rmtree(run_directory(theirs, runs[0].spec))  # as if the command had been killed before this one

    def full(*arguments):
        raise ResultsError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(archive, "_place", full)
        assert take(file, theirs, "--sample", "1") == 2
    (left,) = scan(theirs)
    assert read_credits(theirs).of(left).name == "Ada Lovelace"
    assert take(file, theirs, "--sample", "1") == 0
    assert [read_credits(theirs).of(run).name for run in scan(theirs)] == ["Ada Lovelace"] * 2


def test_the_markdown_of_a_hostile_name_is_text(mine, file, theirs, capsys):
    assert export(mine, file, by="*A* [x](y) & @all `z` | q <https://a.org>") == 0
    capsys.readouterr()
    assert take(file, theirs, "--check", "--sample", "1", "--markdown") == 0
    said = capsys.readouterr().out
    assert r"By: \*A\* \[x\]\(y\) &amp; \@all \`z\` \| q, " in said
    assert "## Sound: 2 runs" in said


# Code of one's own ---------------------------------------------------------------------------------------------------

SOURCE = b"raise SystemExit('executed')\n"
CODE = {"mine.py:Encoder": "mine.py"}


def toml_of(name, values):
    """A baseline's file, every value with a source."""
    algorithm, *lines = (
        f"{key} = {json.dumps(value)}"
        if key == "algorithm"
        else f'{key} = {{ value = {json.dumps(value)}, source = "x" }}'
        for key, value in values.items()
    )
    header = f'name = "{name}"\ntitle = "Mine"\npaper = "none"\n{algorithm}\n[sources]\n[values]\n'
    return header + "\n".join(lines) + "\n"


def claim(folder, *, baseline="mine", code=CODE):
    """Makes the run in `folder` one of a baseline with `code`, {reference: file}; every checksum fits."""
    manifest = read_manifest(folder)
    listed = {
        reference: {"file": name, "sha256": sha256_hex((folder / "code" / name).read_bytes())}
        for reference, name in code.items()
    }
    manifest["code"] = listed
    manifest["config"]["code"] = {reference: entry["sha256"] for reference, entry in listed.items()}
    manifest["spec"] |= {"baseline": baseline, "config_hash": config_hash(manifest["config"])}
    write_manifest(folder, manifest)


@pytest.fixture
def own(mine, runs):
    """The folder of a run of a baseline that the suite does not have, with its code; nothing may execute it."""
    folder = runs[0].directory
    (folder / "code").mkdir()
    (folder / "code" / "baseline.toml").write_text(toml_of("mine", runs[0].manifest["config"]["baseline"]))
    (folder / "code" / "mine.py").write_bytes(SOURCE)
    claim(folder)
    place = mine / "mine" / folder.relative_to(mine / "pqn")
    place.parent.mkdir(parents=True)
    return folder.rename(place)


@pytest.fixture
def only_ours_are_pinned(monkeypatch):
    monkeypatch.undo()


def problems_of(folder):
    """Why the run cannot be sent in, as `export` and `import` ask."""
    found = open_run(folder)
    if isinstance(found, BrokenRun):
        return [found.reason]
    broken = first_problems(found)
    return [] if broken is None else broken[1]


def with_file(folder, name, data):
    """Adds a source that the manifest lists."""
    (folder / "code" / name).write_bytes(data)
    claim(folder, code={**CODE, f"{name}:More": name})


def with_many_files(folder):
    for number in range(70):
        (folder / "code" / f"a{number}.py").touch()
    claim(folder, code={**CODE, **{f"a{number}.py:A": f"a{number}.py" for number in range(70)}})


def with_a_link_to_its_own_bytes(folder):
    (folder / "code" / "mine.py").rename(folder / "elsewhere")
    (folder / "code" / "mine.py").symlink_to(folder / "elsewhere")


def with_values(old, new):
    def change(folder):
        file = folder / "code" / "baseline.toml"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))

    return change


@pytest.mark.usefixtures("only_ours_are_pinned")
def test_code_of_ones_own_is_compared_and_not_executed(own):
    assert problems_of(own) == []
    assert [path.name for path in submission_rules.code_files(opened(own))] == ["baseline.toml", "mine.py"]


@pytest.mark.usefixtures("only_ours_are_pinned")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda run: (run / "code/mine.py").write_bytes(b"pass"), "code/mine.py: SHA-256 is"),
        (lambda run: (run / "code/mine.py").unlink(), "code/mine.py: cannot be read"),
        (lambda run: (run / "code/more.py").touch(), "code/more.py: the manifest does not list it"),
        (lambda run: (run / "code/x.so").touch(), "code/x.so: the manifest does not list it"),
        (lambda run: (run / "code/l.py").symlink_to("/etc/passwd"), "code/l.py: the manifest does not list it"),
        (lambda run: (run / "code/deep").mkdir(), "code/deep: the manifest does not list it"),
        (lambda run: claim(run, code={}), "code/mine.py: the manifest does not list it"),
        (
            lambda run: write_manifest(run, {**read_manifest(run), "code": {}}),
            "the manifest's list and its configuration name different code",
        ),
        (lambda run: (run / "code/baseline.toml").unlink(), "code/baseline.toml: cannot be read"),
        (lambda run: (run / "code/baseline.toml").write_text("values = 3"), "code/baseline.toml: lacks name, title"),
        (with_values("0.00025", "0.1"), "code/baseline.toml: is not the configuration that the manifest has"),
        # What only a submission asks: a run of the suite's own making may have it.
        (with_a_link_to_its_own_bytes, "code/mine.py: is no .py or .toml file"),
        (lambda run: with_file(run, "big.py", bytes(2 << 20)), "code/big.py: is no .py or .toml file of at most 1 MB"),
        (
            lambda run: with_file(run, f"{'x' * 150}.py", b""),
            "is no .py or .toml file of at most 1 MB in plain letters",
        ),
        (with_many_files, "at most 64 are taken"),
        (with_values("epochs = { value = 1,", "epochs = { value = 1.0,"), "epochs is 1, its own file 1.0"),
    ],
)
def test_code_that_is_not_what_the_manifest_says_is_refused(own, change, words):
    change(own)
    assert words in problems_of(own)[0]


@pytest.mark.usefixtures("only_ours_are_pinned")
@pytest.mark.parametrize("listed", [3, [], {"a": 1}, {"a": {"file": "../../manifest.json", "sha256": "x"}}])
def test_a_hostile_list_of_code_is_one_line(own, listed):
    manifest = json.loads((own / "manifest.json").read_text())
    (own / "manifest.json").write_text(json.dumps({**manifest, "code": listed}))
    (problem,) = problems_of(own)
    assert "manifest.json: code" in problem
    assert "\n" not in problem


@pytest.mark.usefixtures("only_ours_are_pinned")
def test_a_baseline_of_ones_own_without_its_code_is_refused(own):
    shutil.rmtree(own / "code")
    manifest = read_manifest(own)
    del manifest["code"], manifest["config"]["code"]
    manifest["spec"]["config_hash"] = config_hash(manifest["config"])
    write_manifest(own, manifest)
    assert "mine is no baseline of this suite, and the run keeps no code of it" in problems_of(own)[0]


def test_code_of_ones_own_under_the_name_of_a_pinned_baseline_is_refused(runs):
    folder = runs[0].directory
    (folder / "code").mkdir()
    (folder / "code" / "baseline.toml").write_text(toml_of("pqn", runs[0].manifest["config"]["baseline"]))
    (folder / "code" / "mine.py").write_bytes(SOURCE)
    claim(folder, baseline="pqn")
    assert problems_of(folder) == [
        "pqn is a baseline of this suite, and the run is of other code; give it another name"
    ]


def test_a_file_of_values_beside_a_run_of_the_suites_own_is_refused(runs):
    run = runs[0]
    (run.directory / "code").mkdir()
    (run.directory / "code" / "baseline.toml").write_text(toml_of("pqn", run.manifest["config"]["baseline"]))
    assert problems_of(run.directory) == ["code/: is there, and the manifest does not list it"]
