#!/bin/bash
# What:   opencv-python-headless 5.0.0.93, cv2.setRNGSeed with small or consecutive seeds, and cv2.randu, cv2.randn.
# Source: modules/core/src/rand.cpp: the seed itself is the state of a multiply-with-carry generator, RNG_NEXT, which
#         multiplies it by one constant modulo another. So the stream of seed 6 is 6 times that of seed 1, modulo 1, and
#         streams add up as their seeds do. randn_0_1_32f makes its first number of the state before the first step.
# Guess:  each seed has a stream of its own, as in NumPy: images of noise with seeds 1, 2, 3, ... are independent.
# Seen:   uniform images of uint8 with seeds 1 and 2 have a correlation of 0.50, 1 and 3 of 0.33, 1000 and 2000 of 0.50.
#         That of seed 3 is the sum of those of 1 and 2, modulo 256, and seed 1002 follows from 1000 and 1001, to one
#         level in each pixel. The mean of the images of seeds 1 to 8 has a std of 39 instead of 26. As floats: -0.25
#         and 0.33. The normal number that is drawn first after the seed is 0: below 0.0002 for each seed up to 100,000.
#         With random seeds below 2^31 it is positive in 99 % of them. The later normal numbers show no correlation of
#         these seeds. NumPy's seeds, and OpenCV's uniform images with random seeds, are all right. No warning.
# Date:   2026-11-29
# Why:    the index of an image or the number of a worker is the usual seed of augmentation that is to be repeatable.
#         Noise for dithering, masks and crops of neighbours is not independent then, and a shift of brightness that is
#         drawn by randn, one number for each image, is never applied: its std is 0.0003 instead of 20.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q opencv-python-headless==5.0.0.93 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import cv2
import numpy as np


def uniform(seed, kind="uint8", high=256):
    """An image of uniform noise from OpenCV."""
    cv2.setRNGSeed(seed)
    image = np.zeros((256, 256), kind)
    cv2.randu(image, 0, high)
    return image.astype(float)


def normal(seed, shape=(256, 256), std=1.0):
    cv2.setRNGSeed(seed)
    image = np.zeros(shape, "float32")
    cv2.randn(image, 0, std)
    return image


def other(seed):
    return np.random.default_rng(seed).integers(0, 256, (256, 256)).astype(float)


def correlation(first, second):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


def off(image):
    """How far from 0 the numbers are, modulo 256, at most."""
    return np.abs((image + 128) % 256 - 128).max()


def std_of_mean(images):
    return np.mean(images, axis=0).std()


pairs = [(1, 2), (1, 3), (2, 4), (1000, 2000), (42, 84)]
for first, second in pairs:
    numbers = [correlation(draw(first), draw(second)) for draw in (uniform, normal, other)]
    print(f"seeds {first} and {second}: correlation {numbers[0]:.3f} (uint8), {numbers[1]:.3f} (normal), NumPy "
          f"{numbers[2]:.3f}")
    assert abs(numbers[0] - (1 / 3 if second == 3 else 0.5)) < 0.02 and max(map(abs, numbers[1:])) < 0.02
floats = [correlation(uniform(1, "float32", 1), uniform(seed, "float32", 1)) for seed in (2, 3)]
print(f"floats, seed 1 with 2 and 3: {floats[0]:.3f}, {floats[1]:.3f}")
assert abs(floats[0] + 0.25) < 0.02 and abs(floats[1] - 1 / 3) < 0.02

errors = {draw.__name__: (off(draw(1) + draw(2) - draw(3)), off(2 * draw(1001) - draw(1000) - draw(1002)))
          for draw in (uniform, other)}
print("seed 3 less seeds 1 and 2, seed 1002 guessed from 1000 and 1001, largest error:", errors)
assert max(errors["uniform"]) <= 1 and min(errors["other"]) == 128

seeds = [int(seed) for seed in np.random.default_rng(0).integers(0, 2**31, 8)]
stds = [std_of_mean([uniform(seed) for seed in range(1, 9)]), std_of_mean([other(seed) for seed in range(1, 9)]),
        std_of_mean([uniform(seed) for seed in seeds])]
print(f"std of the mean of eight: {stds[0]:.1f}, NumPy {stds[1]:.1f}, with random seeds {stds[2]:.1f}")
assert stds[0] > 38 and abs(stds[1] - 26.1) < 0.5 and abs(stds[2] - 26.1) < 0.5

starts = np.array([normal(seed, (1, 4)).ravel() for seed in range(1, 100001)])
print("the first four normal numbers, largest of all seeds up to 100,000:", np.abs(starts).max(0).round(5))
assert np.abs(starts[:, 0]).max() < 2e-4 and (np.abs(starts[:, 1:]).max(0) > 3.9).all()
shifts = np.ravel([normal(index, (1, 1), 20) for index in range(1, 50001)])
spread = np.ravel([normal(int(seed), (1, 1), 20) for seed in np.random.default_rng(0).integers(0, 2**31, 50000)])
print(f"shifts of brightness for 50,000 images: std {shifts.std():.5f}; with random seeds {(spread > 0).mean():.1%} "
      f"are positive, and their mean is {spread.mean():.1f}")
assert shifts.std() < 0.001 and (spread > 0).mean() > 0.98
print("As described: streams of OpenCV add up as their seeds do, and the first normal number is 0.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
