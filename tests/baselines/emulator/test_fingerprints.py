import csv

import pytest

from baselines.emulator.fingerprints import fingerprints
from suite.protocol import load_protocol


@pytest.fixture(scope="module")
def environment():
    return load_protocol("paper").environment


@pytest.fixture(scope="module")
def official(request):
    path = request.config.rootpath / "tests" / "parity" / "environment_fingerprints.csv"
    return {row["envpool_id"]: row for row in csv.DictReader(path.read_text().splitlines())}


# Lost lives and resets (Breakout), no lives at all (Pong), 18 actions (Alien).
@pytest.mark.parametrize("envpool_id", ["Breakout-v5", "Pong-v5", "Alien-v5"])
def test_a_hundred_steps_give_the_official_emulators_bytes(environment, official, envpool_id):
    (found,) = fingerprints(envpool_id, environment)
    row = official[envpool_id]
    assert (found.agent_steps, found.actions) == (100, int(row["actions"]))
    assert found.frames_sha256 == row["frames_sha256_100"]
    assert found.signals_sha256 == row["signals_sha256_100"]


@pytest.mark.slow
def test_twelve_hundred_steps_of_every_game_give_the_official_emulators_bytes(environment, official):
    for envpool_id, row in official.items():
        for found in fingerprints(envpool_id, environment, after=(100, 1200)):
            expected = row[f"frames_sha256_{found.agent_steps}"], row[f"signals_sha256_{found.agent_steps}"]
            assert (found.frames_sha256, found.signals_sha256) == expected, (envpool_id, found.agent_steps)


@pytest.fixture(scope="module")
def sticky():
    return load_protocol("dopamine").environment


@pytest.fixture(scope="module")
def ours(request):
    """What the suite's own envpool 1.2.5 gave under the second protocol, on another day."""
    path = request.config.rootpath / "results" / "reference" / "environment_fingerprints_dopamine.csv"
    return {row["envpool_id"]: row for row in csv.DictReader(path.read_text().splitlines())}


@pytest.mark.parametrize("envpool_id", ["Breakout-v5", "Pong-v5", "Alien-v5"])
def test_a_hundred_steps_among_sticky_actions_give_the_same_bytes_again(sticky, ours, official, envpool_id):
    (found,) = fingerprints(envpool_id, sticky, threads=1)
    row = ours[envpool_id]
    assert (found.agent_steps, found.actions) == (100, int(row["actions"]))
    assert (found.frames_sha256, found.signals_sha256) == (row["frames_sha256_100"], row["signals_sha256_100"])
    assert found.actions == int(official[envpool_id]["actions"])  # the same set of actions
    assert found.frames_sha256 != official[envpool_id]["frames_sha256_100"]


@pytest.mark.slow
def test_twelve_hundred_steps_of_every_game_among_sticky_actions_give_the_same_bytes_again(sticky, ours):
    for envpool_id, row in ours.items():
        for found in fingerprints(envpool_id, sticky, after=(100, 1200)):
            expected = row[f"frames_sha256_{found.agent_steps}"], row[f"signals_sha256_{found.agent_steps}"]
            assert (found.frames_sha256, found.signals_sha256) == expected, (envpool_id, found.agent_steps)


def test_the_number_of_threads_changes_nothing(environment):
    one, three = (fingerprints("Freeway-v5", environment, after=(40,), threads=threads) for threads in (1, 3))
    assert one == three
