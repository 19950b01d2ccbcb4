#!/bin/bash
# What:   image-similarity-measures 0.3.6, sre, the signal to reconstruction error ratio, in decibels.
# Source: sre in image_similarity_measures/quality_metrics.py divides the square of the mean brightness by
#         norm(error) / n, for n pixels. In the paper that the README names for it (Lanaras et al. 2018) the norm is
#         squared, so that the divisor is the mean square error.
# Guess:  with half of the error it grows by 6 dB, as PSNR does; it does not depend on the size of the image, nor on
#         whether brightness is counted from 0 to 1 or to 255.
# Seen:   half of the error gives 3 dB. An image that is laid out as tiles, twice as high and wide, has 3 dB more than
#         one tile, for the same pixels and errors; the same picture in numbers from 0 to 255 has 24 dB more than from
#         0 to 1. At 512 x 512 pixels, noise of 10 levels has 59.2 dB, where the formula gives 22.1. No warning.
# Date:   2026-11-29
# Why:    "dB" by this function can be compared with none from a paper, and not with another size of crops either: a
#         model that is scored on whole images gains 9 dB over crops of an eighth of the side.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q image-similarity-measures==0.3.6 numpy==1.26.4 opencv-python==4.11.0.86 \
    scikit-image==0.20.0 scipy==1.17.1 phasepack==1.5
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np

warnings.filterwarnings("ignore", message="(?s).*pyfftw")  # only faster with it
from image_similarity_measures.quality_metrics import psnr, sre  # noqa: E402

rng = np.random.default_rng(0)
tile = rng.uniform(20, 235, (128, 128, 1)).astype(np.float32)
noise = rng.normal(0, 10, tile.shape).astype(np.float32)


def formula(image, other):
    """Of one band, as in the paper."""
    image, other = image.astype(np.float64), other.astype(np.float64)
    return 10 * np.log10(image.mean() ** 2 / np.square(image - other).mean())


def large(a, times):
    return np.tile(a, (times, times, 1))


cases = {"one tile": (tile, tile + noise), "half of the error": (tile, tile + noise / 2),
         "2 x 2 tiles": (large(tile, 2), large(tile + noise, 2)),
         "4 x 4 tiles": (large(tile, 4), large(tile + noise, 4)),
         "from 0 to 1": (tile / 255, (tile + noise) / 255)}
seen, right = {}, {}
for name, (image, other) in cases.items():
    seen[name], right[name] = sre(image, other), formula(image, other)
    full = psnr(image, other, max_p=1 if name == "from 0 to 1" else 255)
    print(f"{name}: sre {seen[name]:.2f} dB, by the formula {right[name]:.2f}, psnr {full:.2f}")
for name, gain, known in (("half of the error", 3.01, 6.02), ("2 x 2 tiles", 3.01, 0), ("4 x 4 tiles", 6.02, 0),
                          ("from 0 to 1", -24.07, 0)):
    assert abs(seen[name] - seen["one tile"] - gain) < 0.05
    assert abs(right[name] - right["one tile"] - known) < 0.05
assert seen["4 x 4 tiles"] - right["4 x 4 tiles"] > 30
print("As described: the error is not squared, and a larger image scores higher.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
