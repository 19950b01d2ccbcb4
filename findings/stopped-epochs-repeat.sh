#!/bin/bash
# What:   accelerate 1.15.0, DataLoaderConfiguration(use_seedable_sampler=True) and epochs that end by break, or that
#         take a fixed number of batches by islice or next(iter(...)).
# Source: SeedableRandomSampler.__iter__ seeds its generator by the epoch, and the epoch, kept in two places in
#         accelerate/data_loader.py, goes up only after the last batch of the data set has been given.
# Guess:  another order of the images each time that the loader is started, as from a PyTorch DataLoader with
#         shuffle=True. The documentation promises reproducible training, and differences to the common sampler that do
#         not matter on average.
# Seen:   each stopped epoch starts with the same images in the same order. Ten epochs of 20 of 100 batches see 20 % of
#         the data set, each image ten times; without the option 89 %. next(iter(loader)) gives one and the same batch
#         for ever. A seed set anew before each epoch changes nothing, set_epoch(epoch) does. No warning.
# Date:   2026-11-29
# Why:    an "epoch" of a fixed number of steps is common where the data set is large, and so are evaluations on a few
#         random batches. The run overfits a fifth of its images, the training loss falls as if all were well, and the
#         one who sees it asks for more data.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 accelerate==1.15.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
from itertools import islice

import torch
from accelerate import Accelerator
from accelerate.utils import DataLoaderConfiguration, set_seed
from torch.utils.data import DataLoader

EPOCHS, BATCHES, IMAGES = 10, 20, 1000
data = torch.arange(IMAGES)


def loader_of(seedable):
    set_seed(0)
    accelerator = Accelerator(
        cpu=True, dataloader_config=DataLoaderConfiguration(use_seedable_sampler=seedable))
    return accelerator.prepare(DataLoader(data, batch_size=10, shuffle=True))


def run(loader, batches=BATCHES, before=lambda epoch: None):
    """EPOCHS epochs of that many batches: the share of images that were seen, and how many first batches differ."""
    seen, firsts = set(), set()
    for epoch in range(EPOCHS):
        before(epoch)
        for number, images in enumerate(loader):
            if number == batches:
                break
            seen.update(images.tolist())
            if number == 0:
                firsts.add(tuple(images.tolist()))
    return len(seen) / IMAGES, len(firsts)


share, firsts = run(loader_of(False))
print(f"without the option: {share:.1%} of the images are seen, {firsts} different first batches")
assert share > 0.8 and firsts == EPOCHS
share, firsts = run(loader_of(True))
print(f"with the option: {share:.1%} of the images are seen, {firsts} different first batches")
assert share == 0.2 and firsts == 1
share, firsts = run(loader_of(True), before=set_seed)
print(f"with set_seed(epoch) before each epoch: {share:.1%}, {firsts}")
assert share == 0.2 and firsts == 1
loader = loader_of(True)
share, firsts = run(loader, before=loader.set_epoch)
print(f"with loader.set_epoch(epoch): {share:.1%}, {firsts}")
assert share > 0.8 and firsts == EPOCHS
share, firsts = run(loader_of(True), batches=None)
print(f"whole epochs: {share:.1%}, {firsts}")
assert share == 1 and firsts == EPOCHS

loader = loader_of(True)
looks = {tuple(next(iter(loader)).tolist()) for _ in range(10)}
cut = {tuple(torch.cat(list(islice(loader, BATCHES))).tolist()) for _ in range(10)}
print(f"ten times next(iter(loader)): {len(looks)} batch; ten times islice(loader, {BATCHES}): {len(cut)} order")
assert len(looks) == len(cut) == 1
print("As described: an epoch that is stopped comes again.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
