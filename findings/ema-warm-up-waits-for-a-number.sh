#!/bin/bash
# What:   timm 1.0.31, ModelEmaV3 with use_warmup=True, or update_after_step, or min_decay, and update(model).
# Source: get_decay in timm/utils/model_ema.py returns the final decay where step is None, before it looks at any of the
#         three options. step is an optional argument of update, and the class counts no updates of its own.
# Guess:  update(model), the call that ModelEmaV2 had, counts the updates, as the EMA of diffusers does, and the warm-up
#         that the docstring describes takes place: the decay starts near 0 and the first weights are soon forgotten.
# Seen:   the three options are accepted and do nothing. After 5,000 updates with the default decay of 0.9999 the EMA
#         still is 60.7 % the random weights that it was made from, with the options as without them. With
#         update(model, step=number) these are forgotten at once. No warning.
# Date:   2026-11-29
# Why:    the EMA is what is evaluated and sampled from. With its warm-up in the configuration and a loop that was
#         written for ModelEmaV2, noise stays in it for tens of thousands of updates. The scores of the EMA are far
#         below those of the raw weights, and a shorter decay is taken as the remedy.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from timm.utils import ModelEmaV2, ModelEmaV3

warnings.simplefilter("error")
UPDATES = 5000


def share(make, with_step):
    """The share of the first weights in the EMA, after UPDATES updates by a model that has gone from 1 to 0."""
    model = torch.nn.Linear(4, 1, bias=False)
    torch.nn.init.ones_(model.weight)
    ema = make(model)
    torch.nn.init.zeros_(model.weight)
    for number in range(1, UPDATES + 1):
        ema.update(model, number) if with_step else ema.update(model)
    return ema.module.weight.mean().item()


options = {
    "no option": {},
    "use_warmup": dict(use_warmup=True),
    "use_warmup, warmup_power 3/4, min_decay 0.5": dict(use_warmup=True, warmup_power=3 / 4, min_decay=0.5),
    "update_after_step 1,000": dict(update_after_step=1000),
}
expected = 0.9999 ** UPDATES
old = share(ModelEmaV2, False)
print(f"ModelEmaV2: {old:.1%} of the first weights are left after {UPDATES} updates")
assert abs(old - expected) < 1e-3
for name, chosen in options.items():
    without, given = (share(lambda model: ModelEmaV3(model, **chosen), step) for step in (False, True))
    print(f"ModelEmaV3, {name}: {without:.1%} of the first weights are left, with step {given:.1%}")
    assert abs(without - expected) < 1e-3 and given < 1e-3
print("As described: without a step the options of the warm-up do nothing.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
