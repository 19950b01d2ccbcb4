#!/bin/bash
# What:   onnxslim 0.1.98 (slim, as it is by default) with onnx 1.23.2, on a convolution whose output is multiplied by
#         a constant along the width or the height of the image, where there are as many channels as pixels there.
# Source: ConvMulMatcher.rewrite in onnxslim/core/pattern/fusion/convmul.py fuses the constant into the weights if,
#         without its axes of length one, it is as long as there are output channels. It does not ask along which axis
#         it lies. The class for an addition next to it, ConvAddMatcher, does ask.
# Guess:  the constant of shape (width,) or (1, 1, height, 1) stays what it is, a mask or a window over the image, and
#         only one of shape (channels, 1, 1) is fused. onnxsim 0.8.1, which fuses this too, does just that.
# Seen:   with 32 channels and 32 pixels the mask scales the channels. A window that is zero on the left half of the
#         image leaves it as it was, and the first 16 channels are zero instead. The same along the height, and with a
#         transposed convolution. With 16 channels, or with 64 pixels, the file is right. No warning.
# Date:   2026-11-29
# Why:    windows and masks of a constant size are in models that blend tiles, fill in a part of an image, or weight
#         frames or frequencies of a spectrogram, and 32 or 64 channels at 32 or 64 pixels are usual. The same model
#         is exported rightly at one size and wrongly at another one, and its images still look like images.
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


def network(channels, pixels, mask, operator="Conv"):
    """A convolution of three to so many channels, times the mask, then 1 x 1 to three channels."""
    rng = np.random.default_rng(0)
    shape = (3, channels, 3, 3) if operator == "ConvTranspose" else (channels, 3, 3, 3)
    constants = [numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), "kernel"),
                 numpy_helper.from_array(rng.normal(size=channels).astype(np.float32), "bias"),
                 numpy_helper.from_array(rng.normal(size=(3, channels, 1, 1)).astype(np.float32), "last"),
                 numpy_helper.from_array(mask.astype(np.float32), "mask")]
    nodes = [helper.make_node(operator, ["x", "kernel", "bias"], ["features"], pads=[1, 1, 1, 1]),
             helper.make_node("Mul", ["features", "mask"], ["masked"]),
             helper.make_node("Conv", ["masked", "last"], ["y"])]
    images = [1, 3, pixels, pixels]
    model = helper.make_model(helper.make_graph(nodes, "network", [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, images)], [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, images),
        helper.make_tensor_value_info("masked", TensorProto.FLOAT, [1, channels, pixels, pixels])], constants),
        ir_version=10, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(model)
    return model


def run(model, x):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def slimmed(model):
    return onnxslim.slim(onnx.load_from_string(model.SerializeToString()))


def error(name, model, change):
    """Relative error of the images after the change."""
    pixels = model.graph.input[0].type.tensor_type.shape.dim[3].dim_value
    x = np.random.default_rng(1).normal(size=(1, 3, pixels, pixels)).astype(np.float32)
    before, after = run(model, x)[0], run(change(model), x)[0]
    difference = np.linalg.norm(before - after) / np.linalg.norm(before)
    print(f"{name:68s} error {difference:.1e}")
    return difference


def window(length):
    """Zero in the first half, one in the second."""
    return (np.arange(length) >= length // 2).astype(np.float32)


CASES = [("along the width, (32,)", (32,), "Conv"), ("along the width, (1, 1, 1, 32)", (1, 1, 1, 32), "Conv"),
         ("along the height, (32, 1)", (32, 1), "Conv"),
         ("along the width, (32,), transposed convolution", (32,), "ConvTranspose")]
for name, shape, operator in CASES:
    model = network(32, 32, window(32).reshape(shape), operator)
    assert error(f"onnxslim, 32 channels, {name}", model, slimmed) > 0.5
    assert error(f"onnxsim, 32 channels, {name}", model, lambda m: onnxsim.simplify(m)[0]) < 1e-4
assert error("onnxslim, 16 channels, along the width, (32,)", network(16, 32, window(32)), slimmed) < 1e-4
assert error("onnxslim, 32 channels, along the width, (64,)", network(32, 64, window(64)), slimmed) < 1e-4
scales = network(32, 32, window(32)[:, None, None])
assert error("onnxslim, 32 channels, of the channels, (32, 1, 1)", scales, slimmed) < 1e-4

model = network(32, 32, window(32))
x = np.random.default_rng(1).normal(size=(1, 3, 32, 32)).astype(np.float32)
for name, file in (("as it was", model), ("by onnxslim", slimmed(model))):
    masked = np.abs(run(file, x)[1])
    left, first = masked[..., :16].mean(), masked[:, :16].mean()
    print(f"{name}: mean of the left half {left:.2f}, of the first 16 channels {first:.2f}")
    assert (left == 0 and first > 1) if name == "as it was" else (left > 1 and first == 0)
print("As described: a mask over the image scales the channels, where both are of the same length.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
