#!/bin/bash
# What:   onnxruntime 1.32.0, quantize_static(..., extra_options={"CalibMaxIntermediateOutputs": n}), to save memory.
# Source: MinMaxCalibrater.collect_data in onnxruntime/quantization/calibrate.py empties its list at n batches and does
#         not call compute_data before that. (A fix was proposed as onnxruntime's pull request 20226, and closed.)
# Guess:  the same ranges as without the option, with less memory: quantize_static's docstring says so, "the same
#         result", since the ranges of n batches are computed and merged before the next n are loaded.
# Seen:   each n batches are thrown away unread. Of 100 batches with n = 16 the ranges are those of the last 4, with
#         n = 33 of the last 1. A network that should return its input is calibrated along a sampler's path from
#         sigma 10 to 0.1: of the noise at sigma 10 it returns 4 % of the deviation instead of 100 %, the rest is cut
#         off. With n = 101 all is right. Only if n divides 100 is there an error, "No data is collected". No warning.
# Date:   2026-11-29
# Why:    calibration of image networks soon fills the memory, so the option is set. Batches often come in an order, of
#         noise levels or of classes. A few batches still make a plausible range, and a loss of quality is expected
#         from 8 bits: it is blamed on them, or on the network, and more calibration data does not help.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6 sympy==1.14.0
cat > "$dir/probe.py" <<'PY'
import logging
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, quantize_static

logging.disable(logging.WARNING)  # the advice to run the pre-processing first
FLOAT, QUANTIZED = sys.argv[1] + "/float.onnx", sys.argv[1] + "/quantized.onnx"
rng = np.random.default_rng(0)
batches = [(sigma * rng.standard_normal((8, 1, 16, 16))).astype(np.float32) for sigma in np.geomspace(10, 0.1, 100)]

sign = np.array([1, -1], np.float32)  # relu(x) - relu(-x), which is x
values = {"into": sign.reshape(2, 1, 1, 1), "back": sign.reshape(1, 2, 1, 1)}
nodes = [helper.make_node("Conv", ["x", "into"], ["both"]), helper.make_node("Relu", ["both"], ["positive"]),
         helper.make_node("Conv", ["positive", "back"], ["y"])]
x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1, 16, 16]) for name in "xy")
graph = helper.make_graph(nodes, "identity", [x], [y], [numpy_helper.from_array(v, k) for k, v in values.items()])
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), FLOAT)


class Reader(CalibrationDataReader):
    def __init__(self, data):
        self.rest = iter([{"x": batch} for batch in data])

    def get_next(self):
        return next(self.rest, None)


def calibrated(data, **options):
    """The width of the input's range, and the deviation that is left of the first batch, the one with sigma 10."""
    quantize_static(FLOAT, QUANTIZED, Reader(data), extra_options=options)
    scale = {i.name: numpy_helper.to_array(i) for i in onnx.load(QUANTIZED).graph.initializer}["x_scale"]
    session = onnxruntime.InferenceSession(QUANTIZED, providers=["CPUExecutionProvider"])
    return float(255 * scale), float(session.run(None, {"x": batches[0]})[0].std() / batches[0].std())


everything = calibrated(batches)
print("without the option: range %.2f, deviation left at sigma 10 %.1f %%" % (everything[0], 100 * everything[1]))
assert everything[0] > 60 and abs(everything[1] - 1) < 0.01
for n, rest in ((16, 4), (30, 10), (33, 1)):
    seen, last = calibrated(batches, CalibMaxIntermediateOutputs=n), calibrated(batches[-rest:])
    print("n = %d: range %.2f, deviation left %.1f %%; range of the last %d alone %.2f"
          % (n, seen[0], 100 * seen[1], rest, last[0]))
    assert seen == last and seen[0] < 2 and seen[1] < 0.1
assert calibrated(batches, CalibMaxIntermediateOutputs=101) == everything
try:
    calibrated(batches, CalibMaxIntermediateOutputs=50)
except ValueError as error:
    print("n = 50:", error)
    assert "No data is collected" in str(error)
else:
    raise AssertionError("n = 50 gave no error")
print("As described: only the batches after the last full n are calibrated on.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
