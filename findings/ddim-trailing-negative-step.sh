#!/bin/bash
# What:   diffusers 0.42.1, DDIMScheduler (DDPMScheduler too) with timestep_spacing="trailing".
# Source: DDIMScheduler.set_timesteps: the steps are laid from T down to 0 by a float step T / n, then one is taken off.
# Guess:  set_timesteps(n) gives n steps, the last of them small and at least 0.
# Seen:   for 62 of the 999 step counts below 1000 (61, 103, 201, 499, ...; 29 and 31 of T = 100) rounding lets one more
#         step in: n + 1 steps, the last one -1. Nothing is raised. A network takes time -1 for about 0, but index -1 of
#         the noise table is its LAST entry, so the finished image is divided by 0.006 once more. With an exact
#         predictor for pictures of mean 0.3 and standard deviation 0.25, 60 steps give 0.29 and 0.24, and 61 steps give
#         46 and 31.
# Date:   2026-11-27
# Why:    "trailing" is what zero-SNR teachers and few-step students are sampled with, and whoever plots quality against
#         the number of steps passes such counts. Clipped to [-1, 1] nothing is left but black and white.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 diffusers==0.42.1
cat > "$dir/probe.py" <<'PY'
import torch
from diffusers import DDIMScheduler

MEAN, STD = 0.3, 0.25  # of the pictures, every pixel independent: the best prediction has a closed form


def sample(steps):
    scheduler = DDIMScheduler(timestep_spacing="trailing", clip_sample=False)
    scheduler.set_timesteps(steps)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        known = scheduler.alphas_cumprod[max(t, 0)]  # a network's embedding of time -1 is close to that of 0
        noise = (1 - known).sqrt() * (x - known.sqrt() * MEAN) / (known * STD ** 2 + 1 - known)
        x = scheduler.step(noise, t, x).prev_sample
    print(f"{steps} asked: {len(scheduler.timesteps)} steps, the last {int(scheduler.timesteps[-1])}, "
          f"images of mean {x.mean():.2f} and standard deviation {x.std():.2f}")
    return scheduler.timesteps, x


for steps in (60, 62):
    times, x = sample(steps)
    assert len(times) == steps and times[-1] >= 0 and abs(x.mean() - MEAN) < 0.02 and abs(x.std() - STD) < 0.03
times, x = sample(61)
assert len(times) == 62 and times[-1] == -1 and x.mean().abs() > 10
wrong = 0
for steps in range(1, 1000):
    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    wrong += int(scheduler.timesteps[-1]) == -1
assert wrong == 62, wrong
print(f"As described: {wrong} of 999 step counts end with step -1, and their images are lost.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
