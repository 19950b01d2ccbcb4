#!/bin/bash
# What:   torchebm 0.8.9 with PyTorch 2.14.1, ScoreMatching(hessian_method="approx"), the training of an energy by score
#         matching without the exact Hessian, which is slow.
# Source: _approx_score_matching in torchebm/losses/score_matching.py estimates the trace of the Hessian by finite
#         differences, and divides it by the number of dimensions. The squared gradient beside it is a sum over them.
# Guess:  both methods have one minimum, the energy of the data; "approx" reaches it with more noise. Its docstring
#         promises "a finite-difference approximation for the Hessian trace".
# Seen:   "approx" minimizes the squared gradient less a d-th part of the trace. For normal data of variance 1 in d
#         dimensions, an energy with one parameter learns the variance d: 4 in 4 dimensions, 16 in 16, 64 in 64, and
#         Langevin samples of it spread as far. "exact" and SlicedScoreMatching learn 1. On data in one dimension all
#         agree. No warning; the loss falls as it should, to another number.
# Date:   2026-11-29
# Why:    "approx" is what one takes where there are many dimensions, and there the energy is the flattest. On images
#         of 28 x 28 it would be 784 times too weak, which looks like a sampler that does not find the data, or like a
#         network that is too small.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torchebm==0.8.9
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torchebm.core import BaseModel
from torchebm.losses import ScoreMatching, SlicedScoreMatching
from torchebm.samplers import LangevinDynamics

warnings.simplefilter("error")


class Energy(BaseModel):
    """The energy of a normal distribution around 0, whose variance is 1 / precision."""

    def __init__(self, precision):
        super().__init__()
        self.precision = torch.nn.Parameter(torch.tensor(precision))

    def forward(self, x):
        return 0.5 * self.precision * x.square().sum(dim=1)


METHODS = {"exact": lambda energy: ScoreMatching(energy, hessian_method="exact"),
           "approx": lambda energy: ScoreMatching(energy, hessian_method="approx"),
           "sliced": SlicedScoreMatching}


def learned(method, dims):
    """The variance that an energy learns of normal data of variance 1; the loss is a parabola, and ten steps do."""
    torch.manual_seed(0)
    energy = Energy(0.5)
    loss = METHODS[method](energy)
    optimizer = torch.optim.SGD(energy.parameters(), lr=0.5 / dims)
    for _ in range(10):
        optimizer.zero_grad()
        loss(torch.randn(4_096, dims)).backward()
        optimizer.step()
    return 1 / energy.precision.item()


for dims in (1, 4, 16, 64):
    variances = {method: learned(method, dims) for method in METHODS if method != "exact" or dims < 64}
    print(f"dimensions: {dims}; the variance that is learned of data of variance 1:",
          ", ".join(f"{method} {variance:.2f}" for method, variance in variances.items()))
    for method, variance in variances.items():
        assert abs(variance / (dims if method == "approx" else 1) - 1) < 0.15

torch.manual_seed(0)
x, right = torch.randn(4_096, 16), Energy(1.0)
losses = {method: METHODS[method](right)(x).item() for method in METHODS}
print("loss of the right energy in 16 dimensions:", {method: round(loss, 1) for method, loss in losses.items()})
assert abs(losses["exact"] + 8) < 0.5 and abs(losses["sliced"] + 8) < 0.5 and abs(losses["approx"] - 7) < 0.5

for method in ("sliced", "approx"):
    torch.manual_seed(0)
    sampler = LangevinDynamics(Energy(1 / learned(method, 16)), step_size=0.1)
    samples = sampler.sample(x=torch.randn(1_000, 16), n_steps=800)
    print(f"Langevin samples in 16 dimensions after {method}: variance {samples.var():.2f}")
    assert abs(samples.var() / (16 if method == "approx" else 1) - 1) < 0.2
print("As described: the trace of the Hessian is divided by the number of dimensions, and the energy is too flat.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
