"""The night's own arithmetic, on made-up figures: nothing is trained here."""

from __future__ import annotations

import json
import math
from pathlib import Path

import bands as held
import faults as planting
import night
import page
import pytest
import speed
from bands import Band, Finding
from figures import Entry, NightError, by_part, read_plan
from training import Job, train

from baselines.registry import load_pinned
from suite.protocol import load_protocol, run_spec

PLAN = read_plan()
ENTRY = Entry("pqn", "UpNDown", 4000, 4, 10.0, learned={"score": {"above": 500.0}, "loss@4of4": {"below": 10.0}})
RUNNER = "a processor, 4 cores, torch 2.13.0"


def made_of(figures: dict[str, list[float]], entry: Entry = ENTRY) -> dict:
    """Bands as the committed file has them."""
    values = {"game": entry.game, "frames": entry.frames, "parts": entry.parts, "figures": figures}
    return {"baselines": {entry.baseline: values}}


# Figures -----------------------------------------------------------------------------------------------------------


def test_a_figure_is_averaged_over_the_part_of_the_budget_in_which_its_rows_lie():
    rows = [(500, 1.0), (1000, 3.0), (1001, 5.0), (4000, 7.0)]
    assert by_part("loss", rows, ENTRY, reached=4000) == {"loss@1of4": 2.0, "loss@2of4": 5.0, "loss@4of4": 7.0}


def test_a_part_that_a_stopped_run_did_not_finish_has_no_figure():
    assert by_part("loss", [(1000, 1.0), (1500, 9.0)], ENTRY, reached=1500) == {"loss@1of4": 1.0}


def test_a_budget_that_is_not_whole_parts_is_refused():
    with pytest.raises(NightError, match="pqn: 1001 frames are not 4 equal parts"):
        Entry("pqn", "UpNDown", 1001, 4, 10.0)


def test_a_plan_that_judges_a_seed_of_the_bands_is_refused(tmp_path: Path):
    plan = tmp_path / "plan.toml"
    plan.write_text("band_seeds = [0, 1, 2]\nnight_seed = 2\n[baselines]\n", encoding="utf-8")
    with pytest.raises(NightError, match="night_seed that is none of them"):
        read_plan(plan)


# Bands -------------------------------------------------------------------------------------------------------------


def test_a_band_is_the_seeds_range_widened_by_one_and_a_half_ranges_and_a_quarter_of_the_size():
    found = held.band("repeats@1of4", [2.0, 3.0, 4.0])
    assert (found.low, found.high) == (0.0, 8.0)  # 2 - 3 - 1 is below 0, which no share is
    assert held.band("loss@1of4", [2.0, 3.0, 4.0]).high == 12.0  # losses vary by factors
    assert held.band("value@1of4", [2.0, 3.0, 4.0]).low == -2.0


def test_a_figure_that_follows_from_the_configuration_has_no_room():
    discount = held.band("largest_discount@1of4", [0.99**3] * 3)
    assert discount.holds(0.99**3)
    assert not discount.holds(0.99**4)
    assert not held.band("past_end@1of4", [0.0, 0.0, 0.0]).holds(1e-3)


def test_seeds_that_agree_by_chance_leave_room():
    assert held.band("dead_fraction/conv1@4of4", [0.0, 0.0, 0.0]).holds(1 / 32)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_lies_outside(value: float):
    bands = held.bands_of(ENTRY, made_of({"loss@1of4": [1.0, 2.0, 3.0], "score": [900.0, 800.0, 850.0]}))
    findings = held.outside(ENTRY, bands, {"loss@1of4": value, "score": 900.0, "loss@4of4": 1.0})
    assert [finding.figure for finding in findings] == ["loss@1of4"]


def test_a_score_within_its_band_still_fails_below_what_only_a_learner_reaches():
    bands = held.bands_of(ENTRY, made_of({"score": [510.0, 800.0, 850.0]}))
    assert [finding.figure for finding in held.outside(ENTRY, bands, {"score": 480.0, "loss@4of4": 1.0})] == [
        "score (learned)"
    ]


def test_a_figure_that_a_whole_run_lacks_fails_and_one_that_a_stopped_run_did_not_reach_does_not():
    bands = held.bands_of(ENTRY, made_of({"loss@1of4": [1.0, 2.0, 3.0], "loss@4of4": [1.0, 2.0, 3.0]}))
    figures = {"loss@1of4": 2.0, "score": 900.0}
    assert [str(finding) for finding in held.outside(ENTRY, bands, figures)] == [
        "pqn: loss@4of4 is missing; its band is 0 to 9",
        "pqn: loss@4of4 (learned) is missing; its band is at most 10",
    ]
    assert held.outside(ENTRY, bands, figures, early=True) == []


def test_a_finding_says_which_figure_left_its_band_and_by_how_much():
    finding = Finding("pqn", "loss@4of4", 0.5, Band(0.1, 0.2))
    assert str(finding) == "pqn: loss@4of4 is 0.5, above its band (0.1 to 0.2) by 0.3"
    finding = Finding("pqn", "score (learned)", 50.0, Band(500.0, math.inf))
    assert str(finding) == "pqn: score (learned) is 50, below its band (at least 500) by 450"
    finding = Finding("c51", "loss@4of4 (learned)", 4.0, Band(-math.inf, 3.5))
    assert str(finding) == "c51: loss@4of4 (learned) is 4, above its band (at most 3.5) by 0.5"


def test_the_farthest_figure_by_its_bands_width_comes_first():
    bands = {"a": Band(0.0, 1.0), "b": Band(0.0, 100.0)}
    assert [finding.figure for finding in held.outside(ENTRY, bands, {"a": 3.0, "b": 150.0})] == ["a", "b"]


def test_leaving_a_seed_out_judges_it_by_the_others():
    seeds = [{"loss": 1.0}, {"loss": 1.1}, {"loss": 9.0}]
    assert [len(findings) for findings in held.left_out(ENTRY, seeds)] == [0, 0, 1]


def test_bands_of_another_plan_are_refused_with_the_command_that_makes_them_anew():
    longer = Entry("pqn", "UpNDown", 8000, 4, 10.0)
    with pytest.raises(NightError, match=r"made on another plan; make them anew with: python .* bands --baselines pqn"):
        held.bands_of(longer, made_of({"loss": [1.0]}))


def test_the_committed_bands_fit_the_plan_and_hold_their_own_seeds():
    made = held.read_bands()
    assert made["rule"] == held.RULE
    for entry in PLAN.entries.values():
        bands, ours = held.bands_of(entry, made), made["baselines"][entry.baseline]
        assert ours["seeds"] == list(PLAN.band_seeds)
        for i in range(len(ours["seeds"])):
            figures = {figure: values[i] for figure, values in ours["figures"].items()}
            assert held.outside(entry, bands, figures) == []


@pytest.mark.parametrize("entry", PLAN.entries.values(), ids=lambda entry: entry.baseline)
def test_the_committed_bands_are_of_the_values_that_are_pinned_now(entry: Entry):
    """Else a night is held against what another configuration did."""
    pinned, protocol = load_pinned(entry.baseline), load_protocol("paper")
    spec = run_spec(pinned, protocol, game=entry.game, frames=entry.frames, seed=PLAN.night_seed)
    assert held.read_bands()["baselines"][entry.baseline]["config_hash"] == spec.config_hash


# Faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", planting.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_still_finds_the_text_that_it_replaces_and_leaves_code_behind(fault: planting.Fault):
    assert fault.baseline in PLAN.entries
    assert 1 <= fault.parts <= PLAN.entries[fault.baseline].parts
    compile(planting.patched(fault), fault.file, "exec")


def test_a_fault_whose_text_is_gone_is_an_error(tmp_path: Path):
    fault = planting.FAULTS[0]
    (tmp_path / fault.file).parent.mkdir(parents=True)
    (tmp_path / fault.file).write_text("targets = None\n", encoding="utf-8")
    with pytest.raises(NightError, match=f"fault {fault.name}: .* stands 0 times"):
        planting.plant(fault, tmp_path / "copy", root=tmp_path)


def test_a_planted_copy_differs_in_one_file_and_the_checkout_in_none(tmp_path: Path):
    fault = planting.FAULTS[0]
    before = (planting.ROOT / fault.file).read_bytes()
    planting.plant(fault, tmp_path)
    differing = [
        path.relative_to(tmp_path).as_posix()
        for path in tmp_path.rglob("*.py")
        if path.read_bytes() != (planting.ROOT / path.relative_to(tmp_path)).read_bytes()
    ]
    assert differing == [fault.file]
    assert (planting.ROOT / fault.file).read_bytes() == before
    assert not (tmp_path / "results/runs").exists()


# Speed -------------------------------------------------------------------------------------------------------------


def nights_with(ratios: list[float], runner: str = RUNNER) -> list[dict]:
    return [{"runner": runner, "speed": {"pqn": ratio}} for ratio in ratios]


def test_a_ratio_that_fell_by_half_fails_and_one_within_the_nights_spread_does_not():
    steady = nights_with([0.10, 0.11, 0.10, 0.09, 0.10])
    findings, _ = speed.slower({"pqn": 0.05}, RUNNER, steady)
    assert str(findings[0]) == (
        "pqn: speed is 0.05 of the emulator's, below 0.075 (the last 5 nights on such a runner had 0.1 in the median)"
    )
    assert speed.slower({"pqn": 0.08}, RUNNER, steady) == ([], [])


def test_nights_on_another_class_of_runner_do_not_count():
    others = nights_with([0.10] * 9, runner="another processor, 4 cores, torch 2.13.0")
    assert speed.slower({"pqn": 0.01}, RUNNER, others + nights_with([0.1] * 4)) == ([], ["pqn"])


# Training ----------------------------------------------------------------------------------------------------------


def test_a_run_that_fails_is_named_with_the_last_line_of_its_log(tmp_path: Path):
    empty = tmp_path / "source"
    empty.mkdir()  # no suite in it: what is imported comes from elsewhere, which one_run.py refuses
    told: list[str] = []
    job = Job(ENTRY, 0, tmp_path / "runs", source=empty)
    with pytest.raises(NightError, match=r"1 of 1 runs failed: pqn, UpNDown, seed 0, 4,000 frames \(.+; all of it: "):
        train([job], at_once=1, tell=told.append)
    assert told[0].startswith("1 to train, 1 at once: about ")
    assert "failed with exit code" in told[1]


# Nights and their page ---------------------------------------------------------------------------------------------


def night_of(at: str, loss: float, *, commit: str = "a" * 40, slower: tuple[str, ...] = ()) -> dict:
    bands = held.bands_of(ENTRY, made_of({"loss@4of4": [1.0, 1.2, 1.4], "score": [800.0, 850.0, 900.0]}))
    figures = {"loss@4of4": loss, "score": 840.0}
    findings = held.outside(ENTRY, bands, figures)
    return {
        "at": at,
        "revision": {"commit": commit, "clean": True},
        "runner": RUNNER,
        "versions": {"torch": "2.13.0"},
        "passed": not findings and not slower,
        "baselines": {
            "pqn": {
                "game": ENTRY.game,
                "frames": ENTRY.frames,
                "seed": 100,
                "figures": figures,
                "bands": {name: band.ends for name, band in bands.items()},
                "findings": [{"figure": finding.figure, "line": str(finding)} for finding in findings],
            }
        },
        "speed": {"pqn": 0.1},
        "slower": list(slower),
        "faults": None,
    }


def write_nights(folder: Path, *nights: dict) -> None:
    folder.mkdir(exist_ok=True)
    for number, values in enumerate(nights):
        (folder / f"2026-01-{number + 1:02}T020000.json").write_text(json.dumps(values), encoding="utf-8")


def test_the_page_of_a_failed_night_names_the_figure_and_the_command_that_shows_it(tmp_path: Path):
    write_nights(tmp_path, night_of("2026-01-01", 1.1), night_of("2026-01-02", 5.0, commit="b" * 40))
    text = page.build(tmp_path).read_text(encoding="utf-8")
    assert "Last night failed" in text
    assert "pqn: loss@4of4 is 5, above its band (0 to 4.2) by 0.8" in text
    assert "night.py run --baselines pqn --seed 100 &amp;&amp; python tests/nightly/night.py check" in text
    assert "code: bbbbbbbbbbbb" in text
    assert text.count('class="out"') == 1  # the one dot outside
    assert "http" not in text.replace("http://www.w3.org", "")  # opens offline


def test_the_page_has_a_plot_for_every_figure_and_the_speed(tmp_path: Path):
    write_nights(tmp_path, *(night_of(f"2026-01-{day:02}", 1.1) for day in range(1, 4)))
    text = page.build(tmp_path).read_text(encoding="utf-8")
    assert "Last night passed" in text
    assert text.count("<svg") == 3


def test_only_the_last_90_nights_are_read(tmp_path: Path):
    tmp_path.joinpath("old").mkdir()
    for number in range(95):
        values = night_of(f"night {number}", 1.1)
        (tmp_path / "old" / f"{number:04}.json").write_text(json.dumps(values), encoding="utf-8")
    nights = page.read_nights(tmp_path / "old")
    assert (len(nights), nights[0]["at"], nights[-1]["at"]) == (90, "night 5", "night 94")


def test_a_file_that_is_no_night_is_named(tmp_path: Path):
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    with pytest.raises(NightError, match=r"x\.json is no night"):
        page.read_nights(tmp_path)


@pytest.fixture
def made_up_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A plan, bands and trained runs of two baselines, of which only C51 left a run; the arguments that name them."""
    entries = {"pqn": ENTRY, "c51": Entry("c51", "UpNDown", 4000, 4, 10.0)}
    plan = "band_seeds = [0, 1, 2]\nnight_seed = 100\n" + "".join(
        f'[baselines.{name}]\ngame = "UpNDown"\nframes = 4000\nparts = 4\nseconds = 10.0\n' for name in entries
    )
    (tmp_path / "plan.toml").write_text(plan, encoding="utf-8")
    made = {"baselines": {}}
    for entry in entries.values():
        made["baselines"] |= made_of({"loss@1of4": [1.0, 1.2, 1.4]}, entry)["baselines"]
    (tmp_path / "bands.json").write_text(json.dumps(made), encoding="utf-8")

    def figures(directory: Path, entry: Entry) -> dict[str, float]:
        if entry.baseline == "pqn":
            raise NightError(f"{directory}: no run to read")
        return {"loss@1of4": 1.3}

    manifest = {
        "hardware": {"cpu": "a processor", "cores": 4},
        "versions": {"torch": "2.13.0"},
        "revision": {"commit": "a" * 40, "clean": True},
    }
    monkeypatch.setattr(night, "figures_of", figures)
    monkeypatch.setattr(night, "read_manifest", lambda directory: manifest)
    return [
        f"--{name}={tmp_path / file}" for name, file in (("plan", "plan.toml"), ("bands", "bands.json"), ("out", "n"))
    ]


def test_a_night_within_its_bands_passes_and_is_kept(made_up_night: list[str], tmp_path: Path):
    assert night.main(["check", "--baselines", "c51", f"--nights={tmp_path / 'nights'}", *made_up_night]) == 0
    (kept,) = page.read_nights(tmp_path / "nights")
    assert kept["passed"]
    assert (kept["runner"], kept["baselines"]["c51"]["figures"]) == (RUNNER, {"loss@1of4": 1.3})


def test_a_baseline_whose_training_failed_fails_the_night_and_the_others_are_judged(
    made_up_night: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert night.main(["check", f"--nights={tmp_path / 'nights'}", *made_up_night]) == 1
    (kept,) = page.read_nights(tmp_path / "nights")
    assert [finding["figure"] for finding in kept["baselines"]["pqn"]["findings"]] == ["run"]
    assert "ok      c51: 1 figures within their bands" in capsys.readouterr().out
    assert "no run to read" in page.build(tmp_path / "nights").read_text(encoding="utf-8")


def test_a_slow_baseline_fails_the_night(made_up_night: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    nights = tmp_path / "nights"
    write_nights(nights, *(night_of(f"2026-01-{day:02}", 1.1) | {"speed": {"c51": 0.1}} for day in range(1, 7)))
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "speed.json").write_text('{"c51": 0.05}', encoding="utf-8")
    assert night.main(["check", "--baselines", "c51", f"--nights={nights}", *made_up_night]) == 1
    assert "FAILED  c51: speed is 0.05 of the emulator's" in capsys.readouterr().out


@pytest.mark.slow
def test_a_tiny_night_from_its_bands_to_its_page_catches_a_planted_fault(tmp_path: Path):
    plan = 'band_seeds = [0, 1, 2]\nnight_seed = 100\n[baselines.c51]\ngame = "UpNDown"\nframes = 2048\n'
    (tmp_path / "plan.toml").write_text(f"{plan}parts = 2\nseconds = 10\n", encoding="utf-8")
    at = [f"--plan={tmp_path / 'plan.toml'}", f"--bands={tmp_path / 'bands.json'}", f"--out={tmp_path / 'nightly'}"]
    assert night.main(["bands", "--jobs=2", *at]) == 0
    assert night.main(["run", *at]) == 0
    nights = f"--nights={tmp_path / 'nights'}"
    assert night.main(["check", nights, *at]) == 0
    assert night.main(["page", nights, *at]) == 0
    assert night.main(["faults", "--only=seeds-shared", *at]) == 0
    (found,) = json.loads((tmp_path / "nightly/faults.json").read_text(encoding="utf-8")).values()
    assert any("distinct_starts is 0.0625, below its band" in line for line in found["lines"])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "--baselines", "dqn"], "no night is planned for 'dqn'"),
        (["faults", "--only", "none"], "unknown fault 'none'"),
        (["page", "--nights", "nowhere"], "nowhere has no night yet"),
        (["check", "--out", "nowhere"], "no run to read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]):
    assert night.main(arguments) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
