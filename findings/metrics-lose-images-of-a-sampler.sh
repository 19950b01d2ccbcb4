#!/bin/bash
# What:   accelerate 1.15.0, gather_for_metrics with a DataLoader whose sampler draws a part of the data set.
# Source: DataLoaderStateMixin.begin in accelerate/data_loader.py takes the size of the last batch from len(dataset),
#         and Accelerator.gather_for_metrics cuts the last batch to it.
# Guess:  gather_for_metrics, "for metric calculation", gives each item that the loader gave, once: it takes off what
#         was added to make the last batches equal, and with one process there is nothing to take off.
# Seen:   the last batch is cut to what would be left of the WHOLE data set. For 1,000 of 50,000 images through a
#         sampler, 152 are lost with batches of 256 or 512 and 24 with batches of 64, with one process as with two. Of
#         ten classes of 100 images in their order, the last one keeps none and the one before it 48. No warning. The
#         same images as a torch Subset, without a sampler, are all there.
# Date:   2026-11-29
# Why:    FID, losses per class and accuracies of a part of the images, chosen by a sampler of fixed indices or at
#         random, are scores of fewer images than said, and of others: always those at the end are missing.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 accelerate==1.15.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, RandomSampler, Subset

accelerator = Accelerator(cpu=True)
count = accelerator.num_processes
labels = torch.arange(50000) // 5000  # ten classes of 5,000, as CIFAR-10 has, sorted
chosen = [5000 * k + i for k in range(10) for i in range(100)]  # 100 of each class


def gathered(loader):
    loader = accelerator.prepare(loader)
    return torch.cat([accelerator.gather_for_metrics(batch) for batch in loader])


def say(*words):
    if accelerator.is_main_process:
        print(f"{count} process(es):", *words, flush=True)


for batch in (64, 256, 512):
    subset = gathered(DataLoader(Subset(labels, chosen), batch_size=batch)).bincount(minlength=10)
    sampler = gathered(DataLoader(labels, batch_size=batch, sampler=chosen)).bincount(minlength=10)
    say(f"batches of {batch}, by a sampler {int(sampler.sum())} of 1,000, as a Subset {int(subset.sum())};",
        "by class and sampler:", sampler.tolist())
    assert (subset == 100).all()
    if batch == 64:
        assert sampler.tolist() == [100] * 9 + [76]
    else:
        assert sampler.tolist() == [100] * 8 + [48, 0]
drawn = len(gathered(DataLoader(labels, batch_size=512, sampler=RandomSampler(labels, num_samples=1000))))
say("RandomSampler(num_samples=1000), batches of 512:", drawn)
assert drawn == 848
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
OMP_NUM_THREADS=1 TMPDIR="$dir" "$dir/venv/bin/torchrun" --standalone --nproc_per_node 2 "$dir/probe.py"
echo "As described: the last batch is cut to the rest of the whole data set."
