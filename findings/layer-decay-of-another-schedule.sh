#!/bin/bash
# What:   timm 1.0.31, create_optimizer_v2(model, lr=..., layer_decay=...) with a schedule of PyTorch, or none.
# Source: param_groups_layer_decay in timm/optim/_param_groups.py writes the factor of a layer into its group as
#         lr_scale. No optimizer reads that: only update_groups in timm/scheduler/scheduler.py does.
# Guess:  the docstring says that the learning rates will be scaled by layer_decay to the power of the distance to the
#         last layer, and shows an optimizer alone. So the first block's rate is small in optimizer.param_groups, and
#         stays so under any schedule that multiplies.
# Seen:   each group has the full rate. For a small vision transformer with layer_decay=0.5 the first weights, whose
#         rate should be 1/32 of 1e-3, are trained with 1e-3 without a schedule, with create_scheduler_v2("none"), and
#         with PyTorch's LambdaLR, OneCycleLR or CosineAnnealingLR. After 20 steps they are equal to those without
#         layer_decay, to the last bit. With timm's own cosine they move a twentieth of that way. No warning.
# Date:   2026-11-29
# Why:    layer decay is how a pretrained transformer (MAE, CLIP, DINO, as a discriminator or a scorer of images) is
#         fine-tuned without losing what it knows. In a loop of one's own, Lightning's or accelerate's the option is
#         given and nothing comes of it; a comparison of values of layer_decay compares runs that are the same.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 timm==1.0.31 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.optim import lr_scheduler

warnings.simplefilter("error")
RATE, STEPS = 1e-3, 20


def constant(optimizer):
    return lr_scheduler.LambdaLR(optimizer, lambda step: 1.0).step


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, STEPS).step


def one_cycle(optimizer):
    return lr_scheduler.OneCycleLR(optimizer, RATE, STEPS + 1).step


def nothing(optimizer):
    scheduler, _ = create_scheduler_v2(optimizer, "none", STEPS)
    assert scheduler is None
    return lambda: None


def of_timm(optimizer):
    scheduler, _ = create_scheduler_v2(optimizer, "cosine", STEPS)
    epochs = iter(range(1, STEPS + 1))
    return lambda: scheduler.step(next(epochs))


def train(schedule, layer_decay):
    """The rate of the first and the last group in use, and the first weights after the training."""
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=10, depth=4, embed_dim=48)
    optimizer = create_optimizer_v2(model, "adamw", lr=RATE, weight_decay=0.05, layer_decay=layer_decay)
    after = schedule(optimizer)
    first = model.patch_embed.proj.weight
    start = first.detach().clone()
    rates = [group["lr"] for group in optimizer.param_groups]
    images, labels = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        after()
    return min(rates) / max(rates), (first - start).abs().mean().item(), first.detach()


for schedule in (nothing, constant, cosine, one_cycle):
    _, _, without = train(schedule, None)
    ratio, way, weights = train(schedule, 0.5)
    print(f"{schedule.__name__}: lowest rate / highest rate {ratio}, the first weights moved by {way:.2e}, "
          f"as without layer_decay: {torch.equal(weights, without)}")
    assert ratio == 1 and torch.equal(weights, without)
_, far, _ = train(of_timm, None)
ratio, way, _ = train(of_timm, 0.5)
print(f"timm's cosine: lowest rate / highest rate {ratio}, moved by {way:.2e}, without layer_decay {far:.2e}")
assert ratio == 1 / 32 and 20 < far / way < 45
print("As described: layer_decay does nothing unless timm's own schedule sets the rates.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
