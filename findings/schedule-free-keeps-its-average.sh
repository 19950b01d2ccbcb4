#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, keras.optimizers.ScheduleFreeAdamW, without and with weight_decay.
# Source: keras/src/optimizers/schedule_free_adamw.py: update_step sets the model's weights to y, between the average x
#         and the sequence z, as training needs it, and nothing ever sets them to x. finalize_variable_values, by which
#         fit puts an EMA into the model, is that of the base class. Its _apply_weight_decay takes a part off y, after
#         which x is computed from y and z: so x decays and z does not. In the paper z decays.
# Guess:  the docstring calls x "the averaged sequence used for evaluation", so evaluate, predict and the model after
#         fit have x, as the authors' own code has after optimizer.eval(). Weight decay draws all three towards 0.
# Seen:   evaluate and the model after fit have y. For a small network and noisy targets the loss is 0.052 with y, and
#         0.021 with x. Without weight decay the paper's algorithm, written in a few lines, has the same y and x. With
#         weight decay 0.1 it has 0.069 and 0.032, and z has length 3.6. Keras has 0.066 with y and 0.091 with x, and z
#         grows to length 71, so the average of z is no longer in x, and cannot be computed either. No warning.
# Date:   2026-11-29
# Why:    it is chosen to be rid of the schedule and of the EMA, and what it offers in their stead, the average, is not
#         used and not saved. Samples and scores come from weights that are noisier than they need to be.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import jax
import jax.numpy as jnp
import keras
import numpy as np

STEPS, BATCH, RATE = 6000, 32, 0.03
random = np.random.default_rng(0)
inputs = random.normal(size=(STEPS * BATCH, 4)).astype("float32")
noisy = np.sin(2 * inputs[:, :1]) + random.normal(size=(len(inputs), 1)).astype("float32")
fresh = random.normal(size=(32768, 4)).astype("float32")


def make():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(64, activation="tanh"), keras.layers.Dense(1)])


def loss(weights):
    first, bias, second, last = weights
    return float(((jnp.tanh(fresh @ first + bias) @ second + last - jnp.sin(2 * fresh[:, :1])) ** 2).mean())


def length(weights):
    return float(sum((w ** 2).sum() for w in weights)) ** 0.5


def keras_run(decay):
    """The model's weights after fit, the average x and the sequence z."""
    model, optimizer = make(), keras.optimizers.ScheduleFreeAdamW(RATE, weight_decay=decay)
    model.compile(optimizer, "mse")
    model.fit(inputs, noisy, batch_size=BATCH, shuffle=False, verbose=0)
    y, z = model.get_weights(), [np.asarray(v.value) for v in optimizer._momentums]
    clean = model.evaluate(fresh, np.sin(2 * fresh[:, :1]), batch_size=32768, verbose=0)
    assert abs(clean - loss(y)) < 1e-3
    return y, [(a - 0.1 * b) / 0.9 for a, b in zip(y, z)], z


def paper_run(decay):
    """The same by algorithm 1 of the paper, where the decay at y is a part of the step of z."""
    start = [jnp.asarray(w) for w in make().get_weights()]

    def error(w, i, o):
        return ((jnp.tanh(i @ w[0] + w[1]) @ w[2] + w[3] - o) ** 2).mean()

    def step(carry, batch):
        x, z, v, t = carry
        y = [0.1 * b + 0.9 * a for a, b in zip(x, z)]
        g = jax.grad(error)(y, *batch)
        v = [0.999 * a + 0.001 * b ** 2 for a, b in zip(v, g)]
        z = [a - RATE * (b / (jnp.sqrt(c / (1 - 0.999 ** t)) + 1e-8) + decay * d) for a, b, c, d in zip(z, g, v, y)]
        x = [a + (b - a) / t for a, b in zip(x, z)]
        return (x, z, v, t + 1), None

    batches = inputs.reshape(STEPS, BATCH, 4), noisy.reshape(STEPS, BATCH, 1)
    zeros = [jnp.zeros_like(w) for w in start]
    x, z, *_ = jax.jit(lambda c: jax.lax.scan(step, c, batches))((start, start, zeros, 1.0))[0]
    return [0.1 * b + 0.9 * a for a, b in zip(x, z)], x, z


seen = {}
for decay in (0.0, 0.1):
    for what, run in (("paper", paper_run), ("Keras", keras_run)):
        y, x, z = run(decay)
        print(f"{what}, weight decay {decay}: loss with y {loss(y):.3f}, with x {loss(x):.3f}; lengths of y, x and z",
              *(f"{length(w):.1f}" for w in (y, x, z)))
        seen[what, decay] = loss(y), loss(x), length(z)
assert np.allclose(seen["Keras", 0.0], seen["paper", 0.0], rtol=0.2)
assert all(seen["paper", decay][0] > 1.5 * seen["paper", decay][1] for decay in (0.0, 0.1))
(_, average, z), (_, other_average, other_z) = seen["paper", 0.1], seen["Keras", 0.1]
assert other_average > 1.5 * average and other_z > 5 * z
print("As described: the model never gets its average, and weight decay takes it apart.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
