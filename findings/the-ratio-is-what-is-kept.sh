#!/bin/bash
# What:   torch-pruning 1.6.1, manual_prune_width(layer, pruning_fn, ratio) of its pruners, with PyTorch 2.14.1.
# Source: manual_prune_width in torch_pruning/pruner/algorithms/base_pruner.py removes int(channels * (1 -
#         ratio)) channels, the least important ones. Its docstring calls the number "a pruning ratio"; everywhere else
#         in the package a pruning ratio is the share that is removed.
# Guess:  manual_prune_width(layer, fn, 0.25) removes a quarter of the layer's channels, as pruning_ratio=0.25 and
#         pruner.step() do with the same pruner.
# Seen:   it removes three quarters: of 64 channels 16 are left, and 48 by step(). 0.9 removes 6 of 64. Only 0.5 does
#         what is said, and 0.5 is the pruners' default. Indices instead of a ratio are removed. No warning.
# Date:   2026-11-29
# Why:    layers are pruned one by one, by ratios of a sensitivity analysis: the sensitive ones little, the others much.
#         Both are turned around: the layers that matter most lose most. The pruned network runs and is bad, and its
#         count of parameters need not give it away, as the ratios' mean is often near a half.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torch-pruning==1.6.1
cat > "$dir/probe.py" <<'PY'
import torch
import torch_pruning as tp
from torch import nn


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1), nn.SiLU(),
                         nn.Conv2d(64, 3, 3, padding=1))


def pruner_of(net, ratio):
    """A pruner with one ratio for the inner layers; the last layer has to keep its three channels."""
    return tp.pruner.BasePruner(net, torch.zeros(1, 3, 8, 8), tp.importance.MagnitudeImportance(), pruning_ratio=ratio,
                                ignored_layers=[net[4]])


for ratio in (0.1, 0.25, 0.5, 0.75, 0.9):
    by_step, by_hand, by_indices = network(), network(), network()
    pruner_of(by_step, ratio).step()
    pruner_of(by_hand, ratio).manual_prune_width(by_hand[0], tp.prune_conv_out_channels, ratio)
    indices = list(range(round(64 * ratio)))
    pruner_of(by_indices, ratio).manual_prune_width(by_indices[0], tp.prune_conv_out_channels, indices)
    left = [net[0].out_channels for net in (by_step, by_hand, by_indices)]
    print(f"ratio {ratio}: channels left of 64 by step {left[0]}, by manual_prune_width(ratio) {left[1]}, "
          f"by manual_prune_width(the first {len(indices)} channels) {left[2]}")
    assert abs(left[0] - 64 * (1 - ratio)) <= 1 and abs(left[2] - 64 * (1 - ratio)) <= 1
    assert abs(left[1] - 64 * ratio) <= 1

net = network()
wanted = {net[0]: 0.1, net[2]: 0.9}  # the first layer is sensitive
pruner = pruner_of(net, 0.5)
for layer, ratio in wanted.items():
    pruner.manual_prune_width(layer, tp.prune_conv_out_channels, ratio)
same = network()
tp.pruner.BasePruner(same, torch.zeros(1, 3, 8, 8), tp.importance.MagnitudeImportance(),
                     pruning_ratio_dict={same[0]: 0.1, same[2]: 0.9}, ignored_layers=[same[4]]).step()
for name, pruned in (("manual_prune_width", net), ("pruning_ratio_dict", same)):
    print(f"ratios 0.1 and 0.9 by {name}: channels {pruned[0].out_channels} and {pruned[2].out_channels}")
assert net[0].out_channels < 10 and net[2].out_channels > 55
assert same[0].out_channels > 55 and same[2].out_channels < 10
assert net(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
print("As described: the ratio is the share that is kept.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
