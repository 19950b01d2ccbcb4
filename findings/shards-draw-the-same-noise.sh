#!/bin/bash
# What:   grain 0.2.18, MapDataset and IterDataset with random_map after a slice, the documented way to shard the data.
# Source: RandomMapMapDataset in grain/_src/python/dataset/transformations/map.py seeds the generator with the seed of
#         the pipeline, which is the same for all slices, and the index in the slice. (An IterDataset counts elements.)
# Guess:  each element gets random numbers of its own, in whichever process it is read. grain.DataLoader does that. (The
#         docstring speaks of "the index of the element in the dataset".)
# Seen:   the elements at one place of all slices get the same random numbers, in every epoch. With 8 processes and 256
#         images to a batch there are 32 different pairs of time and noise, each 8 times, with 8 different images. The
#         loss of a batch, of one fixed denoiser, varies 2.2 to 2.7 times as much between batches as with random_map
#         before the slice, almost as it would with 32 images. DataLoader with ShardOptions draws 256. No warning.
# Date:   2026-11-29
# Why:    to shard first and transform later is how one saves work, and with one process all is right. On more hosts the
#         batch is larger in images only: times and noise are as noisy as those of one host, and the same crops and
#         flips meet in each step, so that a larger batch helps less than it should.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q grain==0.2.18 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import grain
import numpy as np

HOSTS, EACH, BATCHES = 8, 32, 80
images = np.random.default_rng(0).normal(size=HOSTS * EACH * BATCHES)


class Noise(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        return element, rng.uniform(), rng.normal()


def before(k):
    return grain.MapDataset.source(images).seed(0).shuffle().random_map(Noise())[k::HOSTS]


def after(k):
    return grain.MapDataset.source(images).seed(0).shuffle()[k::HOSTS].random_map(Noise())


def after_iter(k):
    return grain.MapDataset.source(images).seed(0).shuffle()[k::HOSTS].to_iter_dataset().random_map(Noise())


def loader(k):
    shard = grain.sharding.ShardOptions(shard_index=k, shard_count=HOSTS, drop_remainder=True)
    sampler = grain.samplers.IndexSampler(len(images), shard_options=shard, shuffle=True, num_epochs=1, seed=0)
    return grain.DataLoader(data_source=images, sampler=sampler, operations=[Noise()], worker_count=0)


def describe(what, make):
    """Of the batches of all hosts: different pairs in the first one, and how the loss varies from batch to batch."""
    read = np.array([list(make(k)) for k in range(HOSTS)]).reshape(HOSTS, BATCHES, EACH, 3)
    read = read.transpose(1, 0, 2, 3).reshape(BATCHES, HOSTS * EACH, 3)
    assert len(np.unique(read[..., 0])) == len(images)
    image, time, noise = read[..., 0], read[..., 1], read[..., 2]
    guess = np.sqrt(time) * (np.sqrt(1 - time) * image + np.sqrt(time) * noise)
    varies = float(((guess - noise) ** 2).mean(1).std())
    pairs = len(np.unique(read[0, :, 1:], axis=0))
    print(f"{what}: {pairs} pairs of time and noise for {HOSTS * EACH} images, loss of a batch varies by {varies:.4f}")
    return pairs, varies


right = describe("random_map before the slice", before)
with_loader = describe("DataLoader with ShardOptions", loader)
assert right[0] == with_loader[0] == HOSTS * EACH and abs(with_loader[1] / right[1] - 1) < 0.4
for what, make in (("slice, then random_map", after), ("slice, then to_iter_dataset and random_map", after_iter)):
    pairs, varies = describe(what, make)
    assert pairs == EACH and 1.9 < varies / right[1] < 4
second = grain.MapDataset.source(images).seed(0).shuffle().repeat(2)
slices = [second[k::HOSTS].random_map(Noise()) for k in range(2)]
length = len(images) // HOSTS
draws = [[slices[k][i][1] for k in range(2)] for i in (0, length)]
print("one place of two slices, first and second epoch:", draws)
assert all(a == b for a, b in draws) and draws[0] != draws[1]
print("As described: all slices draw the same random numbers.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
