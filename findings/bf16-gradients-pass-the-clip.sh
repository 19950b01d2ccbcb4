#!/bin/bash
# What:   optax 0.2.8 with jax 0.10.2, clip_by_global_norm (and tree.norm) of gradients in bfloat16.
# Source: tree_norm and tree_sum in optax/tree_utils/_tree_math.py: the leaves' sums of squares, each in the leaf's
#         precision, are added one after another in it. In bfloat16, 256 + 1 is 256.
# Guess:  the norm is off by rounding, less than 1 %, and no update is longer than the limit, as with PyTorch's
#         clip_grad_norm_, which adds in single precision.
# Seen:   of 1,000 leaves of norm 1 the norm is said to be 16 and is 31.6, so clipped to 1 they have norm 1.98; under
#         jit, too. Of one leaf of norm 16 and 500 of norm 0.7 it is said to be 16 and is 22.4: the small ones do not
#         count. 48 blocks of random weights, 480 leaves: 14.75, where 15.4 is right. In single precision all are right.
# Date:   2026-11-29
# Why:    a run with weights in bfloat16 clips later than it was told to, and the more so the deeper the network and the
#         larger its first leaf, such as an embedding. The gradient norm that is logged is capped, too, so that a
#         spreading instability looks like a plateau.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 jaxlib==0.10.2 optax==0.2.8
cat > "$dir/probe.py" <<'PY'
import jax
import jax.numpy as jnp
import optax

BLOCK = {"query": (64, 64), "key": (64, 64), "value": (64, 64), "out": (64, 64), "up": (64, 256), "up_bias": (256,),
         "down": (256, 64), "down_bias": (64,), "norm_1": (64,), "norm_2": (64,)}


def exact(gradients):
    return float(optax.tree.norm(jax.tree.map(lambda g: g.astype(jnp.float32), gradients)))


def constant(norm):
    return jnp.full(16, norm / 4, jnp.bfloat16)


key, blocks = jax.random.key(0), {}
for k in range(48):
    for name, shape in BLOCK.items():
        key, own = jax.random.split(key)
        blocks[f"{k:02} {name}"] = (0.01 * jax.random.normal(own, shape)).astype(jnp.bfloat16)
clip = optax.clip_by_global_norm(1.0)
for what, gradients, least, most in (
        ("1,000 leaves of norm 1", {f"{k:03}": constant(1) for k in range(1000)}, 1.97, 1.99),
        ("one of norm 16, 500 of norm 0.7",
         {"embedding": constant(16), **{f"layer {k:03}": constant(0.7) for k in range(500)}}, 1.35, 1.45),
        ("48 random blocks", blocks, 1.03, 1.06)):
    said, under_jit = float(optax.tree.norm(gradients)), float(jax.jit(optax.tree.norm)(gradients))
    clipped = exact(jax.jit(lambda g: clip.update(g, clip.init(g))[0])(gradients))
    print(f"{what}: norm {exact(gradients):.2f}, said to be {said:.2f}, under jit {under_jit:.2f}; "
          f"clipped to 1: {clipped:.3f}")
    assert said == under_jit and least < exact(gradients) / said < most and least < clipped < most
    single = jax.tree.map(lambda g: g.astype(jnp.float32), gradients)
    assert abs(exact(clip.update(single, clip.init(single))[0]) - 1) < 1e-3
print("As described: in bfloat16 the global norm stops growing, and clipped gradients are longer than the limit.")
PY
JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
