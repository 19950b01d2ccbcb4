#!/bin/bash
# What:   MONAI 1.6.1, monai.networks.schedulers.PNDMScheduler as it is by default, with its Runge-Kutta steps.
# Source: set_timesteps in monai/networks/schedulers/pndm.py counts the calls of the network: n steps are n + 9 calls,
#         and num_inference_steps becomes n + 9. step_prk and step_plms then take steps of num_train_timesteps //
#         num_inference_steps, while the times are num_train_timesteps // n apart. With skip_prk_steps=True both are n.
# Guess:  set_timesteps(n) gives n steps from noise to an image, the last one ends at time 0, and more steps are better.
# Seen:   each step falls short: with 50 steps a sample goes 16 of the 20 times to where the network is called next.
#         With an exact network for pictures of mean 0.30 and standard deviation 0.25 the samples have 0.27 and 0.33
#         with 50 steps, 0.21 and 0.50 with 500. With all 1,000, which a new scheduler has, a step is 1000 // 1009 = 0
#         times long: the sample is the noise that it began with, within 0.05, and has -0.01 and 0.99. 150 or 300 steps
#         are right, as both divisions round alike there. skip_prk_steps=True is within 0.01 from 50 steps to 1,000; so
#         is diffusers' class of that name, with the Runge-Kutta steps. No warning.
# Date:   2026-11-29
# Why:    samples are noisy, and noisier the more steps are spent, as if the network had not learned. A trial with few
#         steps finds the sampler poor; all steps, to be sure of the network, condemn the network.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 monai==1.6.1 diffusers==0.42.1
cat > "$dir/probe.py" <<'PY'
import warnings

import diffusers
import torch
from monai.inferers import DiffusionInferer
from monai.networks.schedulers import PNDMScheduler
from torch import nn

warnings.simplefilter("error")
torch.set_num_threads(1)
MEAN, STD = 0.3, 0.25  # of the pictures' pixels, which are normal
torch.manual_seed(0)
NOISE = torch.randn(5_000, 1, 1, 1)


class Exact(nn.Module):
    """The exact prediction of the noise, for the time that the network is told."""

    def __init__(self, alphas_cumprod):
        super().__init__()
        self.alphas_cumprod = alphas_cumprod

    def forward(self, x, timesteps, context=None):
        alpha = self.alphas_cumprod[timesteps.long()].view(-1, 1, 1, 1)
        return (1 - alpha).sqrt() * (x - alpha.sqrt() * MEAN) / (alpha * STD**2 + 1 - alpha)


def by_monai(steps, **options):
    scheduler = PNDMScheduler(**options)
    if steps:
        scheduler.set_timesteps(steps)
    network = Exact(scheduler.alphas_cumprod)
    samples = DiffusionInferer(scheduler).sample(NOISE, network, verbose=False)
    return samples, len(scheduler.timesteps), scheduler.num_inference_steps


def by_diffusers(steps):
    scheduler = diffusers.PNDMScheduler()
    scheduler.set_timesteps(steps)
    network, x = Exact(scheduler.alphas_cumprod), NOISE
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.view(1)), t, x).prev_sample
    return x


def right(samples):
    return abs(samples.mean() - MEAN) < 0.02 and abs(samples.std() - STD) < 0.02


for steps in (50, 100, 150, 200, 300, 500, 1_000, None):
    samples, calls, counted = by_monai(steps)
    n = steps or 1_000
    gap, length = 1_000 // n, 1_000 // counted
    others = by_monai(n, skip_prk_steps=True)[0], by_diffusers(n)
    print(f"{f'{steps} steps' if steps else 'a new scheduler'}: times {gap} apart, steps of {length}; "
          f"mean {samples.mean():.3f}, std {samples.std():.3f}; with skip_prk_steps=True {others[0].mean():.3f}, "
          f"{others[0].std():.3f}; diffusers {others[1].mean():.3f}, {others[1].std():.3f}")
    assert calls == counted == n + 9
    assert right(others[0]) and right(others[1])
    assert right(samples) == (gap == length)
    if n == 1_000:
        assert (samples - NOISE).abs().max() < 0.05
print("As described: steps are shorter than the gaps between the times, and of length 0 with all of them.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
