#!/bin/bash
# What:   image-similarity-measures 0.3.6, sam, the spectral angle mapper: the mean angle between the colors of two
#         images, 0 degrees for equal colors.
# Source: sam in image_similarity_measures/quality_metrics.py. The angle at a black pixel is 0 / 0, so NaN, and
#         nan_to_num turns NaN into 0 not for the pixel, but for the mean over the image. The products of the colors
#         are taken in the images' own type, which for 8 bits is modulo 256; psnr, rmse and sre convert to float32.
# Guess:  an image has the angle 0 to itself, two that have nothing to do with each other a large one, and a single
#         pixel of many thousands changes little.
# Seen:   of two random images, as floating point numbers, the angle is 34 degrees. With ONE black pixel in either of
#         them it is 0.0, the best there is. As 8-bit images, which is what the package's own evaluation() reads from
#         a file, each image has an angle of about 89.5 degrees to itself, the same as to another one; with one black
#         pixel that, too, is 0.0. NumPy warns of the division, not of the overflow.
# Date:   2026-11-29
# Why:    black pixels are in many photographs, and in each image with black padding. A model that draws one black
#         pixel in each image is perfect by this measure, and a mean over images tells how many of them had none.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q image-similarity-measures==0.3.6 numpy==1.26.4 opencv-python==4.11.0.86 \
    scikit-image==0.20.0 scipy==1.17.1 phasepack==1.5
cat > "$dir/probe.py" <<'PY'
import sys
import warnings

import cv2
import numpy as np

warnings.simplefilter("ignore")
from image_similarity_measures.evaluate import evaluation  # noqa: E402
from image_similarity_measures.quality_metrics import sam  # noqa: E402


def angle(a, b):
    """The mean angle in degrees, in float64; None if a pixel is black."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.rad2deg(np.arccos(cosine.clip(-1, 1))).mean()


rng = np.random.default_rng(0)
image, other = rng.integers(1, 256, (2, 64, 64, 3)).astype(np.uint8)  # no black pixel
images = {"image": image, "other": other, "hole": other.copy()}
images["hole"][20, 30] = 0  # one black pixel of 4,096
files = {name: f"{sys.argv[1]}/{name}.png" for name in images}
for name, pixels in images.items():
    assert cv2.imwrite(files[name], pixels)


def seen(a, b, kind):
    return float(sam(images[a].astype(kind), images[b].astype(kind)))


for a, b in (("image", "image"), ("image", "other"), ("image", "hole"), ("hole", "image")):
    read = evaluation(files[a], files[b], ["sam"])["sam"]
    print(f"{a} and {b}: {seen(a, b, np.float64):.2f} degrees as float64, {seen(a, b, np.uint8):.2f} as uint8,",
          f"{read:.2f} by evaluation() of two files")
    assert abs(read - seen(a, b, np.uint8)) < 1e-6
assert seen("image", "image", np.float64) < 1e-3
assert 30 < angle(image, other) < 38 and abs(seen("image", "other", np.float64) - angle(image, other)) < 1e-6
for kind in (np.float64, np.uint8):
    assert seen("image", "hole", kind) == seen("hole", "image", kind) == 0
assert 89 < seen("image", "image", np.uint8) < 90 and 89 < seen("image", "other", np.uint8) < 90
print("As described: a black pixel makes the angle 0, and 8 bits make it 89.5 degrees.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
