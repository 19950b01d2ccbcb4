#!/bin/bash
# What:   optax 0.2.8 with jax 0.10.2, inject_hyperparams around an optimizer of weights in bfloat16.
# Source: optax/schedules/_inject.py: without hyperparam_dtype, numbers are converted to the weights' precision,
#         optax.tree.dtype(params, "highest"). In bfloat16 the numbers below 1 are 1/256 apart.
# Guess:  the wrapper makes hyperparameters readable and adjustable, and the optimizer does what it does without it.
# Seen:   adam's b2 of 0.999 becomes 1, so its second moment stays 0 and the first update is NaN; the same for adamw.
#         b2 = 0.998 becomes 0.9961, a memory of 256 steps instead of 500; b2 = 0.95 becomes 0.9492. Without the
#         wrapper, with weights in single precision, or with hyperparam_dtype=jnp.float32, all are as given. No warning.
# Date:   2026-11-29
# Why:    it is the usual way to log or change the learning rate. With the default b2 everything is NaN at once, and the
#         search begins at the loss or the data; with another b2 the optimizer quietly has a shorter memory.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 optax==0.2.8
cat > "$dir/probe.py" <<'PY'
import math

import jax.numpy as jnp
import optax


def first_update(optimizer, dtype):
    """Of a weight 1 with a gradient of 1/2, and the optimizer's state after it."""
    weights = {"w": jnp.ones(4, dtype)}
    updates, state = optimizer.update({"w": weights["w"] / 2}, optimizer.init(weights), weights)
    return float(updates["w"][0]), state


for make in (optax.adam, optax.adamw):
    for b2, in_bf16 in ((0.999, 1.0), (0.998, 0.99609375), (0.95, 0.94921875)):
        plain, _ = first_update(make(0.01, b2=b2), jnp.bfloat16)
        assert abs(plain + 0.01) < 2e-4
        for options, dtype in (({}, jnp.float32), ({"hyperparam_dtype": jnp.float32}, jnp.bfloat16)):
            update, state = first_update(optax.inject_hyperparams(make, **options)(0.01, b2=b2), dtype)
            assert abs(update + 0.01) < 2e-4 and abs(state.hyperparams["b2"] - b2) < 1e-7
        update, state = first_update(optax.inject_hyperparams(make)(0.01, b2=b2), jnp.bfloat16)
        print(f"{make.__name__}, b2 = {b2}: {float(state.hyperparams['b2'])} once injected; first update {update:.4f}, "
              f"without the wrapper {plain:.4f}")
        assert state.hyperparams["b2"] == in_bf16 and math.isnan(update) == (b2 == 0.999)

print("As described: injected hyperparameters are rounded to the weights' precision, 0.999 to 1.")
PY
JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
