#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, keras.optimizers.Adafactor, and its option relative_step=False.
# Source: keras/src/optimizers/adafactor.py: build makes the row and column means and, beside them, a variable as large
#         as each weight, which update_step fills with their product and uses within the same step only. update_step
#         asks relative_step whether to take min(rate, 1 / sqrt(step)), and on its way to rho_t takes it in any case.
# Guess:  as the docstring says, it has "the advantage of taking less memory": a few numbers for each row and column.
#         With relative_step=False, or with a schedule, the rate is the one that was asked for.
# Seen:   there are 1.002 numbers for each weight, which are also in the file that is saved; Adam has 2, optax's
#         adafactor 0.003. relative_step=False changes no bit of 10,000 steps: a rate of 0.05 is 0.05 up to step 400 and
#         then falls, to 0.032 at step 1,000 and 0.010 at 10,000. A schedule that is constant at 0.05 falls as well.
#         optax's adafactor(0.05) has 0.05 at each step. No warning.
# Date:   2026-11-29
# Why:    who takes Adafactor for a model that has no room for Adam's state has room for half of it, not for a
#         thousandth of it. A schedule of one's own with peaks or restarts late in training is cut off, and the
#         learning_rate that is logged is not the one that is used.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 optax==0.2.8 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import os
import sys
import warnings

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax

file = sys.argv[1] + "/model.keras"
warnings.simplefilter("error", UserWarning)
layers = [keras.Input((1000,)), keras.layers.Dense(1000, activation="relu"), keras.layers.Dense(1000)]
model = keras.Sequential(layers)
weights = [variable.value for variable in model.trainable_variables]
count = model.count_params()
state = {}
for name, optimizer in (("Adam", keras.optimizers.Adam()), ("Adafactor", keras.optimizers.Adafactor())):
    model.compile(optimizer, "mse")
    model.fit(np.zeros((8, 1000), "float32"), np.ones((8, 1000), "float32"), verbose=0)
    model.save(file)
    state[name] = sum(int(np.prod(variable.shape)) for variable in optimizer.variables) / count
    size = os.path.getsize(file) / 4 / count
    print(f"Keras {name}: {state[name]:.4f} numbers of state for each weight, {size:.2f} in the file with the weights")
    assert abs(size - 1 - state[name]) < 0.05
state["optax"] = sum(leaf.size for leaf in jax.tree.leaves(optax.adafactor(1e-3).init(weights))) / count
print(f"optax adafactor: {state['optax']:.4f}")
assert abs(state["Adam"] - 2) < 0.01 and abs(state["Adafactor"] - 1) < 0.01 and state["optax"] < 0.005

one, gradient, steps = jnp.ones((4, 4)), jnp.ones((4, 4)), 10000


def keras_rates(rate, **options):
    """The length of each step from a weight of 1, which Adafactor multiplies by the weight's root mean square."""
    optimizer = keras.optimizers.Adafactor(rate, **options)
    optimizer.build([keras.Variable(np.ones((4, 4), "float32"))])

    def step(variables, _):
        moved, variables = optimizer.stateless_apply(variables, [gradient], [one])
        return variables, 1 - moved[0][0, 0]

    return np.asarray(jax.jit(lambda v: jax.lax.scan(step, v, length=steps)[1])([v.value for v in optimizer.variables]))


def optax_rates(rate):
    optimizer = optax.adafactor(rate)

    def step(state, _):
        update, state = optimizer.update(gradient, state, one)
        return state, -update[0, 0]

    return np.asarray(jax.jit(lambda s: jax.lax.scan(step, s, length=steps)[1])(optimizer.init(one)))


constant = keras.optimizers.schedules.PiecewiseConstantDecay([5], [0.05, 0.05])
rates = {"relative_step=True": keras_rates(0.05), "relative_step=False": keras_rates(0.05, relative_step=False),
         "a constant schedule": keras_rates(constant, relative_step=False), "optax": optax_rates(0.05)}
places = np.array([1, 400, 1000, 10000])
for what, rate in rates.items():
    print(f"{what}: rate at step {places} is {rate[places - 1].round(4)}")
first, *others, right = rates.values()
assert all(np.array_equal(first, rate) for rate in others)
assert np.allclose(first, np.minimum(0.05, np.arange(1, steps + 1) ** -0.5), rtol=1e-3)
assert np.allclose(right, 0.05, rtol=1e-3)
print("As described: Adafactor keeps a full second moment, and relative_step=False does nothing.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
