#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, an optimizer with use_ema=True and gradient_accumulation_steps.
# Source: _backend_apply_gradients in keras/src/backend/jax/optimizer.py (and in keras/src/optimizers/base_optimizer.py
#         for the other backends): the average takes a step at each batch, outside of the branch for an update.
# Guess:  accumulation makes eight batches of 8 the same as one of 64, so ema_momentum counts updates, as before. The
#         docs say that variables are updated every gradient_accumulation_steps steps, and that the EMA looks at the
#         accumulated number of iterations.
# Seen:   the average takes a step of its own at each small batch, so it reaches back by an eighth of the updates. With
#         momentum 0.99, the default, a linear model on noisy targets has a loss of 0.065, and its average of 0.004 with
#         batches of 64. With eight batches of 8 to an update the weights are the same, and the average has 0.038, as
#         batches of 64 with momentum 0.99 ** 8 have. With momentum 0.99 ** (1 / 8) it has 0.004 again. No warning.
# Date:   2026-11-29
# Why:    accumulation is turned on when a model no longer fits, or a GPU is taken away, with all else left as it was
#         published. The weights train as before, and their average covers an eighth of what it did, so samples get
#         worse and the small batches get the blame.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import keras
import numpy as np

UPDATES, BATCH, PARTS, MOMENTUM = 1500, 64, 8, 0.99
random = np.random.default_rng(0)
inputs, right = random.normal(size=(UPDATES * BATCH, 64)).astype("float32"), random.normal(size=(64, 1)) / 8
noisy = inputs @ right + random.normal(size=(len(inputs), 1))


def run(what, parts, momentum):
    """The losses of the last weights, before fit puts the average in their place, and of the average."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(1)])
    steps = parts if parts > 1 else None
    model.compile(keras.optimizers.Adam(0.02, use_ema=True, ema_momentum=momentum, gradient_accumulation_steps=steps),
                  "mse")
    last = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: last.extend(model.get_weights()))
    model.fit(inputs, noisy, batch_size=BATCH // parts, shuffle=False, verbose=0, callbacks=[keep])
    average, losses = model.get_weights(), []
    for weights in (last, average):
        model.set_weights(weights)
        losses.append(model.evaluate(inputs[:32768], (inputs @ right)[:32768], batch_size=32768, verbose=0))
    print(f"{what}, momentum {momentum:.4f}: loss of the weights {losses[0]:.3f}, of the average {losses[1]:.3f}")
    return losses


plain = run("batches of 64", 1, MOMENTUM)
shorter = run("batches of 64", 1, MOMENTUM ** PARTS)
parts = run("8 batches of 8", PARTS, MOMENTUM)
longer = run("8 batches of 8", PARTS, MOMENTUM ** (1 / PARTS))
assert np.allclose([plain[0], parts[0], longer[0]], shorter[0], rtol=0.05)
assert abs(parts[1] / shorter[1] - 1) < 0.1 and parts[1] > 4 * plain[1]
assert longer[1] < 1.2 * plain[1]
print("As described: with accumulation the average takes a step at each small batch.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
