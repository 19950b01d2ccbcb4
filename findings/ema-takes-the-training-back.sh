#!/bin/bash
# What:   lightning 2.6.6, the callback EMAWeightAveraging with an even update_every_n_steps and two optimizers.
# Source: WeightAveraging.on_train_batch_end and EMAWeightAveraging.should_update in
#         lightning/pytorch/callbacks/weight_averaging.py.
# Guess:  with update_every_n_steps=10 the average takes in the weights at every tenth step, or every tenth batch.
# Seen:   it never does. A batch with two optimizers, as a GAN has, counts as two steps, the callback looks once a batch
#         and subtracts one: it sees 1, 3, 5, ..., no multiple of 2, 10 or 100. When fit ends, the average (the network
#         as it was before training) is copied over the trained weights: net.g has changed by exactly 0. The checkpoint
#         of ModelCheckpoint has those weights too, as its state_dict. With 5, or with one optimizer, all is well.
# Date:   2026-11-29
# Why:    autoencoders for latent diffusion and distilled generators train against a critic, with manual optimization
#         and two optimizers, and average the generator every 10 or 100 steps to save time. Validation shows the
#         untrained network and the result is the untrained network. No warning.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 lightning==2.6.6 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
import warnings

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

warnings.filterwarnings("ignore")
noise = torch.randn(256, 4, generator=torch.Generator().manual_seed(0))
data = torch.utils.data.DataLoader(noise, batch_size=4)


class Net(lightning.LightningModule):
    """A generator that learns to copy its input and, if asked for, a critic."""

    def __init__(self, critic):
        super().__init__()
        self.automatic_optimization = False
        self.g, self.critic = torch.nn.Linear(4, 4), torch.nn.Linear(4, 1) if critic else None

    def training_step(self, batch, index):
        optimizers = self.optimizers()
        optimizers = optimizers if self.critic else [optimizers]
        self.update(optimizers[0], (self.g(batch) - batch).square().mean())
        if self.critic:
            fake = self.g(batch).detach()
            self.update(optimizers[1], (self.critic(fake) - self.critic(batch) + 1).square().mean())

    def update(self, optimizer, loss):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self):
        parts = [self.g, self.critic] if self.critic else [self.g]
        return [torch.optim.Adam(part.parameters(), lr=0.02) for part in parts]


def fit(critic, every):
    """Updates of the average, the largest change of a generator's weight after fit, and that in the checkpoint."""
    torch.manual_seed(0)
    net, average = Net(critic), EMAWeightAveraging(decay=0.9, update_every_n_steps=every)
    start = net.g.weight.detach().clone()
    folder = f"{sys.argv[1]}/{critic}{every}"
    keep = ModelCheckpoint(dirpath=folder, save_last=True)
    lightning.Trainer(max_epochs=10, accelerator="cpu", logger=False, callbacks=[average, keep],
                      enable_progress_bar=False, enable_model_summary=False).fit(net, data)
    saved = torch.load(f"{folder}/last.ckpt", weights_only=False)["state_dict"]["g.weight"]
    updates = int(average._average_model.n_averaged)
    changes = [float((weight - start).abs().max()) for weight in (net.g.weight.detach(), saved)]
    print(f"{1 + critic} optimizers, 640 batches, update_every_n_steps={every}: {updates} updates of the average, "
          f"weights changed by {changes[0]:.3g} after fit, by {changes[1]:.3g} in the checkpoint")
    return updates, *changes


for every in (1, 5, 10, 100):
    updates, *changes = fit(False, every)
    assert 640 // every <= updates <= 640 // every + 1
    assert every == 100 or all(change > 0.5 for change in changes)
for every in (1, 5):
    updates, *changes = fit(True, every)
    assert updates == 640 // every and all(change > 0.5 for change in changes)
for every in (2, 10, 100):
    assert fit(True, every) == (0, 0, 0)
print("As described: with two optimizers and an even interval, the average and the result are the untrained network.")
PY
"$dir/venv/bin/python" "$dir/probe.py" "$dir" 2> "$dir/log" || { cat "$dir/log"; exit 1; }
