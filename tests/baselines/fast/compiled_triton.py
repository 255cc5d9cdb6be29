"""Compiles the Triton kernels for GPUs that are not here, and says what they take: run it for a table in Markdown.

Every layer of the paper's two Hadamax networks, its branches from two convolutions and from one, its ablations' blocks,
and what is fused of PQN's own encoder, in both precisions. Triton brings NVIDIA's assembler and `cuobjdump`, which
reads what the assembler decided.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
import triton
from block_cases import ABLATIONS, CASES, Case
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from baselines.fast import triton_block, triton_block_kernels, triton_norm

ARCHITECTURES = (80, 90)  # A100, H100
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16"}
LAYERS = [case for case in (*CASES, *ABLATIONS) if case.height >= 11]
WIDTHS = (32, 64, 512)  # of what PQN's encoder norms: channels of its convolutions, units of its dense layer


@dataclass(frozen=True)
class Source:
    """A kernel before it is compiled."""

    name: str
    kernel: Any
    given: dict[str, str]  # arguments and their types
    fixed: dict[str, Any]
    warps: int
    joint: bool = False  # its branches come from one convolution


@dataclass(frozen=True)
class Compiled:
    """A kernel on one architecture."""

    name: str
    precision: str
    architecture: int
    registers: int  # of a thread
    stack_bytes: int  # of a thread: what did not fit into registers
    shared_bytes: int  # of a program

    @property
    def warps_at_once(self) -> int:
        """How many fit on a multiprocessor by their registers: 65,536, given out by 8 a thread, 64 warps at most."""
        return min(64, 65_536 // (-(-self.registers // 8) * 8 * 32))


def sources(dtype: torch.dtype) -> Iterator[Source]:
    """Every kernel in one precision."""
    for case in LAYERS:
        for joint in forms(case):
            yield _forward(case, dtype, joint=joint)
            yield _backward(case, dtype, joint=joint)
    number = f"*{PRECISIONS[dtype]}"
    yield Source(
        "scaled images",
        triton_norm._scale_kernel,
        {"bytes_at": "*u8", "out_at": number, "pixels": "i32", "plane": "i32"},
        {"FRAMES": 4, "PIXELS": triton_norm.PIXELS},
        triton_norm.WARPS,
    )
    for width in WIDTHS:
        fixed = {"C": width, "ROWS": triton_norm.rows_at_once(width)}
        row = dict.fromkeys(("x_at", "scale_at", "bias_at"), number)
        yield Source(
            f"norm and ReLU of {width}, forward",
            triton_norm._forward_kernel,
            {**row, "out_at": number, "rows": "i32", "epsilon": "fp32"},
            fixed,
            triton_norm.WARPS,
        )
        yield Source(
            f"norm and ReLU of {width}, backward",
            triton_norm._backward_kernel,
            {**row, "gradient_at": number, "grad_x_at": number, "sums_at": "*fp32"}
            | dict.fromkeys(("rows", "tiles_each", "programs"), "i32")
            | {"epsilon": "fp32"},
            fixed,
            triton_norm.WARPS,
        )


def forms(case: Case) -> tuple[bool, ...]:
    """Whether its branches come from one convolution: where both are tried, each."""
    return (False,) if case.single or case.size == 1 else (False, True)


def compiled(architecture: int, dtype: torch.dtype, *, joint: bool | None = None) -> Iterator[Compiled]:
    """Every kernel in one precision; `joint`: those alone whose branches come from one convolution, or the others."""
    for source in sources(dtype):
        if joint in (None, source.joint):
            yield Compiled(source.name, PRECISIONS[dtype], architecture, *_compile(source, architecture))


def _branches(case: Case, dtype: torch.dtype) -> tuple[str, str]:
    """Types of branches and of learned scales; with a norm per image, the branches come normed in float32."""
    precision = f"*{PRECISIONS[dtype]}"
    return ("*fp32", "*fp32") if case.norm.per_image else (precision, precision)


def _lie(case: Case, *, joint: bool) -> dict[str, int]:
    """How the branches lie: see `triton_block._placed`."""
    together = joint and not case.norm.per_image
    return {"C": case.channels, "PITCH": case.channels * (1 + together), "SHARE": 1 + joint}


def _kind(case: Case) -> dict[str, bool]:
    return {"NORMED": case.norm.per_image, "RECTIFIED": case.norm.rectified, "SINGLE": case.single}


def _name(case: Case, kernel: str, *, joint: bool) -> str:
    return f"{case}{', one convolution' if joint else ''}, {kernel}"


def _forward(case: Case, dtype: torch.dtype, *, joint: bool) -> Source:
    branch, learned = _branches(case, dtype)
    given = dict.fromkeys(("a_at", "b_at"), branch)
    given |= dict.fromkeys(("scale_a_at", "bias_a_at", "scale_b_at", "bias_b_at"), learned)
    given |= {"out_at": f"*{PRECISIONS[dtype]}", "argmax_at": "*u8"}
    given |= dict.fromkeys(("height", "width", "rows", "padding"), "i32") | {"epsilon": "fp32"}
    window = triton.next_power_of_2(case.size**2)
    fixed = {"SIZE": case.size, "STRIDE": case.stride, "WINDOW": window, **_lie(case, joint=joint)}
    fixed |= {**_kind(case), "KEEP_ARGMAX": True}
    warps = triton_block.forward_warps(window, case.channels)
    return Source(_name(case, "forward", joint=joint), triton_block_kernels.forward_kernel, given, fixed, warps, joint)


def _backward(case: Case, dtype: torch.dtype, *, joint: bool) -> Source:
    branch, learned = _branches(case, dtype)
    given = dict.fromkeys(("a_at", "b_at"), branch)
    given |= dict.fromkeys(("scale_a_at", "bias_a_at", "scale_b_at", "bias_b_at"), learned)
    given |= {"gradient_at": f"*{PRECISIONS[dtype]}", "argmax_at": "*u8", "grad_a_at": branch, "grad_b_at": branch}
    given |= {"sums_at": "*fp32"}
    given |= dict.fromkeys(("pixels", "tiles_each", "programs", "height", "width", "rows", "padding"), "i32")
    given |= {"epsilon": "fp32"}
    fixed = {"SIZE": case.size, "STRIDE": case.stride, "REACH": triton.cdiv(case.size, case.stride)}
    fixed |= _lie(case, joint=joint)
    fixed |= {"PIXELS": triton_block.backward_pixels(case.channels), **_kind(case)}
    name = _name(case, "backward", joint=joint)
    return Source(name, triton_block_kernels.backward_kernel, given, fixed, triton_block.BACKWARD_WARPS, joint)


def _compile(source: Source, architecture: int) -> tuple[int, int, int]:
    """Registers, bytes of stack and of shared memory."""
    given, fixed = source.given, source.fixed
    made = triton.compile(
        ASTSource(
            source.kernel,
            signature=given | dict.fromkeys(fixed, "constexpr"),
            constexprs=fixed,
            # torch's memory begins at multiples of 16 bytes, as Triton notices at a launch
            attrs={(i,): [["tt.divisibility", 16]] for i, kind in enumerate(given.values()) if kind.startswith("*")},
        ),
        target=GPUTarget("cuda", architecture, 32),
        options={"num_warps": source.warps, **triton_block.OPTIONS},
    )
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "kernel.cubin"
        code.write_bytes(made.asm["cubin"])
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", code]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"\b{what}:(\d+)", told)[1]) for what in ("REG", "STACK"))
    return registers, stack, made.metadata.shared


def table(found: Sequence[Compiled]) -> str:
    """A row a kernel and precision, with a number an architecture where they differ."""
    rows: dict[tuple[str, str], list[Compiled]] = {}
    for c in found:
        rows.setdefault((c.name, c.precision), []).append(c)
    lines = [
        "| kernel | precision | registers | stack, bytes | shared memory, bytes | warps at once |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for (name, precision), its in rows.items():
        sizes = ((c.registers, c.stack_bytes, c.shared_bytes, c.warps_at_once) for c in its)
        cells = [", ".join(map(str, dict.fromkeys(numbers))) for numbers in zip(*sizes, strict=True)]
        lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([kernel for place, dtype in product(ARCHITECTURES, PRECISIONS) for kernel in compiled(place, dtype)]))
