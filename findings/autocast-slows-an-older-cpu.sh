#!/bin/bash
# What:   torch 2.14.1, bfloat16 on an x86 CPU that has AVX2 and no AVX-512, by torch.autocast("cpu", torch.bfloat16).
# Source: mkldnn_bf16_device_check in aten/src/ATen/native/mkldnn/Utils.h: without AVX-512 oneDNN is not asked, and
#         convolutions and products of matrices take a general way.
# Guess:  numbers are converted to single precision and back, so that bfloat16 costs as much as float32 or a little
#         more, and saves half of the memory.
# Seen:   on one thread of an AMD EPYC a convolution (3 x 3, 64 channels, 8 images of 32 x 32) takes 50 to 70 times as
#         long as in float32, and 16 to 25 times with its backward pass; a product of 512 x 512 matrices 45 to 60 times,
#         sixteen of 256 x 256 together 44 times, a linear layer of 512 features 7 times. Attention takes 1.2 times as
#         long. No warning.
# Date:   2026-11-29
# Why:    scripts that were written for a GPU or a server keep their autocast on a laptop, where a small U-Net then
#         seems to hang, and the network's size gets the blame. torch.amp.is_autocast_available("cpu") is True there;
#         what tells is torch.cpu.get_capabilities().
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import statistics
import sys
import time
import warnings

import torch
import torch.nn.functional as F

warnings.simplefilter("error")
can = torch.cpu.get_capabilities()
if not can.get("avx2") or can.get("avx512_f") or can.get("avx_ne_convert"):
    print("This CPU is of another kind: nothing to see here.")
    sys.exit()
torch.set_num_threads(1)
torch.manual_seed(0)


def seconds(step):
    step()
    times = []
    for _ in range(3):
        since = time.perf_counter()
        step()
        times.append(time.perf_counter() - since)
    return statistics.median(times)


def times_as_long(what, step, *inputs):
    """How many times as long step(*inputs) takes under autocast to bfloat16."""
    plain = seconds(lambda: step(*inputs))
    with torch.autocast("cpu", torch.bfloat16):
        cast = seconds(lambda: step(*inputs))
    print(f"{what}: {1e3 * plain:.1f} ms in float32, {1e3 * cast:.1f} ms in bfloat16, {cast / plain:.1f} times as long")
    return cast / plain


def learn(x):
    convolution(x).float().square().mean().backward()


convolution, linear = torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.Linear(512, 512)
images, matrix, batch = torch.randn(8, 64, 32, 32), torch.randn(512, 512), torch.randn(16, 256, 256)
query = torch.randn(4, 8, 256, 32)
assert torch.amp.is_autocast_available("cpu")
assert times_as_long("convolution with its backward pass", learn, images) > 8
with torch.no_grad():
    assert times_as_long("convolution", convolution, images) > 15
    assert times_as_long("product of two matrices", torch.mm, matrix, matrix) > 15
    assert times_as_long("sixteen products", torch.bmm, batch, batch) > 15
    assert times_as_long("linear layer", linear, matrix) > 2.5
    assert times_as_long("attention", F.scaled_dot_product_attention, query, query, query) < 3
print("As described: bfloat16 is many times slower than float32 where the CPU has no AVX-512.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
