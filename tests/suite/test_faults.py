"""Tiny runs struck at their file operations: killed, out of disk, damaged. Counts are printed (`-rP` shows them).

The short form strikes at some of the operations, spread over a run's life; `-m slow` at every one.
"""

import shutil
from collections import Counter

import numpy as np
import pytest
from fault_children import TINY, Children, spec_of
from file_faults import TAKEN

from baselines.families import BASELINES, PINNED_NAMES
from results.manifest import read_manifest
from results.schema import ACTIONS_FILE, EPISODES_FILE, MANIFEST_FILE, METRICS_FILE
from results.store import Run, open_run, run_directory
from results.verify import verify_run

TABLES = (EPISODES_FILE, METRICS_FILE, ACTIONS_FILE)
SHORT = 3  # strikes of a kind in the short form


@pytest.fixture(scope="module")
def children():
    with Children() as server:
        yield server


@pytest.fixture(scope="module")
def whole(children, tmp_path_factory):
    """By baseline: the tables of a run that never stopped, and its file operations."""
    made = {}

    def of(baseline):
        if baseline not in made:
            results = tmp_path_factory.mktemp("whole") / "runs"
            code, said = children.live(results, baseline=baseline)
            assert (code, said["outcome"]) == (0, "done"), said
            made[baseline] = tables(results, baseline), said["operations"]
        return made[baseline]

    return of


def tables(results, baseline):
    directory = run_directory(results, spec_of(baseline))
    return {name: (directory / name).read_bytes() for name in TABLES}


def leftovers(results):
    return [path.name for path in results.rglob("*") if ".tmp-" in path.name]


def spread(count, most):
    """Up to `most` of the numbers below `count`, the first and the last among them."""
    return sorted({round(float(at)) for at in np.linspace(0, count - 1, min(most, count))})


def ends_as_if_never_struck(children, results, baseline, expected):
    """Runs it once more, to its end, and compares everything that is kept of it."""
    code, said = children.live(results, baseline=baseline)
    assert (code, said["error"]) == (0, None)
    assert said["outcome"] in ("done", "skipped")
    assert tables(results, baseline) == expected
    run = open_run(run_directory(results, spec_of(baseline)))
    assert isinstance(run, Run)
    assert verify_run(run) == []
    assert leftovers(results) == []


def strike(children, whole, folder, baseline, *, kind, strikes):
    expected, operations = whole(baseline)
    numbers = [at for at, name in enumerate(operations) if kind != "full" or name.split()[0] in ("open", "write")]
    chosen = [numbers[i] for i in spread(len(numbers), strikes)]
    for at in chosen:
        results = folder / f"{kind}-{at}"
        code, said = children.live(results, baseline=baseline, kind=kind, at=at)
        if kind == "full":
            refuses_with_its_cause(results, baseline, code, said, operations[at])
        else:
            assert code == -9, f"{kind} {operations[at]}"
        ends_as_if_never_struck(children, results, baseline, expected)
    print(f"{baseline}: {kind}: {len(chosen)} of {len(numbers)} operations")


def refuses_with_its_cause(results, baseline, code, said, operation):
    """A full disk ends a run with its reason; the manifest has it too, if a manifest can be written at all."""
    assert code == 0
    assert "No space left on device" in said["error"], operation
    directory = run_directory(results, spec_of(baseline))
    if (directory / MANIFEST_FILE).exists():
        manifest = read_manifest(directory)
        if said["made_room"]:
            assert manifest["status"] == "failed", operation
            assert "No space left on device" in manifest["error"]["message"]


def lose(children, whole, folder, baseline, *, kind, strikes):
    """Takes a run's folder away from under it; it says so, writes nothing more, and can be made again."""
    expected, operations = whole(baseline)
    began = next(at for at, name in enumerate(operations) if name == "open actions.bin")
    numbers = range(began, len(operations) - 1)  # the last is to take away the signature itself
    chosen = [numbers[i] for i in spread(len(numbers), strikes)]
    ended_before = 0
    for at in chosen:
        results = folder / f"{kind}-{at}"
        code, said = children.live(results, baseline=baseline, kind=kind, at=at)
        assert code == 0
        directory = run_directory(results, spec_of(baseline))
        if said["error"] is None:  # its last check was behind it
            assert "actions.bin" not in " ".join(operations[at:-2]), operations[at]
            ended_before += 1
        elif kind == "gone":
            assert said["error"] == f"LockLost: {directory} was removed while this run was written to it"
            assert not directory.exists()
        else:
            assert "another process (pid 7 on elsewhere) has taken over" in said["error"]
        if kind == "taken":
            assert (directory / ".holder.lock").read_bytes() == TAKEN
        ends_as_if_never_struck(children, results, baseline, expected)
    assert ended_before < len(chosen)
    print(f"{baseline}: {kind}: {len(chosen)} of {len(numbers)} operations")


@pytest.mark.parametrize("kind", ["gone", "taken"])
def test_a_run_whose_folder_is_taken_away_says_so_and_writes_nothing_more(children, whole, tmp_path, kind):
    lose(children, whole, tmp_path, "pqn", kind=kind, strikes=SHORT)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["gone", "taken"])
@pytest.mark.parametrize("baseline", TINY)
def test_a_folder_taken_away_at_every_file_operation_is_noticed(children, whole, tmp_path, baseline, kind):
    lose(children, whole, tmp_path, baseline, kind=kind, strikes=10**6)


@pytest.mark.parametrize("kind", ["before", "after", "full"])
def test_a_run_struck_at_a_file_operation_ends_as_one_never_struck(children, whole, tmp_path, kind):
    strike(children, whole, tmp_path, "pqn", kind=kind, strikes=SHORT)


def damage(children, whole, folder, baseline, *, places):
    """Flips or cuts the files of a run that was killed; it then ends as it should, or is refused in one line."""
    expected, operations = whole(baseline)
    stopped = folder / "stopped"
    code, _ = children.live(stopped, baseline=baseline, kind="before", at=len(operations) * 2 // 3)
    assert code == -9
    counts = Counter()
    for path in sorted(run_directory(stopped, spec_of(baseline)).iterdir()):
        sound = path.read_bytes()
        if not sound:
            continue
        for at in [len(sound) // 2] if places == 1 else spread(len(sound), places):
            for how in ("flip", "cut"):
                results = folder / f"{path.name[:20]}-{how}-{at}"
                shutil.copytree(stopped, results)
                data = sound[:at] if how == "cut" else sound[:at] + bytes([sound[at] ^ 2]) + sound[at + 1 :]
                (run_directory(results, spec_of(baseline)) / path.name).write_bytes(data)
                code, said = children.live(results, baseline=baseline)
                assert code == 0
                if said["error"] is None:
                    assert tables(results, baseline) == expected, (path.name, how, at)
                    counts["gone on, to the same bytes"] += 1
                else:
                    assert said["error"].startswith(("ResultsError: ", "RunRefused: ")), said["error"]
                    assert "\n" not in said["error"]
                    counts["refused"] += 1
                shutil.rmtree(results)
    print(f"{baseline}: damaged: {dict(counts)}")


def test_a_damaged_file_of_an_unfinished_run_is_never_trained_on(children, whole, tmp_path):
    damage(children, whole, tmp_path, "pqn", places=1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("baseline", TINY)
def test_damage_anywhere_in_an_unfinished_run_is_never_trained_on(children, whole, tmp_path, baseline):
    damage(children, whole, tmp_path, baseline, places=12)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ["before", "after", "full"])
@pytest.mark.parametrize("baseline", TINY)
def test_a_run_struck_at_every_file_operation_ends_as_one_never_struck(children, whole, tmp_path, baseline, kind):
    strike(children, whole, tmp_path, baseline, kind=kind, strikes=10**6)


def kill_in_the_middle(children, whole, folder, baseline):
    """SIGKILL where a third and two thirds of the file operations are done, one life after another; then to the end."""
    expected, operations = whole(baseline)
    results = folder / "killed"
    for _ in range(2):
        code, _ = children.live(results, baseline=baseline, kind="after", at=len(operations) // 3)
        assert code == -9
    ends_as_if_never_struck(children, results, baseline, expected)
    reasons = [entry["reason"] for entry in read_manifest(run_directory(results, spec_of(baseline)))["interruptions"]]
    assert reasons == ["killed", "killed"]


@pytest.mark.parametrize("baseline", ["hadamax-pqn-relu-bf16"])
def test_a_variant_killed_twice_ends_as_one_never_struck(children, whole, tmp_path, baseline):
    kill_in_the_middle(children, whole, tmp_path, baseline)


@pytest.mark.slow
@pytest.mark.parametrize("baseline", [name for name in PINNED_NAMES if name not in BASELINES])
def test_every_variant_killed_twice_ends_as_one_never_struck(children, whole, tmp_path, baseline):
    kill_in_the_middle(children, whole, tmp_path, baseline)
