#!/bin/bash
# What:   accelerate 1.15.0, gradient_accumulation_steps with two networks, each in an accumulate block of its own.
# Source: Accelerator.accumulate(*models) calls _do_sync, which counts the blocks in one number, self.step, whatever the
#         models are: an update is due where the number of blocks, not of batches, can be divided by the steps.
# Guess:  with 4 steps, "with accelerator.accumulate(critic)" and then "with accelerator.accumulate(generator)" on each
#         batch update each of the two every 4 batches. The argument says whose gradients accumulate, and the guide to
#         gradient accumulation speaks of the number of batches.
# Seen:   with 2, 4 or 8 steps the first of the two is never updated before the last batch of the epoch, and the second
#         is updated after half as many batches as asked, with half the gradient, as losses are still divided by the
#         steps. With 4 steps and 24 batches: the critic after batch 24 alone, by the sum of all gradients, and the
#         generator after 2, 4, 6 and so on. With 3 or 5 steps both are updated as often as asked. No warning.
# Date:   2026-11-29
# Why:    adversarial distillation, DMD with its fake score, an autoencoder with a critic, any GAN: the code that is
#         right without accumulation trains one of its networks once an epoch with it. The losses are those of a critic
#         that is too weak, or of a generator that does not learn, and one looks for the cause in the learning rates.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 accelerate==1.15.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import torch
from accelerate import Accelerator
from accelerate.state import GradientState
from torch.nn.functional import softplus
from torch.utils.data import DataLoader

BATCHES = 24


def train(steps, order):
    """One epoch of a small GAN, its networks in the given order: the batches after which each one's weights change."""
    GradientState._reset_state()  # as in a process of its own: all Accelerators share this state
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=steps)
    torch.manual_seed(0)
    generator, critic = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1)
    loader, generator, critic, *optimizers = accelerator.prepare(
        DataLoader(torch.randn(16 * BATCHES, 4), batch_size=16), generator, critic,
        torch.optim.SGD(generator.parameters(), lr=1e-2), torch.optim.SGD(critic.parameters(), lr=1e-2))
    parts = {"generator": (generator, optimizers[0]), "critic": (critic, optimizers[1])}
    updates = {"generator": [], "critic": []}
    for number, images in enumerate(loader, 1):
        fake = torch.randn_like(images)
        for name in order:
            network, optimizer = parts[name]
            critic.requires_grad_(name == "critic")
            before = network.weight.detach().clone()
            with accelerator.accumulate(network):
                if name == "critic":
                    loss = softplus(critic(generator(fake).detach())).mean() + softplus(-critic(images)).mean()
                else:
                    loss = softplus(-critic(generator(fake))).mean()
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            if not torch.equal(before, network.weight):
                updates[name].append(number)
    return updates


for steps in (1, 2, 3, 4, 5, 8):
    for first, second in (("critic", "generator"), ("generator", "critic")):
        updates = train(steps, (first, second))
        print(f"steps: {steps}, the {first} first; updates of the {first}: {len(updates[first])}, of the {second}: "
              f"{len(updates[second])}, after batch {updates[second][:3]} ...")
        if steps == 1:
            assert len(updates[first]) == len(updates[second]) == BATCHES
        elif steps % 2:
            assert abs(len(updates[first]) - BATCHES / steps) < 2 and abs(len(updates[second]) - BATCHES / steps) < 2
        else:
            assert updates[first] == [BATCHES]
            assert updates[second] == list(range(steps // 2, BATCHES + 1, steps // 2))
print("As described: the count is of blocks, not of batches, and one of two networks is left out.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
