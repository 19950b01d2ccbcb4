#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), MDLM.step(..., temperature=...), sampling of a masked diffusion model.
# Source: step in bionemo/moco/interpolants/continuous_time/discrete/mdlm.py divides the logarithms of the probabilities
#         by the temperature, after they were normalized, and does not normalize them again. Their sum multiplies the
#         chance that a masked token is unmasked in this step: it is less than 1 below temperature 1, more above.
# Guess:  the temperature says which token is drawn. How many are unmasked in a step is up to the schedule.
# Seen:   of 20 equally likely tokens, 4 % are unmasked after half of 100 steps at temperature 0.5, not 50 %, and 35 %
#         before the last step, which draws all the others at once, each without sight of the others. An exact network
#         for pairs of equal tokens makes 99 % equal pairs at temperature 1 and 43 % at 0.5, though the temperature
#         changes none of its distributions (uniform, or one sure token). Dividing the logits by 0.5 before the call
#         gives 99 %.
# Date:   2026-11-29
# Why:    lower temperatures are meant to give fewer, better samples. Here a good network makes worse ones, and the more
#         tokens it has to choose from, the more of them are left to the last step.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==1.26.4 bionemo-moco==0.0.2.2
cat > "$dir/probe.py" <<'PY'
import torch
from bionemo.moco.distributions.prior.discrete.mask import DiscreteMaskedPrior
from bionemo.moco.distributions.time.uniform import UniformTimeDistribution
from bionemo.moco.interpolants import MDLM
from bionemo.moco.schedules.inference_time_schedules import LinearInferenceSchedule
from bionemo.moco.schedules.noise.continuous_noise_transforms import LogLinearExpNoiseTransform

KINDS, LENGTH, BATCH, STEPS = 20, 64, 512, 100
MASK = KINDS
mdlm = MDLM(UniformTimeDistribution(), DiscreteMaskedPrior(KINDS + 1), LogLinearExpNoiseTransform())


def exact(x):
    """Logits for data in which tokens 2 i and 2 i + 1 are equal, and nothing else is known."""
    partner = x.view(BATCH, -1, 2).flip(-1).reshape(BATCH, LENGTH)
    logits = torch.zeros(BATCH, LENGTH, KINDS + 1)
    seen = partner != MASK
    logits[seen, partner[seen]] = 50.0
    return logits


def sample(temperature, own=1.0):
    """The parts unmasked after half of the steps and before the last one, and the part of the pairs that are equal."""
    torch.manual_seed(0)
    schedule = LinearInferenceSchedule(nsteps=STEPS, direction="diffusion")
    x, unmasked = mdlm.sample_prior((BATCH, LENGTH)), []
    for t, dt in zip(schedule.generate_schedule(), schedule.discretize()):
        time, step = torch.full((BATCH,), t.item()), torch.full((BATCH,), dt.item())
        x = mdlm.step(exact(x) / own, time, x, step, temperature=temperature)
        unmasked.append((x != MASK).float().mean().item())
    assert unmasked[-1] == 1
    return unmasked[STEPS // 2 - 1], unmasked[-2], (x[:, ::2] == x[:, 1::2]).float().mean().item()


found = {}
for name, temperature, own in (("temperature 1", 1.0, 1.0), ("temperature 0.8", 0.8, 1.0),
                               ("temperature 0.5", 0.5, 1.0), ("temperature 2", 2.0, 1.0),
                               ("logits / 0.5 beforehand", 1.0, 0.5)):
    half, last, pairs = found[name] = sample(temperature, own)
    print(f"{name}: unmasked after half of the steps {half:.1%}, before the last {last:.1%}; equal pairs {pairs:.1%}")
for name in ("temperature 1", "logits / 0.5 beforehand"):
    assert abs(found[name][0] - 0.5) < 0.02 and found[name][2] > 0.98
assert abs(found["temperature 0.8"][0] - 0.31) < 0.02
assert found["temperature 0.5"][0] < 0.06 and found["temperature 0.5"][1] < 0.4 and found["temperature 0.5"][2] < 0.5
assert found["temperature 2"][0] > 0.7
print("As described: the temperature changes when tokens are unmasked.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
