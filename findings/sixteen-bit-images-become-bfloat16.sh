#!/bin/bash
# What:   paddlepaddle 3.3.1, paddle.to_tensor and paddle.io.DataLoader on NumPy arrays of uint16, as 16-bit images are.
# Source: Paddle keeps bfloat16 in NumPy as uint16, in both directions: a table in convert_np_dtype_to_dtype_, in
#         paddle/base/framework.py, has uint16 stand for BF16. Issue 34927 of PaddlePaddle/Paddle is about a cast that
#         shows this.
# Guess:  the docstring of to_tensor says "Keep dtype" for arrays, and does not list uint16: the numbers are kept, in a
#         wider type if need be, or there is an error.
# Seen:   the tensor is bfloat16, and each pixel's 16 bits are read as such a number. Of a grey ramp from 0 to 65,535,
#         divided by 65,535, 1 % of the values are right to 0.01, and half are below 0: 20,000 has become 6.7e8, 30,000
#         is 2.2e32 and 49,000 is -0.9. No value of a 12-bit image (up to 4,095) is above 3e-29. The DataLoader does the
#         same to a batch. The other way round, bfloat16 tensors become uint16 arrays: a weight of ones, saved by
#         safetensors.numpy, comes out of the file as 16,256. int16, int32, uint8 and float32 arrays are right.
# Date:   2026-11-29
# Why:    depth maps, microscopy, medical images and 16-bit PNGs are uint16 in NumPy, and the usual astype("float32")
#         / 65535 afterwards gives floats without a complaint. Dark or 12-bit images are all zeros then, which a network
#         learns to make with a very low loss.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q paddlepaddle==3.3.1 numpy==2.4.6 safetensors==0.8.0
cat > "$dir/probe.py" <<'PY'
import sys

import numpy as np
import paddle
from PIL import Image
from paddle.io import DataLoader, Dataset
from safetensors.numpy import load_file, save_file

path = sys.argv[1]
paddle.set_device("cpu")


class Images(Dataset):
    def __init__(self, image):
        self.image = image

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.image


def bits(*values):
    """What NumPy's uint16 is as a tensor."""
    return paddle.to_tensor(np.array(values, np.uint16)).astype("float32").numpy()


ramp = np.linspace(0, 65535, 256 * 256).reshape(256, 256).astype(np.uint16)
Image.fromarray(ramp).save(path + ".png")
image = np.asarray(Image.open(path + ".png"))
assert image.dtype == np.uint16 and (image == ramp).all()
loaded = next(iter(DataLoader(Images(image), batch_size=2)))
for name, tensor in (("to_tensor", paddle.to_tensor(image)), ("DataLoader", loaded[0])):
    values, right = tensor.astype("float32").numpy() / 65535, image / 65535
    close = np.abs(values - right) < 0.01
    print(f"{name}: {tensor.dtype}, {close.mean():.1%} of the ramp's values are right to 0.01, the median is "
          f"{np.nanmedian(values):.2g} instead of {np.median(right):.2g}, below 0: {(values < 0).mean():.0%}")
    assert tensor.dtype == paddle.bfloat16 and close.mean() < 0.03 and (values < 0).mean() > 0.4
print("20000, 30000 and 49000 become", bits(20000, 30000, 49000))
assert (bits(16256, 16384) == [1, 2]).all()
dark = image // 16
print(f"12 bits: the largest value of {dark.max()} becomes {bits(*dark.reshape(-1)).max():.2g}")
assert dark.max() == 4095 and bits(*dark.reshape(-1)).max() < 1e-25
for kind in (np.int32, np.uint8, np.int16, np.float32):
    kept = image.astype(kind)
    assert (paddle.to_tensor(kept).numpy() == kept).all() and paddle.to_tensor(kept).numpy().dtype == kind
save_file({"weight": paddle.ones([2]).astype("bfloat16").numpy()}, path)
weight = load_file(path)["weight"]
print("a weight of ones in bfloat16 comes out of the file as", weight.tolist(), weight.dtype)
assert weight.dtype == np.uint16 and (weight == 16256).all()
print("As described: sixteen-bit pixels are read as bfloat16.")
PY
OMP_NUM_THREADS=1 GLOG_minloglevel=3 "$dir/venv/bin/python" -W ignore "$dir/probe.py" "$dir/file"
