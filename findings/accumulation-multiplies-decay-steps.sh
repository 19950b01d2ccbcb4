#!/bin/bash
# What:   lightning 2.6.6, a learning rate schedule with interval "step" and a frequency, with accumulate_grad_batches.
# Source: _TrainingEpochLoop._update_learning_rates in lightning/pytorch/loops/training_epoch_loop.py, which compares
#         the frequency with batch_idx; "step" is documented as "after a optimizer update".
# Guess:  frequency=16 steps the schedule after every 16th update of the weights, as it does without accumulation, and
#         Trainer(accumulate_grad_batches=4) makes 4 batches one update.
# Seen:   the frequency counts batches: with 4 batches to an update the schedule steps after every 4th update. In 64
#         updates a rate that should be halved 4 times is halved 16 times, to 1/65,536 instead of 1/16. With frequency
#         10 it steps every 5 updates (where a batch is a multiple of 10 and of 4), with frequency 3 every 3, as asked.
#         (Known of frequency, issue 17544: the count starts anew each epoch. Accumulation is not named there.)
# Date:   2026-11-29
# Why:    accumulation is switched on where memory is short, so that the run is the same with a smaller batch. The rate
#         decays N times as fast, training stalls early, and the run on the small machine is not that on the large one.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 lightning==2.6.6 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import lightning
import torch

warnings.filterwarnings("ignore")
UPDATES = 64


class Net(lightning.LightningModule):
    def __init__(self, frequency):
        super().__init__()
        self.layer, self.frequency = torch.nn.Linear(4, 4), frequency

    def training_step(self, batch, index):
        return (self.layer(batch) - batch).square().mean()

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        half = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        return {"optimizer": optimizer,
                "lr_scheduler": {"scheduler": half, "interval": "step", "frequency": self.frequency}}


def fit(accumulate, frequency):
    """The rate after 64 updates in one epoch."""
    noise = torch.randn(4 * UPDATES * accumulate, 4, generator=torch.Generator().manual_seed(0))
    trainer = lightning.Trainer(max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
                                enable_progress_bar=False, enable_model_summary=False,
                                accumulate_grad_batches=accumulate)
    trainer.fit(Net(frequency), torch.utils.data.DataLoader(noise, batch_size=4))
    assert trainer.global_step == UPDATES
    return trainer.optimizers[0].param_groups[0]["lr"]


for accumulate, frequency, every in ((1, 16, 16), (4, 16, 4), (8, 16, 2), (1, 10, 10), (4, 10, 5), (4, 3, 3)):
    rate = fit(accumulate, frequency)
    print(f"{accumulate} batches to an update, frequency {frequency}: rate 1/{1 / rate:,.0f} after {UPDATES} updates, "
          f"expected 1/{2 ** (UPDATES // frequency):,}")
    assert rate == 0.5 ** (UPDATES // every)
print("As described: the frequency counts batches, not updates.")
PY
"$dir/venv/bin/python" "$dir/probe.py" 2> "$dir/log" || { cat "$dir/log"; exit 1; }
