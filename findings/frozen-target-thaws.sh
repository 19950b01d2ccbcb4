#!/bin/bash
# What:   normflows 1.7.3 with PyTorch 2.14.1, NormalizingFlow.reverse_kld(score_fn=False), training of a flow towards
#         a target density by the gradient without the score function ("sticking the landing").
# Source: reverse_kld in normflows/core.py sets requires_grad of all parameters of the model to False for a part of
#         the loss and then to True, whatever it was. The target is a part of the model, as its attribute p.
# Guess:  score_fn chooses the gradient estimator. A target that was frozen, such as a trained flow that is distilled
#         into this one, stays frozen, and so do layers that were frozen.
# Seen:   the first call makes every parameter trainable. With an optimizer of model.parameters() the target is trained
#         too: of a frozen Gaussian at 3 and a flow that starts at 0, both end at 2.3, with a loss of 0. A frozen layer
#         of the flow moves as well. With score_fn=True the target stays at 3 and the flow gets there.
#         reverse_alpha_div(dreg=True) has it too: both end at 2.5. No warning.
# Date:   2026-11-29
# Why:    the loss goes to 0 because the target comes to the model, so a failed distillation looks perfect, and the
#         teacher is changed in memory for all that follows. Fine-tuning of the last layers changes all layers.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 normflows==1.7.3
cat > "$dir/probe.py" <<'PY'
import normflows as nf
import torch


def train(loss):
    """Where the target and the flow are at the end, the size of the last loss, and how far a frozen layer has moved."""
    torch.manual_seed(0)
    target = nf.distributions.DiagGaussian(2)
    target.loc.data.fill_(3.0)
    target.requires_grad_(False)
    frozen = nf.flows.AffineConstFlow((2,)).requires_grad_(False)
    base = nf.distributions.DiagGaussian(2, trainable=False)
    model = nf.NormalizingFlow(base, [nf.flows.AffineConstFlow((2,)), frozen], target)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(1_000):
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        optimizer.step()
    with torch.no_grad():
        center = model(torch.zeros(1, 2)).mean().item()
    return target.loc.mean().item(), center, value.item(), frozen.t.abs().max().item()


for name, loss, thaws in (
    ("reverse_kld(64)", lambda m: m.reverse_kld(64), False),
    ("reverse_kld(64, score_fn=False)", lambda m: m.reverse_kld(64, score_fn=False), True),
    ("reverse_alpha_div(64, alpha=0.5, dreg=True)", lambda m: m.reverse_alpha_div(64, alpha=0.5, dreg=True), True),
):
    target, center, value, moved = train(loss)
    print(f"{name}: target at {target:.2f}, flow at {center:.2f}, last loss {abs(value):.3f};"
          f" frozen layer moved {moved:.2f}")
    assert abs(center - target) < 0.2
    if thaws:
        assert target < 2.75 and moved > 0.3
    else:
        assert target == 3 and moved == 0
    assert abs(value) < 0.05
print("As described: the gradient without the score function makes all parameters trainable.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
