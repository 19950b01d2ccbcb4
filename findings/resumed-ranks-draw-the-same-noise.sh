#!/bin/bash
# What:   PyTorch 2.14.1, torch.distributed.checkpoint (dcp) of the state of each rank's generator, on four processes.
# Source: dedup_save_plans in torch/distributed/checkpoint/_dedup_save_plans.py: of entries with one name it keeps those
#         of one rank, the rank with the least to write so far.
# Guess:  each rank calls dcp.save and dcp.load with its own state_dict, and gets back what it gave: its random state
#         and its place in the data.
# Seen:   of each name one rank's value is kept, and all ranks load that. Before, a batch of four ranks has 64 different
#         noises; after the resume it has 16, each four times, for the rest of the run. Which rank's value is kept
#         differs from name to name: generator, place in the data, seed and rank come back from different ranks, so that
#         the state that is loaded is no rank's. No warning. With the rank in the name each gets its own back.
#         (Known: issues 120356 and 146566 ask for values of one rank; dcp takes entries of one name to be copies.)
# Date:   2026-11-29
# Why:    to resume exactly, one saves the random state next to weights and optimizer. Just that makes all ranks draw
#         the same times and noise, so that a batch of N ranks is as noisy as one rank's and no test of the weights
#         shows it; and the ranks read the data from the same place.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

warnings.filterwarnings("ignore")
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()


def gather(value):
    values = [None] * ranks
    dist.all_gather_object(values, value)
    return values


def noises(generator):
    """How many of the noises are different in a batch of 16 images on each rank."""
    return len(set(sum(gather(torch.randn(16, generator=generator).tolist()), [])))


def resume(name):
    generator = torch.Generator().manual_seed(rank)
    before = [noises(generator) for _ in range(2)]
    own = {"weights": torch.ones(5), name + "generator": generator.get_state(), name + "place": torch.tensor([rank]),
           name + "seed": torch.tensor([rank] * 100), name + "rank": rank}
    folder = f"{sys.argv[1]}/{'named' if name else 'plain'}"
    dcp.save(own, checkpoint_id=folder)
    back = {key: torch.zeros_like(value) if torch.is_tensor(value) else -1 for key, value in own.items()}
    dcp.load(back, checkpoint_id=folder)
    generator = torch.Generator()
    generator.set_state(back[name + "generator"])
    after = [noises(generator) for _ in range(2)]
    seen = gather([int(back[name + "place"]), int(back[name + "seed"][0]), back[name + "rank"]])
    states = gather(own[name + "generator"])
    source = gather([k for k in range(ranks) if torch.equal(states[k], back[name + "generator"])][0])
    return before, after, source, seen


before, after, source, seen = resume("")
if rank == 0:
    print(f"different noises before {before}, after {after} of 64; ranks' generators come from ranks {source}, "
          f"place, seed and rank of each from {seen}", flush=True)
assert before == [64, 64] and after == [16, 16]
assert len(set(source)) == 1 and all(values == seen[0] for values in seen)
assert len({source[0], *seen[0]}) > 1  # not all from one rank
before, after, source, seen = resume(f"rank{rank}.")
if rank == 0:
    print(f"with the rank in the name: before {before}, after {after}; from ranks {source}, {seen}", flush=True)
assert after == [64, 64] and source == list(range(ranks)) and seen == [[k] * 3 for k in range(ranks)]
dist.destroy_process_group()
PY
OMP_NUM_THREADS=1 TMPDIR="$dir" "$dir/venv/bin/torchrun" --standalone --nproc_per_node 4 "$dir/probe.py" "$dir"
echo "As described: after the resume all ranks have one rank's generator."
