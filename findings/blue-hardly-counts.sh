#!/bin/bash
# What:   sewar 0.4.10, msssim, multi-scale SSIM, of color images.
# Source: before each coarser scale msssim in sewar/full_ref.py smooths by uniform_filter(image, 2) of SciPy. It takes
#         means of two neighbors along each axis of the array (height, width, channel), so of two channels as well.
# Guess:  MS-SSIM of each channel, and their mean, as ssim of the same package does. The order of the channels, RGB by
#         Pillow or BGR by OpenCV, does not matter.
# Seen:   at the coarsest scale green is 94 % red and 6 % green, and blue is 69 % red, 25 % green and 6 % blue. Of an
#         image with a channel from another image the score is 0.20 if it is red, 0.78 if green and 0.91 if blue; each
#         channel by itself and averaged gives 0.67 to 0.69. As BGR instead of RGB the image with the wrong red has
#         0.91. Gray images, as arrays of one channel, are right, and a gray image in three channels too.
# Date:   2026-11-29
# Why:    a codec, autoencoder or colorization is judged by the red of its images, and whoever reads them by OpenCV by
#         the blue. A method that errs in blue gains the score that one that errs in red loses.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q sewar==0.4.10 numpy==2.4.6 scipy==1.17.1 pillow==13.0.0
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np
from scipy.ndimage import gaussian_filter, uniform_filter
from sewar.full_ref import msssim

warnings.simplefilter("error")
rng = np.random.default_rng(0)


def smooth():
    x = gaussian_filter(rng.standard_normal((256, 256, 3)), (4, 4, 0))
    return np.clip(x / x.std() * 40 + 128, 0, 255).round().astype(np.uint8)


def each(x, y):
    return np.mean([msssim(x[:, :, i], y[:, :, i]) for i in range(3)])


flat = np.ones((16, 16, 1)) * np.eye(3)[:, None, None]  # three images, each with one channel of 1 and two of 0
for _ in range(4):  # the smoothing between five scales
    flat = np.stack([uniform_filter(x, 2) for x in flat])
shares = flat[:, 8, 8].T
for name, share in zip(("red", "green", "blue"), shares):
    print(f"{name} at the coarsest scale, of red, green and blue:", *(f"{s:.0%}" for s in share))
assert np.allclose(shares, [[1, 0, 0], [15 / 16, 1 / 16, 0], [11 / 16, 4 / 16, 1 / 16]])

image, other = smooth(), smooth()
scores = []
for i, name in enumerate(("red", "green", "blue")):
    wrong = image.copy()
    wrong[:, :, i] = other[:, :, i]
    rgb, bgr = msssim(image, wrong), msssim(image[:, :, ::-1], wrong[:, :, ::-1])
    print(f"wrong {name}: msssim {rgb:.3f}, as BGR {bgr:.3f}, mean of the channels {each(image, wrong):.3f}")
    assert 0.62 < each(image, wrong) < 0.74
    scores.append((rgb, bgr))
assert scores[0][0] < 0.4 and 0.7 < scores[1][0] < 0.83 and scores[2][0] > 0.86
assert scores[0][1] > 0.86 and 0.7 < scores[1][1] < 0.83 and scores[2][1] < 0.4
gray, noisy = (x[:, :, :1].repeat(3, 2) for x in (image, np.clip(image + rng.normal(0, 40, image.shape), 0, 255)))
print(f"gray in three channels, with noise: msssim {msssim(gray, noisy.astype(np.uint8)):.3f},",
      f"one channel {msssim(gray[:, :, 0], noisy[:, :, 0].astype(np.uint8)):.3f}")
assert abs(msssim(gray, noisy.astype(np.uint8)) - msssim(gray[:, :, 0], noisy[:, :, 0].astype(np.uint8))) < 1e-6
print("As described: the channels are mixed, and the first one decides.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
