#!/bin/bash
# What:   diffusers 0.42.1, EulerDiscreteScheduler with interpolation_type="log_linear".
# Source: set_timesteps in diffusers/schedulers/scheduling_euler_discrete.py lays the sigmas anew, in equal ratios from
#         the largest to the least, and leaves the times as they were. For use_karras_sigmas and use_exponential_sigmas
#         the times are looked up from the new sigmas.
# Guess:  by its docs ("to compute intermediate sigmas") the option is about looking up a sigma between two times; or
#         sigmas are spread in equal ratios, as by use_exponential_sigmas, and each step's time fits its sigma.
# Seen:   the network is told another noise level than the sample has. In step 26 of 50 the sample has sigma 1.25, and
#         the time is 489, that of sigma 3.25. With an exact network for pixels of mean 0.30 and standard deviation
#         0.25 the samples have 0.18 and 0.40 if it predicts the noise, 0.34 and 0.52 if v, 0.31 and 0.03 if the image.
#         With the betas of latent models it is 0.22 and 0.37, 0.31 and 0.43, 0.31 and 0.07. 200 steps are no better.
#         Equal times, use_karras_sigmas and use_exponential_sigmas are within 0.03 of the truth. No warning.
# Date:   2026-11-29
# Why:    it is one word in a scheduler's config, beside others that give the very same noise levels and work. Pictures
#         come out too noisy or flat, more steps do not help, and so the network gets the blame, or its conversion.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 diffusers==0.42.1
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np
import torch
from diffusers import EulerDiscreteScheduler

warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__")  # of NumPy 2
MEAN, STD = 0.3, 0.25  # of the pictures' pixels, which are normal
LATENT = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def table(scheduler):
    """The noise level sigma of each of the 1,000 times, as the network was trained on them."""
    return ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt().double().numpy()


def sample(prediction, steps, **options):
    """Mean and standard deviation of samples by a network that is exact for the time it is given."""
    scheduler = EulerDiscreteScheduler(prediction_type=prediction, **options)
    levels = table(scheduler)
    scheduler.set_timesteps(steps)
    torch.manual_seed(0)
    x = torch.randn(20_000, 1) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(x, t)
        sigma = np.exp(np.interp(float(t), np.arange(1_000), np.log(levels)))
        alpha, beta = 1 / np.sqrt(1 + sigma**2), sigma / np.sqrt(1 + sigma**2)
        clean = MEAN + alpha * STD**2 / (alpha**2 * STD**2 + beta**2) * (seen - alpha * MEAN)
        noise = (seen - alpha * clean) / beta
        output = {"epsilon": noise, "v_prediction": alpha * noise - beta * clean, "sample": clean}[prediction]
        x = scheduler.step(output, t, x).prev_sample
    return x.mean().item(), x.std().item()


scheduler = EulerDiscreteScheduler(interpolation_type="log_linear")
scheduler.set_timesteps(50)
levels = table(scheduler)
named = np.interp(scheduler.timesteps.numpy(), np.arange(1_000), levels)
used = scheduler.sigmas.numpy()[:50]
print(f"step 26 of 50: the sample has sigma {used[25]:.2f}, the network is told time {scheduler.timesteps[25]:.0f}, "
      f"whose sigma is {named[25]:.2f}")
assert used[25] < 1.5 and named[25] > 3 and abs(used[0] / named[0] - 1) < 0.01

for options in ({}, LATENT):
    for prediction in ("epsilon", "v_prediction", "sample"):
        for name, setting in (("equal times", {}), ("use_karras_sigmas", {"use_karras_sigmas": True}),
                              ("use_exponential_sigmas", {"use_exponential_sigmas": True}),
                              ("log_linear", {"interpolation_type": "log_linear"})):
            found = [sample(prediction, steps, **options, **setting) for steps in (50, 200)]
            print(f"{'latent' if options else 'pixel'} betas, {prediction}, {name}: "
                  + ", ".join(f"mean {mean:.2f}, std {std:.2f}" for mean, std in found))
            for mean, std in found:
                right = abs(mean - MEAN) < 0.02 and abs(std - STD) < 0.03
                assert right == (name != "log_linear"), (name, mean, std)
print("As described: log_linear moves the noise levels and leaves the times.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
