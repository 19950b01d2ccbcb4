#!/bin/bash
# What:   pytorch-optimizer 4.1.0, Lookahead(optimizer, pullback_momentum="reset" or "pullback") around Adam or Lion.
# Source: Lookahead.update in pytorch_optimizer/optimizer/lookahead.py resets or pulls back the entry momentum_buffer of
#         the inner optimizer's state, and makes it if it is not there. Adam's momentum has the name exp_avg.
# Guess:  "momentum handling at interpolation", as the docstring says, is for the optimizer that is wrapped, whichever
#         it is: the weights go back every k steps; the momentum is reset or goes back too, or the option is refused.
# Seen:   around Adam, AdamW, NAdam, RAdam of PyTorch and Lion, StableAdamW, Prodigy of the package both options give
#         the same weights as "none", to the bit, after 50 steps. All they do is to keep one more array as large as the
#         weights, of zeros that nobody reads. Around SGD with momentum both options work. No warning.
# Date:   2026-11-29
# Why:    Lookahead is used to calm the training of GANs, as of an adversarial loss in distillation, where the inner
#         optimizer is Adam. After each step back Adam goes on with the momentum of the weights just left. A comparison
#         of the three options finds no difference, and half as much memory as Adam needs is lost.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 pytorch-optimizer==4.1.0
cat > "$dir/probe.py" <<'PY'
import warnings

import pytorch_optimizer
import torch
from torch import nn

warnings.simplefilter("error")


def trained(mode, kind, options):
    """The weights after 50 steps, and the arrays that the inner optimizer keeps, counted in copies of the weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.SiLU(), nn.Linear(32, 8))
    inner = kind(model.parameters(), **options)
    optimizer = pytorch_optimizer.Lookahead(inner, k=5, alpha=0.5, pullback_momentum=mode)
    for _ in range(50):
        x = torch.randn(64, 8)
        loss = (model(x) - x.flip(1)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    weights = torch.cat([weight.detach().flatten() for weight in model.parameters()])
    arrays = [value for state in inner.state.values() for value in state.values() if torch.is_tensor(value)]
    return weights, sum(value.numel() for value in arrays if value.dim()) / weights.numel()


ADAMS = [torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, pytorch_optimizer.Lion,
         pytorch_optimizer.StableAdamW]
for kind, options in [(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), *[(kind, {"lr": 0.003}) for kind in ADAMS],
                      (pytorch_optimizer.Prodigy, {})]:
    none, before = trained("none", kind, options)
    for mode in ("reset", "pullback"):
        weights, arrays = trained(mode, kind, options)
        apart = (weights - none).norm() / none.norm()
        print(f"{kind.__name__}, {mode}: {apart:.3%} from the weights of 'none'; arrays per weight: {before:.0f}, then",
              f"{arrays:.0f}")
        if kind is torch.optim.SGD:
            assert apart > 0.01 and arrays == before == 1
        else:
            assert apart == 0 and arrays == before + 1
print("As described: around Adam the momentum is neither reset nor pulled back.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
