#!/bin/bash
# What:   denoising-diffusion-pytorch 2.3.4, guidance by a classifier: GaussianDiffusion.sample(cond_fn=...) of its
#         module guided_diffusion.
# Source: denoising_diffusion_pytorch/guided_diffusion.py: ddim_sample, which sample calls when sampling_timesteps is
#         less than timesteps, takes cond_fn and does not use it; p_sample uses it if guidance_kwargs is not None.
# Guess:  sample with cond_fn is guided, with all steps as with fewer, and guidance_kwargs is for those whose function
#         takes more arguments, as its default, None, suggests.
# Seen:   with all 250 steps and guidance_kwargs={} an exact classifier moves the mean of the samples from 0 to 0.27
#         (0.31 is exact), and at twice its scale to 0.54. With 249 or 50 steps, or with guidance_kwargs=None, the
#         samples are those without guidance to the bit. No warning.
# Date:   2026-11-29
# Why:    sampling_timesteps is set to save time, and guided samples are then plain ones, good pictures of any class. A
#         search for the right scale, or a comparison of guided with plain samples, finds that guidance does not help.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 denoising-diffusion-pytorch==2.3.4
cat > "$dir/probe.py" <<'PY'
import contextlib
import io

import torch
from denoising_diffusion_pytorch.guided_diffusion import GaussianDiffusion
from torch import nn

torch.set_num_threads(1)
STD, PULL = 0.25, 5.0  # of pixels of mean 0; the slope of the classifier's log-probability in each pixel


class Exact(nn.Module):
    """The exact prediction of the noise, and the exact gradient of the classifier on noisy images."""

    channels, out_dim, self_condition, random_or_learned_sinusoidal_cond = 1, 1, False, False

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, t, self_condition=None):
        alpha = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return (1 - alpha).sqrt() * x / (alpha * STD**2 + 1 - alpha)

    def gradient(self, x, t, scale=1.0):
        alpha = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return scale * PULL * alpha.sqrt() * STD**2 / (alpha * STD**2 + 1 - alpha) * torch.ones_like(x)


def samples(steps, **guidance):
    network = Exact()
    diffusion = GaussianDiffusion(network, image_size=4, timesteps=250, sampling_timesteps=steps,
                                  objective="pred_noise", beta_schedule="linear", ddim_sampling_eta=1.0)
    network.alphas_cumprod = diffusion.alphas_cumprod
    if guidance:
        guidance["cond_fn"] = network.gradient
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # a line for each step
        return 2 * diffusion.sample(batch_size=128, **guidance) - 1


goal = PULL * STD**2
for steps in (250, 249, 50):
    plain = samples(steps)
    print(f"{steps} of 250 steps: mean {plain.mean():.3f} without guidance, ", end="")
    assert plain.mean().abs() < 0.02
    for arguments in ({}, {"scale": 2}, None):
        guided = samples(steps, guidance_kwargs=arguments)
        print(f"{guided.mean():.3f} with guidance_kwargs={arguments}", end=", ")
        if steps == 250 and arguments is not None:
            assert 0.75 < guided.mean() / (goal * arguments.get("scale", 1)) < 1.05
        else:
            assert torch.equal(guided, plain)
    print(f"where {goal:.3f} and {2 * goal:.3f} are exact")
print("As described: cond_fn counts with all steps and guidance_kwargs, and is dropped otherwise.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
