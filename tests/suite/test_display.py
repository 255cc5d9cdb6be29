import pytest

from suite import display


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (12_000, "3 h 20 min"), (367_200, "4 d 6 h")],
)
def test_durations(seconds, text):
    assert display.duration(seconds) == text


def test_a_run_that_is_not_done_never_shows_100_percent():
    assert display.percent(0.99999) == "99.9 %"
    assert display.percent(1.0) == "100.0 %"


def test_columns_of_numbers_stand_to_the_right():
    assert display.table(("game", "score"), [("Pong", "-20.70"), ("Qbert", "1,234.00"), ("Alien", "-")]) == (
        "game      score\n"  #
        "Pong     -20.70\n"
        "Qbert  1,234.00\n"
        "Alien         -"
    )


def test_a_table_without_rows_is_its_heading():
    assert display.table(("game", "score"), []) == "game  score"


def test_sizes_and_counts():
    assert [display.size(n) for n in (12, 1_500, 80_000_000, 7_056_000_000)] == ["12 B", "1.5 kB", "80.0 MB", "7.1 GB"]
    assert display.count(1_234_567.8) == "1,234,568"
    assert display.plural(1, "run") == "1 run"
    assert display.plural(0, "run") == "0 runs"
