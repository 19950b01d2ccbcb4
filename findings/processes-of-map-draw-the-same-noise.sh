#!/bin/bash
# What:   datasets 5.2.0, Dataset.map, filter and from_generator with num_proc, of a function that draws by numpy.
# Source: Dataset.map in datasets/arrow_dataset.py forks its processes and seeds nothing in them (a DataLoader of
#         PyTorch seeds numpy in each of its workers; Python seeds its module random after each fork).
# Guess:  num_proc makes it faster, and each row gets numbers of its own, as with one process.
# Seen:   each process starts with the state of the parent and draws what the others draw. With num_proc=8, 1,000 rows
#         of noise hold 125 different ones, each 8 times; a generator passed along, default_rng(seed), does the same.
#         filter(lambda row: np.random.rand() < 0.5) keeps the same places of all 8 parts, and from_generator makes
#         125 different rows. Python's random.gauss gives 1,000. No warning.
# Date:   2026-11-29
# Why:    data of a teacher, from noise to image, are made with map and many processes, once, and kept: 8 processes then
#         make 8 copies of one eighth of the data, with no error anywhere. Crops, times and dropped captions that are
#         drawn so repeat in the same way.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q datasets==5.2.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import collections
import random
import sys
import time

import datasets
import numpy as np

datasets.disable_progress_bars()
ROWS = 1000
data = datasets.Dataset.from_dict({"index": list(range(ROWS))})
rng = np.random.default_rng(0)
draw = {"np.random.normal": np.random.normal, "default_rng(0).normal": rng.normal,
        "random.gauss": lambda: random.gauss(0, 1)}


def slow(value):
    """The value, a little later, so that no process is done before the others have begun."""
    time.sleep(0.003)
    return value


def generate(indices):
    for _ in indices:
        yield {"noise": slow(np.random.normal())}


def different(made):
    assert len(made) == ROWS
    return len(set(made["noise"]))


for what, function in draw.items():
    counts = {processes: different(data.map(lambda row: {"noise": slow(function())}, num_proc=processes))
              for processes in (None, 2, 8)}
    print(f"map with {what}, different noises of {ROWS} by num_proc:", counts)
    assert counts[None] == ROWS
    if what == "random.gauss":
        assert counts[2] == counts[8] == ROWS
    else:
        assert counts[2] == ROWS // 2 and ROWS // 8 <= counts[8] <= ROWS // 2
counts = {}
for processes in (None, 8):
    made = datasets.Dataset.from_generator(generate, gen_kwargs={"indices": list(range(ROWS))}, num_proc=processes,
                                           cache_dir=f"{sys.argv[1]}/{processes}")
    counts[processes] = different(made)
print("from_generator with np.random.normal:", counts)
assert counts[None] == ROWS and ROWS // 8 <= counts[8] <= ROWS // 2
kept = np.array(data.filter(lambda row: slow(np.random.rand()) < 0.5, num_proc=8)["index"])
places = collections.Counter(tuple(kept[kept // 125 == part] % 125) for part in range(8))
[(most, parts)] = places.most_common(1)
print(f"filter keeps {len(kept)} rows: the same {len(most)} places of {parts} of the 8 parts")
assert parts >= 4 and 30 < len(most) < 95
print("As described: all processes draw the same numbers.")
PY
HF_HUB_OFFLINE=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
