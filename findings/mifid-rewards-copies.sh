#!/bin/bash
# What:   torchmetrics 1.9.0, MemorizationInformedFrechetInceptionDistance (MIFID).
# Source: _mifid_compute and _compute_cosine_distance in torchmetrics/image/mifid.py; by its docs a penalty for
#         memorised training images is the point of it.
# Guess:  of all sets the training images themselves get the worst value, and the more of a set is copied the worse it
#         is.
# Seen:   exact copies of all training images get 0, the BEST value (also in another order). A set that is half copied
#         gets 1.7, better than new images from the same distribution, 3.4. Only near copies (19) and nearly whole sets
#         of copies (13) are penalised: the penalty is off while the mean distance to the nearest image is above 0.1,
#         and a distance of the sets below 1e-8 is set to 0 before it is applied.
# Date:   2026-11-27
# Why:    data-free distillation is asked whether the student repeats training images, and this is the ready-made
#         number. A test with the training set against itself passes for the wrong reason, and half a memorised set
#         looks good.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchmetrics==1.9.0 torch-fidelity==0.4.0 scipy==1.17.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

warnings.filterwarnings("ignore")


class Pixels(torch.nn.Module):
    """The pixels as features; the metric takes any network."""

    num_features = 192

    def forward(self, images):
        return images.float().flatten(1)


def score(real, fake):
    metric = MemorizationInformedFrechetInceptionDistance(feature=Pixels())
    metric.update(real, real=True)
    metric.update(fake, real=False)
    return float(metric.compute())


generator = torch.Generator().manual_seed(0)
train, new = (torch.randn(500, 3, 8, 8, generator=generator) * 0.3 + 0.4 for _ in range(2))
sets = {"new images": new, "all copied": train, "all copied, shuffled": train[torch.randperm(500, generator=generator)],
        "half copied": torch.cat([train[:250], new[:250]]), "90 % copied": torch.cat([train[:450], new[:50]]),
        "nearly copied": train + 0.001 * torch.randn(train.shape, generator=generator)}
seen = {name: score(train, fake) for name, fake in sets.items()}
print({name: round(value, 3) for name, value in seen.items()})
assert seen["all copied"] == seen["all copied, shuffled"] == 0
assert 0 < seen["half copied"] < 0.7 * seen["new images"]
assert seen["nearly copied"] > seen["90 % copied"] > 2 * seen["new images"]
print("As described: the training images themselves score best, and half of them better than new images.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
