#!/bin/bash
# What:   prodigyopt 1.1.2, Prodigy with weight_decay and a parameter group at learning rate 0, which it supports: its
#         error message for other rates says that they are "only supported for values of 0".
# Source: step in prodigyopt/prodigy.py leaves a group at 0 out of the moments and of the estimate of d, but then decays
#         its weights by weight_decay * d * lr with the largest rate of all groups.
# Guess:  a group at rate 0 stays as it is: decoupled weight decay is multiplied by the rate, as in PyTorch's AdamW.
# Seen:   the gradient is left out and the decay is not. In 300 steps a group at 0 loses 6 % of its size with
#         weight_decay=0.01 and 46 % with 0.1, where the estimate d is 0.02. AdamW leaves it as it is. With
#         weight_decay=0 Prodigy does, too. No warning.
# Date:   2026-11-29
# Why:    the text encoder, or the first layers, of a diffusion model are put to rate 0 after some epochs, by a schedule
#         of their group. They shrink from then on, all weights alike, at the rate of the part that is trained.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 prodigyopt==1.1.2
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from prodigyopt import Prodigy

warnings.simplefilter("error")


def at_rate_zero(kind, rate, decay, steps=300):
    """What is left of a group at rate 0 beside one that is trained, whether it has only shrunk, and Prodigy's d."""
    generator = torch.Generator().manual_seed(0)
    trained, resting, target = (torch.randn(64, 64, generator=generator) / 8 for _ in range(3))
    first = resting.clone()
    trained, resting = torch.nn.Parameter(trained), torch.nn.Parameter(resting)
    optimizer = kind([{"params": [trained], "lr": rate}, {"params": [resting], "lr": 0.0}], weight_decay=decay)
    for _ in range(steps):
        x = torch.randn(32, 64, generator=generator)
        loss = (x @ trained @ resting - x @ target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    left = (resting.norm() / first.norm()).item()
    assert torch.allclose(resting, left * first, atol=1e-5)
    return left, optimizer.param_groups[0].get("d", 1)


for kind, rate in ((torch.optim.AdamW, 1e-3), (Prodigy, 1.0)):
    for decay in (0.0, 0.01, 0.1):
        left, d = at_rate_zero(kind, rate, decay)
        print(f"{kind.__name__}, weight_decay {decay}: {left:.1%} of the group at 0 is left; d is {d:.3f}")
        if kind is Prodigy and decay:
            assert {0.01: 0.92, 0.1: 0.4}[decay] < left < {0.01: 0.97, 0.1: 0.7}[decay] and 0.01 < d < 0.04
        else:
            assert left == 1
print("As described: a group at learning rate 0 is not trained, and decays at the rate of the others.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
