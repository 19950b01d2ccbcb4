#!/bin/bash
# What:   numpy 2.4.6, numpy.random.default_rng with a list of numbers as the seed, the last of them 0.
# Source: SeedSequence in numpy/random/bit_generator.pyx: numbers are cut into words of 32 bits and joined, and a list
#         of fewer than four words is mixed as if zeros followed.
# Guess:  each list is a seed of its own: [seed, epoch] or [seed, image, step] give streams independent of each other
#         and of the plain seed, as the hashing of SeedSequence promises for numbers that differ little.
# Seen:   default_rng(7), default_rng([7, 0]) and default_rng([7, 0, 0]) are one stream, and default_rng([7, 3]) is that
#         of [7, 3, 0]. So the first epoch, image or worker repeats what the plain seed drew, to the last bit. A number
#         above 32 bits is two words: default_rng(2**32 + 7) is [7, 1], so image 1 of seed 7 is drawn by a seed that
#         looks unrelated. With the 0 in front, [0, 7], or with SeedSequence(7).spawn(1), the streams differ. The older
#         RandomState tells [7] from [7, 0].
# Date:   2026-11-29
# Why:    noise is drawn by (seed, image), so that an image does not depend on the batch, and all else by the seed.
#         Image 0 then has as its noise the numbers that ordered the data or drew the first weights: here a network's
#         first weights are the noise of the first image, and its output on that image is far from typical.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import numpy as np


def draw(seed):
    return np.random.default_rng(seed).standard_normal(3 * 32 * 32, np.float32)


def same(a, b):
    return np.array_equal(draw(a), draw(b))


for a, b in ((7, [7, 0]), (7, [7, 0, 0]), ([7, 3], [7, 3, 0]), (2**32 + 7, [7, 1])):
    print(f"default_rng({a}) and default_rng({b}): {'one stream' if same(a, b) else 'two streams'}")
    assert same(a, b)
for a, b in ((7, [0, 7]), (7, [7, 1]), ([7, 0], [7, 1]), (7, np.random.SeedSequence(7).spawn(1)[0])):
    assert not same(a, b)
old = [np.random.RandomState(seed).standard_normal() for seed in ([7], [7, 0])]
assert old[0] != old[1]

weights = np.random.default_rng(7).standard_normal((64, 3 * 32 * 32), np.float32) / np.sqrt(3 * 32 * 32)
outputs = np.stack([weights @ draw([7, image]) for image in range(1000)])  # of each image's noise, 64 channels
print(f"channel 0 of a layer drawn by seed 7, on the noise [7, image]: image 0 {outputs[0, 0]:.1f}, "
      f"the others {outputs[1:, 0].mean():.1f} ± {outputs[1:, 0].std():.1f}")
assert outputs[0, 0] > 40 and np.abs(outputs[1:, 0]).max() < 5
print("As described: a zero at the end of a seed adds nothing, so the first image's noise is the plain seed's.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
