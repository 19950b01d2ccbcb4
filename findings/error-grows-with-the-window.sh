#!/bin/bash
# What:   torchmetrics 1.9.0, relative_average_spectral_error and RelativeAverageSpectralError (RASE), in percent.
# Source: _rase_update in torchmetrics/functional/image/rase.py takes the mean of the target in a window by
#         _uniform_filter, which is a mean already, and divides it by window_size ** 2 once more.
# Guess:  the error as a percentage of the mean of the target: 10 if each pixel is 10 % too bright, for each window.
# Seen:   the result is window_size ** 2 times as large: 640 for images that are 10 % too bright with the window of 8,
#         which is the default, 90 with 3 and 2,565 with 16. rase of sewar 0.4.10 has 10 for all three, and of noise
#         too torchmetrics gives 9, 64 and 256 times as much. The docstring has an example, of random images, with
#         5326.40, and no word on the window or on a unit. No warning.
# Date:   2026-11-29
# Why:    tables of image fusion and super-resolution by several programs show it side by side, and a change of the
#         window from 8 to 16 looks like an error four times as large.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchmetrics==1.9.0 numpy==2.4.6 sewar==0.4.10 scipy==1.17.1 pillow==13.0.0
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from sewar.full_ref import rase
from torchmetrics.functional.image import relative_average_spectral_error
from torchmetrics.image import RelativeAverageSpectralError

warnings.simplefilter("error")
torch.manual_seed(0)
images = torch.rand(1, 3, 64, 64, dtype=torch.float64).cumsum(3) / 64 + 0.5  # smooth from left to right
for name, wrong in (("10 % too bright", 1.1 * images), ("noise", images + 0.1 * torch.randn_like(images))):
    for size in (3, 8, 16):
        score = relative_average_spectral_error(wrong, images, size).item()
        metric = RelativeAverageSpectralError(size)
        metric.update(wrong, images)
        right = rase(images[0].permute(1, 2, 0).numpy(), wrong[0].permute(1, 2, 0).numpy(), size)
        print(f"{name}, window {size}: torchmetrics {score:.2f}, sewar {right:.2f}, ratio {score / right:.2f}")
        assert abs(metric.compute().item() - score) < 1e-6 and abs(score / right / size**2 - 1) < 0.05
        assert name == "noise" or abs(right - 10) < 0.2
print("As described: the error is multiplied by the number of pixels in the window.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
