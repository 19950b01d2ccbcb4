#!/bin/bash
# What:   webdataset 1.0.2, WebDataset(urls, shardshuffle=100), with and without a seed, over several epochs.
# Source: WebDataset.__init__ in webdataset/compat.py draws one seed for the object, or takes the given one, and hands
#         it to filters.shuffle, which makes random.Random(seed) anew each time that the data are iterated.
# Guess:  shardshuffle, "the number of shards to shuffle", puts the shards in another order in each epoch, as the
#         option detshuffle ("whether to use deterministic shuffling") would in a way that can be repeated.
# Seen:   the shards come in one random order, the same in each epoch of the run, without a seed as with one. Samples
#         are mixed between neighbours only, by the buffer of .shuffle(). With .with_epoch(500), epochs of 500 samples
#         of 20 shards of 100, each epoch starts at the first shard again: after 30 epochs, 15,000 samples, 692 of the
#         2,000 images have been seen, from 7 shards, and those of the other 13 never will be. No warning. With
#         detshuffle=True each epoch has an order of its own, and after 30 epochs all 2,000 images have been seen.
# Date:   2026-11-29
# Why:    shards and with_epoch are how large sets of images are read, and with_epoch is what makes the ranks equal.
#         A model is then trained for long on a part of its data, and each epoch ends with the same images.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q webdataset==1.0.2 numpy==2.4.6 braceexpand==0.1.7 pyyaml==6.0.4
cat > "$dir/probe.py" <<'PY'
import io
import random
import sys
import tarfile
import warnings

import webdataset as wds

warnings.simplefilter("error")
warnings.simplefilter("ignore", ResourceWarning)  # webdataset leaves it to Python to close the shards
SHARDS, EACH, EPOCHS, LENGTH, BUFFER = 20, 100, 30, 500, 200
urls = [f"{sys.argv[1]}/{shard:02}.tar" for shard in range(SHARDS)]
for shard, url in enumerate(urls):
    with tarfile.open(url, "w") as tar:
        for i in range(EACH):
            text = str(EACH * shard + i).encode()
            info = tarfile.TarInfo(f"{EACH * shard + i:05}.txt")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text))


def epoch(data):
    return [int(sample["txt"]) for sample in data]


def order(data):
    return [i // EACH for i in epoch(data)[::EACH]]


for options in (dict(), dict(seed=0), dict(detshuffle=True, seed=0)):
    data = wds.WebDataset(urls, shardshuffle=100, **options).decode()
    orders = [order(data) for _ in range(3)]
    print(f"shardshuffle=100 {options}, shards in three epochs:", *(f"\n    {o}" for o in orders))
    assert all(sorted(o) == list(range(SHARDS)) for o in orders) and orders[0] != sorted(orders[0])
    assert len(set(map(tuple, orders))) == (3 if "detshuffle" in options else 1)

for options, least, most in ((dict(), LENGTH, LENGTH + BUFFER), (dict(detshuffle=True), 2_000, 2_000)):
    data = wds.WebDataset(urls, shardshuffle=100, seed=0, **options)
    data = data.shuffle(BUFFER, rng=random.Random(0)).decode().with_epoch(LENGTH)
    drawn = [epoch(data) for _ in range(EPOCHS)]
    seen = set().union(*drawn)
    print(f"{options} with_epoch({LENGTH}), {EPOCHS} epochs, {sum(map(len, drawn))} samples: {len(seen)} of",
          f"{SHARDS * EACH} images, from {len({i // EACH for i in seen})} shards")
    assert sum(map(len, drawn)) == EPOCHS * LENGTH and least <= len(seen) <= most
print("As described: the shards keep their order, and short epochs never reach the later ones.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
