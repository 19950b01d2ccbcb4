#!/bin/bash
# What:   lightning 2.6.6, the callback EMAWeightAveraging and trainer.save_checkpoint after trainer.fit.
# Source: WeightAveraging.on_train_end and on_save_checkpoint in lightning/pytorch/callbacks/weight_averaging.py.
# Guess:  a checkpoint saved by hand right after fit continues the run as the one that ModelCheckpoint saved at the same
#         step does: the file has a state_dict (averaged) and a current_model_state (the trained weights).
# Seen:   when fit ends the average is copied over the trained weights, and the file saved then has the average in BOTH
#         places, next to the optimiser's moments of the lost weights. It loads without a word. A run of 2 + 2 epochs
#         ends elsewhere than one of 4 (0.2 in a weight); through ModelCheckpoint's last.ckpt it is exact, bit for bit.
# Date:   2026-11-27
# Why:    training a teacher, saving it, looking at samples and then training on is the usual way. With a decay of
#         0.9999 the restart falls back by thousands of steps, and further training looks like a jump in the loss.
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
folder = sys.argv[1]
data = torch.utils.data.DataLoader(torch.randn(64, 4, generator=torch.Generator().manual_seed(0)), batch_size=8)


class Net(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def training_step(self, batch, index):
        return (self.layer(batch) - batch.roll(1, 1)).square().mean()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.05)


def fit(epochs, resume=None, keep=False):
    torch.manual_seed(0)
    net, callbacks = Net(), [EMAWeightAveraging(decay=0.9)]
    if keep:
        callbacks.append(ModelCheckpoint(dirpath=folder, save_last=True))
    trainer = lightning.Trainer(max_epochs=epochs, accelerator="cpu", logger=False, callbacks=callbacks,
                                enable_checkpointing=keep, enable_progress_bar=False, enable_model_summary=False)
    trainer.fit(net, data, ckpt_path=resume)
    return net.layer.weight.detach().clone(), trainer


whole, _ = fit(4)
_, trainer = fit(2, keep=True)
trainer.save_checkpoint(folder + "/hand.ckpt")
last, hand = (torch.load(f"{folder}/{name}.ckpt", weights_only=False) for name in ("last", "hand"))
assert last["global_step"] == hand["global_step"] == 16
same = [torch.equal(c["state_dict"]["layer.weight"], c["current_model_state"]["layer.weight"]) for c in (last, hand)]
assert same == [False, True], same
errors = [float((fit(4, f"{folder}/{name}.ckpt")[0] - whole).abs().max()) for name in ("last", "hand")]
print(f"distance to the whole run: {errors[0]:.3g} through last.ckpt, {errors[1]:.3g} through the one saved by hand")
assert errors[0] == 0 and errors[1] > 0.05
print("As described: a checkpoint saved after fit has lost the trained weights.")
PY
"$dir/venv/bin/python" "$dir/probe.py" "$dir"
