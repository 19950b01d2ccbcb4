#!/bin/bash
# What:   optax 0.2.8 with jax 0.10.2, MultiSteps around an optimizer that is protected against NaN, by zero_nans or by
#         apply_if_finite.
# Source: MultiSteps.update in optax/transforms/_accumulation.py clears the accumulated gradients by multiplying them
#         with 0, and 0 * NaN is NaN.
# Guess:  a batch with a NaN costs one update, as it does without accumulation: the documentation says that the
#         accumulated gradients are then set back to zero.
# Seen:   the NaN stays in the accumulator for good. A small network has a loss of 0.025 after 100 batches, four to an
#         update, and of 0.00003 after 1,200. If batch 101 has a NaN or an inf in one image, every later gradient counts
#         as 0 with zero_nans: the loss rises to 0.10, by Adam's momentum, and stays there. With apply_if_finite(..., 5)
#         five updates are skipped and the sixth makes the weights NaN; with a high limit the loss stays 0.025. Without
#         MultiSteps, with apply_if_finite around it, or with should_skip_update_fn=skip_not_finite, the batch is
#         skipped and the loss ends below 0.0001. No warning.
# Date:   2026-11-29
# Why:    one overflow or one broken image in weeks of training is what these wrappers are for. The loss of each batch
#         stays finite and the counters go on, so that it looks like a plateau; and a checkpoint has the NaN in its
#         optimizer state, so resuming does not help.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 optax==0.2.8
cat > "$dir/probe.py" <<'PY'
import math

import jax
import jax.numpy as jnp
import optax

BATCHES, EVERY, BAD = 1200, 4, 100


def loss(weights, x):
    hidden = jnp.tanh(x @ weights["in"] + weights["bias"])
    return ((hidden @ weights["out"] - jnp.sin(2 * x)) ** 2).mean()


def train(optimizer, bad=None):
    """The loss after each batch; bad is the number of a batch and what is in its first image."""
    keys = jax.random.split(jax.random.key(0), 2)
    weights = {"in": jax.random.normal(keys[0], (1, 64)), "bias": jax.random.normal(keys[1], (64,)),
               "out": jnp.zeros((64, 1))}
    state, fixed = optimizer.init(weights), jnp.linspace(-2, 2, 256)[:, None]

    @jax.jit
    def step(carry, k):
        weights, state = carry
        x = jax.random.uniform(jax.random.key(k), (64, 1), minval=-2, maxval=2)
        if bad is not None:
            number, worst = bad
            x = x.at[0].set(jnp.where(k == number, worst, x[0]))
        updates, state = optimizer.update(jax.grad(loss)(weights, x), state, weights)
        weights = optax.apply_updates(weights, updates)
        return (weights, state), loss(weights, fixed)

    return jax.lax.scan(step, (weights, state), jnp.arange(BATCHES))[1]


def accumulated(inner, **options):
    return optax.MultiSteps(inner, EVERY, **options).gradient_transformation()


adam = optax.adam(1e-2)
right = train(accumulated(adam))[-1]
print(f"no NaN: loss {right:.5f}")
assert right < 1e-4
for worst in (math.nan, math.inf):
    for what, optimizer in (
            ("zero_nans without MultiSteps", optax.chain(optax.zero_nans(), adam)),
            ("MultiSteps in apply_if_finite", optax.apply_if_finite(accumulated(adam), 5)),
            ("MultiSteps with skip_not_finite", accumulated(adam, should_skip_update_fn=optax.skip_not_finite))):
        end = train(optimizer, (BAD, worst))[-1]
        print(f"{worst} in batch {BAD + 1}, {what}: loss {end:.5f}")
        assert end < 1e-4
    for what, inner in (("zero_nans", optax.chain(optax.zero_nans(), adam)),
                        ("apply_if_finite(..., 5)", optax.apply_if_finite(adam, 5)),
                        ("apply_if_finite(..., 10_000)", optax.apply_if_finite(adam, 10_000))):
        losses = train(accumulated(inner), (BAD, worst))
        print(f"{worst} in batch {BAD + 1}, {what} in MultiSteps: loss {losses[BAD - 1]:.3f} before, {losses[-1]:.3f} "
              f"at the end")
        if "5" in what:
            first = int(jnp.argmax(jnp.isnan(losses))) // EVERY - BAD // EVERY
            print(f"  NaN from update {first + 1} after it")
            assert first == 5 and math.isnan(losses[-1])
        else:
            assert losses[-1] == losses[-200] > 0.9 * losses[BAD - 1] > 0.01
print("As described: one NaN stays in the accumulated gradients, and training is over.")
PY
JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
