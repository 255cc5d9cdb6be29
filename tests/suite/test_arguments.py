import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from results.errors import ResultsError
from results.games import ATARI5, ATARI10, ATARI57
from results.schema import format_frames, format_seeds
from suite import arguments
from suite.errors import UserError


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("200k", 200_000),
        ("40M", 40_000_000),
        ("2.5M", 2_500_000),
        ("0.5k", 500),
        ("1e6", 1_000_000),
        ("1E6", 1_000_000),
        ("2.5e6", 2_500_000),
        ("1e+6", 1_000_000),
        ("40_000_000", 40_000_000),
        ("16384", 16_384),
        (" 4M ", 4_000_000),
    ],
)
def test_reads_frames_as_users_write_them(text, frames):
    assert arguments.parse_frames(text) == frames


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "0k", "-1", "-40M", "nan", "inf", "1e400", "1e99", "40m", "40K", "40G", "40 M", "M", "k", "0x10"),
        *("1.5", "1.2345k", "1e-3", "1e6k", "4_00", "_400", "40_", "1,000", "forty", "1.", ".5M", "٣M"),
    ],
)
def test_refuses_any_other_frames(text):
    with pytest.raises(UserError, match="--frames"):
        arguments.parse_frames(text)


@given(st.integers(1, arguments.MAX_FRAMES))
def test_reads_back_what_directories_are_named(frames):
    assert arguments.parse_frames(format_frames(frames)) == frames


@given(st.text(max_size=12))
def test_any_text_is_a_positive_budget_or_a_users_error(text):
    try:
        frames = arguments.parse_frames(text)
    except UserError:
        return
    assert 0 < frames <= arguments.MAX_FRAMES


@pytest.mark.parametrize("text", ["pong", "Pong", "PONG", "Pong-v5", "pong-v5"])
def test_knows_a_game_by_any_usual_spelling(text):
    assert arguments.parse_games(text) == ("Pong",)


def test_folds_spellings_of_one_game():
    assert arguments.parse_games("ms_pacman, mspacman,MsPacman,pong") == ("MsPacman", "Pong")


def test_knows_the_sets_of_games():
    assert arguments.parse_games("atari57") == ATARI57
    assert arguments.parse_games("Atari10") == ATARI10
    assert arguments.parse_games("atari5,pong") == (*ATARI5, "Pong")
    assert (len(ATARI57), len(ATARI10), len(ATARI5)) == (57, 10, 5)


def test_offers_the_nearest_games():
    with pytest.raises(ResultsError, match=r"unknown game 'pogn' \(nearest: Pong.*python -m suite list"):
        arguments.parse_games("breakout,pogn")


def test_names_the_sets_for_a_set_that_there_is_not():
    with pytest.raises(UserError, match="unknown set of games 'atari11'; allowed: atari57, atari10, atari5"):
        arguments.parse_games("atari11")


@pytest.mark.parametrize("text", ["", " ", ",", "pong,", ",pong", "pong,,breakout"])
def test_refuses_a_list_with_empty_names(text):
    with pytest.raises(UserError, match="empty name"):
        arguments.parse_games(text)
    with pytest.raises(UserError, match="empty name"):
        arguments.parse_baselines(text.replace("pong", "pqn").replace("breakout", "pqn"))


def test_offers_the_nearest_baseline_and_the_allowed_ones():
    with pytest.raises(UserError, match=r"unknown baseline 'hadamx-pqn' \(nearest: hadamax-pqn\); allowed: pqn, "):
        arguments.parse_baselines("pqn,hadamx-pqn")


def test_keeps_baselines_in_the_order_given():
    assert arguments.parse_baselines("hadamax-pqn,pqn,PQN") == ("hadamax-pqn", "pqn")


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (0, 1, 2)), ("1", (0,)), ("0,4", (0, 4)), ("4,", (4,)), ("4,0,4", (4, 0)), ("2147483647,", (2**31 - 1,))],
)
def test_seeds_are_a_count_or_a_list(text, seeds):
    assert arguments.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["0", "", ",", "a,b", "a", "-1", "1,-1", "1.5", "0,,1", "2147483648,", "1001", "9" * 30, "1e3"]
)
def test_refuses_any_other_seeds(text):
    with pytest.raises(UserError, match="--seeds"):
        arguments.parse_seeds(text)


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2), (4,), (0, 4), (1, 2)])
def test_spelled_seeds_read_back(seeds):
    assert arguments.parse_seeds(format_seeds(seeds)) == seeds


@pytest.mark.parametrize("text", ["0", "-1", "two", "", "1.0", "99999"])
def test_refuses_jobs_that_are_no_positive_number(text):
    with pytest.raises(UserError, match="--jobs"):
        arguments.parse_jobs(text)


@pytest.mark.parametrize("text", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "", "cuda:1000"])
def test_refuses_devices_that_it_does_not_know(text):
    with pytest.raises(UserError, match=r"unknown device .*allowed: auto, cpu, cuda, cuda:N"):
        arguments.parse_device(text)


@pytest.fixture
def gpus(monkeypatch):
    def pretend(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return pretend


def test_without_cuda_auto_is_the_cpu_and_asking_for_cuda_is_refused(gpus):
    gpus(0)
    assert arguments.parse_device("auto") == ("cpu",)
    for text in ("cuda", "cuda:0"):
        with pytest.raises(UserError, match=f"--device {text}: .*use --device cpu"):
            arguments.parse_device(text)


def test_with_cuda_auto_is_every_gpu(gpus):
    gpus(2)
    assert arguments.parse_device("auto") == arguments.parse_device("cuda") == ("cuda:0", "cuda:1")
    assert arguments.parse_device("cuda:1") == ("cuda:1",)
    assert arguments.parse_device("cpu") == ("cpu",)
    with pytest.raises(UserError, match="has 2 CUDA device"):
        arguments.parse_device("cuda:2")


def test_refuses_a_results_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "runs"):
        with pytest.raises(UserError, match="is not a folder"):
            arguments.results_folder(path)
        with pytest.raises(UserError, match=r"^--folder .* is not a folder"):
            arguments.writable_folder(path, "--folder")


def test_a_results_folder_need_not_exist_and_is_made_when_it_is_written(tmp_path):
    assert arguments.results_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()
    arguments.writable_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_to_see_whether_a_folder_can_be_written_takes_no_file_of_the_users(tmp_path):
    (tmp_path / ".probe").write_text("keep me")
    arguments.writable_folder(tmp_path)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["keep me"]


def test_refuses_a_results_folder_that_cannot_be_written(tmp_path, monkeypatch):
    def refuse(*_arguments, **_keywords):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # whatever the reason: tests may run as root
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\)"):
        arguments.writable_folder(tmp_path)


def test_groups_go_with_a_gpu_alone():
    assert arguments.parse_groups("3", ["cuda:0"]) == 3
    for text in ("0", "9", "two"):
        with pytest.raises(UserError, match=r"--groups .* give a whole number from 1 to 8"):
            arguments.parse_groups(text, ["cuda:0"])
    with pytest.raises(UserError, match=r"--groups goes with a GPU: .* leave it out"):
        arguments.parse_groups("2", ["cpu"])
