#!/bin/bash
# What:   onnxsim 0.8.1 (simplify) and onnxslim 0.1.98 (slim) with onnx 1.23.2, as they are by default, on a model that
#         draws noise: an ancestral sampler of three steps in one file.
# Source: the elimination of common subexpressions: passes/eliminate_common_subexpression.h in onnxsim, and
#         can_be_replaced in onnxslim/core/optimization/subexpression_elimination.py, which compares operator,
#         attributes and inputs of two nodes. Neither asks whether the operator is random. onnxsim does ask, by
#         IsDeterministic, before it makes a constant of a node; onnxslim does not.
# Guess:  the simplified model does what the model does: each step draws noise of its own. Optimizers of this kind,
#         such as that of onnxruntime, leave random operators alone.
# Seen:   the three draws become one, so all steps add the same noise. Nodes RandomNormalLike: 3 before, 1 after. With a
#         noise of 0.5 in each of three steps the images' deviation is 1.5, not 0.87. The same for RandomUniformLike.
#         With a fixed batch size onnxsim does the same, and onnxslim makes constants of the three noises: they are in
#         the file, and each run returns the same image. No warning. The nodes have names of their own; seeds of their
#         own keep them apart, but no exporter writes seeds.
# Date:   2026-11-29
# Why:    torch.onnx.export(dynamo=True) of PyTorch 2.14.1 writes torch.randn(x.shape) so: each draw is RandomNormalLike
#         of one shared ConstantOfShape. Simplifiers are run on many exports as a matter of routine. What comes out is
#         a sampler with 1.7 times the noise in three steps, and more in more steps; it looks like a weak model.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxsim==0.8.1 onnxslim==0.1.98
cat > "$dir/probe.py" <<'PY'
import numpy as np
import onnx
import onnxruntime
import onnxsim
import onnxslim
from onnx import TensorProto, helper, numpy_helper

STEPS, SIGMA = 3, 0.5
IMAGES = np.zeros((4, 3, 32, 32), np.float32)


def sampler(batch, draw="RandomNormalLike", seeds=(None,) * STEPS):
    """x + SIGMA * noise, three times; the output is the last x and the noises."""
    shape = [batch, 3, 32, 32]
    nodes = [helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("ConstantOfShape", ["shape"], ["zeros"])]
    constants = [numpy_helper.from_array(np.float32(SIGMA), "sigma")]
    x = "x"
    for i, seed in enumerate(seeds):
        attributes = {} if seed is None else {"seed": seed}
        nodes += [helper.make_node(draw, ["zeros"], [f"noise{i}"], name=f"draw{i}", **attributes),
                  helper.make_node("Mul", [f"noise{i}", "sigma"], [f"scaled{i}"]),
                  helper.make_node("Add", [x, f"scaled{i}"], [f"x{i}"])]
        x = f"x{i}"
    nodes.append(helper.make_node("Concat", [f"noise{i}" for i in range(STEPS)], ["noises"], axis=1))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape),
               helper.make_tensor_value_info("noises", TensorProto.FLOAT, [batch, 3 * STEPS, 32, 32])]
    model = helper.make_model(helper.make_graph(nodes, "sampler", inputs, outputs, constants), ir_version=10,
                              opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model)
    return model


def look(name, model, draw="RandomNormalLike"):
    """Random nodes, correlation of the first two noises, deviation of the images, and whether two runs are equal."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images, noises = session.run(None, {"x": IMAGES})
    again, _ = session.run(None, {"x": IMAGES})
    first, second, _ = np.split(noises, STEPS, axis=1)
    count = sum(node.op_type == draw for node in model.graph.node)
    correlation = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    same = bool((images == again).all())
    print(f"{name:34s} random nodes: {count}; correlation of two steps' noise: {correlation:5.2f}; "
          f"deviation of the images: {images.std():.2f}; two runs are equal: {same}")
    return count, correlation, images.std(), same


def simplified(model):
    small, checked = onnxsim.simplify(model)
    assert checked
    return small


def slimmed(model):
    return onnxslim.slim(onnx.load_from_string(model.SerializeToString()))


def apart(result, deviation):
    return result[0] == STEPS and abs(result[1]) < 0.1 and abs(result[2] - deviation) < 0.05 and not result[3]


def merged(result, deviation):
    return result[0] == 1 and result[1] > 0.999 and abs(result[2] - deviation) < 0.07 and not result[3]


ONE = SIGMA * STEPS**0.5  # three independent noises
free = sampler("batch")
assert apart(look("exported, free batch size", free), ONE)
assert merged(look("onnxsim, free batch size", simplified(free)), SIGMA * STEPS)
assert merged(look("onnxslim, free batch size", slimmed(free)), SIGMA * STEPS)

fixed = sampler(4)
assert apart(look("exported, batches of 4", fixed), ONE)
assert merged(look("onnxsim, batches of 4", simplified(fixed)), SIGMA * STEPS)
frozen = look("onnxslim, batches of 4", slimmed(fixed))
assert frozen[0] == 0 and frozen[3]

uniform = sampler("batch", "RandomUniformLike")
for name, function in (("onnxsim", simplified), ("onnxslim", slimmed)):
    result = look(f"{name}, RandomUniformLike", function(uniform), "RandomUniformLike")
    assert result[0] == 1 and result[1] > 0.999

seeds = sampler("batch", seeds=(1.0, 2.0, 3.0))
assert apart(look("onnxsim, seeds 1, 2, 3", simplified(seeds)), ONE)
assert apart(look("onnxslim, seeds 1, 2, 3", slimmed(seeds)), ONE)
print("As described: draws of equal operators and inputs become one.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
