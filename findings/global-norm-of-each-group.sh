#!/bin/bash
# What:   paddlepaddle 3.3.1 on the CPU, an optimizer with grad_clip=ClipGradByGlobalNorm(...) and parameter groups.
# Source: Optimizer.step in paddle/optimizer/optimizer.py (AdamW has its own) hands the groups to _apply_optimize one
#         after another, and that clips what it is given. The docstring of ClipGradByGlobalNorm, in paddle/nn/clip.py,
#         takes the norm over "the gradients of all parameters set in optimizer".
# Guess:  the clip was given to the optimizer, so the norm is that of all its gradients, and writing the same parameters
#         as one list or as several groups with the same settings is the same, as it is without clipping.
# Seen:   each group has a norm and a factor of its own. Twelve groups clipped to 1 make a step of length 3.46, the root
#         of 12, where one list makes one of length 1. It points elsewhere, too: gradients of length 8, 80 and 800 make
#         steps of 0.010, 0.099 and 0.995 as a list and of 1, 1 and 1 in groups. A denoiser of 8 parts, trained by SGD
#         with rate and bound 1, has a loss of 0.88 after 400 steps as a list, and NaN with a group for each part.
# Date:   2026-11-29
# Why:    groups are how biases and norms get no weight decay, how a new head gets another learning rate, and how rates
#         fall from layer to layer. With two the bound is 1.41 times what was asked for, with 24 it is 4.9
#         times, and a recipe ported from PyTorch, where clip_grad_norm_ sees all parameters, trains otherwise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q paddlepaddle==3.3.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import numpy as np
import paddle
from paddle import nn

paddle.set_device("cpu")


def optimizer(kind, blocks, grouped, rate, bound):
    blocks = [list(block) for block in blocks]
    parameters = [{"params": block} for block in blocks] if grouped else sum(blocks, [])
    clip = nn.ClipGradByGlobalNorm(bound) if bound else None
    return kind(learning_rate=rate, parameters=parameters, grad_clip=clip)


def lengths(sizes, grouped, bound):
    """The length of the step of each weight, with gradients of the given lengths."""
    weights = [paddle.create_parameter([16], "float32") for _ in sizes]
    before = [weight.numpy().copy() for weight in weights]
    sgd = optimizer(paddle.optimizer.SGD, [[weight] for weight in weights], grouped, 1.0, bound)
    sum(size / 4 * weight.sum() for size, weight in zip(sizes, weights)).backward()
    sgd.step()
    return np.array([np.linalg.norm(weight.numpy() - old) for weight, old in zip(weights, before)])


for sizes in ([8.0, 80.0, 800.0], [5.0] * 12):
    one, groups = lengths(sizes, False, 1.0), lengths(sizes, True, 1.0)
    free = [lengths(sizes, grouped, None) for grouped in (False, True)]
    print(f"gradients {sizes[:3]}...: steps {one[:3].round(3)} and {np.linalg.norm(one):.2f} in all as a list, "
          f"{groups[:3].round(3)} and {np.linalg.norm(groups):.2f} in groups")
    assert abs(np.linalg.norm(one) - 1) < 1e-3 and np.allclose(one, np.array(sizes) / np.linalg.norm(sizes), atol=1e-3)
    assert np.allclose(groups, 1, atol=1e-3)
    assert np.allclose(free[0], free[1]) and np.allclose(free[0], sizes, rtol=1e-3)


class Denoiser(nn.Layer):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Linear(2, 32), nn.Linear(32, 2)
        self.blocks = nn.LayerList([nn.Sequential(nn.Linear(32, 32), nn.Silu(), nn.Linear(32, 32)) for _ in range(6)])

    def forward(self, x):
        x = self.enter(x)
        for block in self.blocks:
            x = x + block(x)
        return self.leave(x)


def train(kind, grouped, rate, bound, steps=400):
    paddle.seed(0)
    rng, network = np.random.default_rng(0), Denoiser()
    parts = [network.enter, *network.blocks, network.leave]
    steps_of = optimizer(kind, [part.parameters() for part in parts], grouped, rate, bound)
    losses = []
    for _ in range(steps):
        angle, noise = rng.uniform(0, 2 * np.pi, 128), rng.standard_normal((128, 2))
        clean = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        noised = paddle.to_tensor((clean + 0.3 * noise).astype("float32"))
        loss = ((network(noised) - paddle.to_tensor(noise.astype("float32"))) ** 2).mean()
        loss.backward()
        steps_of.step()
        steps_of.clear_grad()
        losses.append(float(loss))
    return np.mean(losses[-50:])


one, groups = train(paddle.optimizer.SGD, False, 1.0, 1.0), train(paddle.optimizer.SGD, True, 1.0, 1.0)
print(f"SGD with learning rate 1, clipped to 1: loss {one:.2f} as a list, {groups:.2f} in groups")
assert one < 1.5 and not groups < 10
print("As described: each group is clipped by its own norm.")
PY
OMP_NUM_THREADS=1 GLOG_minloglevel=3 "$dir/venv/bin/python" -W ignore "$dir/probe.py"
