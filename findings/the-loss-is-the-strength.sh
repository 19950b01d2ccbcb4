#!/bin/bash
# What:   torch-pruning 1.6.1, sparse training with BNScalePruner and GroupNormPruner, with PyTorch 2.14.1:
#         pruner.regularize(model, loss), as the base class declares it, and the option alpha of GroupNormPruner.
# Source: regularize in torch_pruning/pruner/algorithms. BasePruner has regularize(model, loss); BNScalePruner has
#         regularize(model, reg=None), GroupNormPruner regularize(model, alpha=2**4, bias=False), and neither has a
#         loss. GroupNormPruner.__init__ keeps its alpha ("scaling factor, [2^0, 2^alpha]") and nothing reads it.
# Guess:  a training loop that calls regularize(model, loss) works with each of the pruners, with the strength that
#         their constructors were given, reg and alpha. Without the loss, as in the README, it is the same.
# Seen:   the loss is taken for the strength. BNScalePruner(reg=1e-5) with a loss of 2.3 pulls each scale by 2.3, which
#         is 230,000 times as strong. GroupNormPruner pulls its weakest channels by the loss times reg, instead of
#         16 times reg, and others by reg: with a loss below 1 the weakest are pulled least, not most. alpha of the
#         constructor changes nothing, be it 0 or 10: without a loss the range is always 1 to 16. No warning.
# Date:   2026-11-29
# Why:    sparse training decides which channels can be cut. With the loss as its strength it ruins the network in a
#         few steps, or, with the small losses of diffusion models, favors the channels that should go. A search for
#         a good alpha compares runs of one and the same alpha.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torch-pruning==1.6.1
cat > "$dir/probe.py" <<'PY'
import inspect

import torch
import torch_pruning as tp
from torch import nn

EXAMPLE = torch.zeros(1, 3, 8, 8)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.SiLU(), nn.Conv2d(32, 3, 3, padding=1))


def pulls(make, *loss):
    """What regularize adds to the gradient: of the scales of the norm, and of each kernel relative to its weights."""
    net = network()
    pruner = make(net)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    pruner.update_regularizer()
    pruner.regularize(net, *loss)
    return net[1].weight.grad, (net[0].weight.grad / net[0].weight.detach()).mean((1, 2, 3)), net


def slimming(net):
    return tp.pruner.BNScalePruner(net, EXAMPLE, tp.importance.BNScaleImportance(), reg=1e-5, ignored_layers=[net[3]])


def group_norm(alpha=4):
    return lambda net: tp.pruner.GroupNormPruner(net, EXAMPLE, tp.importance.MagnitudeImportance(), reg=1e-4,
                                                 alpha=alpha, ignored_layers=[net[3]])


for pruner in (tp.pruner.BasePruner, tp.pruner.BNScalePruner, tp.pruner.GroupNormPruner):
    print(f"{pruner.__name__}.regularize{inspect.signature(pruner.regularize)}")
assert list(inspect.signature(tp.pruner.BasePruner.regularize).parameters) == ["self", "model", "loss"]

plain = pulls(slimming)[0].abs().max().item()
with_loss = pulls(slimming, torch.tensor(2.3))[0].abs().max().item()
print(f"BNScalePruner, reg=1e-5: each scale is pulled by {plain:.1e}, with a loss of 2.3 by {with_loss:.2f}")
assert abs(plain - 1e-5) < 1e-8 and abs(with_loss - 2.3) < 1e-4

ranges = {}
for alpha in (0, 4, 10):
    pull = pulls(group_norm(alpha))[1] / 1e-4
    ranges[alpha] = (pull.min().item(), pull.max().item())
    print(f"GroupNormPruner, alpha={alpha}: kernels are pulled by {pull.min():.2f} to {pull.max():.2f} times reg; "
          f"[2^0, 2^alpha] is 1 to {2**alpha}")
    assert abs(ranges[alpha][0] - 1) < 0.02 and abs(ranges[alpha][1] - 16) < 0.2

for loss in (2.3, 0.05):
    _, pull, net = pulls(group_norm(), torch.tensor(loss))
    weakest = tp.importance.MagnitudeImportance()(
        tp.DependencyGraph().build_dependency(net, EXAMPLE).get_pruning_group(
            net[0], tp.prune_conv_out_channels, list(range(32)))).argmin()
    print(f"GroupNormPruner with a loss of {loss}: kernels are pulled by {pull.min() / 1e-4:.2f} to "
          f"{pull.max() / 1e-4:.2f} times reg, the weakest by {pull[weakest] / 1e-4:.2f}")
    assert abs(pull[weakest] / 1e-4 - loss) < 0.02 * max(loss, 1)
    assert pull[weakest] == (pull.max() if loss > 1 else pull.min())
print("As described: the loss is taken for the strength of the regularizer, and alpha is not used.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
