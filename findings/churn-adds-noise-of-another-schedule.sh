#!/bin/bash
# What:   nvidia-physicsnemo 2.2.2 (PhysicsNeMo) with PyTorch 2.14.1, sample(..., solver="edm_stochastic_heun") of the
#         variance exploding schedule, VENoiseScheduler, with sigma_fn, sigma_inv_fn and diffusion_fn of the schedule.
# Source: step of EDMStochasticHeunSolver in physicsnemo/diffusion/samplers/edm_stochastic_heun.py takes the noise from
#         the step in sigma^2, and multiplies it by sqrt(g^2 / 2t), a factor for steps in t^2. In the same place the
#         Euler solver, edm_stochastic_euler.py, has the step in t^2. Here t is sigma^2 and g^2 is 1.
# Guess:  the docstrings of both solvers pass the three functions of a schedule whose time is not its noise level. Then
#         churn lifts a sample from sigma to sigma_hat and adds the noise between them, and the samples stay right.
# Seen:   the noise that Heun adds is off by a factor of 1 / (sigma sqrt(2)): at sigma 0.1 it is seven times too strong,
#         at sigma 10 a fourteenth of what the network is told. With an exact model of data of std 1 and 200 steps, the
#         samples have std 1.5 with S_churn=5, 2.8 with 20 and 5.2 with 80. The Euler solver gives 1.05 to 1.24 (1.10
#         without churn), Heun without diffusion_fn 1.00 to 1.01. No warning.
# Date:   2026-11-29
# Why:    the samples are noisy, the more so the more churn, which looks like a network that was not trained enough for
#         small noise. Ensembles of weather or flow fields, for which it is made, get a spread that is not the model's.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 einops==0.8.2 fsspec==2026.9.0 s3fs==2026.9.0 \
    importlib-metadata==10.2.0 jaxtyping==0.3.11 nvtx==0.2.16 omegaconf==2.4.0 packaging==26.3 requests==2.34.2 \
    tensordict==0.15.3 timm==1.0.31 torchvision==0.29.1 tqdm==4.70.1 treelib==1.8.0 warp-lang==1.19.0
"$dir/venv/bin/pip" install -q --no-deps nvidia-physicsnemo==2.2.2
cat > "$dir/probe.py" <<'PY'
import torch
from physicsnemo.diffusion.noise_schedulers import VENoiseScheduler
from physicsnemo.diffusion.samplers import sample

STEPS, COUNT = 200, 4_000
schedule = VENoiseScheduler()
levels = dict(sigma_fn=schedule.sigma, sigma_inv_fn=schedule.sigma_inv)
both = dict(levels, diffusion_fn=schedule.diffusion)


def mean_of_data(x, t):
    """The exact mean of clean data, normal with std 1, given that they are x at the time t."""
    return x / (1 + schedule.sigma(t.reshape(-1, 1)) ** 2)


def spread(solver, **options):
    torch.manual_seed(0)
    start = schedule.timesteps(STEPS)[0].expand(COUNT)
    if options:
        options["num_steps"] = STEPS
    samples = sample(schedule.get_denoiser(x0_predictor=mean_of_data), schedule.init_latents((2,), start), schedule,
                     num_steps=STEPS, solver=solver, solver_options=options)
    return samples.std().item()


heun, euler = spread("heun"), spread("euler")
print(f"std of samples of data of std 1, without churn: Heun {heun:.2f}, Euler {euler:.2f}")
assert abs(heun - 1) < 0.03 and abs(euler - 1.1) < 0.05

for churn, low, high in ((5, 1.3, 1.7), (20, 2.4, 3.2), (80, 4.5, 6)):
    wide = spread("edm_stochastic_heun", S_churn=churn, **both)
    right = spread("edm_stochastic_heun", S_churn=churn, **levels)
    other = spread("edm_stochastic_euler", S_churn=churn, **both)
    print(f"S_churn={churn}: Heun {wide:.2f}, Heun without diffusion_fn {right:.2f}, Euler {other:.2f}")
    assert low < wide < high and abs(right - 1) < 0.05 and 0.95 < other < 1.35
print("As described: with all three functions the Heun solver adds noise of another size than it tells the network.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
