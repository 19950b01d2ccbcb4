#!/bin/bash
# What:   MONAI 1.6.1, monai.networks.schedulers.DDPMScheduler after set_timesteps(50).
# Source: DDPMScheduler.set_timesteps and step in monai/networks/schedulers/ddpm.py.
# Guess:  as in diffusers, whose interface it has, set_timesteps(50) respaces the chain, and 50 steps give an image.
# Seen:   set_timesteps only thins out the list of times. Each step still goes from t to t - 1, with the coefficients of
#         the full chain, so 50 steps remove 50 thousandths of the noise: with an exact predictor for pictures of mean
#         0.3 and standard deviation 0.25 the result has mean 0.04 and standard deviation 0.87. With all 1,000 steps it
#         is right, and so is MONAI's DDIMScheduler with 50. No warning.
# Date:   2026-11-27
# Why:    a teacher trained with MONAI (medical images) is looked at with few ancestral steps before it is distilled;
#         DKDM compares with just these. Pure noise looks like a broken teacher or a broken conversion.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 monai==1.6.1 diffusers==0.42.1
cat > "$dir/probe.py" <<'PY'
import diffusers
import torch
from monai.networks import schedulers as monai

MEAN, STD = 0.3, 0.25  # of the pictures, every pixel independent: the best prediction has a closed form


def sample(scheduler, steps):
    torch.manual_seed(0)
    scheduler.set_timesteps(steps)
    x = torch.randn(1, 3, 64, 64)
    for t in scheduler.timesteps:
        a = scheduler.alphas_cumprod[t]
        noise = (1 - a).sqrt() * (x - a.sqrt() * MEAN) / (a * STD ** 2 + 1 - a)
        x = scheduler.step(noise, int(t), x)
        x = x[0] if isinstance(x, tuple) else x.prev_sample
    print(f"{type(scheduler).__module__.split('.')[0]} {type(scheduler).__name__}, {steps} steps: mean {x.mean():.3f}, "
          f"standard deviation {x.std():.3f}")
    return float(x.mean()), float(x.std())


def ddpm():
    return monai.DDPMScheduler(schedule="linear_beta", beta_start=1e-4, beta_end=0.02, clip_sample=False)


for scheduler, steps in ((ddpm(), 1000), (diffusers.DDPMScheduler(clip_sample=False), 50),
                         (monai.DDIMScheduler(schedule="linear_beta", beta_start=1e-4, beta_end=0.02,
                                              clip_sample=False), 50)):
    mean, std = sample(scheduler, steps)
    assert abs(mean - MEAN) < 0.02 and 0.19 < std < 0.28
mean, std = sample(ddpm(), 50)
assert mean < 0.1 and std > 0.8
print("As described: 50 of MONAI's DDPM steps leave the noise in the image.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
