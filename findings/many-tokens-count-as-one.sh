#!/bin/bash
# What:   torchinfo 1.8.0, summary(model, input_size=...).total_mult_adds, the multiplications and additions of a model.
# Source: LayerInfo.calculate_macs in torchinfo/layer_info.py multiplies the weights of a layer that is no convolution
#         by output_size[0], the batch, and those of any convolution by the pixels of its OUTPUT. Issue 77 reported the
#         linear layers; the fix (pull request 318) came after 1.8.0, the newest release.
# Guess:  a linear layer on 256 tokens is counted 256 times, as a 1 x 1 convolution on 16 x 16 pixels is; a transposed
#         convolution uses each weight once for each pixel of its INPUT.
# Seen:   the MLP of a transformer block costs the same on 1, 16 and 256 tokens, 1/256 of its work on the last. The same
#         two layers as 1 x 1 convolutions are counted fully. A transposed convolution of stride 2 counts four times.
#         PyTorch's own FlopCounterMode has both right. No warning.
# Date:   2026-11-29
# Why:    tables that compare a U-Net with a diffusion transformer, a teacher with its student, or patches of 2 with
#         patches of 4 say that transformers are nearly free and that smaller patches cost no more.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torchinfo==1.8.0
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchinfo import summary

warnings.simplefilter("error")
WIDTH = 64


def counted(name, model, shape):
    """What torchinfo counts, against PyTorch's counter (two operations for a multiplication with its addition)."""
    mult_adds = summary(model, input_size=shape, verbose=0).total_mult_adds
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(shape))
    right = counter.get_total_flops() // 2
    print(f"{name}: {mult_adds:,} by torchinfo, {right:,} by PyTorch")
    return mult_adds, right


mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH, bias=False))
weights = sum(weight.numel() for weight in mlp.parameters())
for tokens in (1, 16, 256):
    assert counted(f"MLP on {tokens} tokens", mlp, (1, tokens, WIDTH)) == (weights, tokens * weights)

convolutions = nn.Sequential(nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False), nn.GELU(),
                             nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False))
mult_adds, right = counted("the same by 1 x 1 convolutions, 16 x 16 pixels", convolutions, (1, WIDTH, 16, 16))
assert mult_adds == right == 256 * weights

up = nn.ConvTranspose2d(WIDTH, WIDTH, 4, stride=2, padding=1, bias=False)
assert counted("transposed convolution, 16 x 16 pixels to 32 x 32", up, (1, WIDTH, 16, 16)) == (
    1024 * up.weight.numel(), 256 * up.weight.numel())
print("As described: all tokens of a linear layer count as one, a transposed convolution of stride 2 as four.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
