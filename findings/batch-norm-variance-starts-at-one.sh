#!/bin/bash
# What:   equinox 0.13.8 with jax 0.10.2, eqx.nn.BatchNorm(mode="batch"), the mode that is recommended for new code.
# Source: BatchNorm in equinox/nn/_batch_norm.py starts the running variance at 1, and in inference divides it by
#         1 - momentum ** batches, as if it had started at 0.
# Guess:  the division corrects the average for its start, so that inference is right after one batch, and from then on.
# Seen:   the variance is too large by 0.99 ** n / (1 - 0.99 ** n): by 99 after one batch, 9.5 after 10, 0.58 after 100,
#         0.05 after 300. Inputs of standard deviation 1 come out with 0.10, 0.31, 0.80 and 0.98. In a network this adds
#         up: one with four such layers, trained for 1,500 batches, has a loss of 0.0004. With fresh statistics, as they
#         are collected for averaged weights, it has 0.60 after one batch and after 10, 0.52 after 100 and 0.15 after
#         300, and to predict 0 gives 0.60, too. Without the rest of the 1 it has 0.02 after one batch, 0.002 after 10.
#         With momentum=0.999 all takes ten times as long. The mean, which does start at 0, is right. No warning.
# Date:   2026-11-29
# Why:    averaged weights of a generator or of a network for features get their statistics from some passes over data.
#         A few dozen batches are plenty with such a correction, and the averaged model looks broken. So do the first
#         validations of a run and short fine-tunings with fresh statistics, while the training loss is fine.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 equinox==0.13.8 optax==0.2.8
cat > "$dir/probe.py" <<'PY'
import equinox as eqx
import jax
import jax.numpy as jnp
import optax

WIDTH, DEPTH, BATCHES = 64, 4, 1500


class Network(eqx.Module):
    linear: list
    norm: list

    def __init__(self, key):
        keys = jax.random.split(key, DEPTH + 1)
        sizes = [2] + DEPTH * [WIDTH] + [1]
        self.linear = [eqx.nn.Linear(a, b, key=key) for a, b, key in zip(sizes, sizes[1:], keys)]
        self.norm = [eqx.nn.BatchNorm(WIDTH, "batch", mode="batch") for _ in range(DEPTH)]

    def __call__(self, x, state):
        for linear, norm in zip(self.linear, self.norm):
            x, state = norm(linear(x), state)
            x = jax.nn.relu(x)
        return self.linear[-1](x), state


def over_batch(layer, x, state):
    return jax.vmap(layer, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)


def batch(key, images=256):
    x = jax.random.uniform(key, (images, 2), minval=-2, maxval=2)
    return x, jnp.sin(2 * x[:, :1]) * x[:, 1:]


def loss(network, state, x, y):
    found, state = over_batch(network, x, state)
    return ((found - y) ** 2).mean(), state


def copy(state):
    return jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(state))


norm, state = eqx.nn.make_with_state(eqx.nn.BatchNorm)(1, "batch", mode="batch")
x = jax.random.normal(jax.random.key(0), (1000, 1))
x = (x - x.mean()) / x.std()
for n in range(1, 301):
    _, state = over_batch(norm, x, state)
    if n in (1, 10, 100, 300):
        found = float(over_batch(eqx.nn.inference_mode(norm), x, copy(state))[0].std())
        print(f"one layer, number of batches {n}: standard deviation 1 in, {found:.3f} out")
        assert abs(found - (1 - 0.99 ** n) ** 0.5) < 1e-3

network, state = eqx.nn.make_with_state(Network)(jax.random.key(0))
fresh, optimizer = copy(state), optax.adam(optax.cosine_decay_schedule(3e-3, BATCHES))
optimizer_state = optimizer.init(eqx.filter(network, eqx.is_inexact_array))


@eqx.filter_jit
def step(network, state, optimizer_state, key):
    (_, state), gradient = eqx.filter_value_and_grad(loss, has_aux=True)(network, state, *batch(key))
    updates, optimizer_state = optimizer.update(gradient, optimizer_state)
    return eqx.apply_updates(network, updates), state, optimizer_state


@eqx.filter_jit
def collect(network, state, key):
    return over_batch(network, batch(key)[0], state)[1]


@eqx.filter_jit
def evaluate(network, state):
    return loss(eqx.nn.inference_mode(network), state, *batch(jax.random.key(10 ** 6), 4096))[0]


for key in jax.random.split(jax.random.key(1), BATCHES):
    network, state, optimizer_state = step(network, state, optimizer_state, key)
trained = evaluate(network, copy(state))
zero = float((batch(jax.random.key(10 ** 6), 4096)[1] ** 2).mean())
print(f"network with the statistics of training: loss {trained:.4f}; of predicting 0: {zero:.3f}")
assert trained < 0.003
state = fresh
for n, key in enumerate(jax.random.split(jax.random.key(2), 300), 1):
    state = collect(network, state, key)
    if n in (1, 10, 100, 300):
        corrected = copy(state)
        for norm in network.norm:
            mean, variance = corrected.get(norm.batch_state_index)
            corrected = corrected.set(norm.batch_state_index, (mean, variance - 0.99 ** n))
        as_is, as_from_zero = evaluate(network, copy(state)), evaluate(network, corrected)
        print(f"fresh statistics, number of batches {n}: loss {as_is:.4f}; without the 1: {as_from_zero:.4f}")
        assert as_is > {1: 0.5, 10: 0.5, 100: 0.3, 300: 0.05}[n] and as_from_zero < (0.01 if n > 1 else 0.1)
print("As described: the running variance starts at 1 and is corrected as if from 0.")
PY
JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
