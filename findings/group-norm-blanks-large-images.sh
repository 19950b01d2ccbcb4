#!/bin/bash
# What:   mlx 0.32.4 on the CPU, mlx.nn.GroupNorm (with its default pytorch_compatible=False) and BatchNorm in float16.
# Source: GroupNorm._group_norm and BatchNorm._calc_stats in mlx/nn/layers/normalization.py call mx.mean and mx.var in
#         the type of the activations. In float16 these are infinite once the sum is too large for it: so is the mean of
#         100,000 ones. Issue 4228 of ml-explore/mlx reports this of InstanceNorm, which goes another way by now.
# Guess:  ordinary activations, with a mean near 0 and a standard deviation of 1, come out with a standard deviation of
#         1 whatever the size of the image, as in float32: none of them is anywhere near the limit of float16.
# Seen:   the sum of squares passes 65,504 when a group has that many values, 128 x 128 pixels of 4 channels. The
#         variance is infinite then, and the output is 0 (with the layer's bias, the bias): 12 of 64 channels are blank
#         there, all of them with 8 channels to a group, and at 256 x 256. At 64 x 64 all is well. The gradient is 0,
#         too. BatchNorm with 64 x 64 pixels is right for 8 images and gives zeros for 32, and its running variance is
#         NaN from then on. With pytorch_compatible=True, in bfloat16 and in float32 the standard deviation is 1.
# Date:   2026-11-29
# Why:    groups of that size are usual where images are large: the last blocks of an autoencoder's decoder have 128
#         channels in 32 groups and the full resolution. A network that works on small images, or in small batches,
#         loses all of a layer's input on larger ones, without an error and with finite numbers in the output.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q mlx==0.32.4 mlx-cpu==0.32.4
cat > "$dir/probe.py" <<'PY'
import mlx.core as mx
from mlx import nn


def spread(x):
    return mx.std(x.astype(mx.float32)).item()


def norm(kind, dtype, *options, **more):
    layer = kind(*options, **more)
    layer.set_dtype(dtype)
    return layer


mx.random.seed(0)
assert mx.isinf(mx.mean(mx.ones(100_000, dtype=mx.float16)))
for side, channels in ((64, 4), (128, 4), (128, 8), (256, 4)):
    x = (0.05 + mx.random.normal((1, side, side, 16 * channels))).astype(mx.float16)
    outputs = {dtype: norm(nn.GroupNorm, dtype, 16, 16 * channels)(x.astype(dtype))
               for dtype in (mx.float16, mx.bfloat16, mx.float32)}
    torch_like = norm(nn.GroupNorm, mx.float16, 16, 16 * channels, pytorch_compatible=True)(x)
    instance = norm(nn.InstanceNorm, mx.float16, 16 * channels)(x)
    blank = (mx.max(mx.abs(outputs[mx.float16]), axis=(0, 1, 2)) == 0).sum().item()
    print(f"{side} x {side}, {channels} channels to a group: standard deviation {spread(x):.3f}, after GroupNorm "
          f"{spread(outputs[mx.float16]):.3f} ({blank} of {16 * channels} channels blank), in bfloat16 "
          f"{spread(outputs[mx.bfloat16]):.3f}, in float32 {spread(outputs[mx.float32]):.3f}, "
          f"with pytorch_compatible=True {spread(torch_like):.3f}, InstanceNorm {spread(instance):.3f}")
    for right in (outputs[mx.bfloat16], outputs[mx.float32], torch_like, instance):
        assert abs(spread(right) - 1) < 0.03
    assert mx.isfinite(outputs[mx.float16]).all() and mx.abs(x).max() < 7
    if side == 64:
        assert blank == 0 and abs(spread(outputs[mx.float16]) - 1) < 0.01
    elif (side, channels) == (128, 4):
        assert 0 < blank < 16 * channels
    else:
        assert blank == 16 * channels

for side in (64, 128):
    layer = norm(nn.GroupNorm, mx.float16, 1, 8)
    x = mx.random.normal((1, side, side, 8)).astype(mx.float16)
    gradient = mx.grad(lambda x: (layer(x).astype(mx.float32)[:, ::2] ** 2).sum())(x)
    print(f"{side} x {side}, 8 channels: the largest gradient is {mx.abs(gradient).max().item():.4f}")
    assert mx.isfinite(gradient).all() and (mx.abs(gradient).max() > 1e-3).item() == (side == 64)

for batch in (8, 32):
    layer = norm(nn.BatchNorm, mx.float16, 4)
    x = mx.random.normal((batch, 64, 64, 4)).astype(mx.float16)
    output = layer(x)
    print(f"BatchNorm, {batch} images of 64 x 64: standard deviation {spread(output):.3f}, running variance "
          f"{layer.running_var.tolist()}")
    assert abs(spread(output) - (batch == 8)) < 0.01
    assert mx.isnan(layer.running_var).all().item() == (batch == 32)
print("As described: in float16, large groups come out blank.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
