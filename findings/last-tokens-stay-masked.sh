#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), MDLM.get_num_steps_confidence(x, num_tokens_unmask=...) and as many calls of
#         step_confidence with that num_tokens_unmask.
# Source: get_num_steps_confidence in bionemo/moco/interpolants/continuous_time/discrete/mdlm.py takes
#         math.ceil(nsteps // num_tokens_unmask): // rounds down first, and there is nothing left to round up.
# Guess:  after that many steps no token is masked.
# Seen:   of 64 masked tokens, 10 in a step, it says 6 steps, and 4 tokens of each sequence are masks at the end. For
#         numbers from 2 to 32 in a step, 26 of 31 leave masks; with 22, a third of the sequence (20 tokens). One more
#         step fills them. Where the number divides 64, and for num_tokens_unmask=1, the default, it is right.
# Date:   2026-11-29
# Why:    the tokens go on to a decoder or tokenizer, for which the mask is a token like any other: damaged molecules,
#         texts or images, at the places the network was least sure of. Nothing says that sampling has not finished.
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
from bionemo.moco.schedules.noise.continuous_noise_transforms import LogLinearExpNoiseTransform

KINDS, LENGTH, BATCH = 20, 64, 8
torch.manual_seed(0)
mdlm = MDLM(UniformTimeDistribution(), DiscreteMaskedPrior(KINDS + 1), LogLinearExpNoiseTransform())


def masks(at_once, more=0):
    """The steps that are said to be needed, and how many tokens of a sequence are masked after them."""
    x = mdlm.sample_prior((BATCH, LENGTH))
    said = mdlm.get_num_steps_confidence(x, num_tokens_unmask=at_once)
    for i in range(said + more):
        x = mdlm.step_confidence(torch.zeros(BATCH, LENGTH, KINDS + 1), x, i, said + more, num_tokens_unmask=at_once)
    left = (x == KINDS).sum(1)
    assert (left == left[0]).all()
    return said, left[0].item()


found = {at_once: masks(at_once) for at_once in range(1, 33)}
for at_once in (1, 8, 10, 22):
    said, left = found[at_once]
    print(f"{at_once} in a step: {said} steps said, {left} of {LENGTH} tokens still masked; "
          f"after one more {masks(at_once, 1)[1] if left else 0}")
wrong = [at_once for at_once, (_, left) in found.items() if left]
print(f"of 2 to 32 in a step {len(wrong)} leave masks, at most {max(left for _, left in found.values())}")
assert found[10] == (6, 4) and found[22] == (2, 20) and masks(10, 1)[1] == masks(22, 1)[1] == 0
assert all(left == LENGTH % at_once for at_once, (_, left) in found.items())
print("As described: the remainder is left masked.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
