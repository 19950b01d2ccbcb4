#!/bin/bash
# What:   diffusers 0.42.1, add_noise of DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler,
#         DEISMultistepScheduler and UniPCMultistepScheduler that are new, that is, before set_timesteps.
# Source: __init__ in schedulers/scheduling_dpmsolver_multistep.py lays self.sigmas upwards and self.timesteps
#         downwards, and add_noise uses the place of a time in the one for the other. A comment there says that this is
#         the way "when the scheduler is used for training". index_for_timestep gives a time that it does not find the
#         last place.
# Guess:  add_noise adds the noise of the given time, whichever scheduler has the betas, as DDPMScheduler,
#         DDIMScheduler, EulerDiscreteScheduler and SASolverScheduler do to a thousandth.
# Seen:   the table is read backwards: time t gets the noise of time 999 - t, so at time 0 the image is gone and at 999
#         it is clean. For pixels that are black or white, what is best learned from it is known exactly: its loss is
#         that of DDPMScheduler, 0.12, and of its samples 10 % are near black or white instead of 100 %.
#         After set_timesteps(20) the 20 times of sampling are right, and each of the other 980 gets the noise of the
#         last one, the least. EulerDiscreteScheduler raises an IndexError there. No warning.
# Date:   2026-11-29
# Why:    a model's folder names one scheduler, often one of these, and a short training script calls add_noise of that
#         one: a student or an adapter then learns each noise level under the name of another. Every level comes as
#         often in either order, so the mean loss does not show it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 diffusers==0.42.1
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from diffusers import (DDIMScheduler, DDPMScheduler, DEISMultistepScheduler, DPMSolverMultistepScheduler,
                       DPMSolverSinglestepScheduler, EulerDiscreteScheduler, SASolverScheduler,
                       UniPCMultistepScheduler)

warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__")  # of NumPy 2
TIMES = 1_000
times = torch.arange(TIMES)
none, full = torch.zeros(TIMES, 1), torch.ones(TIMES, 1)


def levels(scheduler):
    """The share of the noise over that of the image, for each time."""
    return (scheduler.add_noise(none, full, times) / scheduler.add_noise(full, none, times)).flatten()


def close(a, b):
    return torch.allclose(a, b, rtol=1e-3)


def learn(scheduler):
    """What a network is to predict by this scheduler's add_noise, exactly, for pixels of -1 or 1, and its mean loss."""
    image, noise = scheduler.add_noise(full, none, times), scheduler.add_noise(none, full, times)

    def predict(x, t):
        return (x - image[t] * torch.tanh(image[t] * x / noise[t].square())) / noise[t]

    torch.manual_seed(0)
    t = times.repeat(400)
    x, eps = torch.randn(len(t), 1).sign(), torch.randn(len(t), 1)
    return predict, (predict(image[t] * x + noise[t] * eps, t) - eps).square().mean().item()


def sample(predict):
    """The share of samples that are within 0.1 of black or white."""
    torch.manual_seed(1)
    scheduler, x = DPMSolverMultistepScheduler(), torch.randn(10_000, 1)
    scheduler.set_timesteps(50)
    for t in scheduler.timesteps:
        x = scheduler.step(predict(x, t), t, x).prev_sample
    return ((x.abs() - 1).abs() < 0.1).float().mean().item()


exact = levels(DDPMScheduler())
for kind in (DDIMScheduler, EulerDiscreteScheduler, SASolverScheduler):
    print(f"{kind.__name__}: the noise of time t")
    assert close(levels(kind()), exact)
backwards = (DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler, DEISMultistepScheduler, UniPCMultistepScheduler)
for kind in backwards:
    found = levels(kind())
    print(f"{kind.__name__}: noise over image {found[0]:.2f} at time 0, {found[-1]:.2f} at 999")
    assert close(found, exact.flip(0)) and not close(found, exact)

for kind in backwards:
    used = kind(lower_order_final=True)
    used.set_timesteps(20)
    found, kept = levels(used), used.timesteps
    others = torch.ones(TIMES, dtype=torch.bool).index_fill(0, kept, False)
    print(f"{kind.__name__}, after set_timesteps(20): {int(others.sum())} times have {found[others].min():.3f} to "
          f"{found[others].max():.3f}")
    assert close(found[kept], exact[kept]) and (found[others] == found[kept[-1]]).all() and others.sum() == 980
used = EulerDiscreteScheduler()
used.set_timesteps(20)
try:
    levels(used)
    raise SystemExit("EulerDiscreteScheduler takes any time after set_timesteps now")
except IndexError:
    print("EulerDiscreteScheduler, after set_timesteps(20): IndexError")

(right, loss), (wrong, wrong_loss) = learn(DDPMScheduler()), learn(DPMSolverMultistepScheduler())
near, wrong_near = sample(right), sample(wrong)
print(f"learned from DDPMScheduler: loss {loss:.4f}, {near:.0%} of the samples are black or white")
print(f"learned from DPMSolverMultistepScheduler: loss {wrong_loss:.4f}, {wrong_near:.0%}")
assert abs(loss - wrong_loss) < 0.005 and near > 0.99 and wrong_near < 0.2
print("As described: these schedulers add the noise of the opposite time, and the loss does not show it.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
