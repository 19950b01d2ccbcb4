#!/bin/bash
# What:   litdata 0.2.76, CombinedStreamingDataset(weights=..., batching_method="per_stream"), a mixture of data sets.
# Source: _CombinedDatasetIterator._get_dataset_index in litdata/streaming/combined.py draws, after each batch, until
#         the data set is another one than that of the batch before.
# Guess:  each batch is of one data set, "which is selected randomly" by the docstring, with "the sampling ratio of
#         your choice": of weights 0.9 and 0.1 nine batches of ten are of the first data set, in the long run.
# Seen:   no data set gives two batches in a row. Two data sets alternate, half and half, whatever their weights: 0.9
#         and 0.1 give 50 % and 50 %, and so do 0.99 and 0.01, which is 50 times as much of the second. Of three with
#         0.8, 0.1 and 0.1 the first gives 46 %. With iterate_over_all=True and 500 and 50 batches of each, the 50 are
#         all among the first 100. With batching_method="stratified" the shares are those asked for. No warning.
# Date:   2026-11-29
# Why:    per_stream is the way to train on images of several sizes, each in batches of its own. A small set of choice
#         images with a weight of 1 % becomes half of what is seen, many times over, and the model learns it by heart.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 litdata==0.2.76 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
from collections import Counter

from litdata import CombinedStreamingDataset, StreamingDataLoader, StreamingDataset
from litdata.streaming.writer import BinaryWriter

BATCH = 8


def write(name, number, length):
    """A data set whose items are its number."""
    writer = BinaryWriter(f"{sys.argv[1]}/{name}", chunk_size=100)
    for i in range(length):
        writer[i] = number
    writer.done()
    writer.merge()


def batches(names, weights, method):
    data = CombinedStreamingDataset([StreamingDataset(f"{sys.argv[1]}/{name}", shuffle=True) for name in names],
                                    weights=weights, iterate_over_all=weights is None, batching_method=method)
    return [batch.tolist() for batch in StreamingDataLoader(data, batch_size=BATCH)]


for name, number, length in (("a", 0, 4_000), ("b", 1, 4_000), ("c", 2, 4_000), ("short", 1, 400)):
    write(name, number, length)
for weights, expected in (([0.9, 0.1], [0.5, 0.5]), ([0.99, 0.01], [0.5, 0.5]), ([0.8, 0.1, 0.1], [0.46, 0.27, 0.27])):
    for method, shares in (("stratified", weights), ("per_stream", expected)):
        drawn = batches("abc"[:len(weights)], weights, method)
        count = Counter(sum(drawn, []))
        seen = [count[i] / count.total() for i in range(len(weights))]
        print(f"weights {weights}, {method}: shares of the items", *(f"{share:.1%}" for share in seen))
        assert all(abs(a - b) < 0.03 for a, b in zip(seen, shares))
        if method == "per_stream":
            assert all(len(set(batch)) == 1 for batch in drawn)
            assert all(one[0] != two[0] for one, two in zip(drawn, drawn[1:]))
drawn = batches(["a", "short"], None, "per_stream")
last = max(i for i, batch in enumerate(drawn) if 1 in batch)
print(f"lengths 4,000 and 400, iterate_over_all: the last batch of the short one is number {last + 1} of {len(drawn)}")
assert last <= 101 and len(drawn) == 550
print("As described: no data set gives two batches in a row, and the weights are lost.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
