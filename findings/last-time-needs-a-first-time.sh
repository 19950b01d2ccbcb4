#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), times for training, as from UniformTimeDistribution(max_t=0.5).
# Source: sample in bionemo/moco/distributions/time/uniform.py, beta.py and logit_normal.py scales the times to
#         [min_t, max_t] only where min_t is true, and min_t is 0 by default.
# Guess:  max_t, "the maximum time value", bounds the times: none is above 0.5.
# Seen:   uniform, symmetric, beta and logit-normal times go on to 1 as if max_t were not given: 50 %, 50 %, 75 % and
#         50 % of them are above 0.5. With min_t=1e-6 none is. A wrong max_t is refused with an error, so it looks used.
# Date:   2026-11-29
# Why:    max_t keeps training away from the end of the time axis, where a weight grows without bound (1 / (1 - t)^2
#         in this library's flow matching loss), or gives one of several networks its own range of noise levels.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==1.26.4 bionemo-moco==0.0.2.2
cat > "$dir/probe.py" <<'PY'
import torch
from bionemo.moco.distributions.time.beta import BetaTimeDistribution
from bionemo.moco.distributions.time.logit_normal import LogitNormalTimeDistribution
from bionemo.moco.distributions.time.uniform import SymmetricUniformTimeDistribution, UniformTimeDistribution

torch.manual_seed(0)
for kind, expected in ((UniformTimeDistribution, 0.5), (SymmetricUniformTimeDistribution, 0.5),
                       (BetaTimeDistribution, 0.75), (LogitNormalTimeDistribution, 0.5)):
    plain, bounded, both = kind(), kind(max_t=0.5), kind(min_t=1e-6, max_t=0.5)
    above = [(times.sample(100_000) > 0.5).float().mean().item() for times in (plain, bounded, both)]
    torch.manual_seed(1)
    first = plain.sample(1000)
    torch.manual_seed(1)
    same = torch.equal(first, bounded.sample(1000))
    print(f"{kind.__name__}: above 0.5 without max_t {above[0]:.1%}, with max_t=0.5 {above[1]:.1%}, "
          f"with min_t=1e-6 too {above[2]:.1%}; max_t=0.5 changes a number: {not same}")
    assert abs(above[0] - expected) < 0.01 and abs(above[1] - expected) < 0.01 and above[2] == 0 and same

try:
    UniformTimeDistribution(max_t=1.5)
    raise SystemExit("max_t=1.5 is not refused any more")
except ValueError as error:
    print("max_t=1.5:", error)
print("As described: max_t does nothing where min_t is 0.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
