#!/bin/bash
# What:   compressai 1.2.8, EntropyBottleneckVbr, the learned prior for latents with a variable step of quantization,
#         and the models that use it: ScaleHyperpriorVbr and its kin with vr_entbttlnck=True.
# Source: forward in compressai/entropy_models/entropy_models_vbr.py calls _likelihood_variable(outputs, qs), whose
#         second argument is not qs, the step, but stop_gradient.
# Guess:  the likelihood of a latent is the prior's probability of a bin as wide as the step, and trains the prior. With
#         a step of 4, latents take about 2 bits less each than with a step of 1, and what compress writes agrees.
# Seen:   the bin is always 1 wide. With a step of 1 the estimated and the written size agree, at 5.5 bits for each
#         latent; with a step of 4 the estimate is 5.5 and the file has 3.5, with a step of 0.5 it is 5.5 and 6.6. The
#         prior gets no gradient at all: after a step of training ScaleHyperpriorVbr its 14 parameters have None. With
#         qs given by name the estimates are right, and without a step, or at stage 1, the prior trains. No warning.
# Date:   2026-11-29
# Why:    the rate in the loss, and in a curve of rate and distortion, is another one than that of the files, so that
#         coarse steps, which save bits, do not pay, and the prior stays as it was at the end of stage 1.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==1.26.4 scipy==1.17.1 compressai==1.2.8
cat > "$dir/probe.py" <<'PY'
import torch
from compressai.entropy_models import EntropyBottleneckVbr
from compressai.losses import RateDistortionLoss
from compressai.models import ScaleHyperpriorVbr

torch.set_num_threads(1)
torch.manual_seed(0)
CHANNELS, SIDE = 4, 48
latents = 5 * torch.randn(1, CHANNELS, SIDE, SIDE)


def bits(likelihoods):
    return -likelihoods.log2().mean().item()


for step in (1.0, 4.0, 0.5):
    prior = EntropyBottleneckVbr(CHANNELS).eval()
    qs = torch.tensor(step)
    with torch.no_grad():
        values, likelihoods = prior(latents, qs=qs)
        flat = values.permute(1, 0, 2, 3).reshape(CHANNELS, 1, -1)
        by_name, _, _ = prior._likelihood_variable(flat, qs=qs)
        prior.update_variable(force=True, qs=qs)
        (file,) = prior.compress(latents, qs=qs)
        assert torch.equal(prior.decompress([file], latents.shape[2:], qs=qs), values)
    estimate, written = bits(likelihoods), 8 * len(file) / latents.numel()
    print(f"step {step}: {estimate:.2f} bits for each latent by forward, {written:.2f} in the file,",
          f"{bits(by_name):.2f} with qs by name")
    assert abs(bits(by_name) - written) < 0.2  # the file has a header and a finite precision
    expected = estimate - torch.log2(qs).item()  # a bin twice as wide takes one bit less
    assert abs(expected - written) < 0.3
    assert abs(estimate - written) < 0.2 if step == 1 else abs(estimate - written) > 0.7


def untrained(stage, variable):
    """Parameters of the prior for which one step of training gives no gradient."""
    model = ScaleHyperpriorVbr(8, 8, vr_entbttlnck=variable).train()
    images = torch.rand(2, 3, 64, 64)
    RateDistortionLoss()(model(images, stage=stage, s=0), images)["loss"].backward()
    prior = dict(model.entropy_bottleneck.named_parameters())
    del prior["quantiles"]  # of the separate, auxiliary loss
    missing = [name for name, weights in prior.items() if weights.grad is None]
    print(f"stage {stage}, vr_entbttlnck={variable}: {len(missing)} of {len(prior)} parameters without a gradient")
    return len(missing), len(prior)


assert untrained(1, True)[0] == 0 and untrained(2, False)[0] == 0
missing, count = untrained(2, True)
assert missing == count == 14
print("As described: the step is taken for stop_gradient, and the bin has the width 1.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
