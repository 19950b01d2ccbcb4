#!/bin/bash
# What:   sewar 0.4.10, uqi, the universal image quality index of Wang and Bovik, and so its d_lambda, d_s and qnr.
# Source: _uqi_single in sewar/full_ref.py has the formula for SUMS over a window of N pixels, N * sum(xy) - sum(x) *
#         sum(y), and puts in what uniform_filter of SciPy returns, which are MEANS. The covariance times N squared
#         becomes the covariance times N plus N - 1 times the product of the two means.
# Guess:  the index of the paper: correlation times likeness of the means times likeness of the contrasts. It is 1 for
#         equal images, 0 if an image says nothing about the other, and negative for a negative.
# Seen:   whatever has about the same brightness scores high. Against a smooth image with mean 128 and deviation 40,
#         an unrelated one of this kind has 0.86 (by the formula of the paper, on the same windows, -0.04), plain gray
#         0.93 (0.00), the negative of the image 0.77 (-0.89), and the image with noise of deviation 20 has 0.99
#         (0.61). No warning.
# Date:   2026-11-29
# Why:    tables of restoration, super-resolution and fusion show it. It ranks an empty gray image over a wrong one,
#         all methods lie close to 1, and a number by sewar beside one by another program compares nothing.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q sewar==0.4.10 numpy==2.4.6 scipy==1.17.1 pillow==13.0.0
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter
from sewar.full_ref import uqi

warnings.simplefilter("error")
rng = np.random.default_rng(0)


def smooth():
    x = gaussian_filter(rng.standard_normal((128, 128)), 4)
    return np.clip(x / x.std() * 40 + 128, 1, 255).round().astype(np.uint8)


def paper(x, y, size=8):
    """The mean over all windows of 4 cov mean_x mean_y / ((var_x + var_y) (mean_x^2 + mean_y^2))."""
    x, y = (sliding_window_view(z.astype(float), (size, size)).reshape(-1, size * size) for z in (x, y))
    mean_x, mean_y = x.mean(1), y.mean(1)
    covariance = (x * y).mean(1) - mean_x * mean_y
    return np.mean(4 * covariance * mean_x * mean_y / (x.var(1) + y.var(1)) / (mean_x**2 + mean_y**2))


image = smooth()
noisy = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).round().astype(np.uint8)
for name, other, low, high, right in (
    ("the image itself", image, 1, 1, 1),
    ("with noise", noisy, 0.97, 1, 0.61),
    ("plain gray", np.full_like(image, 128), 0.9, 0.96, 0),
    ("an unrelated image", smooth(), 0.82, 0.9, -0.04),
    ("its negative", 255 - image, 0.72, 0.82, -0.89),
):
    score, formula = uqi(image, other), paper(image, other)
    print(f"{name}: uqi {score:.3f}, by the formula of the paper {formula:.3f}")
    assert low - 1e-6 <= score <= high + 1e-6 and abs(formula - right) < 0.06
print("As described: uqi follows the brightness and hardly the image.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
