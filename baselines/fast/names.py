"""What the fast paths are called wherever they are told, and the error of one that breaks its GPU."""

FUSED_BLOCK = "fused Hadamax block"
FOURIER = "Hadamax convolutions by Fourier transforms"
ONE_CONVOLUTION = "both Hadamax branches as one convolution"
FUSED_INPUT = "fused cast and scale of frames"
FUSED_NORM = "fused LayerNorm and ReLU"
EPOCH_GRAPH = "CUDA graph of an epoch, its minibatches gathered in it"
UPDATE_GRAPH = "CUDA graph of the update"
ROLLOUT_GRAPH = "CUDA graph of the rollout step, frames stacked on the GPU"
ACTING_GRAPH = "CUDA graph of acting, frames stacked on the GPU"
KEPT_MEMORY = "freed memory kept"


class DeviceLost(RuntimeError):
    """A fast path failed so that this process can compute nothing more on its GPU; the message is one line."""
