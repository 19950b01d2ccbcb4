#!/bin/bash
# What:   safetensors 0.8.0, safetensors.numpy.save_file (with numpy 2.4.6).
# Source: save and save_file in safetensors/numpy.py; the sister function for torch is safetensors/torch.py.
# Guess:  a transposed or sliced array is written with its own values, as numpy.save does, or refused, as
#         safetensors.torch.save_file does ("non contiguous").
# Seen:   the memory under the array is written with the array's shape. A transposed 3 x 3 kernel comes back
#         untransposed, a[:, ::2] comes back with wrong columns. The docs want contiguous arrays, but nothing checks it;
#         shape, dtype and, for a transpose, even the sum are right.
# Date:   2026-11-27
# Why:    weights from JAX or TensorFlow are converted just so: kernels HWIO to OIHW and dense layers by transposing,
#         then saved. Such a teacher loads strictly, every shape fits, and its images are noise.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q safetensors==0.8.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys

import numpy
from safetensors.numpy import load_file, save_file

kernel = numpy.arange(3 * 3 * 4 * 8, dtype=numpy.float32).reshape(3, 3, 4, 8)  # height, width, in, out
dense = numpy.arange(16, dtype=numpy.float32).reshape(4, 4)
padded = numpy.arange(100, dtype=numpy.float32).reshape(10, 10)
arrays = {
    "kernel as out, in, height, width": kernel.transpose(3, 2, 0, 1),
    "dense layer, transposed": dense.T,
    "in Fortran's order": numpy.asfortranarray(dense),
    "every other column": padded[:, ::2],
}
file = sys.argv[1] + "/weights.safetensors"
save_file(arrays, file)
loaded = load_file(file)
for name, array in arrays.items():
    back = loaded[name]
    print(f"{name}: {(back != array).mean():.0%} of the numbers are wrong")
    assert back.shape == array.shape and back.dtype == array.dtype
    assert not numpy.array_equal(back, array)
assert loaded["dense layer, transposed"].tolist() == dense.tolist()  # as if it had not been transposed
save_file({name: numpy.ascontiguousarray(array) for name, array in arrays.items()}, file)
assert all(numpy.array_equal(array, load_file(file)[name]) for name, array in arrays.items())
print("As described: only after numpy.ascontiguousarray do the values come back.")
PY
"$dir/venv/bin/python" "$dir/probe.py" "$dir"
