#!/bin/bash
# What:   accelerate 1.15.0, gradient accumulation, and a prepared evaluation loader that is left early, in mid-epoch.
# Source: DataLoaderShard.__iter__ in accelerate/data_loader.py calls end(), which gives the training loader back to
#         GradientState, after its last batch, not in a finally: a loader that is left by break or next(iter(...)) stays
#         the active one. Accelerator._do_sync asks that loader whether it is at its end, and updates if so.
# Guess:  accelerator.accumulate updates every 4 batches and at the end of each epoch of the training loader. A look at
#         an evaluation batch, which is in no accumulate block, changes nothing.
# Seen:   after next(iter(loader)) on a loader of one batch, or a break at a loader's last batch, accumulation is off:
#         each batch is an update, until the epoch ends. Of 42 batches with one look after the third update, 33 are
#         updates and not 11, and the schedule steps as often, so it is three times as far. After a break before the
#         last batch the update at the end of the epoch is missing, and the next epoch begins with its gradients, so it
#         updates after batch 2 and not 4. An evaluation loader that is read to its end changes nothing. No warning.
# Date:   2026-11-29
# Why:    sampling from a fixed batch and a loss on a few batches, each some hundred steps, are in most training loops
#         of diffusion models. The step at which the run looks at its own images ends the large batch: the noise of the
#         gradients, the decay of the rate and an EMA that counts updates are those of another run.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 accelerate==1.15.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import torch
from accelerate import Accelerator
from accelerate.state import GradientState
from torch.utils.data import DataLoader


def train(look, batches, held_out, epochs=2):
    """The batches after which the weights change, by epoch, and the updates that the schedule has counted.

    After the third update of the first epoch, look(loader) is called with a loader of held_out batches.
    """
    GradientState._reset_state()  # as in a process of its own: all Accelerators share this state
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=4)
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    counted = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    training = DataLoader(torch.randn(16 * batches, 4), batch_size=16)
    evaluation = DataLoader(torch.randn(16 * held_out, 4), batch_size=16)
    model, optimizer, schedule, training, evaluation = accelerator.prepare(
        model, optimizer, counted, training, evaluation)
    updates = []
    for epoch in range(epochs):
        updates.append([])
        for number, images in enumerate(training, 1):
            before = model.weight.detach().clone()
            with accelerator.accumulate(model):
                accelerator.backward(model(images).square().mean())
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if not torch.equal(before, model.weight):
                updates[-1].append(number)
                if epoch == 0 and len(updates[0]) == 3:
                    look(evaluation)
    return updates, counted.last_epoch


def all_batches(loader):
    for _ in loader:
        pass


def one_batch(loader):
    next(iter(loader))


def five_batches(loader):
    for number, _ in enumerate(loader, 1):
        if number == 5:
            break


right = [*range(4, 41, 4), 42]
for name, look, held_out, first, second in (
        ("all ten batches", all_batches, 10, right, right),
        ("the only batch, by next(iter(...))", one_batch, 1, [4, 8, *range(12, 43)], right),
        ("five of five batches, then break", five_batches, 5, [4, 8, *range(12, 43)], right),
        ("five of ten batches, then break", five_batches, 10, right[:-1], [*range(2, 42, 4), 42])):
    updates, counted = train(look, 42, held_out)
    print(f"{name}: {len(updates[0])} updates in the first epoch, {len(updates[1])} in the second, "
          f"{counted} of the schedule; the second's are after batch {updates[1]}")
    assert updates == [first, second], updates
    assert counted == len(first) + len(second)
print("As described: an evaluation loader that was left early decides on the updates.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
