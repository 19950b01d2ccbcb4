#!/bin/bash
# What:   mlx 0.32.4, mlx.optimizers.Muon with its default weight_decay=0.01 (the docstring says "L2 penalty").
# Source: Muon.apply_single in mlx/optimizers/optimizers.py adds weight_decay * weight to the gradient, before momentum
#         and the orthogonalization, which makes all directions of the sum about equally long. In tinygrad 0.14.0
#         (LARS._step in tinygrad/nn/optim.py, with which its Muon is made) the weight itself is shrunk, afterwards.
# Guess:  0.01 times a learning rate of 0.02 shrinks the weights by 0.02 % a step, if at all, and the size of the loss
#         does not matter, since the length of a gradient is lost in the orthogonalization.
# Seen:   where the gradient is much smaller than 0.01 times the weight, the whole step, at full length, is decay. A
#         denoiser whose two hidden matrices are trained by Muon ends at a loss of 0.68, as it does with these matrices
#         held at zero (0.67): the norm of the first falls to 0.4. With weight_decay=0 it ends at 0.49 and the norm is
#         10, and nearly so if the weights are shrunk by rate times 0.01 or 0.1 beside it. With a hundredth of the loss
#         the default's norm is 0.08, while without decay the loss's size makes no difference.
# Date:   2026-11-29
# Why:    Muon is used for the hidden matrices of diffusion transformers, and the losses are means, so gradients are
#         small. The default, or a value from a PyTorch recipe (0.1), takes the trained layers away; gradient clipping,
#         loss weights and accumulation by means, which Muon should not feel, change how far.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q mlx==0.32.4 mlx-cpu==0.32.4
cat > "$dir/probe.py" <<'PY'
import math

import mlx.core as mx
from mlx import nn, optimizers

WIDTH, STEPS, RATE = 24, 400, 0.02
HIDDEN = ("first.weight", "second.weight")


class Denoiser(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Linear(3, WIDTH), nn.Linear(WIDTH, 2)
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def __call__(self, x):
        x = nn.silu(self.enter(x))
        x = x + nn.silu(self.first(x))
        return self.leave(x + nn.silu(self.second(x)))


def batch(n=128):
    """Points of a circle with noise of many levels; the noise is to be found."""
    angle, level = mx.random.uniform(0, 2 * math.pi, (n, 1)), mx.random.uniform(-2.5, 0.5, (n, 1))
    noise, sigma = mx.random.normal((n, 2)), mx.exp(level)
    noised = mx.concatenate([mx.cos(angle), mx.sin(angle)], axis=1) + sigma * noise
    return mx.concatenate([noised / mx.sqrt(1 + sigma**2), level], axis=1), noise


def train(weight_decay, scale=1.0, beside=0.0, start=1.0):
    mx.random.seed(0)
    model = Denoiser()
    for layer in (model.first, model.second):
        layer.weight = start * layer.weight
    muon = optimizers.Muon(RATE if start else 0.0, weight_decay=weight_decay)
    both = optimizers.MultiOptimizer([muon, optimizers.Adam(3e-3)], [lambda name, _: name in HIDDEN])
    gradient = nn.value_and_grad(model, lambda model, x, noise: scale * ((model(x) - noise) ** 2).mean())
    losses = []
    for _ in range(STEPS):
        loss, tree = gradient(model, *batch())
        both.update(model, tree)
        for layer in (model.first, model.second):
            layer.weight = (1 - RATE * beside) * layer.weight
        mx.eval(model.parameters(), both.state, loss)
        losses.append(loss.item() / scale)
    return sum(losses[-100:]) / 100, mx.linalg.norm(model.first.weight).item()


# One step by hand: where the gradient is small, the step is the orthogonalized weight.
weight = mx.random.normal((8, 8)) / math.sqrt(8)
tiny = 1e-4 * mx.random.normal((8, 8))
muon, none = optimizers.Muon(RATE), optimizers.Muon(RATE, weight_decay=0.0)
step = weight - muon.apply_gradients({"weight": tiny}, {"weight": weight})["weight"]
pure = weight - none.apply_gradients({"weight": weight}, {"weight": weight})["weight"]
lengths = mx.linalg.norm(step).item(), mx.linalg.norm(pure).item()
cosine = mx.sum(step * pure).item() / lengths[0] / lengths[1]
print(f"one step with a small gradient has length {lengths[0]:.3f}; the weight, as a gradient, gives {lengths[1]:.3f}; "
      f"the cosine between them is {cosine:.3f}")
assert cosine > 0.98 and abs(lengths[0] / lengths[1] - 1) < 0.1

runs = {"the default, 0.01": train(0.01), "0.1": train(0.1), "0": train(0.0),
        "0, and 0.01 beside it": train(0.0, beside=0.01), "0, and 0.1 beside it": train(0.0, beside=0.1),
        "the default, loss / 100": train(0.01, scale=0.01),
        "0, loss / 100": train(0.0, scale=0.01), "0, both matrices held at zero": train(0.0, start=0.0)}
for name, (loss, norm) in runs.items():
    print(f"weight decay {name}: loss {loss:.3f}, norm of a hidden matrix {norm:.3f}")
(default, small), (large, _), (none, free), (beside, _), (more, _) = list(runs.values())[:5]
(_, smaller), (scaled, same), (zero, _) = list(runs.values())[5:]
assert min(default, large) > 0.97 * zero > 1.2 * max(none, beside, more) and small < 1 < free
assert smaller < small / 2 and abs(scaled - none) < 0.01 and abs(same / free - 1) < 0.02
print("As described: the decay takes the whole step.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
