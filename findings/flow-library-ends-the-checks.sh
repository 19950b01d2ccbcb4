#!/bin/bash
# What:   zuko 1.6.0, a library of normalizing flows (sbi and others build on it), with PyTorch 2.14.1: import zuko.
# Source: zuko/distributions.py sets torch.distributions.Distribution._validate_args to False when it is imported, for
#         all distributions of PyTorch in the process, whoever makes them.
# Guess:  the import of one library does not change what another does. The distributions of PyTorch go on to check
#         their parameters and the values of log_prob, as they do by default.
# Seen:   after the import nothing is checked, and values outside the support get a density: the log density of
#         Exponential(1) at -3 is 3, above all that are possible, and of Pareto(1, 1) at 0.1 it is 4.6. Normal(0, -1)
#         and probabilities below 0 are taken. A Metropolis sampler with the prior Exponential(1) and a likelihood of
#         standard deviation 1 around -1 gives a posterior mean of -2, where it raised a ValueError before. No warning.
#         It holds for modules that were imported before. Distribution.set_default_validate_args(True) undoes it.
# Date:   2026-11-29
# Why:    a prior with bounds has none: MCMC and importance weights leave the support for where the density is largest,
#         and NaN as a parameter is met much later, as a loss. It depends on whether some file imports zuko.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 zuko==1.6.0
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torch.distributions import Categorical, Exponential, Normal, Pareto

warnings.simplefilter("error")


def posterior_mean():
    """By Metropolis, 2,000 chains; the exact posterior on theta > 0 has the mean 0.37."""
    torch.manual_seed(0)
    prior = Exponential(torch.tensor(1.0))

    def log_density(theta):
        return prior.log_prob(theta) + Normal(theta, 1.0).log_prob(torch.tensor(-1.0))

    theta = torch.ones(2_000)
    for _ in range(200):
        proposal = theta + torch.randn_like(theta)
        accept = log_density(proposal) - log_density(theta) > torch.rand_like(theta).log()
        theta = torch.where(accept, proposal, theta)
    return theta.mean().item()


def outcomes():
    cases = {
        "Exponential(1) at -3": lambda: Exponential(1.0).log_prob(torch.tensor(-3.0)).item(),
        "Pareto(1, 1) at 0.1": lambda: Pareto(1.0, 1.0).log_prob(torch.tensor(0.1)).item(),
        "Normal(0, -1)": lambda: Normal(0.0, -1.0).scale.item(),
        "a probability of -0.2": lambda: Categorical(torch.tensor([0.5, -0.2, 0.7])).probs[1].item(),
        "posterior mean": posterior_mean,
    }
    results = []
    for name, case in cases.items():
        try:
            results.append(case())
        except ValueError:
            results.append(None)
        print(f"  {name}: {'ValueError' if results[-1] is None else format(results[-1], '.3f')}")
    return results


print("before import zuko")
assert outcomes() == 5 * [None]
import zuko  # noqa: E402, F401

print("after import zuko")
exponential, pareto, scale, probability, mean = outcomes()
assert exponential == 3 and 4.5 < pareto < 4.7 and scale == -1 and -0.3 < probability < -0.1
assert -2.15 < mean < -1.85
torch.distributions.Distribution.set_default_validate_args(True)
print("after set_default_validate_args(True)")
assert outcomes() == 5 * [None]
print("As described: import zuko turns off the checks of PyTorch's distributions.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
