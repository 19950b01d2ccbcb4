#!/bin/bash
# What:   scikit-learn 1.9.1, sample of GaussianMixture and BayesianGaussianMixture, as of a prior fitted to latents.
# Source: BaseMixture.sample in sklearn/mixture/_base.py draws how many samples each component gets, then the samples
#         of one component after another, and stacks them. It does not shuffle.
# Guess:  "random samples from the fitted distribution": each row is a sample by itself, so that any part of the rows
#         that is chosen without looking at them is a smaller sample, as of KernelDensity.sample and numpy.random.
# Seen:   the rows are sorted by component. Of 10,000 samples of a mixture fitted to latents of ten classes, the first
#         1,000 are of one class. The Frechet distance to the latents is 0.05 for all of them, 0.04 for 5,000 rows at
#         random and 39 for the first 5,000. Batches of 100 in order are of one class in 90 of 100. Between a row of
#         the first half and one of the second no pair is of the same class; of independent ones a tenth is. The
#         second value, the component of each row, is described as "component labels", with no word on the order.
# Date:   2026-11-29
# Why:    to sample an autoencoder by a mixture in its latent space is common. FID of the first images, scores in ten
#         splits, batches for a student, and pairs of two halves then belong to another distribution than the mixture.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np
from scipy.linalg import sqrtm
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity

warnings.simplefilter("error")
CLASSES, SIZE, COUNT = 10, 8, 10_000
rng = np.random.default_rng(0)
centers = rng.normal(0, 5, (CLASSES, SIZE))
latents = (centers[:, None] + rng.normal(size=(CLASSES, 300, SIZE))).reshape(-1, SIZE)
latents = latents[rng.permutation(len(latents))]


def classes(x):
    return np.square(x[:, None] - centers).sum(2).argmin(1)


def frechet(x):
    (m, c), (n, d) = ((z.mean(0), np.cov(z.T)) for z in (x, latents))
    return np.square(m - n).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real)


for model in (GaussianMixture(CLASSES, n_init=3, random_state=0),
              BayesianGaussianMixture(n_components=CLASSES, n_init=3, max_iter=500, random_state=0)):
    x, components = model.fit(latents).sample(COUNT)
    half = COUNT // 2
    every, some, first = frechet(x), frechet(x[rng.permutation(COUNT)[:half]]), frechet(x[:half])
    single = sum(len(set(batch)) == 1 for batch in classes(x).reshape(100, 100))
    same = (classes(x[:half]) == classes(x[half:])).mean()
    print(f"{type(model).__name__}: Frechet distance of all samples {every:.3f}, of half at random {some:.3f}, of the",
          f"first half {first:.3f}; classes in the first 1,000: {len(set(classes(x[:1000])))}; batches of one class:",
          f"{single} of 100; pairs of the same class in the two halves: {same:.1%}")
    assert (np.diff(components) >= 0).all() and len(set(classes(x))) == CLASSES
    assert every < 0.2 and some < 0.3 and first > 5 and single > 80 and same < 0.02
    assert len(set(classes(x[:1000]))) <= 2
x = KernelDensity(bandwidth=0.5).fit(latents).sample(COUNT, random_state=0)
same = (classes(x[:half]) == classes(x[half:])).mean()
print(f"KernelDensity: Frechet distance of the first half {frechet(x[:half]):.3f}, of all {frechet(x):.3f};",
      f"pairs of the same class: {same:.1%}")
assert abs(frechet(x[:half]) - frechet(x)) < 0.1 and 0.08 < same < 0.12
print("As described: the samples come sorted by component.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
