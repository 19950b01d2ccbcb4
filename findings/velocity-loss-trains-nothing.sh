#!/bin/bash
# What:   transfusion-pytorch 0.20.0, training on images alone with the velocity consistency loss, that is
#         model(images, velocity_consistency_ema_model=ema), or forward_modality.
# Source: forward_modality in transfusion_pytorch/transfusion.py takes the squared error of flow, which is image less
#         noise, and of the average's prediction under no_grad. The network's own prediction, pred_flow, is not in it.
#         The average is called with return_loss=False, for which its input is not noised: it is given clean images.
# Guess:  as for samples of text and images in the same class, and in the paper of consistency flow matching: the
#         network's velocity is drawn to the one that its average (EMA) predicts for the same image a moment later.
# Seen:   the loss has a weight, a name in the breakdown and a value (2.6), and no gradient. With weights 0, 0.1 and 100
#         the total is 2.3, 2.6 and 263, and all gradients are equal to the bit. The value is the error of the average
#         on clean images, told that they are noised. For text with images the weight does change the gradients.
# Date:   2026-11-29
# Why:    in training on images alone the flow is not straightened, and few steps sample as they would without it. A
#         search over the weight finds no effect, at the cost of the average and of a second pass, and the total loss
#         that is logged, or that a checkpoint is chosen by, has a part that trains nothing.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 transfusion-pytorch==0.20.0 ema-pytorch==0.8.3
cat > "$dir/probe.py" <<'PY'
import torch
import torch.nn.functional as F
from transfusion_pytorch import Transfusion

torch.manual_seed(0)
model = Transfusion(num_text_tokens=8, dim_latent=8, modality_default_shape=(4,),
                    transformer=dict(dim=32, depth=1, dim_head=16, heads=2))
ema = model.create_ema(0.9)
IMAGES = torch.randn(16, 4, 8)
MIXED = [[torch.randint(0, 8, (5,)), image] for image in IMAGES]
DELTA = 1e-3


def step(data, weight):
    """The loss with its parts, and all gradients, with the same times and noise each time."""
    model.velocity_consistency_loss_weight = weight
    model.zero_grad()
    torch.manual_seed(1)
    total, parts = model(data, velocity_consistency_ema_model=ema, velocity_consistency_delta_time=DELTA,
                         return_breakdown=True)
    total.backward()
    return total.item(), parts, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


losses, gradients = [], []
for weight in (0.0, 0.1, 100.0):
    total, (flow_loss, velocity_loss, _), gradient = step(IMAGES, weight)
    losses.append(total)
    gradients.append(gradient)
    print(f"images, weight {weight}: total {total:.3f}, flow {flow_loss:.3f}, velocity {velocity_loss:.3f}, length of "
          f"the gradient {gradient.norm():.6f}")
    assert not velocity_loss.requires_grad
assert losses[2] > 50 * losses[0]
assert torch.equal(gradients[0], gradients[1]) and torch.equal(gradients[0], gradients[2])

torch.manual_seed(1)
times, noise = torch.rand(16), torch.randn_like(IMAGES)
with torch.no_grad():
    clean = ema.ema_model.forward_modality(IMAGES, times=times + DELTA, return_loss=False)
expected = F.mse_loss(clean, IMAGES - noise).item()
print(f"error of the average's velocity for clean images: {expected:.6f}, the loss: {velocity_loss:.6f}")
assert abs(expected - velocity_loss) < 1e-5

gradients = []
for weight in (0.0, 100.0):
    total, _, gradient = step(MIXED, weight)
    gradients.append(gradient)
    print(f"text and images, weight {weight}: total {total:.3f}, length of the gradient {gradient.norm():.6f}")
assert not torch.allclose(*gradients, rtol=1e-2)
print("As described: the velocity consistency loss of images alone has no gradient.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
