#!/bin/bash
# What:   came-pytorch 0.1.3, CAME, "low memory usage as in memory-efficient methods" (its README), for a network with
#         convolutions, as a U-Net or an autoencoder is.
# Source: step in came_pytorch/CAME.py makes rows and columns of the last two axes of every array. For a convolution
#         these are the height and the width of its kernel, not the channels that go out and in.
# Guess:  the second moments and the residuals of a convolution, seen as the matrix (out, in * height * width), become
#         rows and columns, too: CAME keeps little more than its momentum, about half as much as AdamW.
# Seen:   AdamW keeps 2 numbers for each weight. CAME keeps 1.02 for a linear layer, but 2.33 for a convolution of
#         3 x 3 and 5 for one of 1 x 1. For the residual blocks of a U-Net it is 2.35. No warning.
# Date:   2026-11-29
# Why:    CAME is chosen to fit training into memory (PixArt-Sigma and SANA train their transformers with it). For a
#         U-Net or a decoder it needs more than AdamW does, the more, the smaller the kernels are.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 came-pytorch==0.1.3
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from came_pytorch import CAME
from torch import nn

warnings.simplefilter("error")


def kept(model, kind):
    """Numbers that the optimizer keeps for each weight of the model, after one step."""
    optimizer = kind(model.parameters(), lr=1e-4)
    torch.manual_seed(0)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)
    optimizer.step()
    numbers = sum(value.numel() for state in optimizer.state.values() for value in state.values()
                  if torch.is_tensor(value) and value.dim())
    return numbers / sum(weight.numel() for weight in model.parameters())


class Block(nn.Module):
    """A residual block as diffusion U-Nets have it: two convolutions 3 x 3, the time, a shortcut 1 x 1."""

    def __init__(self, before, after):
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(32, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.time = nn.Linear(512, after)
        self.second = nn.Sequential(nn.GroupNorm(32, after), nn.SiLU(), nn.Conv2d(after, after, 3, padding=1))
        self.shortcut = nn.Conv2d(before, after, 1)


unet = nn.ModuleList([Block(128, 128), Block(128, 256), Block(256, 256), Block(512, 256), Block(384, 128)])
for name, model, low, high in (("linear layer", nn.Linear(256, 256, bias=False), 1, 1.05),
                               ("convolution 3 x 3", nn.Conv2d(256, 256, 3, bias=False), 2.3, 2.4),
                               ("convolution 1 x 1", nn.Conv2d(256, 256, 1, bias=False), 4.99, 5.01),
                               ("U-Net of residual blocks", unet, 2.2, 2.6)):
    came, adam = kept(model, CAME), kept(model, torch.optim.AdamW)
    print(f"{name}: {came:.2f} numbers for each weight by CAME, {adam:.2f} by AdamW")
    assert low < came < high and abs(adam - 2) < 0.01
print("As described: CAME keeps more than AdamW for the convolutions of a U-Net.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
