#!/bin/bash
# What:   accelerate 1.15.0, save_state and load_state in the middle of an epoch with skip_first_batches, one process.
# Source: Accelerator.load_state, skip_first_batches and DataLoaderConfiguration.use_seedable_sampler (False by
#         default); the docs' page on checkpointing shows these two calls for resuming.
# Guess:  the resumed epoch shows the images that were still to come, each once: load_state restores the random states,
#         and skip_first_batches skips what was seen.
# Seen:   the restored random state is that of the middle of the epoch, and the order is drawn from it anew. Batches of
#         that OTHER order are skipped: of 1,000 images with a stop at half an epoch about 250 are seen twice and 250
#         never. With use_seedable_sampler=True the order is right, but noise drawn with torch.randn is still not that
#         of the unbroken run.
# Date:   2026-11-27
# Why:    a teacher's training is stopped and resumed many times, and noise and times are drawn from the same generator.
#         The resumed run is not the unbroken one, and on a small data set the images are not seen equally often.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 accelerate==1.15.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys

import torch
from accelerate import Accelerator, DataLoaderConfiguration
from accelerate.utils import set_seed

STOP = 10  # of 20 batches


def train(folder, seedable, resume=False):
    """One epoch, or its second half: the images seen and the noise drawn."""
    set_seed(0)
    options = {} if seedable is None else {"use_seedable_sampler": seedable}
    accelerator = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(**options))
    net = torch.nn.Linear(1, 1)
    images = torch.utils.data.TensorDataset(torch.arange(1000))
    net, optimizer, loader = accelerator.prepare(net, torch.optim.Adam(net.parameters()),
                                                 torch.utils.data.DataLoader(images, batch_size=50, shuffle=True))
    if resume:
        accelerator.load_state(folder)
        loader = accelerator.skip_first_batches(loader, STOP)
    seen, noise = [], []
    for index, (batch,) in enumerate(loader):
        seen.append(batch.tolist())
        noise.append(float(torch.randn(1)))
        if index + 1 == STOP and not resume:
            accelerator.save_state(folder)
    return seen, noise


for seedable in (None, True):
    folder = f"{sys.argv[1]}/{seedable}"
    whole, noise = train(folder, seedable)
    rest, new_noise = train(folder, seedable, resume=True)
    assert len(whole) == 20 and len(rest) == 10
    seen = sum(whole[:STOP] + rest, [])
    never = 1000 - len(set(seen))
    print(f"use_seedable_sampler {'by default' if seedable is None else seedable}: {never} of 1,000 images never seen, "
          f"the same number twice; noise as in the unbroken run: {new_noise == noise[STOP:]}")
    assert new_noise != noise[STOP:]
    assert (200 < never < 300 and rest != whole[STOP:]) if seedable is None else (never == 0 and rest == whole[STOP:])
print("As described: the resumed half of the epoch repeats a quarter of the images and misses as many.")
PY
"$dir/venv/bin/python" "$dir/probe.py" "$dir"
