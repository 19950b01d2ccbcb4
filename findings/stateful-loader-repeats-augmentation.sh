#!/bin/bash
# What:   torchdata 0.11.0, StatefulDataLoader with PyTorch 2.14.1.
# Source: worker.py of torchdata/stateful_dataloader seeds each worker with the epoch's base seed, which
#         load_state_dict restores; how far a worker's generators had got is not part of the state.
# Guess:  a loader that was made to continue inside an epoch gives the batches that the uninterrupted one gives.
# Seen:   it gives the same images in the same order, but augments them otherwise. With one worker, the draws of the
#         first batches of the epoch come again, in their order, for the images after the stop; with none, they come
#         from the process's own generator, whatever state it is in.
# Date:   2026-11-28
# Why:    crops, flips, dropped captions and noise drawn in the dataset decide the run. A resumed run is another run
#         than the one that was not stopped, and a job that is stopped often uses the start of its random numbers most.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 torchdata==0.11.0
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torchdata.stateful_dataloader import StatefulDataLoader

STOP = 3  # batches before it


class Images(torch.utils.data.Dataset):
    """Image k, and the random number that would crop or flip it."""

    def __len__(self):
        return 32

    def __getitem__(self, k):
        return k, torch.rand(())


def loader(workers):
    return StatefulDataLoader(Images(), batch_size=4, shuffle=True, num_workers=workers)


def main():
    warnings.simplefilter("ignore")
    for workers in 0, 1:
        torch.manual_seed(0)
        whole, batches = loader(workers), []
        for n, batch in enumerate(whole, 1):
            batches.append(batch)
            if n == STOP:
                state = whole.state_dict()
        torch.manual_seed(1)  # another process
        resumed = loader(workers)
        resumed.load_state_dict(state)
        rest = list(resumed)
        assert len(rest) == len(batches) - STOP
        assert all(torch.equal(a[0], b[0]) for a, b in zip(rest, batches[STOP:], strict=True))
        assert not any(torch.equal(a[1], b[1]) for a, b in zip(rest, batches[STOP:], strict=True))
        again = [torch.equal(a[1], b[1]) for a, b in zip(rest, batches, strict=False)]
        print(f"{workers} workers: images go on; draws are those of the epoch's first batches: {again}")
        assert all(again) if workers else not any(again)
    print("As described: the order of images is resumed, the random numbers of their augmentation are not.")


if __name__ == "__main__":
    main()
PY
"$dir/venv/bin/python" "$dir/probe.py"
