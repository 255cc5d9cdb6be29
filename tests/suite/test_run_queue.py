"""The order in which runs start on many places."""

import random

import pytest
from fake_runs import spec_of

from suite.run_queue import RunQueue, time_to_end


def starts(queue, places):
    return [queue.pop(places) for _ in range(len(queue))]


def test_runs_start_in_the_order_of_the_plan():
    specs = [spec_of(seed) for seed in (3, 1, 2)]
    assert starts(RunQueue(specs, lambda spec: 1.0), 2) == specs


def test_a_run_as_long_as_all_that_waits_goes_first():
    specs = [spec_of(seed) for seed in range(9)]
    seconds = dict.fromkeys(specs, 1.0) | {specs[8]: 4.0}
    # 12 seconds of work on 2 places: with 8 left, the long one of 4 can wait no longer.
    assert starts(RunQueue(specs, seconds.get), 2) == [*specs[:4], specs[8], *specs[4:8]]


def test_a_run_that_is_put_back_goes_first():
    specs = [spec_of(seed) for seed in range(3)]
    queue = RunQueue(specs, lambda spec: 1.0)
    first = queue.pop(1)
    queue.put_back(first)
    assert starts(queue, 1) == specs


def test_a_run_comes_out_as_often_as_it_went_in():
    generator = random.Random(1)
    specs = [spec_of(seed) for seed in range(50)]
    queue = RunQueue(specs, lambda spec: 1.0 + spec.seed % 7)
    seen = []
    while len(queue):
        spec = queue.pop(4)
        if generator.random() < 0.3:
            queue.put_back(spec)
        else:
            seen.append(spec)
    assert sorted(seen) == specs


@pytest.mark.parametrize("seed", range(3))
def test_1425_runs_on_64_gpus_end_within_5_percent_of_the_bound(seed):
    """57 games, five baselines, five seeds; speeds as far apart as measured ones, spread between machines."""
    generator = random.Random(seed)
    hours = {"pqn": 1.0, "hadamax-pqn": 2.3, "c51": 5.5, "hadamax-c51": 8.0, "rainbow": 7.0}
    specs = [
        spec_of(number, baseline=name, game=f"Game{game}", frames=200_000_000)
        for number in range(5)
        for game in range(57)
        for name in hours
    ]
    assert len(specs) == 1425
    taken = {spec: hours[spec.baseline] * generator.lognormvariate(0, 0.25) for spec in specs}
    bound = max(sum(taken.values()) / 64, max(taken.values()))
    assert time_to_end(specs, taken.__getitem__, 64) <= 1.05 * bound


def test_durations_that_are_only_guessed_still_end_within_5_percent():
    """The queue knows the baseline's mean; each run takes what it takes."""
    import heapq

    generator = random.Random(4)
    hours = {"pqn": 1.0, "hadamax-pqn": 2.3, "c51": 5.5, "hadamax-c51": 8.0, "rainbow": 7.0}
    specs = [spec_of(number, baseline=name) for number in range(285) for name in hours]
    taken = {spec: hours[spec.baseline] * generator.lognormvariate(0, 0.15) for spec in specs}
    queue, free_at = RunQueue(specs, lambda spec: hours[spec.baseline]), [0.0] * 64
    while len(queue):
        heapq.heapreplace(free_at, free_at[0] + taken[queue.pop(64)])
    assert max(free_at) <= 1.05 * sum(taken.values()) / 64
