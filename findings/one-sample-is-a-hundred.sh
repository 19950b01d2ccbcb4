#!/bin/bash
# What:   pythae 0.1.2, get_nll(data, n_samples=..., batch_size=100) of VAE, "estimate negative log-likelihood"; the one
#         of VAMP, the VAEs with flows, HVAE, RHVAE, SVAE and PoincareVAE has the same lines.
# Source: get_nll in pythae/models/vae/vae_model.py. With n_samples <= batch_size it sets the number of batches to 1 and
#         leaves batch_size as it is; with more, it does n_samples // batch_size full batches. It returns the mean of
#         logsumexp(...) - log(count), without a minus.
# Guess:  n_samples is the number of importance samples, as its docstring says, and the result is a negative
#         log-likelihood: less is better, and n_samples=1 is the bound (ELBO) that a VAE is trained with.
# Seen:   n_samples from 1 to 199 all take 100 samples, with the same result to the bit; batch_size=1_000 with
#         n_samples=1 takes 1,000. The result is the log-likelihood: -13.2 for data whose exact negative log-likelihood
#         is 13.15, where one sample would give -20.0. The smaller value is the worse model's: -15.4 for a decoder whose
#         exact negative log-likelihood is 15.4.
# Date:   2026-11-29
# Why:    a score by n_samples=1, compared with the ELBO of other work, is better by 6.8 nats here for nothing but the
#         batch size. A curve over n_samples is flat, as if it had converged. A search that keeps the least "NLL" keeps
#         the worst model.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 pythae==0.1.2
cat > "$dir/probe.py" <<'PY'
import logging

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder

logging.disable(logging.CRITICAL)
torch.set_grad_enabled(False)
torch.manual_seed(0)
WEIGHTS = torch.randn(8, 4) / 2
DATA = torch.randn(300, 4) @ WEIGHTS.T + torch.randn(300, 8)  # just as the decoder below makes them
drawn = []


class Encoder(BaseEncoder):
    """A posterior that is too wide: the prior, for all images."""

    def forward(self, x):
        drawn.append(len(x))
        return ModelOutput(embedding=torch.zeros(len(x), 4), log_covariance=torch.zeros(len(x), 4))


class Decoder(BaseDecoder):
    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def forward(self, z):
        return ModelOutput(reconstruction=z @ self.weights.T)


def nll(weights=WEIGHTS, **options):
    drawn.clear()
    torch.manual_seed(1)
    model = VAE(VAEConfig(input_dim=(8,), latent_dim=4), encoder=Encoder(), decoder=Decoder(weights))
    return model.get_nll(DATA, **options)


def exact(weights=WEIGHTS):
    covariance = weights @ weights.T + torch.eye(8)
    return -torch.distributions.MultivariateNormal(torch.zeros(8), covariance).log_prob(DATA).mean().item()


print(f"exact negative log-likelihood: {exact():.2f}")
one = nll(n_samples=1, batch_size=1)
assert sum(drawn) == len(DATA)
print(f"get_nll, n_samples=1, batch_size=1: {one:.2f}")
results = []
for samples in (1, 10, 100, 199):
    results.append(nll(n_samples=samples))
    print(f"get_nll, n_samples={samples}: {results[-1]:.4f}, drawn per image: {sum(drawn) / len(DATA):.0f}")
    assert sum(drawn) == 100 * len(DATA)
assert len(set(results)) == 1 and results[0] - one > 5
large = nll(n_samples=1, batch_size=1_000)
print(f"get_nll, n_samples=1, batch_size=1000: {large:.4f}, drawn per image: {sum(drawn) / len(DATA):.0f}")
assert sum(drawn) == 1_000 * len(DATA) and large - one > 5 and abs(large + exact()) < 0.3

worse = torch.zeros_like(WEIGHTS)
print(f"a worse decoder: exact {exact(worse):.2f}, get_nll {nll(worse, batch_size=1_000):.2f}")
assert exact(worse) > exact() + 0.5 and nll(worse, batch_size=1_000) < large
print("As described: the batch size is the number of samples, and more is better.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
