#!/bin/bash
# What:   imagen-pytorch 2.1.0, Imagen(pred_objectives="v" or "x_start") with a Unet(self_cond=True), its training loss.
# Source: Imagen.p_losses in imagen_pytorch/imagen_pytorch.py. For self-conditioning half of the steps run the network
#         once more, without gradients. Its prediction is kept in x_start, and the target is made of x_start after that.
# Guess:  as in the paper on self-conditioning ("Analog Bits") the first prediction is one more input of the network.
#         The target stays what it is: a perfect network has loss 0 in all steps, and a bad one the same loss in all.
# Seen:   in these steps the clean image of the target is the network's own first answer. With "x_start" a network that
#         always answers with a grey image has loss 0 in them, and one that answers with the negative too. With "v" the
#         answer is put in as it is, a velocity in place of an image: a perfect network has loss 0.28 in them, and in
#         heavy noise (times above 0.8) their target stands for the image times -0.91, its negative. Nothing is said.
#         With "noise", the default, the target is made of the noise, and all is as guessed.
# Date:   2026-11-29
# Why:    "v" is there for distillation in steps, as a comment at the target says. Sampling gives the network its last
#         image in each step but the first, so it is this half of the training that makes the samples. The loss looks as
#         usual, or lower with "x_start", where the network only learns to repeat itself.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 transformers==5.24.0 einops==0.8.2 \
    kornia==0.9.0 ema-pytorch==0.8.3 accelerate==1.15.0 beartype==0.23.1 datasets==5.2.0 pytorch-warmup==0.2.0 \
    imagen-pytorch==2.1.0
cat > "$dir/probe.py" <<'PY'
from types import SimpleNamespace
from unittest import mock

import torch
import transformers

# On import the package asks a server for the width of a text encoder, which is not used here.
transformers.T5Config.from_pretrained = classmethod(lambda cls, name: SimpleNamespace(d_model=768))
import imagen_pytorch.imagen_pytorch as source
from imagen_pytorch import Imagen, Unet

SIZE, BATCH = 8, 256
IMAGE = torch.full((BATCH, 3, SIZE, SIZE), 0.9)  # all images of the data set are this one, with values from 0 to 1
CLEAN = 2 * IMAGE - 1  # as the network sees it


class Certain(Unet):
    """A network that is certain of one clean image, whatever it sees, and answers in the terms of the objective."""

    def forward(self, x, log_snr, self_cond=None, **rest):
        self.calls += 1
        alpha, sigma = (torch.sigmoid(sign * log_snr).sqrt()[:, None, None, None] for sign in (1, -1))
        self.seen = x, alpha, sigma
        noise = (x - alpha * self.belief) / sigma
        return {"noise": noise, "x_start": self.belief, "v": alpha * noise - sigma * self.belief}[self.objective]


def step(objective, belief, first_prediction):
    """The loss of one training step, and the clean image that its target stands for."""
    unet = Certain(dim=8, cond_dim=8, dim_mults=(1,), layer_attns=False, layer_cross_attns=False,
                   attend_at_middle=False, self_cond=True)
    imagen = Imagen(unet, image_sizes=SIZE, timesteps=50, condition_on_text=False, pred_objectives=objective)
    unet = imagen.unets[0]
    unet.objective, unet.belief, unet.calls = objective, belief, 0
    loss_of, targets = imagen.loss_fn, []
    imagen.loss_fn = lambda pred, target, **rest: targets.append(target) or loss_of(pred, target, **rest)
    torch.manual_seed(0)
    with mock.patch.object(source, "random", lambda: 0.0 if first_prediction else 0.9):  # below 0.5 is the half with it
        loss = imagen(IMAGE).item()
    assert unet.calls == 1 + first_prediction
    x, alpha, sigma = unet.seen
    return loss, (alpha * x - sigma * targets[0]), sigma


for objective in ("noise", "x_start", "v"):
    for name, belief in (("perfect", CLEAN), ("grey", 0 * CLEAN), ("negative", -CLEAN)):
        without, _, _ = step(objective, belief, False)
        with_it, _, _ = step(objective, belief, True)
        print(f"{objective}, {name} network: loss {without:.3f} without, {with_it:.3f} with a first prediction")
        right = {"perfect": 0, "grey": 1.375, "negative": 5.499}[name]
        assert abs(without - right) < 0.15 * right + 1e-6
        if objective == "noise":
            assert with_it == without
        elif objective == "x_start":
            assert with_it == 0
        else:
            assert with_it > without + 0.2

for first_prediction in (False, True):
    _, image, sigma = step("v", CLEAN, first_prediction)
    noisy = sigma.flatten() > 0.95  # times above 0.8
    factor = (image / CLEAN)[noisy].mean().item()
    print(f"v, perfect network, heavy noise, first prediction {first_prediction}: target is the image x {factor:.2f}")
    assert abs(factor - 1) < 1e-3 if not first_prediction else factor < -0.8
print("As described: with self-conditioning the network's first answer takes the place of the image in the target.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore "$dir/probe.py"
