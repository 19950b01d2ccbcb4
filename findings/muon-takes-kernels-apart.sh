#!/bin/bash
# What:   muon-optimizer 0.1.0 (the authors' Muon), on the kernels of Conv1d and Conv3d, as of audio and video models.
# Source: muon_update in muon.py flattens an update to a matrix where it has four axes only. With three or five axes it
#         goes as it is to zeropower_via_newtonschulz5, which takes the last two axes of it for a batch of matrices.
# Guess:  the docstring says of convolutions that their weights are seen as 2D: a kernel (out, in, ...) becomes the
#         matrix (out, in * ...), and its update is made orthogonal, of the size that the learning rate stands for.
# Seen:   each output of a Conv1d (in x 3), each 3 x 3 slice of a Conv3d is made orthogonal by itself. Of 64 x 64
#         channels a step is 8 times (Conv1d) and 29 times (Conv3d) as long as that of the flattened kernel, which is
#         that of a linear layer, and its largest singular value is 9 and 29 times as large. With the default lr=0.02
#         one step of the Conv3d is three quarters as long as its initial weights. No warning.
# Date:   2026-11-29
# Why:    in a video or audio model the rate that suits the linear layers destroys the convolutions, or the rate that
#         the convolutions stand lets the linear layers learn hardly anything. It looks as if Muon does not work there.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 muon-optimizer==0.1.0
cat > "$dir/probe.py" <<'PY'
import math
import warnings

import torch
from muon import SingleDeviceMuon
from torch import nn

warnings.simplefilter("error")
CHANNELS, RATE = 64, 0.02


def step(weight, gradient):
    """The first step of Muon, as a matrix with a row for each output."""
    weight = nn.Parameter(weight.detach().clone())
    first = weight.detach().clone()
    weight.grad = gradient.clone()
    SingleDeviceMuon([weight], lr=RATE).step()
    return (weight.detach() - first).flatten(1)


def size(matrix):
    return matrix.norm().item(), torch.linalg.matrix_norm(matrix, 2).item()


torch.manual_seed(0)
for kind, low, high in ((nn.Linear, 0.99, 1.01), (nn.Conv1d, 7, 9), (nn.Conv3d, 25, 35)):
    layer = kind(CHANNELS, CHANNELS, **({} if kind is nn.Linear else {"kernel_size": 3}))
    gradient = torch.randn_like(layer.weight)
    norm, largest = size(step(layer.weight, gradient))
    flat_norm, flat_largest = size(step(layer.weight.flatten(1), gradient.flatten(1)))
    share = norm / layer.weight.norm().item()
    print(f"{kind.__name__}: a step is {norm / flat_norm:.1f} times as long as that of its matrix, its largest",
          f"singular value {largest / flat_largest:.1f} times as large; it is {share:.0%} of the weights")
    assert low < norm / flat_norm < high and abs(flat_norm / (RATE * math.sqrt(CHANNELS)) - 0.9) < 0.2
    assert (largest / flat_largest > 5) == (kind is not nn.Linear)
assert share > 0.6
print("As described: kernels with three or five axes are not seen as one matrix, and their steps are far too long.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
