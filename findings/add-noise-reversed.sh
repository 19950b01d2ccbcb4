#!/bin/bash
# What:   diffusers 0.42.1, add_noise of DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler,
#         UniPCMultistepScheduler and DEISMultistepScheduler.
# Source: DPMSolverMultistepScheduler.add_noise and index_for_timestep; the tables that __init__ leaves behind.
# Guess:  add_noise(x0, noise, t) makes x_t, as in DDPMScheduler: the two have the same betas and the same signature.
# Seen:   before set_timesteps the table of times falls and the table of noise levels rises, so t = 0 is given the noise
#         of t = 999 and t = 999 a nearly clean image. After set_timesteps(20) only the 20 times of the list are right;
#         any other t is silently given the noise of the LAST step (t = 10, 210 and 900 all of t = 50). The Euler family
#         raises an IndexError there, and SASolverScheduler is right.
# Date:   2026-11-27
# Why:    a pipeline often carries such a scheduler, because it samples fast. Someone who trains or distils with
#         pipe.scheduler.add_noise gets a loss that falls, and a network that has learned every noise level the wrong
#         way round, or only one of them.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 diffusers==0.42.1
cat > "$dir/probe.py" <<'PY'
import diffusers
import torch

one, zero = torch.ones(1, 1), torch.zeros(1, 1)
BETAS = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}


def share(scheduler, t):
    """The share of the image's own signal in x_t."""
    t = torch.tensor([t])
    signal, noise = scheduler.add_noise(one, zero, t), scheduler.add_noise(zero, one, t)
    return float(signal / (signal ** 2 + noise ** 2).sqrt())


ddpm = diffusers.DDPMScheduler(**BETAS)
right = {t: share(ddpm, t) for t in (0, 10, 50, 210, 900, 999)}
print("DDPMScheduler, right:", {t: round(s, 4) for t, s in right.items()})
for name in ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "UniPCMultistepScheduler",
             "DEISMultistepScheduler"):
    scheduler = getattr(diffusers, name)(**BETAS)
    fresh = {t: share(scheduler, t) for t in right}
    scheduler.set_timesteps(20)
    after = {t: share(scheduler, t) for t in right}
    print(name, "fresh:", {t: round(s, 4) for t, s in fresh.items()}, "after set_timesteps(20):",
          {t: round(s, 4) for t, s in after.items()})
    for t in right:
        assert abs(fresh[t] - share(ddpm, 999 - t)) < 1e-3  # the noise of 999 - t
    assert abs(after[999] - right[999]) < 1e-3
    for t in (10, 210, 900):  # none of the 20 times
        assert abs(after[t] - right[50]) < 1e-3 and abs(after[t] - right[t]) > 0.01
fresh = diffusers.SASolverScheduler(**BETAS)
assert all(abs(share(fresh, t) - right[t]) < 1e-3 for t in right)
print("As described: four schedulers reverse the noise levels, or use one level for all other times.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
