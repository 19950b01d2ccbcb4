#!/bin/bash
# What:   PyTorch 2.14.1, torch.autocast in bfloat16 on the CPU.
# Source: the cache of cast weights, at::autocast::cached_cast in aten/src/ATen/autocast_mode.cpp; it is emptied when
#         the outermost autocast context ends.
# Guess:  one `with torch.autocast(...)` around the whole training loop trains as one around each step does.
# Seen:   the first step casts each weight once, and every later step computes with that copy: the optimizer moves the
#         weights in single precision, the network's output stays what it was. Over 50 steps the loss is 1.3936 at each
#         of them, where contexts of one step go to 0.115. The weights leave their place for all that: the same gradient
#         is added 50 times. With cache_enabled=False both agree to the bit.
# Date:   2026-11-28
# Why:    somebody who moves the context out of the loop to save a line sees a loss that does not fall, and a model that
#         another program loads without autocast is far from what was trained. A noisy loss, as of diffusion, hides it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import contextlib

import torch
from torch import nn


def train(around, within):
    """50 steps of least squares; the loss of each, and the way of the weights after each."""
    torch.manual_seed(0)
    net, x = nn.Linear(8, 8), torch.randn(64, 8)
    optimizer, losses, moved = torch.optim.SGD(net.parameters(), 0.1), [], []
    start = net.weight.detach().clone()
    with around():
        for _ in range(50):
            with within():
                loss = (net(x).float() - x.roll(1, 1)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            moved.append(net.weight.detach() - start)
    return losses, moved


def autocast(**options):
    return lambda: torch.autocast("cpu", torch.bfloat16, **options)


step = train(contextlib.nullcontext, autocast())
loop = train(autocast(), contextlib.nullcontext)
plain = train(autocast(cache_enabled=False), contextlib.nullcontext)
print(f"a context a step: {step[0][0]:.4f} to {step[0][-1]:.4f}; one around the loop: {set(loop[0])}")
assert step[0][-1] < 0.1 * step[0][0]
assert len(set(loop[0])) == 1 and loop[0][0] == step[0][0]
assert torch.allclose(loop[1][-1], 50 * loop[1][0], rtol=1e-3)  # one gradient, 50 times
assert plain[0] == step[0] and torch.equal(plain[1][-1], step[1][-1])
print("As described: with one context around the loop the loss never changes; without the cache it falls.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
