#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), DiscreteCosineNoiseSchedule, the cosine schedule of DDPM and D3PM.
# Source: _generate_schedule in bionemo/moco/schedules/noise/discrete_noise_schedules.py clips the betas to [0.001,
#         0.999]. Its comment says that it "matches OpenAI code", which clips at the top only (betas_for_alpha_bar in
#         improved_diffusion/gaussian_diffusion.py). A cosine schedule of T steps has betas below 0.001 wherever
#         tan(pi t / 2) < T / 3142.
# Guess:  what is left of the image is the squared cosine, 0.494 in the middle, whatever the number of steps.
# Seen:   with 4,000 steps (as in the schedule's paper, Nichol & Dhariwal 2021) 0.135 is left of it in the middle, and
#         0.67 instead of 0.97 after a tenth. With 1,000 steps 0.905 instead of 0.972 after a tenth: noise of std 0.31
#         instead of 0.17, which the cosine has at step 194. The first step adds noise of std 0.032 in place of 0.0064
#         (0.0031 with 4,000). With 50 steps all is right, as in CosineSNRTransform, the continuous schedule.
# Date:   2026-11-29
# Why:    the low noise levels that make fine detail are nearly absent, more steps make it worse, and weights of a
#         cosine model from elsewhere get another noise level at each time than they were trained on.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==1.26.4 bionemo-moco==0.0.2.2
cat > "$dir/probe.py" <<'PY'
import math

import bionemo.moco.interpolants  # before the schedules, which cannot be imported without it
import torch
from bionemo.moco.schedules.noise.continuous_snr_transforms import CosineSNRTransform
from bionemo.moco.schedules.noise.discrete_noise_schedules import DiscreteCosineNoiseSchedule


def left(steps):
    """The squared factor of the image after each step: theirs, the cosine's, and that of betas cut at 0.999 only."""
    theirs = DiscreteCosineNoiseSchedule(steps).generate_schedule().double().cumprod(0)
    t = torch.arange(steps + 1, dtype=torch.float64) / steps
    cosine = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    betas = (1 - cosine[1:] / cosine[:-1]).clamp(max=0.999)
    return theirs, cosine[1:] / cosine[0], (1 - betas).cumprod(0)


for steps, tenth, half in ((50, 0.972, 0.494), (1000, 0.905, 0.450), (4000, 0.670, 0.135)):
    theirs, cosine, top = left(steps)
    early, middle = steps // 10 - 1, steps // 2 - 1
    print(f"{steps} steps: after a tenth {theirs[early]:.3f} (cosine {cosine[early]:.3f}), in the middle "
          f"{theirs[middle]:.3f} ({cosine[middle]:.3f}); std of the first noise {(1 - theirs[0]).sqrt():.4f} "
          f"({(1 - cosine[0]).sqrt():.4f}); the std at a tenth is the cosine's at step "
          f"{(cosine > theirs[early]).sum() + 1}")
    assert abs(theirs[early] - tenth) < 0.002 and abs(theirs[middle] - half) < 0.002
    assert (top[:-1] - cosine[:-1]).abs().max() < 1e-6
    assert abs(cosine[early] - 0.972) < 0.001 and abs(cosine[middle] - 0.494) < 0.001
snr = CosineSNRTransform().calculate_log_snr(torch.tensor([0.1, 0.5])).sigmoid()
print(f"CosineSNRTransform: at a tenth {snr[0]:.3f}, in the middle {snr[1]:.3f}")
assert abs(snr[0] - 0.972) < 0.001 and abs(snr[1] - 0.494) < 0.001
print("As described: no beta is below 0.001, so the schedule is not the cosine.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
