#!/bin/bash
# What:   torchao 0.18.0 with PyTorch 2.14.1, torchao.sparsity.WandaSparsifier, pruning by weights and activations.
# Source: PerChannelNormObserver in torchao/sparsity/utils.py adds up the squares of the inputs, and update_mask in
#         torchao/sparsity/wanda.py multiplies the weights by that sum, without a square root.
# Guess:  a weight counts |weight| times the L2 norm of its input, as in the paper. The docstrings say so as well:
#         "product of the input activation norm and the weight magnitude", "the L2 norm of each channel".
# Seen:   it counts |weight| times the SQUARED norm, mask for mask. Inputs with small values lose nearly all of their
#         weights. For a layer whose weights are small where its inputs are large, so that each input matters alike, the
#         error without half of the weights is 46 % of the output, as much as by the magnitude alone, and 27 % by the
#         norm. For weights that know nothing of the inputs' sizes it is 18 % higher than by the norm. The same holds
#         for 2 of 4 weights (semi_structured_block_size=4): 52 % instead of 37 %. No warning.
# Date:   2026-11-29
# Why:    Wanda is a usual way to prune without training, and this is its version in PyTorch's own library. The share
#         of zeros is right, the pruned network works somewhat, and papers say that Wanda costs little: so the network,
#         or pruning at half, is thought to be at fault, and the method loses comparisons that it should win.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torchao==0.18.0
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torch import nn

with warnings.catch_warnings(action="ignore"):  # parts of torch that torchao imports are deprecated
    from torchao.sparsity import WandaSparsifier

INPUTS, OUTPUTS = 128, 256
torch.manual_seed(0)
sizes = torch.exp(torch.randn(INPUTS))  # of the inputs
seen, fresh = (sizes * torch.randn(2000, INPUTS) for _ in range(2))


def by_torchao(weight, **options):
    layer = nn.Sequential(nn.Linear(INPUTS, OUTPUTS, bias=False))
    layer[0].weight.data = weight.clone()
    sparsifier = WandaSparsifier(**options)
    sparsifier.prepare(layer, None)
    layer(seen)
    sparsifier.step()
    sparsifier.squash_mask()
    return layer[0].weight.detach()


def by(metric, weight, group):
    """Without the smaller half of each group of weights."""
    smaller = metric.reshape(-1, group).argsort(1)[:, :group // 2]
    return weight * torch.ones(weight.numel() // group, group).scatter_(1, smaller, 0).reshape(weight.shape)


def error(pruned, weight):
    return ((fresh @ (pruned - weight).T).norm() / (fresh @ weight.T).norm()).item()


norm = seen.norm(dim=0)
free = torch.randn(OUTPUTS, INPUTS)
for name, weight in (("weights that make up for the inputs", free / sizes), ("weights that do not", free)):
    for options, group in (({"sparsity_level": 0.5}, weight.numel()), ({"semi_structured_block_size": 4}, 4)):
        with warnings.catch_warnings(action="ignore"):  # a note that the level is 50 %, and deprecations
            pruned = by_torchao(weight, **options)
        magnitude, wanda, squared = (by(weight.abs() * norm**power, weight, group) for power in (0, 1, 2))
        print("%s, half of each group of %d: error by torchao %.3f, by the norm %.3f, by the magnitude alone %.3f"
              % (name, group, error(pruned, weight), error(wanda, weight), error(magnitude, weight)))
        kept = (pruned != 0).float().mean(0)
        print("    weights kept: %.1f %%, of the 32 smallest inputs %.1f %%, by the norm %.1f %%"
              % (100 * kept.mean(), 100 * kept[norm.argsort()[:32]].mean(),
                 100 * (wanda != 0).float().mean(0)[norm.argsort()[:32]].mean()))
        assert kept.mean() == 0.5 and torch.equal(pruned != 0, squared != 0)
        if weight is free:
            assert 1.05 * error(wanda, weight) < error(pruned, weight) < error(magnitude, weight)
        else:
            assert error(pruned, weight) > 1.4 * error(wanda, weight)
            assert error(pruned, weight) > 0.9 * error(magnitude, weight)
print("As described: weights count by the square of the norm.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
