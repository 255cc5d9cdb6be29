"""What a node sends home, and what is kept of it. The runs are real ones, tiny; no cluster is needed."""

import errno
import json
import pickle
import shutil

import pytest
from tiny_runs import live, spec_of

from results.atomic import write_bytes
from results.errors import ResultsError
from results.lock import RunLock
from results.schema import MANIFEST_FILE
from results.store import open_run, run_directory
from results.verify import verify_run
from suite import keeper as keeper_module
from suite import opening
from suite.courier import Courier
from suite.keeper import GO_ON, KILL, STOP, Held, Keeper, Luggage, Parcel
from suite.run_files import ACTION_LOG_FILE
from suite.run_messages import RunOptions

SPEC = spec_of("pqn", updates=6)
OPTIONS = RunOptions(device="cpu", threads=1, emulator_threads=1)


@pytest.fixture(autouse=True)
def _pins_as_they_were():
    pinned = opening.load_pinned
    yield
    opening.load_pinned = pinned


def train(scratch, *, updates):
    """Trains the run in `scratch` until it has seen so many more updates."""
    seen = []

    def stop():
        seen.append(1)
        return len(seen) >= updates

    return live(SPEC, results=scratch, options=OPTIONS, report=lambda status: None, stop_requested=stop)


def files_of(results):
    paths = run_directory(results, SPEC).iterdir()
    return {path.name: path.read_bytes() for path in paths if path.name[0] != "." and path.is_file()}


def send_all(courier, keeper, attempt=1):
    parcels = []
    while parcel := courier.parcel():
        parcels.append(parcel)
        answer = keeper.keep(SPEC, attempt, parcel)
        assert answer.trouble == ""
        courier.was_kept()
    return parcels


def test_a_run_that_moves_from_node_to_node_ends_at_home_as_it_would_in_one_place(tmp_path):
    assert train(tmp_path / "whole", updates=99) == "done"
    keeper = Keeper(tmp_path / "home")
    sent = []
    for attempt, node in enumerate(("first", "second", "third"), 1):
        courier = Courier(run_directory(tmp_path / node, SPEC), keeper.open(SPEC, attempt, node))
        result = train(tmp_path / node, updates=99 if node == "third" else 2)
        sent += send_all(courier, keeper, attempt)
        shutil.rmtree(tmp_path / node)
    assert result == "done"
    home, whole = files_of(tmp_path / "home"), files_of(tmp_path / "whole")
    names = [{name[:23] for name in files} for files in (home, whole)]  # a checkpoint holds the time that it took
    assert names[0] == names[1]
    for name in ("episodes.parquet", "metrics.parquet", "actions.parquet"):
        assert home[name] == whole[name]
    assert verify_run(open_run(run_directory(tmp_path / "home", SPEC))) == []
    # 6 environments, 8 vector steps an update: of the log each parcel had what was new.
    assert [len(parcel.actions) for parcel in sent] == [96, 96, 0]
    keeper.close(SPEC)


def test_actions_beyond_the_newest_checkpoint_at_home_are_cut_off(tmp_path):
    keeper = Keeper(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "node", SPEC), keeper.open(SPEC, 1, "node"))
    train(tmp_path / "node", updates=2)
    send_all(courier, keeper)
    log = run_directory(tmp_path / "home", SPEC) / ACTION_LOG_FILE
    kept = log.read_bytes()
    log.write_bytes(kept + b"left by a save that was cut short")
    courier = Courier(run_directory(tmp_path / "other", SPEC), keeper.open(SPEC, 2, "other"))
    train(tmp_path / "other", updates=1)
    send_all(courier, keeper, 2)
    assert log.read_bytes() == (run_directory(tmp_path / "other", SPEC) / ACTION_LOG_FILE).read_bytes()
    assert log.read_bytes()[: len(kept)] == kept


def test_words_alone_change_nothing_else_at_home(tmp_path):
    """A run that goes on from the older of its checkpoints must not shorten the log before it has saved again."""
    keeper = Keeper(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "node", SPEC), keeper.open(SPEC, 1, "node"))
    for _ in range(2):
        train(tmp_path / "node", updates=2)
        send_all(courier, keeper)
    before = files_of(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "other", SPEC), keeper.open(SPEC, 2, "other"))
    (run_directory(tmp_path / "other", SPEC) / "run.log").write_text("a library chatters")
    assert len(send_all(courier, keeper, 2)) == 1
    assert files_of(tmp_path / "home") == before | {"run.log": b"a library chatters"}


def test_a_full_disk_at_home_is_named_and_what_was_kept_is_gone_on_from(tmp_path, monkeypatch):
    keeper = Keeper(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "node", SPEC), keeper.open(SPEC, 1, "node"))
    train(tmp_path / "node", updates=2)
    send_all(courier, keeper)
    train(tmp_path / "node", updates=1)
    before = files_of(tmp_path / "home")

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(keeper_module, "write_bytes", full)
        answer = keeper.keep(SPEC, 1, courier.parcel())
    assert "No space left on device" in answer.trouble
    assert "No space left on device" in keeper.news().troubles[0]
    after = files_of(tmp_path / "home")
    assert {name: data for name, data in after.items() if name != ACTION_LOG_FILE} == {
        name: data for name, data in before.items() if name != ACTION_LOG_FILE
    }
    assert after[ACTION_LOG_FILE].startswith(before[ACTION_LOG_FILE])
    send_all(courier, keeper)  # there is room again
    assert files_of(tmp_path / "home")[ACTION_LOG_FILE] == files_of(tmp_path / "node")[ACTION_LOG_FILE]


def test_the_code_of_a_users_own_comes_home_once_and_travels_on(tmp_path):
    keeper = Keeper(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "node", SPEC), keeper.open(SPEC, 1, "node"))
    train(tmp_path / "node", updates=2)
    code = {"baseline.toml": b'name = "mine"\n', "net.py": b"class Net: ...\n"}
    for name, data in code.items():
        place = run_directory(tmp_path / "node", SPEC) / "code" / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
    send_all(courier, keeper)
    Courier(run_directory(tmp_path / "other", SPEC), keeper.open(SPEC, 2, "other"))
    for place in ("home", "other"):
        folder = run_directory(tmp_path / place, SPEC) / "code"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == code
    train(tmp_path / "node", updates=1)
    keeper.open(SPEC, 3, "node")
    assert not any(name.startswith("code/") for name in courier.parcel().files)


def test_a_run_in_the_middle_of_a_save_sends_nothing(tmp_path):
    courier = Courier(run_directory(tmp_path, SPEC), Luggage({}))
    train(tmp_path, updates=2)
    table = run_directory(tmp_path, SPEC) / "episodes.parquet"
    sound = table.read_bytes()
    write_bytes(table, sound + b"of the next save")
    assert courier.parcel() is None
    write_bytes(table, sound)
    assert MANIFEST_FILE in courier.parcel().files


def test_a_parcel_whose_checkpoint_changed_on_the_way_is_refused(tmp_path):
    keeper = Keeper(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "node", SPEC), keeper.open(SPEC, 1, "node"))
    train(tmp_path / "node", updates=2)
    parcel = courier.parcel()
    name = next(name for name in parcel.files if name.startswith("checkpoint"))
    files = {**parcel.files, name: parcel.files[name][:-1] + b"?"}
    spoiled = Parcel(parcel.actions_offset, parcel.actions, files, parcel.present)
    assert "changed on the way" in keeper.keep(SPEC, 1, spoiled).trouble
    assert not list(run_directory(tmp_path / "home", SPEC).glob("checkpoint*"))


@pytest.mark.parametrize(
    "name", ["../episodes.parquet", "run.py", ".lock", "code/../net.py", "code/.net", "code/a/b.py"]
)
def test_a_file_that_no_run_has_is_refused(tmp_path, name):
    keeper = Keeper(tmp_path)
    keeper.open(SPEC, 1, "node")
    assert (
        "is no file of a run"
        in keeper.keep(SPEC, 1, Parcel(0, b"", {name: b"x", MANIFEST_FILE: b"{}"}, frozenset())).trouble
    )


def test_only_the_latest_start_of_a_run_is_listened_to(tmp_path):
    keeper = Keeper(tmp_path)
    keeper.open(SPEC, 1, "lost")
    keeper.open(SPEC, 2, "here")
    assert keeper.tell(SPEC, 1, None) == KILL
    assert keeper.keep(SPEC, 1, Parcel(0, b"old", {}, frozenset({ACTION_LOG_FILE}))).order == KILL
    assert not (run_directory(tmp_path, SPEC) / ACTION_LOG_FILE).exists()
    assert keeper.tell(SPEC, 2, None) == GO_ON
    assert isinstance(keeper.open(SPEC, 1, "lost"), str)


def test_an_order_reaches_one_run_or_all(tmp_path):
    keeper = Keeper(tmp_path)
    other = spec_of("pqn", seed=1)
    for spec in (SPEC, other):
        keeper.open(spec, 1, "node")
    keeper.order(STOP, SPEC)
    assert [keeper.tell(SPEC, 1, None), keeper.tell(other, 1, None)] == [STOP, GO_ON]
    keeper.order(KILL)
    assert keeper.tell(other, 1, None) == KILL


def test_a_run_that_another_process_writes_is_not_opened_and_may_be_waited_for(tmp_path):
    directory = run_directory(tmp_path, SPEC)
    directory.mkdir(parents=True)
    with RunLock(directory):
        refusal = Keeper(tmp_path).open(SPEC, 1, "node")
    assert "another process" in refusal
    assert isinstance(pickle.loads(pickle.dumps(refusal)), Held)  # it travels to the node


@pytest.mark.parametrize("blocked", ["another process", f"home/{SPEC.directory}", f"home/{SPEC.directory}/.lock/x"])
def test_a_run_whose_folder_cannot_be_written_is_not_waited_for(tmp_path, blocked):
    (tmp_path / blocked).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / blocked).touch()
    home = tmp_path / ("another process" if blocked == "another process" else "home")
    refusal = Keeper(home).open(SPEC, 1, "node")
    assert isinstance(refusal, str)
    assert not isinstance(refusal, Held)


def test_a_folder_that_another_machine_took_over_is_not_written_and_its_run_is_ended(tmp_path):
    """On a shared folder that does not carry locks from one machine to the other."""
    keeper = Keeper(tmp_path / "home")
    courier = Courier(run_directory(tmp_path / "node", SPEC), keeper.open(SPEC, 1, "node"))
    train(tmp_path / "node", updates=2)
    send_all(courier, keeper)
    holder = run_directory(tmp_path / "home", SPEC) / ".holder.lock"
    holder.write_text(json.dumps({"pid": 7, "since_boot": 1.0, "host": "elsewhere"}))
    before = files_of(tmp_path / "home")
    train(tmp_path / "node", updates=1)
    answer = keeper.keep(SPEC, 1, courier.parcel())
    assert (answer.order, answer.is_last) == (KILL, True)
    assert "another process (pid 7 on elsewhere) has taken over" in answer.trouble
    words_alone = Parcel(0, b"", {}, frozenset(before), b"a library chatters")
    assert keeper.keep(SPEC, 1, words_alone).order == KILL
    assert files_of(tmp_path / "home") == before
    assert ["has taken over" in line for line in keeper.news().troubles] == [True]
    keeper.close(SPEC)
    assert json.loads(holder.read_text())["host"] == "elsewhere"


def test_a_folder_that_was_removed_ends_its_run(tmp_path):
    keeper = Keeper(tmp_path)
    keeper.open(SPEC, 1, "node")
    shutil.rmtree(run_directory(tmp_path, SPEC))
    answer = keeper.keep(SPEC, 1, Parcel(0, b"", {}, frozenset(), b"a library chatters"))
    assert (answer.order, answer.is_last) == (KILL, True)
    assert "was removed while this run was written" in answer.trouble


def test_a_kept_run_is_locked_until_it_is_closed(tmp_path):
    keeper = Keeper(tmp_path)
    keeper.open(SPEC, 1, "node")
    with pytest.raises(ResultsError, match="another process"):
        RunLock(run_directory(tmp_path, SPEC)).__enter__()
    keeper.close(SPEC)
    with RunLock(run_directory(tmp_path, SPEC)):
        pass


def test_what_came_home_is_counted_by_kind(tmp_path):
    train(tmp_path / "node", updates=3)
    keeper, home = Keeper(tmp_path / "home"), run_directory(tmp_path / "home", SPEC)
    assert keeper.open(SPEC, 1, "n") == Luggage({})
    parcels = send_all(Courier(run_directory(tmp_path / "node", SPEC), Luggage({})), keeper)
    news = keeper.news()
    assert news.parcels == len(parcels)
    size_of = {path.name: path.stat().st_size for path in home.iterdir()}
    assert news.bytes_kept["actions"] == size_of[ACTION_LOG_FILE] > 0
    for kind, pattern in (("checkpoints", "checkpoint-*"), ("tables", "*.parquet")):
        assert news.bytes_kept[kind] == sum(path.stat().st_size for path in home.glob(pattern)) > 0
    assert news.bytes_kept["the rest"] >= size_of[MANIFEST_FILE]
