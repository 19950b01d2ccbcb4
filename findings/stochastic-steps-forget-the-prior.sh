#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), stochastic steps of ContinuousFlowMatcher and DDPM with GaussianPrior(std=...).
# Source: vf_to_score in bionemo/moco/interpolants/continuous_time/continuous/continuous_flow_matching.py is right for a
#         prior of std 1 only; step_score_stochastic checks that the prior is a GaussianPrior "to learn a proper score
#         function" and nothing else. DDPM.step in .../discrete_time/continuous/ddpm.py adds noise of std 1.
# Guess:  the prior is an argument of the class, and training and the first sample use its std, so all steps do.
# Seen:   with an exact network for data of std 1 and a prior of std 5, step_score_stochastic makes samples of std 0.20,
#         with a prior of std 0.2 samples of std 5.0: one over the prior's. DDPM.step makes 0.17 and 4.6. The steps
#         without noise (step, step_ddim) make 1.00 and 0.96 with the prior of std 5. With 1 all make 0.95 to 1.01.
# Date:   2026-11-29
# Why:    the prior's std is set to suit data in their own unit, such as angstroms. The samples then lose nearly all of
#         their spread, or drown in noise, with the stochastic sampler alone, which looks like its settings' fault.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==1.26.4 bionemo-moco==0.0.2.2
cat > "$dir/probe.py" <<'PY'
import torch
from bionemo.moco.distributions.prior.continuous.gaussian import GaussianPrior
from bionemo.moco.distributions.time.uniform import UniformTimeDistribution
from bionemo.moco.interpolants import DDPM, ContinuousFlowMatcher
from bionemo.moco.schedules.inference_time_schedules import LinearInferenceSchedule
from bionemo.moco.schedules.noise.discrete_noise_schedules import DiscreteCosineNoiseSchedule

SAMPLES = 40000
torch.manual_seed(0)


def flow(std, method, steps=500):
    """The std of samples, with the exact velocity for data of N(0, 1) and noise of N(0, std ** 2)."""
    matcher = ContinuousFlowMatcher(UniformTimeDistribution(), GaussianPrior(std=std), prediction_type="velocity")
    schedule = LinearInferenceSchedule(steps)
    x = matcher.sample_prior((SAMPLES, 1))
    for t, dt in zip(schedule.generate_schedule().tolist(), schedule.discretize().tolist()):
        velocity = (t - (1 - t) * std**2) / (t**2 + (1 - t) ** 2 * std**2) * x
        x = getattr(matcher, method)(velocity, x, torch.full((SAMPLES,), dt), torch.full((SAMPLES,), t))
    return x.std().item()


def ddpm(std, method, steps=100):
    """The same with the exact prediction of the data."""
    times = UniformTimeDistribution(discrete_time=True, nsteps=steps)
    process = DDPM(times, GaussianPrior(std=std), DiscreteCosineNoiseSchedule(steps))
    x = process.sample_prior((SAMPLES, 1))
    for t in reversed(range(steps)):
        a, s = process.forward_data_schedule[t], process.forward_noise_schedule[t] * std
        x = getattr(process, method)(a / (a**2 + s**2) * x, torch.full((SAMPLES,), t), x)
    return x.std().item()


for std in (1.0, 5.0, 0.2):
    ode, sde = flow(std, "step"), flow(std, "step_score_stochastic")
    ddim, ancestral = ddpm(std, "step_ddim"), ddpm(std, "step")
    print(f"prior of std {std:g}, data of std 1: flow, step {ode:.2f}, step_score_stochastic {sde:.2f}; "
          f"DDPM, step_ddim {ddim:.2f}, step {ancestral:.2f}")
    assert abs(ode - 1) < 0.05 and abs(ddim - 1) < 0.06
    assert abs(sde * std - 1) < 0.05
    if std == 1:
        assert abs(ancestral - 1) < 0.08
    else:
        assert abs(ancestral * std - 1) < 0.2
print("As described: the stochastic steps take the prior for one of std 1.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
