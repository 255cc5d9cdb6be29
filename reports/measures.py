"""What can be measured of a run, and what each measure is called."""

from __future__ import annotations

from collections.abc import Mapping

SCORE_MEASURES = ("median", "iqm", "mean")  # over games, of human-normalised scores
RANK_MEASURE = "effective_rank"
LAYER_MEASURES = (RANK_MEASURE, "dead_fraction", "activation_norm", "gradient_norm")  # of each layer of a network
TIME_MEASURE = "seconds_per_frame"  # of emulator frames

MEASURE_TITLES: Mapping[str, str] = {
    "median": "median human-normalised score",
    "iqm": "interquartile mean of the human-normalised score",
    "mean": "mean human-normalised score",
    RANK_MEASURE: "effective rank",
    "dead_fraction": "fraction of dead neurons",
    "activation_norm": "norm of activations",
    "gradient_norm": "norm of gradients",
    "seconds_per_frame": "time a frame",
}
