#!/bin/bash
# What:   equinox 0.13.8 with jax 0.10.2, eqx.nn.RotaryPositionalEmbedding of two models with different theta.
# Source: RotaryPositionalEmbedding.__call__ in equinox/nn/_embedding.py keeps sines and cosines in one dictionary for
#         the whole process, by embedding_size and dtype, without theta.
# Guess:  theta belongs to the module, and a model computes the same whatever else the process has run.
# Seen:   modules of one head size share the table of the one that was called first, until a longer sequence has it
#         computed anew, with the theta of that call, for all. Vectors of size 32 at 64 positions, theta 100 after theta
#         10,000 or the other way round: an error of 125 % of their length. A block with theta 100, trained to copy the
#         token before it, has a loss of 0.04, and so does its file in a new process. In a process that has called a
#         module with theta 10,000 before, the same file has 0.20. No warning.
# Date:   2026-11-29
# Why:    heads of size 64 or 128 are in nearly every model, while theta is 100 or 256 for images and 10,000 for text. A
#         denoiser that trains on stored text embeddings and samples beside its text encoder has other positions than
#         in training: images get worse only in the full pipeline, and their quality depends on the order of calls.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 equinox==0.13.8 optax==0.2.8
cat > "$dir/probe.py" <<'PY'
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

TOKENS, HEADS, SIZE = 64, 2, 32
what, weights = sys.argv[1:]


def error(theta, tokens):
    x = jax.random.normal(jax.random.key(0), (tokens, SIZE))
    angles = jnp.outer(jnp.arange(tokens), theta ** (-jnp.arange(0, SIZE, 2) / SIZE))
    left, right = jnp.split(x, 2, axis=1)
    sines, cosines = jnp.sin(angles), jnp.cos(angles)
    rotated = jnp.concatenate([left * cosines - right * sines, right * cosines + left * sines], axis=1)
    found = eqx.nn.RotaryPositionalEmbedding(SIZE, theta=theta)(x)
    return float(jnp.linalg.norm(found - rotated) / jnp.linalg.norm(rotated))


class Block(eqx.Module):
    attention: eqx.nn.MultiheadAttention
    rotary: eqx.nn.RotaryPositionalEmbedding

    def __init__(self, theta, key):
        self.attention = eqx.nn.MultiheadAttention(HEADS, HEADS * SIZE, use_query_bias=True, use_key_bias=True, key=key)
        self.rotary = eqx.nn.RotaryPositionalEmbedding(SIZE, theta=theta)

    def __call__(self, x):
        def rotate(query, key, value):
            of_heads = jax.vmap(self.rotary, in_axes=1, out_axes=1)
            return of_heads(query), of_heads(key), value

        return self.attention(x, x, x, process_heads=rotate)


def loss(block, key):
    x = jax.random.normal(key, (16, TOKENS, HEADS * SIZE))
    return ((jax.vmap(block)(x) - jnp.roll(x, 1, axis=1))[:, 1:] ** 2).mean()


image, text = Block(100.0, jax.random.key(0)), Block(10_000.0, jax.random.key(2))
if what == "errors":
    for first, second in ((100.0, 10_000.0), (10_000.0, 100.0)):
        calls = (first, TOKENS), (second, TOKENS), (first, TOKENS), (second, 2 * TOKENS), (first, TOKENS)
        found = [error(theta, tokens) for theta, tokens in calls]
        for (theta, tokens), e in zip(calls, found):
            print(f"theta {theta:.0f}, {tokens} positions: error {e:.3f}")
        assert max(found[0], found[2], found[3]) < 1e-3 and min(found[1], found[4]) > 1.1
        eqx.clear_caches()
elif what == "trained":
    optimizer = optax.adam(3e-3)
    state = optimizer.init(eqx.filter(image, eqx.is_array))

    @eqx.filter_jit
    def step(block, state, key):
        value, gradient = eqx.filter_value_and_grad(loss)(block, key)
        updates, state = optimizer.update(gradient, state)
        return eqx.apply_updates(block, updates), state, value

    for key in jax.random.split(jax.random.key(1), 600):
        image, state, value = step(image, state, key)
    eqx.tree_serialise_leaves(weights, image)
else:
    if what == "loaded after text":
        text(jnp.ones((TOKENS, HEADS * SIZE)))
    image = eqx.tree_deserialise_leaves(weights, image)
    value = eqx.filter_jit(loss)(image, jax.random.key(3))
if what != "errors":
    print(f"{what}: loss {value:.4f}")
    assert 0.15 < value < 0.3 if what == "loaded after text" else value < 0.06
PY
for what in errors trained "loaded alone" "loaded after text"; do
    JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$what" "$dir/weights.eqx"
done
echo "As described: all rotary embeddings of one size have the theta of whichever made the table."
