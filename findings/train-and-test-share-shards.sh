#!/bin/bash
# What:   datasets 5.2.0, IterableDataset.take(n) and skip(n) as test and training set, read by more processes.
# Source: shard_data_sources of TakeExamplesIterable and SkipExamplesIterable in datasets/iterable_dataset.py;
#         _iter_pytorch there calls it for the workers of a DataLoader, split_dataset_by_node for the ranks.
# Guess:  "only the first n elements" and "skips the first n elements" are two parts of the data, the same ones however
#         many processes read them.
# Seen:   with k processes each one takes or skips n/k elements at the start of ITS shards. For 1,600 elements in 16
#         shards and n = 100, a training set read by 2, 4, 8 processes has 50, 75, 87 of the 100 test elements that one
#         process reads, and lacks as many that are in neither set; shuffled after skip, it is the same. From shards of
#         unequal size take(200) gives 200 elements to one process and 120 to two. No warning. Split by whole shards,
#         with shard(), the two sets stay apart.
# Date:   2026-11-29
# Why:    one streams large sets of images and holds out the first thousand with take and skip. Training reads with many
#         workers and ranks, the test with one or none: most test images are trained on, and a test loss or a search for
#         memorised images no longer says what it should.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q datasets==5.2.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import datasets
from datasets.distributed import split_dataset_by_node

SHARDS, EACH = 16, 100


def elements(shards, sizes):
    for shard, size in zip(shards, sizes):
        for index in range(size):
            yield {"image": 1000 * shard + index}


def stream(sizes):
    kwargs = {"shards": list(range(len(sizes))), "sizes": sizes}
    return datasets.IterableDataset.from_generator(elements, gen_kwargs=kwargs)


def read(data, processes):
    """All elements that this number of ranks reads together."""
    found = [row["image"] for rank in range(processes) for row in split_dataset_by_node(data, rank, processes)]
    assert len(found) == len(set(found))
    return set(found)


everything = read(stream([EACH] * SHARDS), 4)
assert len(everything) == SHARDS * EACH
for shuffled in (False, True):
    data = stream([EACH] * SHARDS)
    test, train = data.take(100), data.skip(100)
    train = train.shuffle(seed=0, buffer_size=50) if shuffled else train
    held_out = read(test, 1)
    for processes, expected in ((1, 0), (2, 50), (4, 75), (8, 87)):
        trained = read(train, processes)
        both, neither = len(held_out & trained), len(everything - held_out - trained)
        print(f"{'skip and shuffle' if shuffled else 'skip'}, test by 1 process, training by {processes}: "
              f"{len(held_out)} and {len(trained)} elements, {both} in both, {neither} in neither")
        assert both == neither == expected and len(trained) == 1500
unequal = stream([190, 10] * 2)
counts = [len(read(unequal.take(200), processes)) for processes in (1, 2)]
print("take(200) of shards of 190, 10, 190, 10 elements, by 1 and 2 processes:", counts)
assert counts == [200, 120]
for processes in (1, 2, 4, 8):  # the same split by whole shards
    data = stream([EACH] * SHARDS)
    train = datasets.concatenate_datasets([data.shard(SHARDS, k) for k in range(1, SHARDS)])
    assert read(train, processes) == everything - read(data.shard(SHARDS, 0), 1)
print("As described: what is held out depends on the number of processes.")
PY
HF_HUB_OFFLINE=1 "$dir/venv/bin/python" "$dir/probe.py"
