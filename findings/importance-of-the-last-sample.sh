#!/bin/bash
# What:   torch-pruning 1.6.1, the importance HessianImportance (GroupHessianImportance), with PyTorch 2.14.1.
# Source: accumulate_grad in torch_pruning/pruner/importance.py asks whether the parameter's NAME is among the keys of
#         the sums and of the counts; the keys are the parameters themselves. So each call starts anew. The docstring
#         calls it once for each sample of a batch, "accumulate gradients of each sample".
# Guess:  the score of a channel is the sum of w^2 h over its weights, with h the mean of the squared gradients of all
#         samples; their order has no influence.
# Seen:   h is the squared gradient of the last sample alone. Scores after 64 samples are those of the 64th by itself,
#         bit for bit, and in another order they are others. Of the 32 channels kept of 64, 9 are other ones than with
#         the mean, and two orders of the same samples differ in 11. The scores themselves differ by up to 1.8, where
#         their mean is 1. No warning; the count of samples stays 1. With TaylorImportance, which reads the gradients
#         that PyTorch adds up, all samples count.
# Date:   2026-11-29
# Why:    pruning before distillation makes small students, and Diff-Pruning, for diffusion models, is by the author of
#         this package. The gradients differ from one noise level to the next, and the network is pruned by one image
#         at one level. The student is weaker than it need be, and importance by second order looks like a bad idea.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torch-pruning==1.6.1
cat > "$dir/probe.py" <<'PY'
import torch
import torch_pruning as tp
from torch import nn

torch.manual_seed(0)
SAMPLES, CHANNELS = 64, 64
net = nn.Sequential(nn.Conv2d(3, CHANNELS, 3, padding=1), nn.SiLU(), nn.Conv2d(CHANNELS, 3, 3, padding=1))
images = torch.randn(SAMPLES, 3, 8, 8)
level = torch.linspace(0.02, 0.98, SAMPLES)[torch.randperm(SAMPLES), None, None, None]  # a noise level for each image
noise = torch.randn_like(images)
noisy = (1 - level) * images + level * noise
graph = tp.DependencyGraph().build_dependency(net, example_inputs=noisy[:1])
group = graph.get_pruning_group(net[0], tp.prune_conv_out_channels, idxs=list(range(CHANNELS)))


def gradients(sample):
    net.zero_grad()
    (net(noisy[sample:sample + 1]) - noise[sample:sample + 1]).square().mean().backward()


def hessian(samples):
    """The package's scores of the first layer's channels, as in the docstring."""
    importance = tp.importance.HessianImportance()
    importance.zero_grad()
    for sample in samples:
        gradients(sample)
        importance.accumulate_grad(net)
    count = max(importance._counter.values())
    return importance(group), count


def mean_of_squares(samples):
    """The same by hand: sums of w^2 h of the two layers, their mean, and as the package does, divided by its mean."""
    h = [torch.zeros_like(net[0].weight), torch.zeros_like(net[2].weight)]
    for sample in samples:
        gradients(sample)
        h[0] += net[0].weight.grad.square() / len(samples)
        h[1] += net[2].weight.grad.square() / len(samples)
    with torch.no_grad():
        scores = ((net[0].weight.square() * h[0]).sum((1, 2, 3)) + (net[2].weight.square() * h[1]).sum((0, 2, 3))) / 2
    return scores / scores.mean()


def kept(scores):
    return set(scores.topk(CHANNELS // 2).indices.tolist())


forward, backward = list(range(SAMPLES)), list(range(SAMPLES))[::-1]
scores, count = hessian(forward)
last, _ = hessian(forward[-1:])
turned, _ = hessian(backward)
by_hand = mean_of_squares(forward)
print(f"samples accumulated: {SAMPLES}; counted: {count}")
print(f"scores of all samples equal those of the last one alone: {torch.equal(scores, last)}")
print(f"one sample, largest difference to the scores by hand: {(last - mean_of_squares([63])).abs().max():.1e}")
print(f"all samples, largest difference to it: {(scores - by_hand).abs().max():.2f}, of scores of mean 1")
assert count == 1 and torch.equal(scores, last) and not torch.allclose(scores, turned, rtol=0.05)
assert (last - mean_of_squares([63])).abs().max() < 1e-3 < 0.1 < (scores - by_hand).abs().max()
common = len(kept(scores) & kept(by_hand))
orders = len(kept(scores) & kept(turned))
print(f"of {CHANNELS // 2} kept channels, kept by the mean too: {common}; in the reverse order too: {orders}")
assert common <= 28 and orders <= 28
assert len(kept(by_hand) & kept(mean_of_squares(backward))) == CHANNELS // 2


def taylor(samples):
    net.zero_grad()
    for sample in samples:
        (net(noisy[sample:sample + 1]) - noise[sample:sample + 1]).square().mean().backward()
    return tp.importance.TaylorImportance()(group)


difference = (taylor(forward) - taylor(backward)).abs().max()
print(f"TaylorImportance, largest difference of the two orders: {difference:.1e}")
assert difference < 1e-3 and not torch.allclose(taylor(forward), taylor(forward[-1:]), rtol=0.05)
print("As described: the importance is that of the last sample.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
