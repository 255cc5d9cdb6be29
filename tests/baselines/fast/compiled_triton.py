"""Compiles the Triton kernels for GPUs that are not here, and says what they take: run it for a table in Markdown.

Every layer of the paper's two Hadamax networks, both precisions. Triton brings NVIDIA's assembler and `cuobjdump`,
which reads what the assembler decided.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from block_cases import CASES, Case
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from baselines.fast import triton_block

ARCHITECTURES = (80, 90)  # A100, H100
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16"}
LAYERS = [case for case in CASES if case.height in (84, 85, 21, 22) or (case.size, case.height) == (3, 11)]


@dataclass(frozen=True)
class Compiled:
    """A kernel of one layer on one architecture."""

    kernel: str  # "forward" or "backward"
    case: Case
    precision: str
    architecture: int
    registers: int  # of a thread
    stack_bytes: int  # of a thread: what did not fit into registers
    shared_bytes: int  # of a program

    @property
    def warps_at_once(self) -> int:
        """How many fit on a multiprocessor by their registers: 65,536, given out by 8 a thread, 64 warps at most."""
        return min(64, 65_536 // (-(-self.registers // 8) * 8 * 32))


def compiled(architecture: int) -> Iterator[Compiled]:
    """Every kernel of every layer."""
    for case in LAYERS:
        for dtype, precision in PRECISIONS.items():
            for name, described in (("forward", _forward), ("backward", _backward)):
                kernel, given, fixed, warps = described(case, dtype)
                sizes = _compile(kernel, given, fixed, warps, architecture)
                yield Compiled(name, case, precision, architecture, *sizes)


def _branches(case: Case, dtype: torch.dtype) -> tuple[str, str]:
    """Types of branches and of learned scales; with a norm per image, the branches come normed in float32."""
    precision = f"*{PRECISIONS[dtype]}"
    return ("*fp32", "*fp32") if case.norm.per_image else (precision, precision)


def _forward(case: Case, dtype: torch.dtype) -> tuple[Any, dict[str, str], dict[str, Any], int]:
    branch, learned = _branches(case, dtype)
    given = dict.fromkeys(("a_at", "b_at"), branch)
    given |= dict.fromkeys(("scale_a_at", "bias_a_at", "scale_b_at", "bias_b_at"), learned)
    given |= {"out_at": f"*{PRECISIONS[dtype]}", "argmax_at": "*u8"}
    given |= dict.fromkeys(("height", "width", "rows", "padding"), "i32") | {"epsilon": "fp32"}
    window = triton.next_power_of_2(case.size**2)
    fixed = {"SIZE": case.size, "STRIDE": case.stride, "WINDOW": window, "C": case.channels}
    fixed |= {"NORMED": case.norm.per_image, "KEEP_ARGMAX": True}
    return triton_block._forward_kernel, given, fixed, triton_block.forward_warps(window, case.channels)


def _backward(case: Case, dtype: torch.dtype) -> tuple[Any, dict[str, str], dict[str, Any], int]:
    branch, learned = _branches(case, dtype)
    given = dict.fromkeys(("a_at", "b_at"), branch)
    given |= dict.fromkeys(("scale_a_at", "bias_a_at", "scale_b_at", "bias_b_at"), learned)
    given |= {"gradient_at": f"*{PRECISIONS[dtype]}", "argmax_at": "*u8", "grad_a_at": branch, "grad_b_at": branch}
    given |= {"sums_at": "*fp32"}
    given |= dict.fromkeys(("pixels", "tiles_each", "programs", "height", "width", "rows", "padding"), "i32")
    given |= {"epsilon": "fp32"}
    fixed = {"SIZE": case.size, "STRIDE": case.stride, "REACH": triton.cdiv(case.size, case.stride)}
    fixed |= {"C": case.channels, "PIXELS": triton_block.backward_pixels(case.channels), "NORMED": case.norm.per_image}
    return triton_block._backward_kernel, given, fixed, triton_block.BACKWARD_WARPS


def _compile(
    kernel: Any, given: dict[str, str], fixed: dict[str, Any], warps: int, architecture: int
) -> tuple[int, int, int]:
    """Registers, bytes of stack and of shared memory."""
    source = ASTSource(
        kernel,
        signature=given | dict.fromkeys(fixed, "constexpr"),
        constexprs=fixed,
        # torch's memory begins at multiples of 16 bytes, as Triton notices at a launch
        attrs={(i,): [["tt.divisibility", 16]] for i, kind in enumerate(given.values()) if kind.startswith("*")},
    )
    made = triton.compile(
        source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps, **triton_block.OPTIONS}
    )
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "kernel.cubin"
        code.write_bytes(made.asm["cubin"])
        command = [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", code]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"\b{what}:(\d+)", told)[1]) for what in ("REG", "STACK"))
    return registers, stack, made.metadata.shared


def table(found: list[Compiled]) -> str:
    """A row a layer, kernel, precision and architecture."""
    rows = [
        "| layer | kernel | precision | GPU | registers | stack, bytes | shared memory, bytes | warps at once |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for c in found:
        sizes = c.registers, c.stack_bytes, c.shared_bytes, c.warps_at_once
        rows.append(f"| {c.case} | {c.kernel} | {c.precision} | sm_{c.architecture} | {' | '.join(map(str, sizes))} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table([kernel for architecture in ARCHITECTURES for kernel in compiled(architecture)]))
