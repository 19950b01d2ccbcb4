#!/bin/bash
# What:   transformers 5.24.0, Trainer with gradient_accumulation_steps and a class-conditional model of one's own,
#         whose forward(images, labels, **kwargs) returns the mean loss of its batch.
# Source: Trainer.__init__ takes a **kwargs in the signature of forward to mean that the loss is divided by the number
#         of tokens, num_items_in_batch, which is passed in it. training_step then does not divide by the steps. The
#         number is counted from the batch's "labels", so it exists where the classes of images have that name.
# Guess:  the guide to gradient accumulation says that the update is that of one batch as large as all the small ones.
#         The model returns its loss, as the documentation of the Trainer asks of a model of one's own.
# Seen:   with 4 steps the gradient of each update and the logged loss are 4 times too large, with 16 steps 16 times.
#         Without the unused **kwargs, or with the classes under another name, or with accepts_loss_kwargs = False as an
#         attribute of the model, they are those of the whole batch. The loss of evaluate is right. No warning.
# Date:   2026-11-29
# Why:    **kwargs is written to swallow further columns or arguments. With SGD the rate is multiplied. With AdamW the
#         default clipping at max_grad_norm=1.0 begins at a quarter of that norm, or less, and acts on nearly every
#         update; and the training losses of two runs that differ in their accumulation are a factor apart.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 transformers==5.24.0 accelerate==1.15.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import os
import sys

import torch
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

generator = torch.Generator().manual_seed(0)
IMAGES = torch.randn(64, 8, generator=generator)


class Flow(torch.nn.Module):
    """A small class-conditional model of a flow, at time 0.5."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Linear(8, 8)
        self.classes = torch.nn.Embedding(4, 8)

    def loss(self, images, labels):
        noise = torch.ones_like(images)
        velocity = self.network((images + noise) / 2) + self.classes(labels)
        return {"loss": (velocity - (noise - images)).square().mean(), "velocity": velocity}

    def forward(self, images, labels):
        return self.loss(images, labels)


class WithKwargs(Flow):
    def forward(self, images, labels, **kwargs):
        return self.loss(images, labels)


class OtherName(Flow):
    def forward(self, images, classes, **kwargs):
        return self.loss(images, classes)


class Declared(WithKwargs):
    accepts_loss_kwargs = False


def train(kind, batch, steps):
    """The logged loss and norm of the gradient at the first update, the weights after it, and the loss of evaluate."""
    name = "classes" if kind is OtherName else "labels"
    data = [{"images": image, name: torch.tensor(i % 4)} for i, image in enumerate(IMAGES)]
    arguments = TrainingArguments(
        output_dir=os.path.join(sys.argv[1], "out"), per_device_train_batch_size=batch, logging_steps=1,
        gradient_accumulation_steps=steps, max_steps=1, optim="sgd", learning_rate=0.1, max_grad_norm=0.0, use_cpu=True,
        report_to=[], save_strategy="no", disable_tqdm=True, prediction_loss_only=True, label_names=[name])
    trainer = Trainer(kind(), arguments, train_dataset=data, eval_dataset=data)
    trainer.remove_callback(PrinterCallback)
    before = trainer.evaluate()["eval_loss"]
    trainer.train()
    first = next(entry for entry in trainer.state.log_history if "loss" in entry)
    return first["loss"], first["grad_norm"], trainer.model.network.weight.detach().clone(), before


loss, norm, weights, evaluated = train(WithKwargs, 16, 1)
start = Flow().network.weight.detach()
print(f"one batch of 16: loss {loss:.4f}, gradient {norm:.4f}; evaluate {evaluated:.4f}")
for batch, steps in ((4, 4), (1, 16)):
    for kind, factor in ((Flow, 1), (OtherName, 1), (Declared, 1), (WithKwargs, steps)):
        now, gradient, after, before = train(kind, batch, steps)
        way = (after - start).norm() / (weights - start).norm()
        print(f"{steps} batches of {batch}, {kind.__name__}: loss {now:.4f}, gradient {gradient:.4f}, "
              f"the way of the update {way:.3f}; evaluate {before:.4f}")
        assert abs(now / loss - factor) < 1e-2 and abs(gradient / norm - factor) < 1e-2 and abs(way - factor) < 1e-2
        assert abs(before - evaluated) < 1e-4
print("As described: with **kwargs and class labels the gradient is multiplied by the steps.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore "$dir/probe.py" "$dir"
