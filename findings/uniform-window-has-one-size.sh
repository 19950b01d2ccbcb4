#!/bin/bash
# What:   pytorch-ignite 0.5.5, ignite.metrics.SSIM(gaussian=False, kernel_size=...), SSIM with a uniform window.
# Source: SSIM._uniform in ignite/metrics/ssim.py makes a row of kernel_size zeros and writes 1 / 5 in its middle five
#         places, or in all of them if there are fewer.
# Guess:  a mean over kernel_size x kernel_size pixels, 11 x 11 by default, as the docstring has it ("size of the
#         kernel", "to use uniform kernel"), and as structural_similarity of scikit-image has it with win_size.
# Seen:   the window is 5 x 5 for 5, 7, 11 and 15: the score of smooth images with noise is 0.656 for all of them, where
#         the formula has 0.656, 0.744, 0.820 and 0.849. With kernel_size=3 the nine weights add up to 0.36, so that
#         the square of the brightness counts as variance: the score is 0.954 (0.490 by the formula), and 0.68 for an
#         image of nothing but noise (0.01). With a Gaussian window the size does what it says. No warning.
# Date:   2026-11-29
# Why:    a score by the window of another paper or program (7 x 7 is that of scikit-image, 8 x 8 that of the first
#         paper) is taken with another window and is off by a tenth and more, and a small window praises any image.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 pytorch-ignite==0.5.5 numpy==2.4.6 scipy==1.17.1
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np
import torch
from ignite.metrics import SSIM
from scipy.ndimage import gaussian_filter, uniform_filter

rng = np.random.default_rng(0)
images = gaussian_filter(rng.standard_normal((8, 1, 64, 64)), (0, 0, 2, 2))
images = (images / images.std() * 0.2 + 0.5).clip(0, 1)
noisy = (images + rng.normal(0, 0.1, images.shape)).clip(0, 1)
noise = rng.uniform(0, 1, images.shape)


def ignite(x, y, size, gaussian=False):
    metric = SSIM(data_range=1.0, kernel_size=size, gaussian=gaussian)
    metric.update((torch.tensor(x), torch.tensor(y)))
    return metric.compute()


def formula(x, y, size):
    """SSIM with a window of size x size pixels of equal weight, its border mirrored as ignite does."""
    def mean(z):
        return uniform_filter(z, (0, 0, size, size), mode="mirror")

    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    likeness = (2 * mean_x * mean_y + 1e-4) / (mean_x**2 + mean_y**2 + 1e-4)
    return (likeness * (2 * covariance + 9e-4) / (variances + 9e-4)).mean()


with warnings.catch_warnings():
    warnings.simplefilter("error")
    scores = {size: ignite(noisy, images, size) for size in (3, 5, 7, 11, 15)}
for size, score in scores.items():
    right = formula(noisy, images, size)
    print(f"noisy images, window {size} x {size}: ignite {score:.3f}, the formula {right:.3f}")
    assert size == 5 and abs(score - right) < 1e-3 or size != 5 and abs(score - right) > 0.07
assert all(abs(scores[size] - scores[5]) < 1e-6 for size in (7, 11, 15)) and scores[3] > 0.93
small, right = ignite(noise, images, 3), formula(noise, images, 3)
print(f"nothing but noise, window 3 x 3: ignite {small:.3f}, the formula {right:.3f}")
assert small > 0.6 and abs(right) < 0.05
gauss = [ignite(noisy, images, size, gaussian=True) for size in (3, 5, 7)]
print("with a Gaussian window of 3, 5 and 7:", *(f"{score:.3f}" for score in gauss))
assert gauss[0] + 0.05 < gauss[1] < gauss[2] - 0.03
print("As described: the uniform window is 5 x 5 whatever its size, or adds up to less than 1.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
