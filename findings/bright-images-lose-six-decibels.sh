#!/bin/bash
# What:   scikit-image 0.26.0, skimage.metrics.peak_signal_noise_ratio of images as floats in [-1, 1], without
#         data_range.
# Source: peak_signal_noise_ratio in skimage/metrics/simple_metrics.py. Its docstring: data_range "is estimated from the
#         image data-type"; the range of floats is -1 to 1 by the library's conventions.
# Guess:  the type is the same for all images, so all have one range, 2, and PSNRs compare.
# Seen:   the content decides as well: an image without a negative pixel has the range 1. Its PSNR is 6.02 dB lower than
#         that of the same error in an image with one pixel at -0.001. Of the 32 x 32 crops of two photographs that the
#         library ships, cut with no overlap, 28 % (the cameraman) and 12 % (the astronaut) have no negative pixel; with
#         noise of standard deviation 0.1 the means are 24.3 and 25.3 dB, and 26.0 for both with data_range=2. No
#         warning.
# Date:   2026-11-29
# Why:    diffusion models work in [-1, 1], and reconstructions, decoders or restored images are scored by the mean PSNR
#         of a set. The mean then tells how many bright images the set has: a set of skies and snow seems worse by up to
#         6 dB, and so does one class beside another.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q scikit-image==0.26.0 numpy==2.4.6 scipy==1.17.1
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

warnings.simplefilter("error")
rng = np.random.default_rng(0)

bright = rng.uniform(0, 1, (32, 32))
noise = rng.normal(0, 0.1, bright.shape)
nearly = bright.copy()
nearly[0, 0] = -0.001
with_range = peak_signal_noise_ratio(bright, bright + noise, data_range=2)
scores = [peak_signal_noise_ratio(image, image + noise) for image in (bright, nearly)]
print(f"a bright image {scores[0]:.2f} dB; with one pixel at -0.001 {scores[1]:.2f}; the first with data_range=2 "
      f"{with_range:.2f}")
assert abs(scores[1] - scores[0] - 20 * np.log10(2)) < 1e-6 and abs(scores[1] - with_range) < 1e-6

for name, share, mean in (("camera", 0.28, 24.3), ("astronaut", 0.12, 25.3)):
    picture = getattr(data, name)() / 127.5 - 1
    rows, columns = (range(0, size - 31, 32) for size in picture.shape[:2])
    crops = [picture[i:i + 32, j:j + 32] for i in rows for j in columns]
    pairs = [(crop, crop + rng.normal(0, 0.1, crop.shape)) for crop in crops]
    plain = [peak_signal_noise_ratio(*pair) for pair in pairs]
    right = [peak_signal_noise_ratio(*pair, data_range=2) for pair in pairs]
    low = np.mean([a < b - 6 for a, b in zip(plain, right)])
    print(f"{name}: {len(crops)} crops, {low:.0%} of them 6 dB too low; mean {np.mean(plain):.1f} dB, "
          f"with data_range=2 {np.mean(right):.1f}")
    assert abs(low - share) < 0.02 and abs(np.mean(plain) - mean) < 0.1 and abs(np.mean(right) - 26.0) < 0.1
print("As described: images in [-1, 1] without a negative pixel lose 6 dB of PSNR.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
