#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, layers with enable_lora that load their weights, by load_weights or load_model.
# Source: load_own_variables of BaseConv in keras/src/layers/convolutional/base_conv.py (and of Dense, EinsumDense and
#         Embedding): where LoRA is enabled it sets BOTH factors of the adapter to zero after it has read the kernel.
#         save_own_variables writes the kernel with the adapter merged into it.
# Guess:  the adapter goes on where it was, or it is merged into the kernel and starts anew as enable_lora starts it,
#         one factor at random and the other zero.
# Seen:   the gradient of each factor is a product with the other factor, so both stay zero for ever; only biases train.
#         A small network of convolutions learns by adapters of rank 8: after 6 epochs the loss is 0.31, after 30 more
#         0.10. Saved after 6 and loaded, it has 0.31 again, and after 30 more epochs still 0.31, by load_weights or by
#         load_model(compile=False). (With its optimizer, load_model restores Adam's momentum as well, which by itself
#         moves the factors off zero, and the loss goes to 0.11.) Weights of the base model that are loaded after
#         enable_lora end it before the first step: 1.67 becomes 1.52. If the files are loaded before enable_lora, both
#         end at 0.10 or less. No warning.
# Date:   2026-11-29
# Why:    to enable the adapters and then load the pretrained weights is a usual order, and so is to resume from a
#         checkpoint of one's own. The loss stays flat, which looks like a rate too low, a rank too small, or a run
#         that has converged.
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
images = np.random.default_rng(0).normal(size=(512, 12, 12, 3)).astype("float32")
target = np.roll(images, 1, axis=1) + 0.5 * images
warnings.simplefilter("error", UserWarning)


def base():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((12, 12, 3)),
                             keras.layers.Conv2D(16, 3, padding="same", activation="tanh"),
                             keras.layers.Conv2D(3, 3, padding="same")])


def enable(model):
    for layer in model.layers:
        layer.enable_lora(8)
    return model


def train(what, model, epochs=30):
    """The loss before and after training, and the largest number in any factor."""
    if not model.compiled:
        model.compile(keras.optimizers.Adam(3e-3), "mse")
    before = model.evaluate(images, target, verbose=0)
    model.fit(images, target, batch_size=64, epochs=epochs, verbose=0)
    after = model.evaluate(images, target, verbose=0)
    factors = [keras.ops.convert_to_numpy(w) for w in model.trainable_variables if "lora" in w.path]
    assert len(factors) == 4
    largest = max(float(np.abs(f).max()) for f in factors)
    print(f"{what}: loss {before:.3f}, after {epochs} epochs {after:.3f}, largest number in the adapters {largest:.3f}")
    return before, after, largest


def load(file, enable_first):
    model = enable(base()) if enable_first else base()
    model.load_weights(f"{folder}/{file}")
    return model if enable_first else enable(model)


base().save_weights(f"{folder}/base.weights.h5")
model = enable(base())
start, saved, _ = train("new adapters", model, epochs=6)
model.save_weights(f"{folder}/tuned.weights.h5")
model.save(f"{folder}/tuned.keras")
end = train("trained on", model)[1]
assert start > 1.5 and 0.2 < saved < 0.5 and end < 0.15
for what, model, loss in (
        ("resumed with load_weights", load("tuned.weights.h5", True), saved),
        ("resumed with load_model", keras.models.load_model(f"{folder}/tuned.keras", compile=False), saved),
        ("base weights loaded after enable_lora", load("base.weights.h5", True), start)):
    before, after, largest = train(what, model)
    assert largest == 0 and abs(before - loss) < 1e-4 and after > 0.9 * before
assert train("resumed with load_model, with its optimizer", keras.models.load_model(f"{folder}/tuned.keras"))[2] > 0.01
for what, file, loss in (("tuned weights loaded before enable_lora", "tuned.weights.h5", saved),
                         ("base weights loaded before enable_lora", "base.weights.h5", start)):
    before, after, largest = train(what, load(file, False))
    assert largest > 0.1 and abs(before - loss) < 1e-4 and after < 0.15
print("As described: a layer that loads weights while its adapter is enabled never trains the adapter again.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
