#!/bin/bash
# What:   pytorch-optimizer 4.1.0, Prodigy and DAdaptAdam (DAdaptSGD, Adan, Lion, AdaGrad too), optimizers that find
#         their own step size, with parameter groups of different learning rates. The rate is a factor, 1 by default.
# Source: step in pytorch_optimizer/optimizer/prodigy.py and dadapt.py reads lr of self.param_groups[0] and gives all
#         groups that. The authors' packages, prodigyopt and dadaptation, refuse other rates than 0 with an error.
# Guess:  the factor of a group holds for the group: at 0.1 it takes smaller steps, at 0 it stays as it is.
# Seen:   a second group at 0.1, or at 0, is trained to the bit as at 1. With the first group at 0 the optimizer never
#         starts: nothing is trained. prodigyopt 1.1.2 leaves a group at 0 alone and trains the other one, and raises
#         an error for 0.1. No warning here.
# Date:   2026-11-29
# Why:    Prodigy is the usual optimizer for LoRA of diffusion models, where a text encoder gets a smaller rate than the
#         denoiser, or 0 once it is to stay as it is. Here it is trained at full rate on. It overfits, and every rate
#         that is tried gives the same result.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 pytorch-optimizer==4.1.0 prodigyopt==1.1.2
cat > "$dir/probe.py" <<'PY'
import warnings

import prodigyopt
import pytorch_optimizer
import torch

warnings.simplefilter("error")


def trained(kind, rates, steps=200):
    """How far the weights of two groups, a product of two matrices, have gone from their start."""
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(32, 32, generator=generator) / 32**0.5 for _ in range(2)]
    target = torch.randn(32, 32, generator=generator) / 32**0.5
    weights = [torch.nn.Parameter(weight.clone()) for weight in start]
    optimizer = kind([{"params": [weight], "lr": rate} for weight, rate in zip(weights, rates)])
    for _ in range(steps):
        x = torch.randn(32, 32, generator=generator)
        loss = (x @ weights[0] @ weights[1] - x @ target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [(weight.detach() - first).norm().item() for weight, first in zip(weights, start)]


for name in ("Prodigy", "DAdaptAdam"):
    kind = getattr(pytorch_optimizer, name)
    same = trained(kind, (1.0, 1.0))
    print(f"{name}, both groups at 1: moved by {same[0]:.3f} and {same[1]:.3f}")
    assert min(same) > 0.5
    for rate in (0.1, 0.0):
        moved = trained(kind, (1.0, rate))
        print(f"{name}, second group at {rate}: moved by {moved[0]:.3f} and {moved[1]:.3f}")
        assert moved == same
moved = trained(pytorch_optimizer.Prodigy, (0.0, 1.0))
print(f"Prodigy, first group at 0: moved by {moved[0]:.3f} and {moved[1]:.3f}")
assert moved == [0, 0]

for rates in ((1.0, 0.0), (0.0, 1.0)):
    moved = trained(prodigyopt.Prodigy, rates)
    print(f"prodigyopt, groups at {rates[0]} and {rates[1]}: moved by {moved[0]:.3f} and {moved[1]:.3f}")
    assert moved[rates.index(0.0)] == 0 and moved[rates.index(1.0)] > 0.5
try:
    trained(prodigyopt.Prodigy, (1.0, 0.1))
    raise SystemExit("no error for a group at 0.1")
except RuntimeError as error:
    print(f"prodigyopt, second group at 0.1: {error}")
print("As described: all groups are trained at the learning rate of the first one.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
