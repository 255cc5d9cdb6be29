"""Trust at run time: a fast path is taken only after it gave what the plain one gives, on this very device.

Each trial runs a path once on a small batch, when an agent is built. One that fails or raises is left out and the run
goes on plain; the reason is told wherever paths are told. Only a GPU that is full or lost is an error.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.fast import fused_norm
from baselines.fast.cuda_graph import Captured, Record, Work, cuda_graph, remember_learner, replaced_buffers
from baselines.fast.fourier_convolution import FRAMES, SIDES, fourier_convolutions
from baselines.fast.names import (
    FOURIER,
    FUSED_BLOCK,
    FUSED_INPUT,
    FUSED_NORM,
    ONE_CONVOLUTION,
    UPDATE_GRAPH,
    DeviceLost,
)
from baselines.fast.triton_block import few_programs

# Largest |difference| / max(1, |exact|) of the block, as the parity fixtures allow.
BLOCK_TOLERANCES = {torch.float32: 5e-5, torch.bfloat16: 5e-3}
# Largest |difference| / |eager| in L2 norm. Of the steps more is allowed: where a gradient is nearly nothing, rounding
# turns an entry of Adam's first step around.
OUTPUT_TOLERANCE, STEP_TOLERANCE = 1e-3, 5e-2
# How torch, the driver, Triton and libraries say that a GPU is full, in lower case.
_FULL = ("out of memory", "cublas_status_alloc_failed", "cudnn_status_alloc_failed")
_IMAGES, _HEIGHT = 3, 11  # of the batch that the block is proven on
# Of the block's made-up scales and biases. Others leave a window whose two largest products are nearly the same, and
# rounding decides there which of them gets the gradient.
_SEED = 3


@dataclass(frozen=True)
class Trial:
    """What became of a path on a device."""

    name: str
    why_not: str | None  # None: proven
    speed_up: float | None = None  # over the plain path, where it was measured
    why_untimed: str | None = None  # where that was tried and failed

    @property
    def proven(self) -> bool:
        return self.why_not is None


def attempt(check: Callable[[], str | None], name: str) -> str | None:
    """What `check` says is wrong with the path `name` (None for nothing), or what it raised, in one line.

    Raises:
        torch.OutOfMemoryError: the GPU is full. That says nothing of the path, and a run without it could not be
            resumed where there is room.
        DeviceLost: the path left the GPU in a state in which this process can compute nothing more, plain or not.
    """
    try:
        return check()
    except DeviceLost:
        raise
    except Exception as error:  # compilers and drivers raise whatever they like; the run goes on without the path
        full = _full_gpu(error)
        if full is not None:
            raise torch.OutOfMemoryError(
                "the GPU has too little free memory to try a fast path out: end what else uses it, or give fewer "
                f"--jobs, and start again ({_told(full)})"
            ) from error
        _refuse_lost_device(error, name)
        return _told(error)


def _refuse_lost_device(error: Exception, name: str) -> None:
    """Raises DeviceLost if the GPU answers no more after `error`: the plain path would fail too, and hide why."""
    if not torch.cuda.is_initialized():
        return
    try:
        torch.cuda.synchronize()
    except Exception as lost:
        raise DeviceLost(
            f'the fast path "{name}" failed and made the GPU useless to this process ({_told(error)}; then '
            f"{_told(lost)}): run again with --plain, which takes no fast path"
        ) from error


def _told(error: BaseException) -> str:
    """Type and first line of an error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def _full_gpu(error: BaseException) -> BaseException | None:
    """`error`, or what it came from, whichever says that the GPU is full; None if none does."""
    todo: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while todo:
        one = todo.pop()
        if one is None or one in seen:
            continue
        if isinstance(one, torch.OutOfMemoryError) or any(words in str(one).lower() for words in _FULL):
            return one
        seen.append(one)
        todo += [one.__context__, one.__cause__]
    return None


def why_not_fused(layer: Any, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this layer's fused block can't be trusted with `dtype` on `device`; None if it gave values and gradients.

    `layer.join(a, b)` is what follows the layer's two convolutions `conv_a` and `conv_b`, fused where `layer.fused`;
    `layer.join(a)` of a layer without `conv_b`. It is compared with the plain composition in float64 on the CPU, with
    made-up scales and biases, and without gradients too: acting has a kernel of its own. The layer is left as it was.
    """

    def check() -> str | None:
        given = block_inputs(layer.conv_a.out_channels, dtype)[: 2 if hasattr(layer, "conv_b") else 1]
        made_up = copy.deepcopy(layer).cpu()
        _make_up(made_up, torch.Generator().manual_seed(_SEED))
        exact = _joined(copy.deepcopy(made_up).to(torch.float64), [t.double() for t in given], fused=False)
        there = made_up.to(device, dtype)
        found = _joined(there, [tensor.to(device) for tensor in given], fused=True)
        return _too_far(found, exact, dtype)

    return attempt(check, FUSED_BLOCK)


def block_inputs(channels: int, dtype: torch.dtype, *, images: int = _IMAGES, height: int = _HEIGHT) -> list[Tensor]:
    """Two branches [images, channels, height, height] on the CPU, channels_last, the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    shape = (images, channels, height, height)
    branches = [2 * torch.randn(shape, generator=generator) + 0.5 for _ in "ab"]
    return [branch.to(dtype).contiguous(memory_format=torch.channels_last) for branch in branches]


def _joined(layer: Any, branches: Sequence[Tensor], *, fused: bool) -> list[Tensor]:
    """What `_sent_back` gives of the branches and of learned scales and biases."""
    layer.fused = fused
    learned = [parameter for name, parameter in layer.named_parameters() if not name.startswith("conv_")]
    return _sent_back(layer.join, branches, learned)


def why_not_fourier(layer: Any, dtype: torch.dtype) -> str | None:
    """Why Fourier transforms can't be trusted with the convolutions of this layer on the CPU; None if they can.

    Outputs and gradients, of images too where they get one, are compared with those of `conv2d` in float64; of frames,
    no side is a whole number of tiles, and maps have padding on all sides. The layer is left as it was.
    """

    def check() -> str | None:
        generator = torch.Generator().manual_seed(0)
        branches = [copy.deepcopy(part).to(dtype) for name, part in layer.named_children() if name.startswith("conv_")]
        of_frames = branches[0].in_channels == FRAMES
        side = SIDES.get(branches[0].kernel_size[0], 0)
        sides, padding = ((30, 51), (0,) * 4) if of_frames else ((side - 1, side - 1), (1,) * 4)
        shape = (_IMAGES, branches[0].in_channels, *sides)
        images = torch.rand(shape, generator=generator).to(dtype).requires_grad_(not of_frames)
        for convolution in branches:
            _make_up(convolution, generator)
        found = fourier_convolutions(F.pad(images, padding), *branches)
        gradients = [torch.randn(output.shape, generator=generator).to(dtype) for output in found]
        true = images.detach().double().requires_grad_(not of_frames)
        exact = [copy.deepcopy(convolution).double() for convolution in branches]
        wanted = [F.conv2d(F.pad(true, padding), convolution.weight, convolution.bias) for convolution in exact]
        ours = [*found, *_gradients(images, branches, found, gradients)]
        theirs = [*wanted, *_gradients(true, exact, wanted, [gradient.double() for gradient in gradients])]
        # Relative to the largest entry, for each is the sum of many.
        scales = [tensor.detach().abs().max() for tensor in theirs]
        return _too_far(
            [tensor.detach().double() / scale for tensor, scale in zip(ours, scales, strict=True)],
            [tensor.detach() / scale for tensor, scale in zip(theirs, scales, strict=True)],
            dtype,
        )

    return attempt(check, FOURIER)


def _gradients(
    images: Tensor, convolutions: Sequence[nn.Module], outputs: Sequence[Tensor], gradients: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """What outputs send back to the parameters of convolutions, and to images that want it."""
    wanting = [parameter for convolution in convolutions for parameter in convolution.parameters()]
    return torch.autograd.grad(outputs, [*wanting, *([images] if images.requires_grad else [])], gradients)


def why_not_one_convolution(layer: Any, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the branches of this layer can't be trusted to one convolution; None if that gave what two convolutions do.

    Both are computed on `device`, with the block as the layer has it: prove that before. Weights and images are
    bfloat16 numbers, whose products TF32 gets right too, or both ways would round apart. The layer is left as it was.
    """

    def check() -> str | None:
        generator = torch.Generator().manual_seed(0)
        shape = (_IMAGES, layer.conv_a.in_channels, _HEIGHT, _HEIGHT)
        images = torch.rand(shape, generator=generator).bfloat16().contiguous(memory_format=torch.channels_last)
        two = copy.deepcopy(layer)
        _make_up(two, generator)
        two.to(device, dtype).one_convolution = False
        one = copy.deepcopy(two)
        one.one_convolution = True
        wanted, found = (_through(module, images.to(device, dtype)) for module in (two, one))
        values, gradients = max(OUTPUT_TOLERANCE, BLOCK_TOLERANCES[dtype]), STEP_TOLERANCE
        for name, allowed in zip(wanted, (values, values, *[gradients] * len(wanted)), strict=False):
            off = relative_difference([found[name]], [wanted[name]])
            if not off < allowed:
                return f"its {name} is off by {off:.1e} from that of two convolutions"
        return None

    return attempt(check, ONE_CONVOLUTION)


def why_not_fused_norm(layer: Any, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this layer's fused norm and ReLU can't be trusted with `dtype` on `device`; None if values and gradients fit.

    `layer.activated(outputs)` is what follows the convolution or linear layer, fused where `layer.fused_norm`. It is
    compared with the plain composition in float64 on the CPU. The layer is left as it was.
    """

    def check() -> str | None:
        generator = torch.Generator().manual_seed(0)
        (width,) = layer.norm.normalized_shape
        shape = (_IMAGES, width, _HEIGHT, _HEIGHT) if hasattr(layer, "conv") else (_IMAGES * _HEIGHT, width)
        outputs = (2 * torch.randn(shape, generator=generator) + 0.5).to(dtype)
        if outputs.ndim == 4:
            outputs = outputs.contiguous(memory_format=torch.channels_last)
        plain = copy.deepcopy(layer)
        _make_up(plain, generator)
        fused = copy.deepcopy(plain).to(device, dtype)
        plain.to("cpu", torch.float64).fused_norm, fused.fused_norm = False, True
        exact, found = (
            _sent_back(module.activated, [given], list(module.norm.parameters()))
            for module, given in ((plain, outputs.double()), (fused, outputs.to(device)))
        )
        return _too_far(found, exact, dtype)

    return attempt(check, FUSED_NORM)


def why_not_scaled(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why bytes can't be trusted to become numbers of `dtype` in one pass on `device`; None if every byte did."""

    def check() -> str | None:
        images = torch.arange(256, dtype=torch.uint8).repeat(2, 4, 1).reshape(2, 4, 16, 16)
        images[1] += 7
        found = fused_norm.scaled_images(images.to(device), dtype)
        if not found.is_contiguous(memory_format=torch.channels_last):
            return "its images are not in channels_last memory"
        return _too_far([found], [images.double() / 255], dtype)

    return attempt(check, FUSED_INPUT)


def _too_far(found: Sequence[Tensor], exact: Sequence[Tensor], dtype: torch.dtype) -> str | None:
    differences = [
        ((got.cpu().double() - want).abs() / want.abs().clamp(min=1)).max()
        for got, want in zip(found, exact, strict=True)
    ]
    difference = float(torch.stack(differences).max())  # Python's max would lose a nan that is not the first
    if difference < BLOCK_TOLERANCES[dtype]:  # false for nan too
        return None
    return f"it is off by {difference:.1e} from the plain one in {str(dtype).removeprefix('torch.')}"


@torch.no_grad()
def _make_up(layer: nn.Module, generator: torch.Generator) -> None:
    """Fills every parameter, scales and biases too, with bfloat16 numbers: fresh ones could hide an error."""
    for parameter in layer.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator).bfloat16())


def _sent_back(function: Callable[..., Tensor], given: Sequence[Tensor], learned: Sequence[Tensor]) -> list[Tensor]:
    """The output, the same without gradients, and what it sends back to `given` and `learned` for one gradient.

    A GPU's kernels loop over the few pixels of a proof as they do over those of a minibatch.
    """
    with torch.no_grad():
        without = function(*given)
    wanting = [tensor.detach().requires_grad_() for tensor in given]
    output = function(*wanting)
    gradient = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    with few_programs():
        sent_back = torch.autograd.grad(output, [*wanting, *learned], gradient.to(output))
    return [output.detach(), without, *sent_back]


def _through(layer: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The layer's outputs first, then the gradients of images and parameters, by name."""
    names, parameters = zip(*layer.named_parameters(), strict=True)
    found = _sent_back(layer, [images], parameters)
    outputs = ("output", "output without gradients", "gradient of images")
    return dict(zip((*outputs, *(f"gradient of {name}" for name in names)), found, strict=True))


def why_not_captured(
    update: Work,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Sequence[Tensor]],
    record: Record = cuda_graph,
    *,
    name: str = UPDATE_GRAPH,
) -> str | None:
    """Why `update`, recorded, can't be trusted; None if its replays gave what eager steps give, one after the other.

    Args:
        batches: inputs of two updates or more, each of the same shapes; a replay that does not read its inputs anew, or
            does not write what the next one reads, differs at the second.
        name: of the path.
    Weights, buffers and optimizer are afterwards what they were, a fresh optimizer's state zeros.
    """
    undo = remember_learner(network, optimizer)
    why_not_in_place = replaced_buffers(network)
    replaced: list[str] = []

    def steps(work: Work) -> tuple[list[Tensor], list[Tensor]]:
        before = [parameter.detach().clone() for parameter in network.parameters()]
        outputs = [output.detach().clone() for batch in batches for output in work(*batch)]
        moved = [after.detach() - start for after, start in zip(network.parameters(), before, strict=True)]
        replaced.extend(filter(None, [why_not_in_place()]))
        undo()
        return outputs, moved

    def check() -> str | None:
        eager_outputs, eager_moves = steps(update)
        if replaced:
            return replaced[0]
        recorded = Captured(update, lambda: remember_learner(network, optimizer), record)
        outputs, moves = steps(recorded)
        for what, found, wanted, allowed in (
            ("outputs", outputs, eager_outputs, OUTPUT_TOLERANCE),
            ("steps", moves, eager_moves, STEP_TOLERANCE),
        ):
            off = relative_difference(found, wanted)
            if not off < allowed:
                return f"its {what} are off by {off:.1e} from eager ones"
        return None

    lost = False
    try:
        return attempt(check, name)
    except DeviceLost:
        lost = True
        raise
    finally:
        if not lost:  # else it would raise too, and hide why
            undo()


def relative_difference(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """|found - wanted| / |wanted| over all entries of all tensors."""
    there = torch.cat([tensor.flatten().double() for tensor in found])
    exact = torch.cat([tensor.flatten().double() for tensor in wanted])
    return float(torch.linalg.vector_norm(there - exact) / torch.linalg.vector_norm(exact).clamp(min=1e-30))


def speed_up(plain: Callable[[], object], fast: Callable[[], object], device: torch.device, repeats: int = 5) -> float:
    """How many times faster `fast` is, by the least times of `repeats` turns each, after one not counted."""

    def seconds(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    times = [(seconds(plain), seconds(fast)) for _ in range(repeats + 1)][1:]
    return min(slow for slow, _ in times) / min(quick for _, quick in times)
