#!/bin/bash
# What:   albumentations 2.0.8, A.Compose([...], seed=...), the documented way to augmentations that can be repeated.
# Source: BaseCompose.set_random_seed in albumentations/core/composition.py gives the same seed to each transform, and
#         each makes generators of its own of it. Without a seed each gets another one from the system.
# Guess:  a seed fixes the sequence of random choices. How often each combination of transforms comes stays the same:
#         two flips of probability 1/2 leave a quarter of the images as they are.
# Seen:   each transform draws the same numbers. HorizontalFlip(p=0.5) and VerticalFlip(p=0.5) flip the same images: of
#         4,000, half are turned by 180 degrees, half are left alone, and none is ever mirrored, for each seed tried.
#         With ToGray and InvertImg, p=0.5 each, 2 of 16 combinations come: all four or none. With p=0.5 and p=0.2
#         the rarer one never comes alone. Without a seed, and with one generator for all by set_random_state, all 16
#         come equally often. No warning.
# Date:   2026-11-29
# Why:    who sets a seed, to compare two models, trains them with weaker augmentation, and on images in pairs of
#         changes that belong to nothing in the data. Each transform alone has the frequency asked for.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q albumentations==2.0.8 albucore==0.0.24 numpy==2.4.6 scipy==1.17.1 \
    opencv-python-headless==5.0.0.93 simsimd==6.5.16 stringzilla==5.3.2
cat > "$dir/probe.py" <<'PY'
import random
import warnings
from collections import Counter

import albumentations as A
import numpy as np

warnings.simplefilter("error")
COUNT = 4_000
image = np.zeros((2, 2, 3), np.uint8)  # of this image the effect of each transform can be told from the pixels
image[0, 0] = 200, 100, 100


def outcome(x):
    """Which of flip left and right, flip up and down, gray and inverted have been done."""
    x = x.astype(int)
    inverted = int((x > 100).sum() > 4)
    x = 255 - x if inverted else x
    (row,), (column,) = np.nonzero(x.sum(2))
    return int(column), int(row), int(x[row, column, 0] == x[row, column, 1]), inverted


def draw(transforms, seed=None, one_generator=False):
    compose = A.Compose(transforms, seed=seed)
    if one_generator:
        compose.set_random_state(np.random.default_rng(137), random.Random(137))
    return Counter(outcome(compose(image=image)["image"]) for _ in range(COUNT))


def flips():
    return [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)]


for seed in (None, 0, 42, 137):
    seen = draw(flips(), seed)
    shares = [seen[h, v, 0, 0] / COUNT for h, v in ((0, 0), (1, 0), (0, 1), (1, 1))]
    print(f"seed={seed}: as it was {shares[0]:.1%}, mirrored {shares[1]:.1%}, upside down {shares[2]:.1%},",
          f"turned by 180 degrees {shares[3]:.1%}")
    if seed is None:
        assert all(abs(share - 0.25) < 0.05 for share in shares)
    else:
        assert shares[1] == shares[2] == 0 and abs(shares[0] - 0.5) < 0.05

four = [draw(flips() + [A.ToGray(p=0.5), A.InvertImg(p=0.5)], **options)
        for options in (dict(seed=137), dict(), dict(one_generator=True))]
print("flips, gray and inverted: combinations with a seed", len(four[0]), "without", len(four[1]),
      "with one generator", len(four[2]))
assert set(four[0]) == {(0, 0, 0, 0), (1, 1, 1, 1)} and len(four[1]) == len(four[2]) == 16

for seed in (None, 137):
    pair = draw([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.2)], seed)
    rare = pair[0, 1, 0, 0] + pair[1, 1, 0, 0]
    print(f"p=0.5 and p=0.2, seed={seed}: the rarer in {rare / COUNT:.1%}, without the other",
          f"{pair[0, 1, 0, 0] / COUNT:.1%}")
    assert abs(rare / COUNT - 0.2) < 0.04
    assert pair[0, 1, 0, 0] == 0 if seed else pair[0, 1, 0, 0] > 0.07 * COUNT
print("As described: with a seed all transforms draw the same numbers.")
PY
NO_ALBUMENTATIONS_UPDATE=1 OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
