#!/bin/bash
# What:   rectified-flow-pytorch 0.14.0, MeanFlow.sample(steps=2 or more), and its argument noise.
# Source: slow_sample in rectified_flow_pytorch/mean_flow.py, which sample calls if steps is more than 1, tells the
#         network that each step has length 0 (delta_time), so it takes the plain velocity at the start of the step. The
#         mean velocity over a step, which MeanFlow trains, is used with steps=1 alone. Nor does sample hand noise on.
#         In the same package SoFlow's slow_sample gives the network both ends of the step, and takes the noise.
# Guess:  the mean flow of each step, so that with the exact network all numbers of steps give the same samples, and
#         those that belong to the noise handed in.
# Seen:   with the exact mean flow for data of std 0.5, one step gives 0.50; two give 0.20, four 0.34, 16 give 0.46. A
#         small network trained by MeanFlow itself gives 0.46, 0.18, 0.33 and 0.43. From two steps on the samples have
#         a correlation of 0.00 with the noise handed in (1.00 with one step), and noise for 1000 samples makes one.
#         The exact network, stepped by its mean flow in the script, gives 0.50 with each number of steps.
# Date:   2026-11-29
# Why:    more steps are the usual way to buy better images; here they buy images with far less variety, which looks
#         like a fault of the training, and the fixed noise that would show it is dropped.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 rectified-flow-pytorch==0.14.0
cat > "$dir/probe.py" <<'PY'
import random

import torch
from rectified_flow_pytorch import MeanFlow

MEAN, STD = 0.2, 0.5
MANY = 50000


def std_at(t):
    return ((1 - t) ** 2 * STD**2 + t**2).sqrt()


class Exact(torch.nn.Module):
    """The exact velocity, averaged over the last `length` of time, from noise at 1 to N(MEAN, STD ** 2) at 0."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, t, length):
        t, length = t[:, None], length[:, None]
        off = x - (1 - t) * MEAN
        end = (1 - t + length) * MEAN + std_at(t - length) / std_at(t) * off
        now = (t - (1 - t) * STD**2) / std_at(t) ** 2 * off - MEAN
        return torch.where(length > 0, (x - end) / length.clamp(min=1e-6), now)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 128), torch.nn.SiLU(), torch.nn.Linear(128, 128),
                                       torch.nn.SiLU(), torch.nn.Linear(128, 2))

    def forward(self, x, t, length):
        return self.net(torch.cat([x, t[:, None], length[:, None]], 1))


def likeness(a, b):
    return torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1].item()


torch.manual_seed(0)
random.seed(0)
learned = MeanFlow(Net(), data_shape=(2,))
optimizer = torch.optim.Adam(learned.parameters(), lr=2e-3)
for step in range(3000):
    loss = learned(MEAN + STD * torch.randn(256, 2))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

exact, noise = MeanFlow(Exact(), data_shape=(2,)), torch.randn(MANY, 2)
for steps, least, most in ((1, 0.49, 0.51), (2, 0.19, 0.21), (4, 0.33, 0.35), (16, 0.44, 0.47)):
    samples = exact.sample(batch_size=MANY, noise=noise.clone(), steps=steps)
    std, like = samples.std().item(), likeness(samples, noise)
    trained = learned.sample(batch_size=MANY, steps=steps).std().item()
    x, times = noise.clone(), torch.linspace(1, 0, steps + 1)
    for start, end in zip(times[:-1], times[1:]):
        x = x - (start - end) * exact.model(x, start.expand(MANY), (start - end).expand(MANY))
    print(f"{steps:2d} steps, data of std {STD}: exact network {std:.3f}, trained network {trained:.3f}, "
          f"exact network by its mean flow {x.std():.3f}; "
          f"correlation with the noise {like:.2f}, by its mean flow {likeness(x, noise):.2f}")
    assert least < std < most and abs(x.std() - STD) < 0.01 and likeness(x, noise) > 0.99
    assert like > 0.99 if steps == 1 else abs(like) < 0.05
    assert abs(trained - std) < 0.08

shapes = [tuple(exact.sample(noise=noise[:1000], batch_size=size, steps=2).shape) for size in (1000, None)]
print(f"noise for 1000, two steps: {shapes[0]} with batch_size=1000, {shapes[1]} without it")
assert shapes == [(1000, 2), (1, 2)]
print("As described: with more than one step there is no mean flow, and other noise.")
PY
"$dir/venv/bin/python" "$dir/probe.py" 2> "$dir/warnings"
