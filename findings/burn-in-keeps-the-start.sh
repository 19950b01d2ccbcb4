#!/bin/bash
# What:   deepinv 0.5.0 (DeepInverse), the mean, variance and chain of its samplers: sampling_builder("ULA", ...) with
#         burnin_ratio, and DiffusionSampler, which is to run a diffusion model max_iter times.
# Source: sample in deepinv/sampling/sampling.py starts the running mean and variance, and the history, with the first
#         state, whatever the burn-in. Where none is given that is the adjoint of the measurement.
# Guess:  "percentage of iterations for burn-in": what comes before does not count. get_chain "only includes samples
#         after the burn-in".
# Seen:   the first state is one of the samples. Of a posterior of mean 0.5 and std 0.073, 1,000 steps of Langevin
#         sampling that start at 5, with a burn-in of 50 % and thinning of 10, give 0.59 and 0.63, a std eight times too
#         large; the same chain without its first entry gives 0.50 and 0.074. DiffusionSampler around a model that draws
#         from N(0.5, 0.1^2) gives, for pixels that were not measured, a std of 0.18 and a mean of 0.45 from 10 draws,
#         and a std of 0.11 from 100.
# Date:   2026-11-29
# Why:    these numbers are the uncertainty maps of a reconstruction. Pixels that were not measured get the wrong mean
#         and the largest error, and a longer burn-in does not help.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==1.26.4 deepinv==0.5.0
cat > "$dir/probe.py" <<'PY'
import deepinv
import torch
from deepinv.sampling import DiffusionSampler, sampling_builder

torch.manual_seed(0)


class Gaussian(deepinv.models.Denoiser):
    """The exact denoiser for pixels of N(0.5, 0.1 ** 2)."""

    def forward(self, x, sigma, **kwargs):
        return 0.5 + 0.01 / (0.01 + sigma**2) * (x - 0.5)


def langevin(start):
    """The mean and std that are returned, and those of the chain without its first entry."""
    sampler = sampling_builder("ULA", data_fidelity=deepinv.optim.L2(0.1), prior=deepinv.optim.ScorePrior(Gaussian()),
                               params_algo={"step_size": 1e-3, "alpha": 1.0, "sigma": 0.01}, max_iter=1000,
                               burnin_ratio=0.5, thinning=10, history_size=True)
    measured = torch.full((16, 1, 8, 8), 0.5)
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1))
    mean, variance = sampler.sample(measured, physics, x_init=torch.full_like(measured, start))
    chain = torch.stack([state["x"] for state in sampler.get_chain()])
    assert len(chain) == 51 and (chain[0] == start).all()
    return mean.mean(), variance.mean().sqrt(), chain[1:].mean(), chain[1:].var(0).mean().sqrt()


for start, expected in ((0.5, 0.073), (0.0, 0.10), (5.0, 0.63)):
    mean, std, own_mean, own_std = langevin(start)
    print(f"Langevin from {start:g}: mean {mean:.3f}, std {std:.3f}; without the start {own_mean:.3f}, {own_std:.3f}")
    assert abs(std - expected) < 0.01 and abs(own_mean - 0.5) < 0.003 and abs(own_std - 0.074) < 0.002


class Posterior(torch.nn.Module):
    """Stands for a diffusion model: draws from N(0.5, 0.1 ** 2) whatever was measured."""

    def forward(self, y, physics, seed=None):
        return 0.5 + 0.1 * torch.randn_like(y)


physics = deepinv.physics.Inpainting((3, 16, 16), mask=0.5, noise_model=deepinv.physics.GaussianNoise(0.01))
measured = physics(torch.full((16, 3, 16, 16), 0.5))
missing = measured == 0
for draws, expected in ((10, 0.18), (100, 0.11)):
    mean, variance = DiffusionSampler(Posterior(), max_iter=draws, verbose=False)(measured, physics)
    std = variance[missing].mean().sqrt().item()
    print(f"DiffusionSampler, {draws} draws of N(0.5, 0.1^2), pixels not measured: "
          f"mean {mean[missing].mean():.3f}, std {std:.3f}")
    assert abs(std - expected) < 0.005
print("As described: the first state counts as a sample.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
