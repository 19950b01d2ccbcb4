#!/bin/bash
# What:   PyTorch 2.14.1, torch.utils.checkpoint.checkpoint around a block that draws from a torch.Generator of its own.
# Source: checkpoint in torch/utils/checkpoint.py stashes the global random states only; its check of the recomputation
#         compares shapes, types and devices.
# Guess:  preserve_rng_state=True, the default, makes the recomputation draw the same numbers, or the check complains.
# Seen:   the backward pass computes the block again with the generator's next numbers. The output is that of the first
#         draw, the gradient that of the second: three of five signs are wrong, with and without use_reentrant, and
#         nothing is said. With the global generator the gradient is right to the bit.
# Date:   2026-11-28
# Why:    a generator of one's own is how diffusion code keeps its noise reproducible, and checkpointing is how it fits
#         a GPU. Together they give wrong gradients, and the loss, which comes from the forward pass, looks fine.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import torch
from torch.utils.checkpoint import checkpoint


def output_and_gradient(own, how=None):
    """Of a block that multiplies by noise; own: from a generator of its own; how: use_reentrant."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0) if own else None
    weight, x = torch.ones(5, requires_grad=True), torch.ones(5, requires_grad=True)

    def block(x):
        return torch.sin(weight * x * torch.randn(5, generator=generator))

    y = block(x) if how is None else checkpoint(block, x, use_reentrant=how)
    y.sum().backward()
    return y.detach(), weight.grad


for how in (False, True):
    for own in (False, True):
        (y, right), (y_again, found) = output_and_gradient(own), output_and_gradient(own, how)
        print(f"use_reentrant={how}, {'own' if own else 'global'} generator: gradient "
              f"{[round(g, 2) for g in found.tolist()]}, without checkpoint "
              f"{[round(g, 2) for g in right.tolist()]}")
        assert torch.equal(y, y_again)
        assert torch.equal(right, found) != own
wrong = (right.sign() != found.sign()).sum().item()
assert wrong == 3, wrong
print("As described: the gradient belongs to other noise than the output.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
