#!/bin/bash
# What:   jax2onnx 0.17.1 with jax 0.10.2, to_onnx(..., opset=21), run by onnxruntime 1.32.0 (which has no operator of
#         this kind at the newer opsets): jax.random.normal in a model that is exported.
# Source: RandomNormalPlugin.lower in jax2onnx/plugins/jax/random/normal.py writes each draw as RandomNormal and
#         RandomNormalLike with seed=0.0, and makes no use of the key; random_fold_in.py hands a key on unchanged.
#         bernoulli.py and categorical.py have the same seed. The table of supported components lists all of them.
# Guess:  the numbers are others than those of JAX, as ONNX has other generators. But draws by different keys are
#         independent, as in JAX, and a key that is an input of the model decides about the numbers.
# Seen:   draws of one shape are the same numbers, whatever their keys are. A sampler that adds noise of 0.5 in three
#         steps has images of deviation 1.5, not 0.87 as in JAX. A key that is an input of the model changes nothing,
#         nor do other keys in the code: each session begins with the same images. No warning.
# Date:   2026-11-29
# Why:    samplers, VAEs and augmentations draw several times at one shape. The steps of a chain add one noise again and
#         again: three steps have 1.7 times the noise they should have, and a hundred steps 10 times. Servers that are
#         started anew make the same images, though each request sends a key of its own.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax2onnx==0.17.1 jax==0.10.2 flax==0.12.8 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import jax
import jax.numpy as jnp
import numpy as np
import onnxruntime
from jax2onnx import to_onnx

STEPS, SIGMA, SHAPE = 3, 0.5, (4, 16, 16, 3)
X = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
KEY = jax.ShapeDtypeStruct((2,), jnp.uint32)


def chain(x, keys):
    """x + SIGMA * noise, once for each key, and the noises."""
    noises = [jax.random.normal(key, SHAPE) for key in keys]
    return x + SIGMA * sum(noises), jnp.stack(noises)


def by_input(x, key):
    return chain(x, [jax.random.fold_in(key, step) for step in range(STEPS)])


def by_seeds(first):
    return lambda x: chain(x, [jax.random.PRNGKey(first + step) for step in range(STEPS)])


def images_of(model, seed):
    """Images and noises of the first run of a new session."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = {value.name: np.zeros(SHAPE, np.float32) if "float" in value.type
              else np.asarray(jax.random.PRNGKey(seed), np.uint32) for value in session.get_inputs()}
    return session.run(None, inputs)


def look(name, images, noises):
    correlation = np.corrcoef(np.reshape(noises, (STEPS, -1)))[0, 1]
    print(f"{name:28s} correlation of two draws {correlation:5.2f}, deviation of the images {np.std(images):.2f}")
    return correlation, np.std(images)


correlation, deviation = look("JAX, key 0", *by_input(jnp.zeros(SHAPE), jax.random.PRNGKey(0)))
assert abs(correlation) < 0.1 and abs(deviation - SIGMA * STEPS**0.5) < 0.06

model = to_onnx(by_input, [X, KEY], opset=21)
seeds = [node.attribute for node in model.graph.node if node.op_type.startswith("RandomNormal")]
seeds = [attribute.f for attributes in seeds for attribute in attributes if attribute.name == "seed"]
print(f"seeds of the exported draws: {seeds}; inputs: {[value.name for value in model.graph.input]}")
assert len(seeds) >= STEPS and set(seeds) == {0.0} and len(model.graph.input) == 2
first = images_of(model, 0)
correlation, deviation = look("exported, key 0 as an input", *first)
assert correlation > 0.999 and abs(deviation - SIGMA * STEPS) < 0.1
for name, other in (("key 1 as an input", images_of(model, 1)),
                    ("keys 0 to 2 in the code", images_of(to_onnx(by_seeds(0), [X], opset=21), 0)),
                    ("keys 7 to 9 in the code", images_of(to_onnx(by_seeds(7), [X], opset=21), 0))):
    same = bool((other[0] == first[0]).all())
    print(f"exported, {name}: equal to the images of key 0: {same}")
    assert same
print("As described: all draws of one shape are the same, whatever the key.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
