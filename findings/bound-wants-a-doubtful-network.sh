#!/bin/bash
# What:   bionemo-moco 0.0.2.2 (NVIDIA), D3PM.loss(..., vb_scale=...), the loss with the variational bound.
# Source: loss in bionemo/moco/interpolants/discrete_time/discrete/d3pm.py hands the data as one-hot vectors to
#         _q_posterior_logits, which takes them for logits and applies a softmax. With 20 classes the "true" posterior
#         is that of a network which gives the right token e / (e + 19) = 12.5 %.
# Guess:  the bound is smallest, 0, where the network is sure of the data, as cross entropy is.
# Seen:   it is 0 for a network that gives the right token 12.5 %, and grows as the network becomes surer. Trained on
#         the bound alone, a network for known data stops at 12.5 %. On the bound + 0.001 cross entropy it gives the
#         right token 17 %, on cross entropy alone 99 %. From the token numbers (model_out_is_logits=False of the same
#         function), the bound is smallest for the sure network.
# Date:   2026-11-29
# Why:    the term that is added for a better likelihood pulls each prediction towards all tokens being about equal.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==1.26.4 bionemo-moco==0.0.2.2
cat > "$dir/probe.py" <<'PY'
import math

import torch
import torch.nn.functional as F
from bionemo.moco.distributions.prior.discrete.uniform import DiscreteUniformPrior
from bionemo.moco.distributions.time.uniform import UniformTimeDistribution
from bionemo.moco.interpolants import D3PM
from bionemo.moco.schedules.noise.discrete_noise_schedules import DiscreteCosineNoiseSchedule

KINDS, STEPS, BATCH = 20, 100, 256
torch.manual_seed(0)
d3pm = D3PM(UniformTimeDistribution(discrete_time=True, nsteps=STEPS), DiscreteUniformPrior(KINDS),
            DiscreteCosineNoiseSchedule(STEPS))
data = torch.randint(0, KINDS, (BATCH, 30))
time = torch.randint(1, STEPS, (BATCH,))
noised = d3pm.interpolate(data, time)
right = F.one_hot(data, KINDS).float()


def cross_entropy(logits):
    return d3pm.loss(logits, data, noised, time).mean()


def bound(logits):
    return d3pm.loss(logits, data, noised, time, vb_scale=1.0).mean() - cross_entropy(logits)


def bound_of_tokens(logits):
    """The divergence of the same posteriors, the true one from the token numbers."""
    true = d3pm._q_posterior_logits(data, time, noised, model_out_is_logits=False).log_softmax(-1)
    ours = d3pm._q_posterior_logits(logits, time, noised).log_softmax(-1)
    return (true.exp() * (true - ours)).sum(-1).mean()


def logits_of(p):
    """The right token has the probability p, the others share the rest."""
    return math.log(p * (KINDS - 1) / (1 - p)) * right


def trained(loss):
    """The probability of the right token, of a network that may say how sure it is."""
    sure = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.Adam([sure], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss(sure * right).backward()
        optimizer.step()
    return (sure * right).softmax(-1).max().item()


rows = [(p, bound(logits_of(p)).item(), bound_of_tokens(logits_of(p)).item()) for p in (0.05, 0.125, 0.5, 0.9, 0.999)]
for p, theirs, tokens in rows:
    print(f"right token {p:.1%}: bound {theirs:.5f}, from token numbers {tokens:.5f}")
assert abs(rows[1][1]) < 1e-5 and rows[1][1] < rows[2][1] < rows[3][1] < rows[4][1]
assert rows[0][2] > rows[1][2] > rows[2][2] > rows[3][2] > rows[4][2]
alone, mixed = trained(bound), trained(lambda x: bound(x) + 0.001 * cross_entropy(x))
entropy, tokens = trained(cross_entropy), trained(bound_of_tokens)
print(f"right token after training on the bound {alone:.1%}, bound + 0.001 cross entropy {mixed:.1%}, "
      f"cross entropy {entropy:.1%}, bound from token numbers {tokens:.1%}")
assert abs(alone - math.e / (math.e + KINDS - 1)) < 0.005 and mixed < 0.3 and entropy > 0.98 and tokens > 0.98
print("As described: the bound is smallest for a network that gives the right token 12.5 %.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
