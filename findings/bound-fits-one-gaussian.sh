#!/bin/bash
# What:   FrEIA 0.2, GaussianMixtureModel.nll_upper_bound, a "numerically more stable upper bound of the negative
#         log-likelihood loss for training a Mixture Density Network", with PyTorch 2.14.1.
# Source: nll_upper_bound in FrEIA/modules/gaussian_mixture.py sums log w_k + log p_k(x) over the components k, with
#         no weights. So the loss is a sum of one loss per component, each on all data, and of -log w_k.
# Guess:  a bound of the loss is above the loss, and training with it gives a mixture that is somewhat worse, but a
#         mixture, as the evidence lower bound does.
# Seen:   whatever the data, each component is fitted to all of it and the weights become equal: the mixture is one
#         Gaussian. For modes at -2 and 2 of standard deviation 0.3, with 80 % and 20 % of the data, it ends with both
#         means at -1.2, both standard deviations at 1.6 and weights of 0.5, even when started at the truth, where
#         nll_loss stays. For narrow components that overlap it is below the loss, so it is no bound.
# Date:   2026-11-29
# Why:    the head of a network for multimodal posteriors is trained with it for its stability, trains smoothly, and
#         all modes are one. With the components equal, more of them change nothing, so it looks like unimodal data.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 scipy==1.17.1 FrEIA==0.2
cat > "$dir/probe.py" <<'PY'
import torch
from FrEIA.modules import GaussianMixtureModel

torch.manual_seed(0)
COUNT, MODES = 2_000, 2
data = torch.where(torch.rand(COUNT, 1) < 0.8, -2.0, 2.0) + 0.3 * torch.randn(COUNT, 1)
model = GaussianMixtureModel([(1,)], [(MODES,), (MODES, 1), (MODES, 1), ()])


def losses(raw_weights, means, log_precisions, x):
    """The loss and its bound, of one mixture for all x."""
    weights = GaussianMixtureModel.normalize_weights(raw_weights.expand(len(x), -1))
    mixture = [weights, means.expand(len(x), -1, 1), log_precisions.expand(len(x), -1, 1), None]
    (z,), log_jacobian = model([x], mixture)
    return (GaussianMixtureModel.nll_loss(weights, z, log_jacobian).mean(),
            GaussianMixtureModel.nll_upper_bound(weights, z, log_jacobian).mean())


def truth():
    weights, means, stds = torch.tensor([[0.8, 0.2]]), torch.tensor([[[-2.0], [2.0]]]), torch.full((1, MODES, 1), 0.3)
    return [weights.log(), means, -stds.log()]


for which, name in enumerate(("nll_loss", "nll_upper_bound")):
    parameters = [p.requires_grad_() for p in truth()]
    optimizer = torch.optim.Adam(parameters, lr=0.05)
    for _ in range(1_500):
        optimizer.zero_grad()
        losses(*parameters, data)[which].backward()
        optimizer.step()
    weights, means = parameters[0].softmax(1)[0].detach(), parameters[1].detach().flatten()
    stds = (-parameters[2].detach().flatten()).exp()
    print(f"{name}: weights {weights.tolist()}, means {means.tolist()}, standard deviations {stds.tolist()}")
    if name == "nll_loss":
        assert abs(weights[0] - 0.8) < 0.03 and abs(means[0] + 2) < 0.05 and abs(means[1] - 2) < 0.05
        assert (abs(stds - 0.3) < 0.03).all()
    else:
        assert torch.allclose(weights, torch.full((MODES,), 1 / MODES), atol=0.01)
        assert torch.allclose(means, data.mean().expand(MODES), atol=0.05)
        assert torch.allclose(stds, data.std().expand(MODES), atol=0.05) and 1.5 < data.std() < 1.75

with torch.no_grad():
    loss, bound = losses(*truth(), data)
    print(f"at the truth: loss {loss:.2f}, bound {bound:.2f}")
    assert bound > loss
    narrow = [torch.zeros(1, MODES), torch.zeros(1, MODES, 1), torch.full((1, MODES, 1), 100.0).log()]
    loss, bound = losses(*narrow, 0.01 * torch.randn(COUNT, 1))
    print(f"equal components of standard deviation 0.01: loss {loss:.2f}, bound {bound:.2f}")
    assert bound < loss - 1
print("As described: the bound fits each component to all data, with equal weights.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
