#!/bin/bash
# What:   OpenVINO 2026.4.1 on the CPU, an ONNX file with RandomNormal or RandomNormalLike without a seed, which is
#         what torch.onnx.export writes for torch.randn and torch.randn_like.
# Source: make_random_normal in src/frontends/common/src/random_normal_helper.cpp makes normal numbers of two uniform
#         ones, sqrt(-2 log u) cos(2 pi v). Their seeds are 10,000 apart, but without a seed, which is the seed 0, both
#         are 0. Two nodes that are alike in all are then taken for one by the optimizer, so that v is u.
# Guess:  normal numbers, new ones for each node and for each run: by the standard a missing seed means that one is
#         generated.
# Seen:   the noise is a fixed curve of one uniform number. None of it is below -1.208, where 11 % should be, its
#         skewness is 1.0, its mean 0.06, its deviation 1.06. And all draws of one shape in a model are the same. A
#         sampler of 8 exact DDPM steps, with the exact network for pixels of mean 0.30 and standard deviation 0.25,
#         gives 0.32 and 0.46. In onnxruntime, and in OpenVINO with a seed of its own for each node, it gives 0.30 and
#         0.25. ov.convert_model and read_model do the same. No warning.
# Date:   2026-11-29
# Why:    samplers that draw inside the model, and networks with noise inputs, are exported like this. Every run draws
#         new numbers, and mean and deviation of a single draw look right at a glance. Pictures come out far too hard
#         in contrast and lopsided, which looks like too much guidance or a bad conversion of the network.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

STEPS, MEAN, STD, SHAPE = 8, 0.30, 0.25, [200, 3, 16, 16]
warnings.simplefilter("error")
kept = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[np.linspace(124, 999, STEPS).astype(int)]  # alpha bar


def draws(count, seeds=None):
    return [helper.make_node("RandomNormalLike", ["like"], [f"noise{i}"], **({"seed": seeds[i]} if seeds else {}))
            for i in range(count)]


def sampler(seeds=None):
    """Ancestral sampling; for independent normal pixels the exact network makes each step x -> a x + b + s noise."""
    nodes, values, x = draws(STEPS + 1, seeds), {}, f"noise{STEPS}"
    for i in reversed(range(STEPS)):
        now, then = kept[i], kept[i - 1] if i else 1.0
        both = now * STD**2 + 1 - now                  # the variance of x now
        a = (now * then) ** 0.5 * STD**2 / both + ((1 - then) * (now / then) ** 0.5) / both
        b = then**0.5 * MEAN - a * now**0.5 * MEAN
        values |= {f"a{i}": a, f"b{i}": b, f"s{i}": (then * STD**2 + 1 - then - a**2 * both) ** 0.5}
        nodes += [helper.make_node("Mul", [f"a{i}", x], [f"ax{i}"]),
                  helper.make_node("Add", [f"ax{i}", f"b{i}"], [f"m{i}"]),
                  helper.make_node("Mul", [f"s{i}", f"noise{i}"], [f"sn{i}"]),
                  helper.make_node("Add", [f"m{i}", f"sn{i}"], [f"x{i}"])]
        x = f"x{i}"
    return nodes, [x], values


def save(nodes, outputs, values=()):
    graph = helper.make_graph(
        nodes, "graph", [helper.make_tensor_value_info("like", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in outputs],
        [helper.make_tensor(k, TensorProto.FLOAT, [], [float(values[k])]) for k in values])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(made)
    onnx.save(made, sys.argv[1])


def run(engine):
    like = np.zeros(SHAPE, np.float32)
    if engine == "onnxruntime":
        return onnxruntime.InferenceSession(sys.argv[1]).run(None, {"like": like})
    read = openvino.convert_model if engine == "convert_model" else openvino.Core().read_model
    model = read(sys.argv[1])
    return [out.copy() for out in openvino.compile_model(model, "CPU")([like]).to_tuple()]


for seeds in (None, [1.0, 2.0]):
    for engine in ("onnxruntime", "convert_model", "read_model"):
        save(draws(2, seeds), ["noise0", "noise1"])
        first, second = (x.ravel().astype(float) for x in run(engine))
        low, twins = (first < -1.2078).mean(), np.corrcoef(first, second)[0, 1]
        skew = ((first - first.mean()) ** 3).mean() / first.std() ** 3
        save(*sampler([float(i + 1) for i in range(STEPS + 1)] if seeds else None))
        images = run(engine)[0]
        print(f"{engine}, {'seeds' if seeds else 'no seed'}: noise {first.mean():.3f} +- {first.std():.3f}, least "
              f"{first.min():.2f}, skewness {skew:.1f}, below -1.208 {low:.1%}, correlation of two draws {twins:.2f}; "
              f"images {images.mean():.2f} +- {images.std():.2f}, skewness "
              f"{((images - images.mean()) ** 3).mean() / images.std() ** 3:.1f}")
        if engine == "onnxruntime" or seeds:
            assert abs(first.mean()) < 0.01 and abs(low - 0.1136) < 0.01 and abs(twins) < 0.02 and abs(skew) < 0.05
            assert abs(images.mean() - MEAN) < 0.01 and abs(images.std() - STD) < 0.01
        else:
            assert first.min() > -1.208 and low == 0 and twins > 0.999 and skew > 0.9
            assert abs(first.mean() - 0.056) < 0.02 and images.std() > 0.4
u = np.random.default_rng(0).random(first.size)
curve = (-2 * np.log(u)) ** 0.5 * np.cos(2 * np.pi * u)
print(f"the curve of one uniform number: {curve.mean():.3f} +- {curve.std():.3f}, least {curve.min():.2f}")
assert abs(curve.mean() - 0.056) < 0.02 and abs(curve.min() + 1.208) < 0.001
print("As described: without a seed, noise is a curve of one uniform number, the same one everywhere.")
PY
"$dir/venv/bin/python" "$dir/probe.py" "$dir/model.onnx"
