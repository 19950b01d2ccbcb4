#!/bin/bash
# What:   rectified-flow-pytorch 0.14.0, SoFlow(model_output_clean=True), few-step generation by a network that predicts
#         the clean image; a comment at the option names the paper "Back to Basics", which argues for that.
# Source: predict_velocity in rectified_flow_pytorch/soflow.py takes (clean - x) / time. Its flow is noise - data, with
#         noise at time 1, so the velocity is (x - clean) / time. In NanoFlow and RectifiedFlow, whose time and flow run
#         the other way, (clean - x) / (1 - time) is right.
# Guess:  a network that outputs the clean image has a loss of 0 and generates the image.
# Seen:   for data of one image, the network that outputs it has a loss of 4 times the squared flow, and its sample is
#         2 * noise - image. A loss of 0, and the image in one step, are those of a network that outputs 2 * x - image:
#         at time 1 that is twice the noise less the image. A network that is trained learns just that. For the network
#         of the clean image, NanoFlow(predict_clean=True) has a loss of 0 and gives the image.
# Date:   2026-11-29
# Why:    the samples of a trained model are not absurd, so nothing looks wrong, but the reason for the option is lost:
#         the output must carry the noise, of std 2, in full detail, where clean images lie on few dimensions. Compared
#         with the prediction of the velocity, "clean" looks like the worse choice.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 rectified-flow-pytorch==0.14.0
cat > "$dir/probe.py" <<'PY'
import torch
from rectified_flow_pytorch import NanoFlow
from rectified_flow_pytorch.soflow import SoFlow

torch.manual_seed(0)
IMAGE = torch.rand(3, 8, 8)
IMAGES = IMAGE.expand(64, 3, 8, 8)
NOISE = torch.randn(64, 3, 8, 8)
FLOW = (NOISE - IMAGES).square().mean().item()


class Outputs(torch.nn.Module):
    """A network of one formula; x is the noised image."""

    def __init__(self, formula):
        super().__init__()
        self.formula = formula
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, *times, **more_times):
        return self.formula(x)


class Trained(torch.nn.Module):
    """a * x + b * image, with a and b to be learned."""

    def __init__(self):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor([0.0, 0.0]))

    def forward(self, x, *times, **more_times):
        return self.weights[0] * x + self.weights[1] * IMAGE


def soflow(model, **options):
    return SoFlow(model, model_output_clean=True, use_adaptive_loss_weight=False, **options)


def far(images, wanted):
    return (images - wanted).abs().max().item()


print(f"mean square of the flow: {FLOW:.3f}")
for name, formula, expected in (("the image", lambda x: IMAGES[:len(x)], 2 * NOISE - IMAGES),
                                ("2 * x - the image", lambda x: 2 * x - IMAGES[:len(x)], IMAGES)):
    flow = soflow(Outputs(formula), lambda_flow_matching=1.0)
    loss = flow(IMAGES, noise=NOISE).item()
    one = flow.sample(batch_size=64, noise=NOISE, steps=1)
    print(f"SoFlow, a network that outputs {name}: loss {loss:.4f}, sample and image differ by up to "
          f"{far(one, IMAGES):.4f}")
    assert far(one, expected) < 1e-4
    assert abs(loss - (4 * FLOW if name == "the image" else 0)) < 1e-3

nano = NanoFlow(Outputs(lambda x: IMAGES[:len(x)]), predict_clean=True, data_shape=(3, 8, 8))
loss, sample = nano(IMAGES, noise=NOISE).item(), nano.sample(batch_size=64, noise=NOISE, steps=4)
print(f"NanoFlow, a network that outputs the image: loss {loss:.4f}, sample and image differ by up to "
      f"{far(sample, IMAGES):.4f}")
assert loss < 1e-6 and far(sample, IMAGES) < 1e-4

model = Trained()
flow, optimizer = soflow(model), torch.optim.Adam(model.parameters(), lr=0.02)
for _ in range(400):
    optimizer.zero_grad()
    flow(IMAGES).backward()
    optimizer.step()
a, b = model.weights.tolist()
print(f"SoFlow, trained: its network outputs {a:.3f} * x + {b:.3f} * image")
assert abs(a - 2) < 0.05 and abs(b + 1) < 0.05
print("As described: the network for the clean image has to output the noise.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
