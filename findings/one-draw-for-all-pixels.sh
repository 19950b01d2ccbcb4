#!/bin/bash
# What:   torch.onnx.export(dynamo=True) of PyTorch 2.14.1 with onnxscript 0.7.2: torch.normal with a tensor of standard
#         deviations.
# Source: aten_normal_float_tensor and aten_normal_tensor_tensor in onnxscript/function_libs/torch_lib/ops/core.py draw
#         as many numbers as the MEAN has, and multiply them by the deviations, which stretches them to their shape.
# Guess:  torch.normal(0.0, std) draws one number for each entry of std, as it does in PyTorch; so does
#         torch.normal(mean, std) for the shape that mean and std have together.
# Seen:   in the exported model the whole batch shares one number when the mean is a number, and each image has one if
#         the mean has one entry for each image. An exported sampler of 8 exact DDPM steps, with the exact network
#         for pixels of mean 0.30 and standard deviation 0.25, then makes flat images, one and the same 200 times in the
#         first case. In the second they differ in their grey: the deviation over all pixels of all images is 0.25, as
#         it should be, and within each image it is 0. In PyTorch it is 0.25 within each. Of the exported models those
#         with std * torch.randn_like(std) and torch.normal(torch.zeros_like(std), std) are right. No warning.
# Date:   2026-11-29
# Why:    a sampler is exported with its loop, or step by step with the noise inside, and torch.normal(0.0, std) is the
#         short way to write that noise. Shapes fit, each draw is a right one by itself, and every run draws anew.
#         Images without detail are then blamed on the network, its precision or its conversion.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2
cat > "$dir/probe.py" <<'PY'
import logging
import warnings

import onnxruntime
import torch
from torch import nn

STEPS, MEAN, STD = 8, 0.30, 0.25
torch.set_num_threads(1)
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # torchvision is absent
kept = (1 - torch.linspace(1e-4, 0.02, 1000)).cumprod(0)[torch.linspace(19, 999, STEPS).long()].tolist()  # alpha bar
DRAW = {
    "torch.normal(0.0, std)": lambda mean, std: mean + torch.normal(0.0, std),
    "torch.normal(one for each image, std)": lambda mean, std: mean + torch.normal(mean[:, :1, :1, :1] * 0, std),
    "torch.normal(zeros_like(std), std)": lambda mean, std: mean + torch.normal(torch.zeros_like(std), std),
    "std * randn_like(std)": lambda mean, std: mean + std * torch.randn_like(std),
}


class Sampler(nn.Module):
    """Ancestral sampling, with the exact prediction of images whose pixels are independent."""

    def __init__(self, way):
        super().__init__()
        self.draw = DRAW[way]

    def forward(self, like):
        x = self.draw(torch.zeros_like(like), torch.ones_like(like))
        for i in reversed(range(STEPS)):
            now, then = kept[i], kept[i - 1] if i else 1.0
            image = MEAN + now**0.5 * STD**2 / (now * STD**2 + 1 - now) * (x - now**0.5 * MEAN)
            alpha = now / then
            mean = (then**0.5 * (1 - alpha) * image + alpha**0.5 * (1 - then) * x) / (1 - now)
            variance = (1 - then) / (1 - now) * (1 - alpha) + (1 - alpha) ** 2 * then / (1 - now) ** 2 * (
                STD**2 * (1 - now) / (now * STD**2 + 1 - now))  # of the noise, and of the image given x
            x = self.draw(mean, torch.full_like(mean, variance**0.5))
        return x


def describe(images):
    return images.std((1, 2, 3)).mean().item(), images.mean((1, 2, 3)).std().item(), images.std().item()


like = torch.zeros(200, 3, 8, 8)
torch.manual_seed(0)
onnxruntime.set_seed(0)
result = {}
for way in DRAW:
    sampler = Sampler(way)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        program = torch.onnx.export(sampler, (like,), dynamo=True, verbose=False)
    about_it = [str(w.message) for w in said if any(k in str(w.message).lower() for k in ("normal", "random", "std"))]
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    exported = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: like.numpy()})[0])
    result[way] = describe(sampler(like)), describe(exported), exported
    for where, (within, between, total) in zip(("PyTorch ", "exported"), result[way]):
        print(f"{where} {way:38} within an image {within:.2f}, between images {between:.2f}, in all {total:.2f}")
    assert not about_it, about_it
    assert abs(result[way][0][0] - STD) < 0.01
for way in list(DRAW)[2:]:
    assert abs(result[way][1][0] - STD) < 0.01
one, each = result["torch.normal(0.0, std)"], result["torch.normal(one for each image, std)"]
assert one[1][2] < 0.001 and torch.allclose(one[2], one[2][:1], atol=1e-5)
assert each[1][0] < 0.001 and abs(each[1][2] - STD) < 0.05
print("As described: all pixels of an image share their noise, without a warning.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
