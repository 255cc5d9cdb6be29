"""What stands in for a CUDA graph where there is no GPU."""

from torch.utils._python_dispatch import TorchDispatchMode

REFUSED = "CUDA error: operation not permitted when stream is capturing"


def recorded_on_a_cpu(work, inputs, undo):
    """Warms up, undoes that, and replays on the same inputs into the same outputs."""
    outputs = work(*inputs)
    work(*inputs)
    undo()

    def replay():
        for kept, new in zip(outputs, work(*inputs), strict=True):
            kept.copy_(new)

    return replay, outputs


class _NothingOfTheHost(TorchDispatchMode):
    """Refuses what a capture does: a number that is brought from the host or read from a tensor."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func) in ("aten.lift_fresh.default", "aten._local_scalar_dense.default"):
            raise RuntimeError(f"{REFUSED}\nCompile with ...")
        return func(*args, **(kwargs or {}))


def recorded_as_strictly_as_on_a_gpu(work, inputs, undo):
    """`recorded_on_a_cpu`, unless a GPU could not record the work."""
    with _NothingOfTheHost():
        return recorded_on_a_cpu(work, inputs, undo)
