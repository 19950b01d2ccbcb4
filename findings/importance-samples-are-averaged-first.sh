#!/bin/bash
# What:   pythae 0.1.2, MIWAE, the multiply importance weighted autoencoder, with number_samples (K) importance samples
#         in each of number_gradient_estimates (M) estimates; its encoder loss in PIWAE too.
# Source: loss_function in pythae/models/miwae/miwae_model.py has log weights of shape (batch, M, K). It normalizes the
#         weights over axis 1, which is M, and takes the mean over the last axis, which is K.
# Guess:  the bound of the paper: importance weights among K samples, then a mean of M such bounds. With M = 1 it is the
#         IWAE of K samples, with K = 1 the plain VAE; more samples make the bound tighter.
# Seen:   M and K are exchanged. M = 1 with K = 64 gives the loss and the gradients of a VAE, and M = 64 with K = 1
#         those of IWAE with 64 samples. The defaults, 5 estimates of 10 samples, are 10 estimates of 5 samples. K alone
#         makes nothing tighter: with M = 1 the loss is 11.8 for K = 1 and 12.2 for K = 256, where IWAE of the same
#         package goes from 11.8 to 4.2.
# Date:   2026-11-29
# Why:    a study of tighter bounds varies K and finds no effect, or the effect of M under the name of K, and K passes
#         of the decoder are paid for an ordinary VAE. Loss curves look healthy in each case.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 pythae==0.1.2
cat > "$dir/probe.py" <<'PY'
import logging

import torch
from pythae.models import IWAE, MIWAE, IWAEConfig, MIWAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder

logging.disable(logging.CRITICAL)
SHAPE, LATENT, IMAGES = (8,), 4, 200
torch.manual_seed(0)
WEIGHTS = torch.randn(8, LATENT) / 2
DATA = torch.randn(IMAGES, LATENT) @ WEIGHTS.T + torch.randn(IMAGES, 8)


class Encoder(BaseEncoder):
    """A posterior that is too wide: the prior, for all images."""

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(LATENT))
        self.log_variance = torch.nn.Parameter(torch.zeros(LATENT))

    def forward(self, x):
        shape = len(x), LATENT
        return ModelOutput(embedding=self.mean.expand(shape), log_covariance=self.log_variance.expand(shape))


class Decoder(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(WEIGHTS.clone())

    def forward(self, z):
        return ModelOutput(reconstruction=z @ self.weights.T)


def measure(kind, config, data):
    """The loss and its gradients, all noise drawn from the same seed."""
    model = kind(config, encoder=Encoder(), decoder=Decoder())
    torch.manual_seed(1)
    loss = model(dict(data=data)).loss
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters()])


def miwae(estimates, samples):
    config = MIWAEConfig(input_dim=SHAPE, latent_dim=LATENT, number_gradient_estimates=estimates,
                         number_samples=samples)
    return measure(MIWAE, config, DATA)


def iwae(samples, draws=1):
    config = IWAEConfig(input_dim=SHAPE, latent_dim=LATENT, number_samples=samples)
    return measure(IWAE, config, DATA.repeat_interleave(draws, 0))


def same(one, other):
    return abs(one[0] / other[0] - 1) < 1e-4 and torch.allclose(one[1], other[1], rtol=1e-3, atol=1e-3)


plain = iwae(1, draws=64)  # one sample has the weight 1: the bound of a VAE, here the mean of 64 draws
print(f"VAE, 64 draws: {plain[0]:.3f}; IWAE with K = 64: {iwae(64)[0]:.3f}")
print(f"MIWAE, M = 1 and K = 64: {miwae(1, 64)[0]:.3f}; M = 64 and K = 1: {miwae(64, 1)[0]:.3f}")
assert same(miwae(1, 64), plain) and not same(miwae(1, 64), iwae(64))
assert same(miwae(64, 1), iwae(64)) and not same(miwae(64, 1), plain)
for count in (1, 16, 256):
    tight, loose = iwae(count)[0], miwae(1, count)[0]
    print(f"K = {count}: IWAE {tight:.2f}, MIWAE with M = 1 {loose:.2f}")
    assert abs(loose - 12) < 1 and (count == 1 or tight < 6)
print("As described: MIWAE weighs over the estimates and averages over the importance samples.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
