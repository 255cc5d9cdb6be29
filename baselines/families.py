"""The names of the suite's baselines, and of the families of variants that ask why one of them works."""

from __future__ import annotations

BASELINES = ("pqn", "hadamax-pqn", "c51", "hadamax-c51", "rainbow")  # in the order in which they are shown
BF16 = "-bf16"
VARIANTS = tuple(name + BF16 for name in BASELINES)  # the same with `precision` bf16: other results, hence other names

# Each is a file of baselines/pinned/ that extends a baseline; docs/baselines/variants.md says why it is what it is.
FAMILIES: dict[str, tuple[str, ...]] = {
    "ablation": ("hadamax-pqn-no-maxpool", "hadamax-pqn-no-product", "hadamax-pqn-relu"),
    "block": (
        "hadamax-pqn-average-pool",
        "hadamax-pqn-sum",
        "hadamax-pqn-concatenation",
        "hadamax-pqn-single-wide",
        "hadamax-pqn-single-equal",
        "hadamax-pqn-no-layernorm",
    ),
    "depth": ("hadamax-pqn-depth-5", "hadamax-pqn-depth-7", "pqn-depth-5", "pqn-depth-7"),
    "width": ("hadamax-pqn-half-width", "hadamax-pqn-double-width", "pqn-half-width", "pqn-double-width"),
    "learning-rate": (
        "pqn-lr-1e-4",
        "pqn-lr-5e-4",
        "hadamax-pqn-lr-1e-4",
        "hadamax-pqn-lr-5e-4",
    ),
    "elsewhere": ("impala-pqn", "hadamax-rainbow"),
}
FAMILY_TITLES = {
    "ablation": "the Hadamax block with one part taken out (the paper's ablation)",
    "block": "the Hadamax block with something else in a part's place",
    "depth": "more convolutions, maps of the same sizes",
    "width": "half and twice the channels",
    "learning-rate": "other learning rates",
    "elsewhere": "another encoder in PQN, the Hadamax encoder in Rainbow",
}
STUDIES = tuple(name for names in FAMILIES.values() for name in names)
STUDY_VARIANTS = tuple(name + BF16 for name in STUDIES)
PINNED_NAMES = (*BASELINES, *VARIANTS, *STUDIES, *STUDY_VARIANTS)


def base_of(name: str) -> str:
    """The baseline that a name ending in -bf16 is the bf16 form of; any other name as it is."""
    return name.removesuffix(BF16) if name in (*VARIANTS, *STUDY_VARIANTS) else name


def family_of(name: str) -> str | None:
    """The family of a study; None for any other name."""
    return next((family for family, names in FAMILIES.items() if base_of(name) in names), None)
