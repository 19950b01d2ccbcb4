#!/bin/bash
# What:   torch-ema 0.3, ExponentialMovingAverage of a bfloat16 network, kept in float32 by its ema.to(dtype=...), saved
#         by state_dict and loaded by load_state_dict.
# Source: ExponentialMovingAverage.load_state_dict in torch_ema/ema.py casts the loaded average to the type of the
#         network's parameters.
# Guess:  a resumed average goes on as the saved one would: the checkpoint has float32, the new average is told so by
#         to(dtype=torch.float32), and the docstring of load_state_dict says that it loads the state.
# Seen:   after loading it is bfloat16, with 8 bits. With decay 0.9999 a step changes a number by less than half of its
#         last bit: after 20,000 steps at other weights the average has gone 0.3 % of the way there, and 86 % where it
#         was not loaded. With decay 0.999 and 2,000 steps it is 20 % and 86 %. To call to(dtype=torch.float32) once
#         more after load_state_dict helps. No warning.
# Date:   2026-11-29
# Why:    samples of a diffusion model are those of its average. Each resumed run samples with the weights of the last
#         restart, whatever is trained after it, though the loss goes on falling.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torch-ema==0.3
cat > "$dir/probe.py" <<'PY'
import io
import warnings

import torch
from torch import nn
from torch_ema import ExponentialMovingAverage

warnings.simplefilter("error")


def average(model, decay):
    ema = ExponentialMovingAverage(model.parameters(), decay, use_num_updates=False)
    ema.to(dtype=torch.float32)
    return ema


def resumed(model, decay, ema, again):
    """The average of a new process, from what torch.save wrote of the old one."""
    file = io.BytesIO()
    torch.save(ema.state_dict(), file)
    file.seek(0)
    other = average(model, decay)
    other.load_state_dict(torch.load(file))
    if again:
        other.to(dtype=torch.float32)
    return other


for decay, steps in ((0.9999, 20_000), (0.999, 2_000)):
    torch.manual_seed(0)
    model = nn.Linear(8, 8, bias=False, dtype=torch.bfloat16)
    start, end = (torch.randn(8, 8).bfloat16() for _ in range(2))
    model.weight.data.copy_(start)
    kept = average(model, decay)
    loaded, recast = resumed(model, decay, kept, False), resumed(model, decay, kept, True)
    model.weight.data.copy_(end)
    way = []
    for ema in (kept, loaded, recast):
        for _ in range(steps):
            ema.update()
        gone = (ema.shadow_params[0].float() - start.float()).norm() / (end.float() - start.float()).norm()
        way.append(gone.item())
    print(f"decay {decay}, {steps:,} steps: {way[0]:.1%} of the way; loaded ({loaded.shadow_params[0].dtype}):",
          f"{way[1]:.1%}; loaded and cast again: {way[2]:.1%}")
    assert loaded.shadow_params[0].dtype == torch.bfloat16
    assert abs(way[0] - 0.865) < 0.01 and abs(way[2] - way[0]) < 0.001
    assert way[1] < {0.9999: 0.02, 0.999: 0.4}[decay]
print("As described: a loaded average has the network's precision, and hardly moves.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
