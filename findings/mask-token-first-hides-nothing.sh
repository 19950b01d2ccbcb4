#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), D3PM with DiscreteMaskedPrior(num_classes=..., mask_dim=...).
# Source: __init__ in bionemo/moco/distributions/prior/discrete/mask.py sets prior_dist to 1 at the last class whatever
#         mask_dim is; sample and is_masked use mask_dim. D3PM, in interpolants/discrete_time/discrete/d3pm.py, makes
#         its transitions of prior_dist.
# Guess:  mask_dim=0, for a tokenizer whose mask is token 0 ("inclusive anywhere" in the docstring), makes noise of it.
# Seen:   all tokens turn into the last one, an ordinary token of the data. The mask appears at no time in training, and
#         sampling starts from nothing but masks, which the network has not seen. The prior's is_masked finds no masked
#         token at any time. With the mask last all is right, and so is MDLM with mask_dim=0.
# Date:   2026-11-29
# Why:    many tokenizers have the mask elsewhere than at the end. Training runs on, and learns another process than the
#         one that is sampled from.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==1.26.4 bionemo-moco==0.0.2.2
cat > "$dir/probe.py" <<'PY'
import torch
from bionemo.moco.distributions.prior.discrete.mask import DiscreteMaskedPrior
from bionemo.moco.distributions.time.uniform import UniformTimeDistribution
from bionemo.moco.interpolants import D3PM, MDLM
from bionemo.moco.schedules.noise.continuous_noise_transforms import LogLinearExpNoiseTransform
from bionemo.moco.schedules.noise.discrete_noise_schedules import DiscreteCosineNoiseSchedule

KINDS, STEPS, BATCH = 20, 100, 2000
torch.manual_seed(0)


def d3pm(mask):
    prior = DiscreteMaskedPrior(num_classes=KINDS, mask_dim=mask)
    times = UniformTimeDistribution(discrete_time=True, nsteps=STEPS)
    return prior, D3PM(times, prior, DiscreteCosineNoiseSchedule(STEPS))


for mask in (0, 5, KINDS - 1):
    prior, process = d3pm(mask)
    ordinary = torch.tensor([token for token in range(KINDS) if token != mask])
    data = ordinary[torch.randint(0, KINDS - 1, (BATCH, 50))]
    noise = process.interpolate(data, torch.full((BATCH,), STEPS - 1))
    training = process.interpolate(data, process.sample_time(BATCH))
    start = process.sample_prior((BATCH, 50))
    print(f"D3PM, mask {mask}: the noised data are {noise.unique().tolist()}, sampling starts from "
          f"{start.unique().tolist()}; masked in training, by is_masked: {prior.is_masked(training).mean():.1%}")
    assert start.unique().tolist() == [mask]
    if mask == KINDS - 1:
        assert noise.unique().tolist() == [mask] and prior.is_masked(training).mean() > 0.4
    else:
        assert noise.unique().tolist() == [KINDS - 1] and not (training == mask).any()

prior = DiscreteMaskedPrior(num_classes=KINDS, mask_dim=0)
mdlm = MDLM(UniformTimeDistribution(), prior, LogLinearExpNoiseTransform())
data = torch.randint(1, KINDS, (BATCH, 50))
share = prior.is_masked(mdlm.interpolate(data, mdlm.sample_time(BATCH))).mean().item()
print(f"MDLM, mask 0: masked in training {share:.1%}")
assert abs(share - 0.5) < 0.05
print("As described: D3PM's noise is the last token, not the mask.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
