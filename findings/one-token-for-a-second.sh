#!/bin/bash
# What:   OpenVINO 2026.4.1 on the CPU, the operator Multinomial, here from an ONNX file, which has it where
#         torch.multinomial was exported.
# Source: execute_convert_type in src/plugins/intel_cpu/src/nodes/multinomial.cpp seeds a new generator in each
#         execution: without a seed by std::time(NULL), which counts whole seconds, otherwise by the seed of the file.
# Guess:  each execution goes on with the random numbers, as RandomUniform does in OpenVINO and Multinomial in
#         onnxruntime.
# Seen:   all draws within one second of the clock use the same random numbers, in every call, every node and every
#         compiled model. Of 8 equally likely tokens, drawn one after another for a 16 x 16 picture, neighbours agree
#         in more than 95 % of places instead of 12.5 %: the picture has one colour, or two or three in blocks. With a
#         seed in the file it has a single one for ever. Two draws in one model are the same draw. In onnxruntime, and
#         with RandomUniformLike, Gumbel noise and ArgMax in OpenVINO, 12.5 % agree. No warning.
# Date:   2026-11-29
# Why:    models of image tokens, discrete diffusion and text draw each token from the output of one call, and a token
#         takes milliseconds. Each draw alone has the right probabilities, and a test that waits between calls sees new
#         tokens. What is made in a loop is monotonous, and a batch of calls for several pictures gives one picture.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
import time
import warnings

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

TOKENS, PLACES = 8, 256
warnings.simplefilter("error")


def model(way):
    """Draws twice from the probabilities that belong to the given logits."""
    nodes, seed = [], {"seed": 7.0} if way == "seeded" else {}
    for i in range(2):
        if way == "gumbel":
            nodes += [helper.make_node("RandomUniformLike", ["logits"], [f"u{i}"], low=1e-7, high=1.0),
                      helper.make_node("Log", [f"u{i}"], [f"l{i}"]), helper.make_node("Neg", [f"l{i}"], [f"e{i}"]),
                      helper.make_node("Log", [f"e{i}"], [f"g{i}"]),
                      helper.make_node("Sub", ["logits", f"g{i}"], [f"s{i}"]),
                      helper.make_node("ArgMax", [f"s{i}"], [f"index{i}"], axis=1),
                      helper.make_node("Cast", [f"index{i}"], [f"drawn{i}"], to=TensorProto.INT32)]
        else:
            nodes.append(helper.make_node("Multinomial", ["logits"], [f"drawn{i}"], sample_size=1, **seed))
    graph = helper.make_graph(
        nodes, "draw", [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, TOKENS])],
        [helper.make_tensor_value_info(f"drawn{i}", TensorProto.INT32, [None, 1]) for i in range(2)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(made)
    onnx.save(made, sys.argv[1])


def runner(engine):
    if engine == "onnxruntime":
        session = onnxruntime.InferenceSession(sys.argv[1])
        return lambda logits: session.run(None, {"logits": logits})
    compiled = openvino.compile_model(openvino.convert_model(sys.argv[1]), "CPU")
    return lambda logits: [out.copy() for out in compiled([logits]).to_tuple()]


logits, agree = np.zeros((1, TOKENS), np.float32), {}
for engine, way in (("onnxruntime", "plain"), ("OpenVINO", "plain"), ("onnxruntime", "seeded"), ("OpenVINO", "seeded"),
                    ("onnxruntime", "gumbel"), ("OpenVINO", "gumbel")):
    model(way)
    run, start = runner(engine), time.time()
    run(logits)
    drawn = np.array([[int(out[0, 0]) for out in run(logits)] for _ in range(PLACES)])
    agree[engine, way] = (drawn[1:, 0] == drawn[:-1, 0]).mean(), (drawn[:, 0] == drawn[:, 1]).mean()
    print("{} {}: {} tokens in {:.2f} s, neighbours agree in {:.1%}, two draws in one model in {:.1%}; {} colours"
          .format(engine, way, PLACES, time.time() - start, *agree[engine, way], len(set(drawn[:, 0]))))
    many = np.bincount(run(np.zeros((20_000, TOKENS), np.float32))[0].ravel(), minlength=TOKENS) / 20_000
    assert abs(many - 1 / TOKENS).max() < 0.015  # within one call all is well
for (engine, way), (neighbours, nodes) in agree.items():
    if engine == "OpenVINO" and way != "gumbel":
        assert neighbours > 0.95 and nodes > 0.95
        assert way == "plain" or neighbours == nodes == 1
    else:
        assert 0.05 < neighbours < 0.25 and (0.05 < nodes < 0.25 or way != "plain")
print("As described: all draws within a second are one draw, without a warning.")
PY
"$dir/venv/bin/python" "$dir/probe.py" "$dir/model.onnx"
