import pytest

from baselines.exploration import linear_epsilon


def epsilon(index: int, decay: float = 4.0) -> float:
    return linear_epsilon(index, start=1.0, end=0.2, decay=decay)


def test_epsilon_falls_in_a_line_and_then_stays():
    assert [epsilon(index) for index in (0, 1, 2, 4, 5, 1000)] == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2, 0.2])


def test_the_decay_is_not_rounded():
    # 40M frames: 2441 updates, so the decay ends between updates 244 and 245
    assert linear_epsilon(244, start=1.0, end=0.001, decay=244.1) == pytest.approx(0.00140926, abs=1e-8)
    assert linear_epsilon(245, start=1.0, end=0.001, decay=244.1) == 0.001


@pytest.mark.parametrize("decay", [0.0, -1.0, float("nan")])
def test_a_decay_that_is_not_positive_is_refused(decay):
    with pytest.raises(ValueError, match="decay must be positive"):
        epsilon(0, decay)


def test_a_negative_index_is_refused():
    with pytest.raises(ValueError, match="index must not be negative"):
        epsilon(-1)
