"""What stands in for a CUDA graph where there is no GPU."""


def recorded_on_a_cpu(work, inputs, undo):
    """Warms up, undoes that, and replays on the same inputs into the same outputs."""
    outputs = work(*inputs)
    work(*inputs)
    undo()

    def replay():
        for kept, new in zip(outputs, work(*inputs), strict=True):
            kept.copy_(new)

    return replay, outputs
