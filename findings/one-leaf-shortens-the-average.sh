#!/bin/bash
# What:   optax 0.2.8 with jax 0.10.2, optax.contrib.schedule_free (schedule_free_sgd and schedule_free_adamw too), on
#         weights of which one array is bfloat16.
# Source: init_fn in optax/contrib/_schedule_free.py gives weight_sum, the sum of the weights of all steps so far, the
#         lowest dtype of all parameters. In bfloat16 a sum stops to grow once a term is less than about 1/256 of it.
# Guess:  the average of an array in float32 is computed in float32. A small array in bfloat16 elsewhere in the model,
#         zeros that never change here, does not touch it. The docstring speaks of the dtype of z alone.
# Seen:   the sum stands still before step 500, and from there on each step has weight 1/400 for ever. What the paper
#         averages over all steps, so that noise averages out, has become a moving average of some hundred. After
#         20,000 noisy steps of SGD the averaged weights, all in float32, have an error of 0.099, and 0.016 without the
#         bfloat16 array. At 4,000 steps it was 0.102, against 0.036. With AdamW it is 0.062 against 0.016 at 20,000.
#         state_dtype=float32 changes nothing. No warning.
# Date:   2026-11-29
# Why:    tables of embeddings, frozen parts and adapters are often kept in bfloat16 beside weights in float32. That the
#         rate needs no decay is the promise of this method, and rests on the average of all steps: here the loss stays
#         on a floor, as at a constant rate, and the method is held to be no good for the task.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 optax==0.2.8 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import jax
import jax.numpy as jnp
import optax
from optax.contrib import schedule_free_adamw, schedule_free_eval_params, schedule_free_sgd

SIZE = 1000  # the loss is the mean square distance of SIZE weights to 1, with noise of size 1 in each gradient


def train(optimizer, steps, table):
    """The error of the averaged weights after the training, and the state; table is a further array, or None."""
    params = {"weights": jnp.zeros(SIZE)}
    if table is not None:
        params["table"] = table

    def step(number, carry):
        params, state = carry
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(0), number), (SIZE,))
        gradients = jax.tree.map(jnp.zeros_like, params) | {"weights": params["weights"] - 1 + noise}
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state

    train_all = jax.jit(lambda *carry: jax.lax.fori_loop(0, steps, step, carry))
    params, state = train_all(params, optimizer.init(params))
    average = schedule_free_eval_params(state, params)["weights"]
    assert average.dtype == params["weights"].dtype == state.z["weights"].dtype == jnp.float32
    return jnp.sqrt(jnp.mean((average - 1) ** 2)).item(), state


SGD = schedule_free_sgd(0.1)
TABLES = {"no table": None, "a table in float32": jnp.zeros(4), "a table in bfloat16": jnp.zeros(4, jnp.bfloat16)}
errors = {}
for name, table in TABLES.items():
    for steps in (4000, 20000):
        errors[name, steps], state = train(SGD, steps, table)
        share = 0.01 / float(state.weight_sum)  # a step's weight is the square of the rate
        print(f"SGD, {name}, {steps} steps: error {errors[name, steps]:.4f}, "
              f"the last step's weight is 1/{1 / share:.0f}")
        assert (350 < 1 / share < 450) if name == "a table in bfloat16" else abs(1 / share - steps) < 0.01 * steps
early, late = (float(train(SGD, steps, TABLES["a table in bfloat16"])[1].weight_sum) for steps in (500, 20000))
print(f"a table in bfloat16: the sum of the weights is {early} after 500 steps and {late} after 20000")
assert early == late
for steps in (4000, 20000):
    assert abs(errors["no table", steps] - errors["a table in float32", steps]) < 1e-5
assert errors["no table", 20000] < 0.6 * errors["no table", 4000]
assert errors["a table in bfloat16", 20000] > 0.9 * errors["a table in bfloat16", 4000]
assert errors["a table in bfloat16", 20000] > 4 * errors["no table", 20000]

wide = train(schedule_free_sgd(0.1, state_dtype=jnp.float32), 20000, TABLES["a table in bfloat16"])[0]
print(f"SGD, a table in bfloat16, state_dtype=float32: error {wide:.4f}")
assert wide > 4 * errors["no table", 20000]
adam = [train(schedule_free_adamw(0.01), 20000, TABLES[name])[0] for name in ("no table", "a table in bfloat16")]
print(f"AdamW: error {adam[0]:.4f} without and {adam[1]:.4f} with a table in bfloat16")
assert adam[1] > 3 * adam[0]
print("As described: one array in bfloat16 makes the average of all the others short.")
PY
OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu "$dir/venv/bin/python" "$dir/probe.py"
