import os

import pytest

from suite import control_groups
from suite.cores import available_cores


@pytest.mark.parametrize(
    ("own", "files", "cores"),
    [
        pytest.param("0::/\n", {}, 16, id="no limit known"),
        pytest.param("0::/\n", {"cpu.max": "max 100000"}, 16, id="none set"),
        pytest.param("0::/\n", {"cpu.max": "400000 100000"}, 4, id="docker --cpus 4"),
        pytest.param("0::/\n", {"cpu.max": "350000 100000"}, 3, id="a part of a core is none"),
        pytest.param("0::/\n", {"cpu.max": "50000 100000"}, 1, id="half a core is still one"),
        pytest.param("0::/\n", {"cpu.max": "6400000 100000"}, 16, id="more than there are"),
        pytest.param("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2, id="the group above"),
        pytest.param(
            "3:cpu,cpuacct:/pod\n",
            {"cpu/pod/cpu.cfs_quota_us": "800000", "cpu/pod/cpu.cfs_period_us": "100000"},
            8,
            id="version 1",
        ),
        pytest.param(
            "3:cpu,cpuacct:/pod\n",
            {"cpu/pod/cpu.cfs_quota_us": "-1", "cpu/pod/cpu.cfs_period_us": "100000"},
            16,
            id="version 1, none set",
        ),
    ],
)
def test_a_container_has_the_cores_that_its_limit_of_time_is_worth(tmp_path, monkeypatch, own, files, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.setattr(control_groups, "ROOT", tmp_path)
    monkeypatch.setattr(control_groups, "OWN", tmp_path / "own")
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert available_cores() == cores
