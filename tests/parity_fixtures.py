"""Reading the parity fixtures: files by pattern, parameters re-made from their seed, gradient digests, comparisons.

`tests/parity/README.md` describes the numbers. Nothing here knows an action count, a batch size or a seed: they come
from the files, so that a second folder made with other ones checks the same code (`pytest --parity DIR`).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

COMMITTED_FOLDER = Path(__file__).parent / "parity"
# "f32-fused": float32, the Hadamax layers through the fused block
DTYPES = {"f64": torch.float64, "f32": torch.float32, "f32-fused": torch.float32}
# |actual - expected| <= tolerance * max(1, |expected|), unless a test names its own
TOLERANCES = {"f64": 1e-9, "f32": 1e-4, "f32-fused": 1e-4}


class ParityFolder:
    """A folder of fixtures with the generator of their inputs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generator = _load_generator(path)

    def files(self, pattern: str) -> list[ParityFile]:
        return [ParityFile(path, self) for path in sorted(self.path.glob(pattern))]

    def seed(self) -> int:
        """The one seed of the folder, for files that do not carry it themselves. Raises ValueError if they disagree."""
        seeds = {int(file["seed"]) for file in self.files("*.npz") if "seed" in file}
        if len(seeds) != 1:
            raise ValueError(f"need one seed in the files of {self.path}, found {sorted(seeds)}")
        return seeds.pop()


class ParityFile:
    """One .npz of a folder; reads like a mapping of numpy arrays."""

    def __init__(self, path: Path, folder: ParityFolder) -> None:
        self.path = path
        self.folder = folder
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = dict(arrays)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def generator(self) -> ModuleType:
        return self.folder.generator

    @property
    def seed(self) -> int:
        return int(self["seed"]) if "seed" in self else self.folder.seed()

    def __getitem__(self, key: str) -> np.ndarray:
        """The fused block is held to the float32 columns."""
        return self.arrays[key.removesuffix("-fused")]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def __iter__(self):
        return iter(self.arrays)

    @property
    def parameter_names(self) -> list[str]:
        return [str(name) for name in self["param_names"]]

    @property
    def parameter_shapes(self) -> list[tuple[int, ...]]:
        return [tuple(shape) for shape in json.loads(str(self["param_shapes_json"]))]

    def parameters(
        self,
        kinds: Mapping[str, str] | None = None,
        fan_ins: Mapping[str, int] | None = None,
        stream_offset: int = 0,
    ) -> dict[str, np.ndarray]:
        """Re-makes every parameter as float32, in the layout of the file; tensor k uses stream `stream_offset` + k.

        Args:
            kinds: kind by name; default, the file's `param_kinds`.
            fan_ins: fan-in by name; default, the product of all but the last dimension (HWIO and IO layouts).
            stream_offset: `generator.TARGET_NET_OFFSET` for a target network.
        """
        if kinds is None:
            kinds = dict(zip(self.parameter_names, map(str, self["param_kinds"]), strict=True))
        fan_ins = fan_ins or {}
        return {
            name: self.generator.tensor(
                self.seed, stream_offset + k, shape, kinds[name], fan_ins.get(name, int(np.prod(shape[:-1])))
            )
            for k, (name, shape) in enumerate(zip(self.parameter_names, self.parameter_shapes, strict=True))
        }

    def gradient_digest(self, gradients: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """`grad_norm` [P], `grad_dot` [P] and `grad_samples` [P, 16] of gradients given in the layout of the file."""
        norms, dots, samples = [], [], []
        for k, name in enumerate(self.parameter_names):
            flat = np.asarray(gradients[name], dtype=np.float64).reshape(-1)
            if flat.size != np.prod(self.parameter_shapes[k]):
                raise ValueError(f"{name}: {flat.size} gradient entries for shape {self.parameter_shapes[k]}")
            norms.append(np.linalg.norm(flat))
            dots.append(flat @ self.generator.sym(self.seed, self.generator.DOT + k, (flat.size,)))
            samples.append(flat[self.generator.indices(self.seed, self.generator.GRAD_IDX + k, 16, flat.size)])
        return {"grad_norm": np.array(norms), "grad_dot": np.array(dots), "grad_samples": np.array(samples)}


def to_torch_layout(array: np.ndarray) -> Tensor:
    """HWIO -> OIHW and IO -> OI; vectors stay as they are. Keeps the dtype."""
    axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}[array.ndim]
    return torch.from_numpy(np.ascontiguousarray(array.transpose(axes)))


def to_fixture_layout(tensor: Tensor) -> np.ndarray:
    """OIHW -> HWIO and OI -> IO, as float64: the inverse of `to_torch_layout`."""
    axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[tensor.ndim]
    return tensor.detach().double().cpu().numpy().transpose(axes)


class Comparison:
    """Asserts closeness and keeps the largest difference of each quantity for `--parity-report`."""

    def __init__(self, user_properties: list[tuple[str, object]]) -> None:
        self._user_properties = user_properties

    def __call__(
        self, file: str, quantity: str, precision: str, actual: Any, expected: Any, tolerance: float | None = None
    ) -> None:
        """Fails unless |actual - expected| <= tolerance * max(1, |expected|) everywhere and the shapes are the same.

        Args:
            file: name of the fixture file; differences are reported under it.
            quantity: what is compared, with the key of the file in it.
            precision: one of `DTYPES`.
            actual, expected: tensors, arrays or numbers.
            tolerance: default `TOLERANCES[precision]`.
        """
        tolerance = TOLERANCES[precision] if tolerance is None else tolerance
        got, want = _array(actual), _array(expected)
        assert got.shape == want.shape, f"{file}: {quantity}: shape {got.shape}, expected {want.shape}"
        assert np.isfinite(got).all(), f"{file}: {quantity}: not finite"
        scaled = np.abs(got - want) / np.maximum(1.0, np.abs(want))
        largest = float(scaled.max(initial=0.0))
        self._user_properties.append(("parity", [file, precision, quantity, largest, tolerance]))
        assert largest <= tolerance, f"{file}: {quantity} ({precision}) differs by {largest:.3g}, allowed {tolerance:g}"


def report_lines(records: list[list[Any]]) -> list[str]:
    """The table of `--parity-report`: largest difference by file, precision and tolerance, and in which quantity."""
    groups: dict[tuple[str, str, float], list[tuple[float, str]]] = {}
    for file, precision, quantity, difference, tolerance in records:
        groups.setdefault((file, precision, tolerance), []).append((difference, quantity))
    width = max([len("file"), *(len(file) for file, _, _ in groups)])
    lines = [f"{'file':<{width}}  precision  allowed  largest   comparisons  where"]
    for (file, precision, tolerance), found in sorted(groups.items()):
        largest, where = max(found)
        lines.append(
            f"{file:<{width}}  {precision:<9}  {tolerance:<7g}  {largest:<8.2g}  {len(found):<11}  "
            f"{where if largest else '-'}"
        )
    return lines


def _array(values: Any) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()
    return np.asarray(values, dtype=np.float64)


def _load_generator(folder: Path) -> ModuleType:
    """The folder's own `param_generator.py`, or the committed one where it has none."""
    path = folder / "param_generator.py"
    if not path.is_file():
        path = COMMITTED_FOLDER / "param_generator.py"
    spec = importlib.util.spec_from_file_location("param_generator", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
