#!/bin/bash
# What:   peft 0.21.2, OFT (orthogonal fine-tuning) on convolutions larger than 1 x 1.
# Source: OFTRotationModule._unfold and _fold in peft/tuners/oft/layer.py: the input is cut into overlapping patches,
#         each is rotated, and torch's fold, which adds where patches overlap, makes an image of them again.
# Guess:  OFT starts at the identity, so a new adapter leaves the network's output as it is, and a merged adapter gives
#         the output of the unmerged one, as on linear layers and 1 x 1 convolutions, and as LoRA and HRA do.
# Seen:   before the first step each pixel is multiplied by the number of patches it is in: in a 3 x 3 convolution by 9,
#         by 1 to 6 near the border, in a 5 x 5 one by up to 25. Merged, the same adapter is the identity. Two
#         convolutions are to learn a small rotation, within OFT's reach. Without an adapter their loss is 0.03, with a
#         new one 5.3, after 500 steps 0.66, and 0.37 when that is merged: all worse than no training. No warning.
# Date:   2026-11-28
# Why:    OFT was made for text-to-image U-Nets, which are full of 3 x 3 convolutions. The run begins by undoing damage
#         to the pretrained network, and what is merged and passed on is not the model that was trained and looked at.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 peft==0.21.2 transformers==5.24.0 accelerate==1.15.0
cat > "$dir/probe.py" <<'PY'
import copy

import torch
from peft import HRAConfig, LoraConfig, OFTConfig, get_peft_model
from torch import nn


def adapted(network, kind=OFTConfig, names=("0",), **settings):
    settings = settings or dict(r=0, oft_block_size=4)
    return get_peft_model(copy.deepcopy(network), kind(target_modules=list(names), **settings))


def difference(a, b):
    return (a - b).abs().max().item()


torch.manual_seed(0)
images = torch.randn(16, 8, 12, 12)

# An identity convolution of ones shows what the adapter does to its input.
for size, middle in ((1, 1), (3, 9), (5, 25)):
    identity = nn.Sequential(nn.Conv2d(4, 4, size, padding=size // 2, bias=False))
    nn.init.dirac_(identity[0].weight)
    ones = torch.ones(1, 4, 12, 12)
    new = adapted(identity)
    y = new(ones)[0, 0].detach()
    print(f"{size} x {size}: the corner is {y[0, 0]:g}, the middle {y[6, 6]:g}")
    assert y[0, 0] == 1 and y[6, 6] == middle
    assert difference(new.merge_and_unload()(ones), ones) == 0

# New adapters of other kinds and on other layers change nothing.
for layer, x, kind, settings in ((nn.Linear(8, 8), torch.randn(16, 8), OFTConfig, {}),
                                 (nn.Conv2d(8, 8, 3, padding=1), images, LoraConfig, dict(r=4)),
                                 (nn.Conv2d(8, 8, 3, padding=1), images, HRAConfig, dict(r=4))):
    assert difference(adapted(nn.Sequential(layer), kind, **settings)(x), layer(x)) < 1e-5

# The target is the same network with a rotation that OFT can learn.
base = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 8, 3, padding=1))
for layer in (base[0], base[2]):
    nn.init.normal_(layer.weight, std=0.12)
rotation = adapted(base, names=("0", "2"))
for name, weight in rotation.named_parameters():
    if weight.requires_grad:
        nn.init.normal_(weight, std=0.05)
wanted = rotation.merge_and_unload()(images).detach()
model = adapted(base, names=("0", "2"))
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.01)
losses = []
for _ in range(500):
    optimizer.zero_grad()
    loss = (model(images) - wanted).square().mean()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
none = (base(images) - wanted).square().mean().item()
merged = (model.merge_and_unload()(images) - wanted).square().mean().item()
print(f"loss without an adapter {none:.3f}, with a new one {losses[0]:.3f}, trained {losses[-1]:.3f}, "
      f"merged {merged:.3f}")
assert losses[0] > 10 * none and losses[-1] > 2 * none and merged > 2 * none
assert abs(merged / losses[-1] - 1) > 0.1
print("As described: OFT multiplies the image by the number of patches, and merging does not.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
