"""The Triton kernels of the Hadamax block, which `triton_block` launches; imported only where triton is installed.

Sizes of images are not specialised on: a kernel that was proven on small images is the very one that trains.
"""

import triton
import triton.language as tl


@triton.jit
def _gate(y, NORMED: tl.constexpr, RECTIFIED: tl.constexpr):
    """What ReLU or GELU multiplies y by: of GELU, the exact form for the image norm, else the tanh form."""
    if RECTIFIED:
        return tl.where(y > 0.0, 1.0, 0.0)
    if NORMED:
        return 0.5 * (1.0 + tl.erf(y * 0.7071067811865476))
    return 1.0 / (1.0 + tl.exp(y * (1.0 + 0.044715 * y * y) * -1.5957691216057308))  # 2 sqrt(2 / pi)


@triton.jit
def _slope(y, gate, NORMED: tl.constexpr, RECTIFIED: tl.constexpr):
    """The derivative of the same."""
    if RECTIFIED:
        return gate
    if NORMED:
        return gate + y * tl.exp(-0.5 * y * y) * 0.3989422804014327
    return gate + y * gate * (1.0 - gate) * (1.0 + 3.0 * 0.044715 * y * y) * 1.5957691216057308


@triton.jit
def _normed(x, epsilon, C: tl.constexpr, NORMED: tl.constexpr):
    """[pixels, C] to mean 0 and variance 1 over channels, and the inverse deviation [pixels, 1]."""
    if NORMED:
        return x, tl.full((x.shape[0], 1), 1.0, tl.float32)
    x -= tl.sum(x, axis=1, keep_dims=True) / C
    inverse = 1.0 / tl.sqrt(tl.sum(x * x, axis=1, keep_dims=True) / C + epsilon)
    return x * inverse, inverse


@triton.jit
def _through_norm(gradient, normed, inverse, C: tl.constexpr):
    """From the gradient of a norm's output to that of its input; [pixels, C]."""
    mean = tl.sum(gradient, axis=1, keep_dims=True) / C
    along = tl.sum(gradient * normed, axis=1, keep_dims=True) / C
    return inverse * (gradient - mean - normed * along)


@triton.jit
def _affine(scale_at, bias_at, channels, NORMED: tl.constexpr):
    if NORMED:
        return tl.full(channels.shape, 1.0, tl.float32), tl.full(channels.shape, 0.0, tl.float32)
    return tl.load(scale_at + channels).to(tl.float32), tl.load(bias_at + channels).to(tl.float32)


@triton.jit(do_not_specialize=["height", "width", "rows", "padding"])
def forward_kernel(
    a_at,
    b_at,
    scale_a_at,
    bias_a_at,
    scale_b_at,
    bias_b_at,
    out_at,
    argmax_at,
    height,
    width,
    rows,
    padding,
    epsilon,
    SIZE: tl.constexpr,
    STRIDE: tl.constexpr,
    WINDOW: tl.constexpr,
    C: tl.constexpr,
    PITCH: tl.constexpr,
    SHARE: tl.constexpr,
    NORMED: tl.constexpr,
    RECTIFIED: tl.constexpr,
    SINGLE: tl.constexpr,
    KEEP_ARGMAX: tl.constexpr,
):
    """One pooling window a program."""
    window = tl.program_id(0)
    image = window // (rows * rows)
    place = window % (rows * rows)
    k = tl.arange(0, WINDOW)[:, None]
    channels = tl.arange(0, C)[None, :]
    y = (place // rows) * STRIDE - padding + k // SIZE
    x = (place % rows) * STRIDE - padding + k % SIZE
    inside = (k < SIZE * SIZE) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    at = image.to(tl.int64) * (height * width * C * SHARE) + (y * width + x) * PITCH + channels
    a, _ = _normed(tl.load(a_at + at, mask=inside, other=0.0).to(tl.float32), epsilon, C, NORMED)
    scale_a, bias_a = _affine(scale_a_at, bias_a_at, channels, NORMED)
    a = a * scale_a + bias_a
    product = a * _gate(a, NORMED, RECTIFIED)
    if not SINGLE:
        b, _ = _normed(tl.load(b_at + at, mask=inside, other=0.0).to(tl.float32), epsilon, C, NORMED)
        scale_b, bias_b = _affine(scale_b_at, bias_b_at, channels, NORMED)
        b = b * scale_b + bias_b
        product = product * b * _gate(b, NORMED, RECTIFIED)
    product = tl.where(inside, product, float("-inf"))
    best, where = tl.max(product, axis=0, return_indices=True, return_indices_tie_break_left=True)
    to = window.to(tl.int64) * C + tl.arange(0, C)
    tl.store(out_at + to, best)
    if KEEP_ARGMAX:
        tl.store(argmax_at + to, where.to(tl.uint8))


@triton.jit(do_not_specialize=["pixels", "tiles_each", "programs", "height", "width", "rows", "padding"])
def backward_kernel(
    a_at,
    b_at,
    scale_a_at,
    bias_a_at,
    scale_b_at,
    bias_b_at,
    gradient_at,
    argmax_at,
    grad_a_at,
    grad_b_at,
    sums_at,
    pixels,
    tiles_each,
    programs,
    height,
    width,
    rows,
    padding,
    epsilon,
    SIZE: tl.constexpr,
    STRIDE: tl.constexpr,
    REACH: tl.constexpr,  # windows over a pixel along one axis, at most
    C: tl.constexpr,
    PITCH: tl.constexpr,
    SHARE: tl.constexpr,
    PIXELS: tl.constexpr,
    NORMED: tl.constexpr,
    RECTIFIED: tl.constexpr,
    SINGLE: tl.constexpr,
):
    """Some tiles of pixels a program."""
    program = tl.program_id(0)
    channels = tl.arange(0, C)[None, :]
    scale_a, bias_a = _affine(scale_a_at, bias_a_at, channels, NORMED)
    if not SINGLE:
        scale_b, bias_b = _affine(scale_b_at, bias_b_at, channels, NORMED)
    sum_scale_a = tl.zeros((PIXELS, C), tl.float32)
    sum_bias_a = tl.zeros((PIXELS, C), tl.float32)
    sum_scale_b = tl.zeros((PIXELS, C), tl.float32)
    sum_bias_b = tl.zeros((PIXELS, C), tl.float32)
    for tile in range(tiles_each):
        pixel = (tile * programs + program) * PIXELS + tl.arange(0, PIXELS)[:, None]
        there = pixel < pixels
        image = pixel // (height * width)
        y = pixel // width % height + padding
        x = pixel % width + padding
        came = tl.zeros((PIXELS, C), tl.float32)
        for back_y in tl.static_range(REACH):
            oy = y // STRIDE - back_y
            dy = y - oy * STRIDE
            for back_x in tl.static_range(REACH):
                ox = x // STRIDE - back_x
                dx = x - ox * STRIDE
                valid = there & (oy >= 0) & (oy < rows) & (dy < SIZE) & (ox >= 0) & (ox < rows) & (dx < SIZE)
                at = ((image.to(tl.int64) * rows + oy) * rows + ox) * C + channels
                where = tl.load(argmax_at + at, mask=valid, other=255).to(tl.int32)
                sent = tl.load(gradient_at + at, mask=valid, other=0.0).to(tl.float32)
                came += tl.where(valid & (where == dy * SIZE + dx), sent, 0.0)
        if PITCH == C * SHARE:  # images follow each other without a gap
            at = pixel.to(tl.int64) * PITCH + channels
        else:
            place = pixel % (height * width)
            at = image.to(tl.int64) * (height * width * C * SHARE) + place * PITCH + channels
        a, inverse_a = _normed(tl.load(a_at + at, mask=there, other=0.0).to(tl.float32), epsilon, C, NORMED)
        in_a = a * scale_a + bias_a
        gate_a = _gate(in_a, NORMED, RECTIFIED)
        if SINGLE:
            to_a = came * _slope(in_a, gate_a, NORMED, RECTIFIED)
        else:
            b, inverse_b = _normed(tl.load(b_at + at, mask=there, other=0.0).to(tl.float32), epsilon, C, NORMED)
            in_b = b * scale_b + bias_b
            gate_b = _gate(in_b, NORMED, RECTIFIED)
            to_a = came * in_b * gate_b * _slope(in_a, gate_a, NORMED, RECTIFIED)
            to_b = came * in_a * gate_a * _slope(in_b, gate_b, NORMED, RECTIFIED)
            if not NORMED:
                sum_scale_b += to_b * b
                sum_bias_b += to_b
                to_b = _through_norm(to_b * scale_b, b, inverse_b, C)
            tl.store(grad_b_at + at, to_b, mask=there)
        if not NORMED:
            sum_scale_a += to_a * a
            sum_bias_a += to_a
            to_a = _through_norm(to_a * scale_a, a, inverse_a, C)
        tl.store(grad_a_at + at, to_a, mask=there)
    if not NORMED:
        to = sums_at + program * (2 if SINGLE else 4) * C + tl.arange(0, C)
        tl.store(to, tl.sum(sum_scale_a, axis=0))
        tl.store(to + C, tl.sum(sum_bias_a, axis=0))
        if not SINGLE:
            tl.store(to + 2 * C, tl.sum(sum_scale_b, axis=0))
            tl.store(to + 3 * C, tl.sum(sum_bias_b, axis=0))
