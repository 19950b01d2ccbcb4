#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, the callback BackupAndRestore, and a second fit of the model it has restored.
# Source: _load_model in keras/src/callbacks/backup_and_restore.py writes the epoch to model._initial_epoch, and nothing
#         takes it away again. fit in keras/src/backend/jax/trainer.py (and in those of TensorFlow and PyTorch) starts
#         each time at `self._initial_epoch or initial_epoch`.
# Guess:  the restored epoch is that of the run that was interrupted. The next fit, without the callback, on other data,
#         trains as many epochs as it is asked for.
# Seen:   it starts at the old epoch. A run of 20 epochs is stopped after 12 and resumed; from then on fit(epochs=10)
#         trains 0 epochs and returns an empty history, and fit(epochs=15) trains 3. A second stage on other data, of 10
#         epochs, leaves the loss at 4.1, the same to the bit, where it goes to 0.0000 if there was no stop. Asking for
#         initial_epoch=0 does not help. Saved and loaded as a file the model trains again. No warning.
# Date:   2026-11-29
# Why:    teacher and student, low and high resolution, or training and fine-tuning are often two fits in one script.
#         After one interruption of the first the second does nothing, or less than planned, and what is saved at the
#         end is the model of the first stage.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
import warnings

import keras
import numpy as np

folder = sys.argv[1]
random = np.random.default_rng(0)
x = random.normal(size=(640, 4)).astype("float32")
first, second = x.sum(1, keepdims=True), x.sum(1, keepdims=True) * 2
warnings.simplefilter("error", UserWarning)


class Stop(keras.callbacks.Callback):
    """The computer goes down at the end of an epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 12:
            raise KeyboardInterrupt


def stage_one(name, stop):
    """A new process: the model made anew, and fit with the backup, if there is one."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.02), "mse")
    backup = keras.callbacks.BackupAndRestore(f"{folder}/{name}")
    try:
        history = model.fit(x, first, epochs=20, batch_size=32, verbose=0, callbacks=[backup] + [Stop()] * stop)
    except KeyboardInterrupt:
        return None, 0
    return model, len(history.epoch)


def stage_two(model, epochs, **more):
    """The number of epochs that are trained, and the loss of the second stage before and after."""
    before = model.evaluate(x, second, verbose=0)
    history = model.fit(x, second, epochs=epochs, batch_size=32, verbose=0, **more)
    return len(history.epoch), before, model.evaluate(x, second, verbose=0)


def report(what, model, epochs, **more):
    trained, before, after = stage_two(model, epochs, **more)
    print(f"{what}: {epochs} epochs asked for, {trained} trained, loss {before:.4f} -> {after:.4f}")
    return trained, before, after


unbroken, epochs = stage_one("unbroken", False)
assert epochs == 20
trained, _, after = report("no stop", unbroken, 10)
assert trained == 10 and after < 0.01
assert stage_one("stopped", True) == (None, 0)
restored, epochs = stage_one("stopped", False)
print("after the stop the first stage trains the other", epochs, "epochs of 20")
assert epochs == 8
restored.save(folder + "/model.keras")
loaded = keras.models.load_model(folder + "/model.keras")
trained, before, after = report("after a stop", restored, 10)
assert trained == 0 and before == after > 4
assert report("after a stop, initial_epoch=0", restored, 10, initial_epoch=0)[0] == 0
assert report("after a stop", restored, 15)[0] == 3
trained, _, after = report("after a stop, saved and loaded", loaded, 10)
assert trained == 10 and after < 0.01
print("As described: a model that was restored starts each later fit at the old epoch.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
