#!/bin/bash
# What:   PyTorch 2.14.1, torch.utils.flop_counter.FlopCounterMode on the CPU.
# Source: the table flop_registry in torch/utils/flop_counter.py: it has the fused attention of CUDA, not
#         aten._scaled_dot_product_flash_attention_for_cpu, which scaled_dot_product_attention calls on a CPU.
# Guess:  the count of a network does not depend on the device, or an operation without a formula is warned of.
# Seen:   scaled_dot_product_attention has 0 operations on a CPU, forward and backward, without a word; the same
#         attention written as two matrix products has all of them. A transformer block of width 64 with 1,024 tokens
#         is reported with 100.7 million instead of 369.1 million operations.
# Date:   2026-11-28
# Why:    operations are counted on a laptop, once, for a table. A transformer then looks several times as cheap beside
#         a U-Net as it is, the more so the more tokens it has.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

TOKENS, WIDTH, HEADS = 1024, 64, 4
warnings.simplefilter("error")  # a warning would be what one expects


class Block(nn.Module):
    """Attention and an MLP, as in a vision transformer."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        q, k, v = self.qkv(x).view(1, TOKENS, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))
        return x + self.mlp(x)


def count(backward):
    x = torch.randn(1, TOKENS, WIDTH, requires_grad=backward)
    with FlopCounterMode(display=False) as counter:
        out = Block()(x)
        if backward:
            out.sum().backward()
    return counter.get_total_flops()


linear = 2 * TOKENS * 12 * WIDTH**2       # the four matrices of a block
attention = 2 * 2 * TOKENS**2 * WIDTH     # the products with k and with v
fused = count(False)
with sdpa_kernel(SDPBackend.MATH):
    written_out = count(False)
print(f"fused: {fused / 1e6:.1f} million; written out: {written_out / 1e6:.1f} million; "
      f"by hand: {(linear + attention) / 1e6:.1f} million")
assert written_out == linear + attention
assert fused == linear
assert count(True) == 3 * linear  # neither in the backward pass
print("As described: on a CPU the fused attention is counted as nothing, without a warning.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
