#!/bin/bash
# What:   rotary-embedding-torch 0.9.1, RotaryEmbedding.rotate_queries_or_keys on bfloat16 queries, as under autocast.
# Source: get_seq_pos in rotary_embedding_torch/rotary_embedding_torch.py counts the positions in the type of the
#         queries. forward keeps the angles, and gives them to every later call of that length or less, of any type
#         (cache_if_possible=True, the default).
# Guess:  angles are computed in float32, as the frequencies are, and bfloat16 only rounds the result, by about 0.02 for
#         queries of standard deviation 1. The cache saves time and changes nothing.
# Seen:   bfloat16 counts in ones to 256 only. Of 1,024 tokens 50 % are rotated just as the one before, of 4,096 81 %;
#         with 1,024 the error is 5.3. And the first call decides for all: after one in float32 bfloat16 has an error of
#         0.016, and after one in bfloat16 float32 has 5.3 as well. A sharp attention that is to copy each of 1,024
#         pixels from its own place has a squared error of 0.52 in bfloat16 and of 0.49 in float32 after bfloat16. In
#         float32, and in bfloat16 after float32, it is 0.000. float16 is right at this length. No warning.
# Date:   2026-11-29
# Why:    a transformer on 32 x 32 patches that is trained under autocast cannot tell neighbours apart, and when another
#         process draws from it in float32, it has other positions than in training. A single forward pass in float32
#         before training, to check shapes, cures it: so the same code trains well here and badly there.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 rotary-embedding-torch==0.9.1
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
import torch.nn.functional as F
from rotary_embedding_torch import RotaryEmbedding
from torch import nn

warnings.simplefilter("error")
torch.set_num_threads(1)
LENGTH = 1_024  # tokens of an image of 32 x 32
torch.manual_seed(0)
queries, ones = torch.randn(1, 1, LENGTH, 64), torch.ones(1, 1, LENGTH, 64)
exact = RotaryEmbedding(32).double().rotate_queries_or_keys(queries.double())


def off(rotary, dtype):
    """The largest error of rotated queries whose exact values are known; their standard deviation is 1."""
    return (rotary.rotate_queries_or_keys(queries.to(dtype)) - exact).abs().max().item()


for dtype, bound in ((torch.bfloat16, 0.03), (torch.float16, 0.004)):
    fresh = off(RotaryEmbedding(32), dtype)
    rotary = RotaryEmbedding(32)
    first = off(rotary, torch.float32)
    later = off(rotary, dtype)
    print(f"{dtype}: error {fresh:.3f} in a fresh module, {later:.3f} after a call in float32, "
          f"whose own is {first:.0e}")
    assert first < 1e-3 and later < bound and (fresh > 1) == (dtype is torch.bfloat16)

for length, share in ((256, 0), (LENGTH, 0.5), (4_096, 0.8)):
    out = RotaryEmbedding(32).rotate_queries_or_keys(torch.ones(1, length, 64, dtype=torch.bfloat16))[0]
    equal = (out[1:] == out[:-1]).all(-1).float().mean().item()
    print(f"bfloat16, {length} tokens: {equal:.0%} of the neighbours are rotated alike")
    assert abs(equal - share) < 0.05

rotary = RotaryEmbedding(32)
off(rotary, torch.bfloat16)
poisoned = off(rotary, torch.float32)
print(f"float32 after one call in bfloat16: error {poisoned:.2f}")
assert poisoned > 1


def copied(rotary, dtype):
    """The error of attention that is to copy each pixel from its own place, sharply; pixels have a variance of 1."""
    q = rotary.rotate_queries_or_keys(8 * ones.to(dtype)).float()
    k = rotary.rotate_queries_or_keys(ones.to(dtype)).float()
    pixels = torch.randn(1, 1, LENGTH, 3)
    return (F.scaled_dot_product_attention(q, k, pixels, scale=4.0) - pixels).square().mean().item()


errors = {}
for name, earlier, dtype in (("float32", None, torch.float32), ("bfloat16", None, torch.bfloat16),
                             ("bfloat16 after float32", torch.float32, torch.bfloat16),
                             ("float32 after bfloat16", torch.bfloat16, torch.float32)):
    rotary = RotaryEmbedding(32)
    if earlier:
        off(rotary, earlier)
    errors[name] = copied(rotary, dtype)
    print(f"attention to the own place, {name}: squared error {errors[name]:.3f}")
assert max(errors["float32"], errors["bfloat16 after float32"]) < 0.02
assert min(errors["bfloat16"], errors["float32 after bfloat16"]) > 0.2
with torch.autocast("cpu", dtype=torch.bfloat16):  # what autocast hands to the module
    assert nn.Linear(64, 64)(queries).dtype == torch.bfloat16
print("As described: the first call's precision decides the positions of all later ones.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
