#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, BackupAndRestore(save_freq=NUMBER), which saves each NUMBER of batches.
# Source: keras/src/callbacks/backup_and_restore.py: _load_model hands the saved epoch to the model, but leaves the
#         callback's own _current_epoch, which the next backup writes down, at 0 until an epoch has ended. The number of
#         the batch is saved, too, and never read.
# Guess:  a run of 6 epochs ends after 6 epochs, however often it is stopped, and goes on within the epoch near where it
#         was, for the weights and the count of updates are those of that batch.
# Seen:   the epoch starts again at its first batch, with the weights of the middle. If the run is stopped once more in
#         it, the backup says epoch 0, and all 6 epochs are trained again, on top of what was there: 102 updates instead
#         of 60. A learning rate set by epoch (LearningRateScheduler) goes up to its first value again, a cosine over
#         60 updates is 0 for 43 of the last run's 60. With save_freq="epoch" the same two stops end in 60 updates. No
#         warning.
# Date:   2026-11-29
# Why:    backups within an epoch are for long epochs on machines that are taken away at any time: two stops in one
#         epoch are the rule there. A run in its last epoch then starts over, with weights that are nearly done.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import json
import sys
import warnings

import keras
import numpy as np

folder = sys.argv[1]
x = np.arange(20, dtype="float32")[:, None] / 20
warnings.simplefilter("error", UserWarning)


class Watch(keras.callbacks.Callback):
    """Write down each batch and its learning rate, and go down at one of them, as a computer may."""

    def __init__(self, seen, stop):
        super().__init__()
        self.seen, self.stop = seen, stop

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append((self.epoch, batch, float(self.model.optimizer.learning_rate)))
        if (self.epoch, batch) == self.stop:
            raise KeyboardInterrupt


def run(name, stops, save_freq, cosine=False):
    """Train 6 epochs of 10 batches, in a new process after each stop: what was trained on, and all updates."""
    history, saved = [], None
    for stop in stops + [None]:
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        rate = keras.optimizers.schedules.CosineDecay(0.01, 60) if cosine else 0.01
        model.compile(keras.optimizers.SGD(rate), "mse")
        seen = []
        calls = [keras.callbacks.BackupAndRestore(f"{folder}/{name}", save_freq=save_freq), Watch(seen, stop)]
        if not cosine:
            calls.append(keras.callbacks.LearningRateScheduler(lambda epoch: 0.01 * 0.1 ** (epoch // 2)))
        try:
            model.fit(x, 3 * x, batch_size=2, epochs=6, shuffle=False, verbose=0, callbacks=calls)
        except KeyboardInterrupt:
            with open(f"{folder}/{name}/training_metadata.json") as file:
                saved = json.load(file)
        history.append(seen)
    updates = int(model.optimizer.iterations)
    starts = ", ".join(f"{seen[0][0]}.{seen[0][1]} to {seen[-1][0]}.{seen[-1][1]}" for seen in history)
    print(f"{name}: epoch and batch {starts}; {updates} updates; the last backup says {saved}")
    return history, updates, saved


twice = [(3, 6), (3, 6)]
history, updates, saved = run("no stop", [], 2)
assert updates == 60
history, updates, saved = run("one stop", twice[:1], 2)
assert updates == 66 and saved == {"epoch": 3, "batch": 5} and history[1][0][:2] == (3, 0)
history, updates, saved = run("two stops", twice, 2)
assert updates == 102 and saved == {"epoch": 0, "batch": 5} and history[2][0][:2] == (0, 0)
rates = [seen[0][2] for seen in history]
print("learning rates at the three starts:", ", ".join(f"{rate:.4f}" for rate in rates))
assert np.allclose(rates, [0.01, 0.001, 0.01])
history, updates, saved = run("two stops, cosine", twice, 2, cosine=True)
idle = sum(rate == 0 for *_, rate in history[-1])
print(f"of the last run's {len(history[-1])} updates {idle} have a learning rate of 0")
assert updates == 102 and idle == 43
history, updates, saved = run("two stops, save_freq='epoch'", twice, "epoch")
assert updates == 60 and saved["epoch"] == 3
print("As described: after a second stop in one epoch the run starts at epoch 0.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
