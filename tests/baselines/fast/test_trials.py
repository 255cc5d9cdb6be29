"""A fast path that does not do what the plain one does must be noticed before anything is trained on it."""

from __future__ import annotations

import time

import pytest
import torch
from fused import require_native
from recorded_on_a_cpu import recorded_on_a_cpu

from baselines.fast import paths as fast
from baselines.fast import trials
from baselines.fast.names import DeviceLost
from baselines.fast.trials import attempt, block_inputs, speed_up, why_not_captured, why_not_fused
from baselines.made_up import made_up
from baselines.networks import distribution_network, pqn_encoders
from baselines.networks.load import load_encoder
from baselines.networks.pqn_variants import ALL_PQN_ENCODERS
from baselines.networks.precision import use_precision
from baselines.networks.q_network import build_q_network
from baselines.optim import RAdam
from baselines.pqn import train_minibatch

CPU = torch.device("cpu")
TYPES = [torch.float32, torch.bfloat16]
ENCODERS = {**ALL_PQN_ENCODERS, **distribution_network.C51_ENCODERS}


def layers():
    return [
        *(module for module in pqn_encoders.HadamaxEncoder().modules() if hasattr(module, "fused")),
        *(module for module in distribution_network.HadamaxC51Encoder().modules() if hasattr(module, "fused")),
    ]


# The block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_layer_of_both_networks_proves_itself_and_is_left_as_it_was(dtype):
    require_native()
    for layer in layers():
        before = {name: value.clone() for name, value in layer.state_dict().items()}
        assert why_not_fused(layer, CPU, dtype) is None
        assert not layer.fused
        assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())
        assert all(parameter.grad is None for parameter in layer.parameters())


def off_by_a_bit(block):
    return lambda *arguments: block(*arguments) * 1.01


def gradient_of_one_branch_lost(block):
    return lambda a, b, *rest: block(a, b.detach() + 0 * b, *rest)


def not_a_number(block):
    return lambda *arguments: block(*arguments) * float("nan")


def no_scale_or_bias(block):
    """Right in a fresh layer, whose scales are 1 and biases 0."""

    def fresh(norm):
        return None if norm is None else tuple(t * 0 + value for t, value in zip(norm, (1, 0), strict=True))

    return lambda a, b, norm_a, norm_b, *rest: block(a, b, fresh(norm_a), fresh(norm_b), *rest)


def wrong_without_gradients(block):
    """Acting has a kernel of its own."""
    return lambda *arguments: block(*arguments) * (1 if torch.is_grad_enabled() else 1.01)


class _GradientsOfNaN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def gradients_that_are_no_numbers(block):
    """Of the second branch alone: values and other gradients are right."""
    return lambda a, b, *rest: block(a, _GradientsOfNaN.apply(b), *rest)


def no_compiler(block):
    def fails(*_arguments):
        raise RuntimeError("Python.h: No such file or directory\nand much more")

    return fails


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (off_by_a_bit, "it is off by "),
        (wrong_without_gradients, "it is off by "),
        (gradient_of_one_branch_lost, "it is off by "),
        (not_a_number, "it is off by nan from the plain one in float32"),
        (gradients_that_are_no_numbers, "it is off by nan from the plain one in float32"),
        (no_compiler, "RuntimeError: Python.h: No such file or directory"),
    ],
)
@pytest.mark.parametrize("module", [pqn_encoders, distribution_network], ids=["pqn", "c51"])
def test_a_block_that_is_wrong_or_raises_is_left_out_with_its_reason(monkeypatch, module, broken, reason):
    require_native()
    monkeypatch.setattr(module, "fused_block", broken(module.fused_block))
    network = pqn_encoders.HadamaxEncoder() if module is pqn_encoders else distribution_network.HadamaxC51Encoder()
    paths = fast.use_fused_blocks(network, CPU, plain=False)
    assert paths.taken == ()
    assert [line.partition(": ")[0] for line in paths.missed] == [f"{fast.FUSED_BLOCK} in conv{i}" for i in (1, 2, 3)]
    assert reason in paths.missed[0]
    with torch.no_grad():
        assert network(torch.zeros(1, 4, 84, 84, dtype=torch.uint8)).isfinite().all()


def test_a_block_that_ignores_scale_and_bias_is_left_out(monkeypatch):
    require_native()
    monkeypatch.setattr(pqn_encoders, "fused_block", no_scale_or_bias(pqn_encoders.fused_block))
    paths = fast.use_fused_blocks(pqn_encoders.HadamaxEncoder(), CPU, plain=False)
    assert paths.taken == ()
    assert len(paths.missed) == 3


def test_the_block_is_proven_in_the_type_that_the_network_computes_in(monkeypatch):
    require_native()
    seen = []
    block = pqn_encoders.fused_block
    monkeypatch.setattr(pqn_encoders, "fused_block", lambda a, *rest: seen.append(a.dtype) or block(a, *rest))
    network = build_q_network("hadamax", 6, torch.Generator().manual_seed(0))
    use_precision(network, "bf16")
    assert fast.use_fused_blocks(network, CPU, plain=False).taken == (fast.FUSED_BLOCK,)
    assert seen == [torch.bfloat16] * 6  # three layers, with gradients and without


def test_a_proof_draws_from_no_stream_of_torch():
    require_native()
    layer = layers()[0]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert why_not_fused(layer, CPU, torch.float32) is None
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("encoder", ["hadamax", "hadamax-relu", "hadamax-no-product", "hadamax-c51"])
def test_no_window_of_a_proof_is_decided_by_rounding(monkeypatch, encoder, dtype):
    """Two products that are nearly the same: a right kernel whose last digit differs sends the gradient elsewhere."""
    joined = trials._joined

    def off_by_three_millionths(layer, branches, *, fused):
        """In the place of the fused block, the plain composition of branches that are off; exact."""
        exact = [branch.double() for branch in branches]
        if fused:
            exact = [branch * (1 + 3e-6 * torch.randn(branch.shape, generator=noise)) for branch in exact]
        return joined(layer.double(), exact, fused=False)

    monkeypatch.setattr(trials, "_joined", off_by_three_millionths)
    monkeypatch.setattr(trials, "BLOCK_TOLERANCES", dict.fromkeys(TYPES, 1e-2))  # a gradient elsewhere is more
    for seed in range(4):
        noise = torch.Generator().manual_seed(seed)
        for layer in (module for module in load_encoder(encoder, ENCODERS).modules() if hasattr(module, "fused")):
            assert why_not_fused(layer, CPU, dtype) is None


# Graphs -----------------------------------------------------------------------------------------------------------


def learner():
    network = build_q_network("nature-layernorm", 6, torch.Generator().manual_seed(0))
    optimizer = RAdam(network.parameters(), lr=1e-3, capturable=True)
    return network, optimizer, lambda *batch: train_minibatch(network, optimizer, *batch, 10.0)


def proof(record):
    network, optimizer, update = learner()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    found = why_not_captured(update, network, optimizer, [made_up(8, 6, seed, CPU) for seed in range(2)], record)
    assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))
    assert all(not value.any() for state in optimizer.state.values() for value in state.values())
    return found


def replays_nothing(work, inputs, undo):
    _, outputs = recorded_on_a_cpu(work, inputs, undo)
    return lambda: None, outputs


def reads_its_first_inputs_for_ever(work, inputs, undo):
    return recorded_on_a_cpu(work, [tensor.clone() for tensor in inputs], undo)


def leaves_the_warm_up_in_the_weights(work, inputs, undo):
    return recorded_on_a_cpu(work, inputs, lambda: None)


def cannot_be_captured(work, inputs, undo):
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nCompile with ...")


def test_a_faithful_recording_is_proven_and_leaves_no_trace():
    assert proof(recorded_on_a_cpu) is None


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (replays_nothing, "its outputs are off by"),
        (reads_its_first_inputs_for_ever, "its outputs are off by"),
        (leaves_the_warm_up_in_the_weights, "its outputs are off by"),
        (cannot_be_captured, "RuntimeError: CUDA error: operation not permitted when stream is capturing"),
    ],
)
def test_a_recording_that_does_something_else_is_left_out_with_its_reason(record, reason):
    assert proof(record).startswith(reason)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation"),
        RuntimeError("CUDA error: out of memory\nCompile with ..."),
        RuntimeError("Triton Error [CUDA]: out of memory"),
        RuntimeError("CUDA driver error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
    ids=["torch", "cuda", "triton", "driver", "cublas", "cudnn"],
)
def test_a_full_gpu_is_no_verdict_on_a_path_but_an_error_that_says_what_to_do(error):
    """A run that began without the path, only because the GPU was full for a moment, could never be resumed."""

    def full(work, inputs, undo):
        raise error

    with pytest.raises(torch.OutOfMemoryError, match="too little free memory") as raised:
        proof(full)
    assert "end what else uses it, or give fewer --jobs" in str(raised.value)
    assert str(error).splitlines()[0] in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("how", ["cause", "context"])
def test_a_full_gpu_behind_another_error_is_seen(how):
    def full(work, inputs, undo):
        try:
            raise RuntimeError("Triton Error [CUDA]: Out Of Memory")
        except RuntimeError as error:
            if how == "cause":
                raise ValueError("the kernel could not be loaded") from error
            raise ValueError("the kernel could not be loaded")  # noqa: B904

    with pytest.raises(torch.OutOfMemoryError, match="Out Of Memory"):
        proof(full)


def test_errors_that_are_each_others_cause_are_looked_at_once():
    def fails(work, inputs, undo):
        first, second = ValueError("first"), ValueError("second")
        first.__cause__, second.__cause__ = second, first
        raise first

    assert proof(fails) == "ValueError: first"


@pytest.fixture
def lost_gpu(monkeypatch):
    """A GPU that answers nothing after an illegal access."""

    def synchronize(_device=None):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with ...")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)


def test_a_path_that_breaks_the_gpu_is_an_error_that_names_it_and_what_to_do(lost_gpu):
    """The plain path would fail as well, and its error would say nothing of the cause."""
    with pytest.raises(DeviceLost) as raised:
        proof(cannot_be_captured)
    assert str(raised.value) == (
        'the fast path "CUDA graph of the update" failed and made the GPU useless to this process (RuntimeError: CUDA '
        "error: operation not permitted when stream is capturing; then RuntimeError: CUDA error: an illegal memory "
        "access was encountered): run again with --plain, which takes no fast path"
    )


def test_where_the_gpu_is_lost_nothing_is_undone(lost_gpu, monkeypatch):
    """Undoing would raise in place of the reason."""
    network, optimizer, _ = learner()
    monkeypatch.setattr(trials, "remember_learner", lambda *_: lambda: pytest.fail("the GPU is lost"))
    batches = [made_up(8, 6, seed, CPU) for seed in range(2)]

    def broken(*_batch):
        raise RuntimeError("CUDA error: misaligned address")

    with pytest.raises(DeviceLost, match=f'"{fast.UPDATE_GRAPH}" failed'):
        why_not_captured(broken, network, optimizer, batches, recorded_on_a_cpu)


def test_a_lost_gpu_is_told_once_by_the_path_that_lost_it(lost_gpu):
    def inner():
        raise RuntimeError("misaligned address")

    with pytest.raises(DeviceLost, match='the fast path "inner" failed') as raised:
        attempt(lambda: attempt(inner, "inner"), "outer")
    assert "outer" not in str(raised.value)


def test_a_gpu_that_answers_after_an_error_is_not_lost(lost_gpu, monkeypatch):
    asked = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: asked.append(1))
    assert proof(cannot_be_captured).startswith("RuntimeError: CUDA error: operation not permitted")
    assert asked == [1]


def test_a_recording_that_loses_the_step_is_noticed():
    """Right outputs, and weights that stay: a graph that holds the memory of other weights."""
    network, optimizer, update = learner()

    def steps_elsewhere(work, inputs, undo):
        replay, outputs = recorded_on_a_cpu(work, inputs, undo)
        calls = []

        def once():
            replay()
            calls.append(None)
            if len(calls) == 2:
                undo()

        return once, outputs

    batches = [made_up(8, 6, seed, CPU) for seed in range(2)]
    assert why_not_captured(update, network, optimizer, batches, steps_elsewhere).startswith("its steps are off by")


def test_an_update_that_can_not_be_captured_runs_plain_on_a_gpu(monkeypatch):
    network, optimizer, update = learner()
    monkeypatch.setattr(fast, "why_not_captured", lambda *_, **__: "its outputs are off by 1.0e+00 from eager ones")
    taken, paths = fast.captured(
        update, network, optimizer, torch.device("cuda"), plain=False, batches=lambda: [made_up(8, 6, 0, CPU)] * 2
    )
    assert taken is update
    assert paths == fast.Paths(missed=(f"{fast.UPDATE_GRAPH}: its outputs are off by 1.0e+00 from eager ones",))


@pytest.mark.gpu
def test_the_update_of_pqn_proves_itself_on_a_gpu(cuda):
    network, optimizer, _ = learner()
    network.to(cuda)
    batches = [made_up(64, 6, seed, cuda) for seed in range(2)]
    why_not = why_not_captured(
        lambda *batch: train_minibatch(network, optimizer, *batch, 10.0), network, optimizer, batches
    )
    assert why_not is None


def test_the_inputs_of_a_proof_are_channels_last_and_the_same_every_time():
    first, again = (block_inputs(32, torch.bfloat16) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert all(branch.is_contiguous(memory_format=torch.channels_last) for branch in first)


def test_speed_up_is_how_many_times_faster_the_second_is():
    assert speed_up(lambda: time.sleep(0.05), lambda: time.sleep(0.001), CPU, repeats=2) > 1
