"""What is done with checkpoints where a file, a GPU or the memory fails: each is told for what it is."""

import pytest
import torch

from results.errors import ResultsError
from suite import run_manifest
from suite.checkpoint import checkpoint_files, keep_only_the_newest, load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
GPU_IS_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
GPU_IS_BUSY = RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable")
MACHINE_IS_FULL = [
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
]


def save(directory, *steps):
    """A checkpoint after each of so many steps; the files, the newest first."""
    for count in steps:
        save_checkpoint(directory, {"vector_steps": count, "agent": {"weight": torch.full((3,), float(count))}})
    return checkpoint_files(directory)


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 2
    path.write_bytes(data)


@pytest.mark.parametrize("error", [GPU_IS_FULL, GPU_IS_BUSY], ids=["full", "busy"])
def test_a_gpu_that_can_not_take_a_checkpoint_is_no_damage_to_it(tmp_path, monkeypatch, error):
    """Else the user is told to delete a good run, or it silently goes on from an older checkpoint."""
    before = save(tmp_path, 1, 2)
    load = torch.load

    def on_the_cpu_alone(file, *, map_location, **more):
        if torch.device(map_location).type != "cpu":
            raise error
        return load(file, map_location=map_location, **more)

    monkeypatch.setattr(torch, "load", on_the_cpu_alone)
    with pytest.raises(type(error)) as raised:
        load_checkpoint(tmp_path, torch.device("cuda"))
    assert raised.value is error
    found = load_checkpoint(tmp_path, CPU)
    assert (found.state["vector_steps"], found.damaged) == (2, ())
    assert checkpoint_files(tmp_path) == before


@pytest.mark.parametrize("error", [*MACHINE_IS_FULL, GPU_IS_FULL], ids=["python", "torch", "gpu"])
def test_too_little_memory_to_read_a_checkpoint_is_no_damage_to_it(tmp_path, monkeypatch, error):
    save(tmp_path, 1, 2)

    def full(*_arguments, **_more):
        raise error

    monkeypatch.setattr(torch, "load", full)
    with pytest.raises(type(error)) as raised:
        load_checkpoint(tmp_path, CPU)
    assert raised.value is error


def test_a_checkpoint_is_loaded_where_it_is_asked_for(tmp_path):
    """An agent of a user's own may take tensors as they come."""
    save(tmp_path, 1)
    state = load_checkpoint(tmp_path, torch.device("meta")).state
    assert state["agent"]["weight"].device.type == "meta"


def test_a_file_that_is_no_checkpoint_is_damage(tmp_path):
    """Of the old name, which says no SHA-256."""
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ResultsError, match=r"cannot read .* to start this run anew"):
        load_checkpoint(tmp_path, CPU)


def test_a_flipped_bit_is_damage_and_the_checkpoint_before_is_taken(tmp_path):
    newest, _ = save(tmp_path, 1, 2)
    flip_a_bit(newest)
    found = load_checkpoint(tmp_path, CPU)
    assert found.state["vector_steps"] == 1
    assert newest.name in found.damaged[0]


# Which ones stay --------------------------------------------------------------------------------------------------


def test_room_on_a_full_disk_is_made_by_the_damaged_checkpoint_and_not_by_the_sound_one(tmp_path, monkeypatch):
    newest, older = save(tmp_path, 1, 2)
    flip_a_bit(newest)
    written = []

    def write(_directory, values):
        if newest.exists() and older.exists():
            raise OSError(28, "No space left on device")
        written.append(values["status"])

    monkeypatch.setattr(run_manifest, "write_manifest", write)
    run_manifest.write_failure(tmp_path, {}, RuntimeError("the run goes on from the older one, and fails"))
    assert written == ["failed"]
    assert checkpoint_files(tmp_path) == [older]
    assert load_checkpoint(tmp_path, CPU).state["vector_steps"] == 1


def test_of_sound_checkpoints_only_the_newest_is_kept(tmp_path):
    newest, _ = save(tmp_path, 1, 2)
    keep_only_the_newest(tmp_path)
    assert checkpoint_files(tmp_path) == [newest]


def test_where_no_checkpoint_is_sound_none_is_removed(tmp_path):
    files = save(tmp_path, 1, 2)
    for path in files:
        flip_a_bit(path)
    keep_only_the_newest(tmp_path)
    assert checkpoint_files(tmp_path) == files


def test_damaged_checkpoints_of_later_steps_push_no_sound_one_out(tmp_path):
    """The run went on from the third; the first save after that stands behind the damaged ones by its name."""
    sound = save(tmp_path, 1)
    later = [tmp_path / f"checkpoint-{steps:012}-{'0' * 64}.pt" for steps in (8, 9)]
    for path in later:
        path.write_bytes(b"damaged")
    files = save(tmp_path, 5)
    assert len(files) == 2
    assert files[1] == sound[0]
    found = load_checkpoint(tmp_path, CPU)
    assert (found.state["vector_steps"], found.damaged) == (5, ())
