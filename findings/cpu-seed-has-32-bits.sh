#!/bin/bash
# What:   PyTorch 2.14.1, torch.Generator.manual_seed and torch.manual_seed on the CPU.
# Source: CPUGeneratorImpl in aten/src/ATen/CPUGeneratorImpl.cpp keeps the seed in 64 bits, and the Mersenne Twister in
#         aten/src/ATen/core/MT19937RNGEngine.h starts from the lower 32 of them.
# Guess:  a seed has 64 bits, as the docs and initial_seed() say: seeds that differ anywhere draw other numbers.
# Seen:   seeds 5, 5 + 2^32 and 5 + 2^63 draw the same numbers to the bit, of normals, permutations and integers, though
#         initial_seed() tells them apart. NumPy's default_rng draws others.
# Date:   2026-11-28
# Why:    seeds such as rank << 32 | seed, or of a 64-bit hash, are made so that no two processes share a stream. All
#         ranks of the first kind draw the same noise, and every process learns from the same batch.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import numpy as np
import torch

seeds = [5, 5 + 2**32, 5 + 2**63]


def drawn(seed):
    generator = torch.Generator().manual_seed(seed)
    assert generator.initial_seed() == seed
    torch.manual_seed(seed)
    return torch.cat([torch.randn(100, generator=generator),
                      torch.randperm(100, generator=generator).float(),
                      torch.randint(1000, (100,), generator=generator).float(), torch.randn(100)])


first, *others = map(drawn, seeds)
print(f"{len(set(seeds))} seeds, the first numbers of each: "
      f"{[[round(x, 3) for x in drawn(seed)[:3].tolist()] for seed in seeds]}")
assert all(torch.equal(first, other) for other in others)
assert not torch.equal(first, drawn(6))
rows = [np.random.default_rng(seed).standard_normal(3).tolist() for seed in seeds]
assert rows[0] != rows[1] != rows[2] != rows[0]
print("As described: on the CPU only the lower 32 bits of a seed count.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
