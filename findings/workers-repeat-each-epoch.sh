#!/bin/bash
# What:   albumentations 2.0.8, A.Compose in a data set read by PyTorch 2.14.1's DataLoader with workers.
# Source: each transform keeps generators of its own, from set_random_seed in albumentations/core, made when the
#         pipeline is. Workers start as copies of the process, and nothing there looks at the seed of the worker.
# Guess:  PyTorch gives each worker in each epoch a seed of its own, for torch, random and numpy.random, so that each
#         image is changed in another way each time. Without a seed, the docstring says, results are random.
# Seen:   with two workers the second repeats the first, batch for batch, and each epoch repeats the one before: of 64
#         images in ten epochs, 640 augmentations, 32 differ. With persistent_workers=True the epochs differ and the
#         workers still agree: 320 of 640. Without workers all 640 differ. No warning. Shuffling hides it: another
#         image gets the same change.
# Date:   2026-11-29
# Why:    a long training sees a few changes over and over, and the more workers, the fewer. A look at a batch shows
#         nothing, as the images differ. The model overfits sooner, and the augmentation is thought to be too weak.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 albumentations==2.0.8 albucore==0.0.24 numpy==2.4.6 scipy==1.17.1 \
    opencv-python-headless==5.0.0.93 simsimd==6.5.16 stringzilla==5.3.2
cat > "$dir/probe.py" <<'PY'
import warnings

import albumentations as A
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

warnings.filterwarnings("ignore", message="This DataLoader will create 2 worker processes")
IMAGES, EPOCHS, BATCH = 64, 10, 8


class Images(Dataset):
    """Gray images, each given as its brightness after a random change of it."""

    def __init__(self):
        self.change = A.Compose([A.RandomBrightnessContrast(brightness_limit=0.4, contrast_limit=0, p=1)])

    def __len__(self):
        return IMAGES

    def __getitem__(self, index):
        image = np.full((4, 4, 3), 0.5, np.float32)
        return float(self.change(image=image)["image"][0, 0, 0])


def epochs(**options):
    torch.manual_seed(0)
    loader = DataLoader(Images(), batch_size=BATCH, shuffle=True, **options)
    return [torch.cat(list(loader)).tolist() for _ in range(EPOCHS)]


WORKERS = dict(num_workers=2)
for options, different in (({}, 640), (WORKERS, 32), (dict(WORKERS, persistent_workers=True), 320)):
    drawn = epochs(**options)
    count = len(set(sum(drawn, [])))
    print(f"{options}: {count} of {IMAGES * EPOCHS} augmentations differ; first epoch begins", end=" ")
    print(*(f"{x:.3f}" for x in drawn[0][:3]), "second batch", *(f"{x:.3f}" for x in drawn[0][BATCH:BATCH + 3]),
          "second epoch", *(f"{x:.3f}" for x in drawn[1][:3]))
    assert abs(count - different) <= different // 100
    if options:
        assert drawn[0][:BATCH] == drawn[0][BATCH:2 * BATCH]
        assert (drawn[0] == drawn[1]) == ("persistent_workers" not in options)
print("As described: the workers draw the same, and so do the epochs.")
PY
NO_ALBUMENTATIONS_UPDATE=1 OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
