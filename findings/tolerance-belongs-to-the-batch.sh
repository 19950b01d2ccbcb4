#!/bin/bash
# What:   torchdiffeq 0.2.5, odeint with dopri5, of a batch of samples that do not depend on each other.
# Source: the error norm of RKAdaptiveStepsizeODESolver in torchdiffeq/_impl/rk_common.py is by default the root mean
#         square over the whole state, _rms_norm in torchdiffeq/_impl/misc.py.
# Guess:  rtol and atol hold for each sample: it comes out as accurate in a batch as alone.
# Seen:   the steps suit the mean over the batch. A sample that oscillates beside 1,023 quiet ones ends 14 times as far
#         from its exact solution as alone at rtol = atol = 1e-5 (5.3e-4, alone 3.9e-5), and 137 times at 1e-3 (0.83,
#         alone 0.0061, of an amplitude of 1). So a sample depends on what it is drawn with. The norm max |error|, by
#         options, gives it its own accuracy in any batch.
# Date:   2026-11-28
# Why:    likelihoods and samples of flows and diffusion ODEs are solved in batches: numbers change with the batch size
#         by far more than the tolerance, and the rare hard samples are the wrong ones.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torchdiffeq==0.2.5
cat > "$dir/probe.py" <<'PY'
import torch
from torchdiffeq import odeint


def error(quiet, tolerance, **options):
    """Of y' = 30 cos(30 t), whose solution is sin(30 t), at t = 1, beside `quiet` slow ones."""
    rate = torch.tensor([30.0] + quiet * [0.1], dtype=torch.float64)
    times = torch.tensor([0.0, 1.0], dtype=torch.float64)
    y = odeint(lambda t, y: rate * torch.cos(rate * t), torch.zeros_like(rate), times,
               rtol=tolerance, atol=tolerance, method="dopri5", options=options)
    return (y[-1] - torch.sin(rate))[0].abs().item()


for tolerance, times in ((1e-5, 10), (1e-3, 100)):
    alone, beside = error(0, tolerance), error(1023, tolerance)
    largest = error(1023, tolerance, norm=lambda e: e.abs().max())
    print(f"tolerance {tolerance:g}: error alone {alone:.2g}, beside 1,023 quiet samples {beside:.2g}, "
          f"with the largest error as the norm {largest:.2g}")
    assert beside > times * alone
    assert largest < 1.1 * alone
print("As described: the tolerance is that of the batch's mean, not of a sample.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
