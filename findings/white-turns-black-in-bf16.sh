#!/bin/bash
# What:   torchvision 0.29.1, transforms.v2.functional.to_dtype(images, torch.uint8, scale=True) on bfloat16 or float16.
# Source: to_dtype_image in torchvision/transforms/v2/functional/_misc.py (the older convert_image_dtype does the same).
# Guess:  1.0 becomes 255 and 0.0 becomes 0 in each floating-point type, the rest to the type's precision.
# Seen:   the factor is a little less than 256, so that 1.0 stays below 256. In bfloat16 and float16 that factor rounds
#         to 256, and 256 wraps round to 0 in uint8: every pure white value turns black, 254/255 becomes 255. float32 is
#         exact.
# Date:   2026-11-27
# Why:    samples of a network under autocast are clamped to [0, 1], which makes exact ones wherever the image is
#         saturated, and are written as uint8 for grids and FID. Skies and highlights get black holes, only in half
#         precision.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import torch
from torchvision.transforms.functional import convert_image_dtype
from torchvision.transforms.v2.functional import to_dtype

levels = torch.arange(256, dtype=torch.uint8)
network = torch.nn.Conv2d(3, 3, 1)
with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
    x = network(torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
samples = ((x * 2 + 1) / 2).clamp(0, 1)  # like a sampler's last line
assert samples.dtype == torch.bfloat16

for dtype in (torch.float32, torch.float16, torch.bfloat16):
    image = to_dtype(levels, dtype, scale=True)
    assert image.max() == 1
    back = to_dtype(image, torch.uint8, scale=True)
    assert torch.equal(back, convert_image_dtype(image, torch.uint8))
    print(f"{dtype}: 253, 254, 255 come back as {back[-3:].tolist()}")
    if dtype == torch.float32:
        assert torch.equal(back, levels)
    else:
        assert back[-3:].tolist() == [254, 255, 0]
white = samples == 1
half, full = to_dtype(samples, torch.uint8, scale=True), to_dtype(samples.float(), torch.uint8, scale=True)
print(f"{white.float().mean():.0%} of the samples' values are white: {full[white].unique().tolist()} from float32, "
      f"{half[white].unique().tolist()} from bfloat16; mean {full.float().mean():.1f} and {half.float().mean():.1f}")
assert white.any() and (full[white] == 255).all() and (half[white] == 0).all()
print("As described: white turns black in half precision.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
