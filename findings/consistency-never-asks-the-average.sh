#!/bin/bash
# What:   rectified-flow-pytorch 0.14.0, RectifiedFlow(use_consistency=True), consistency flow matching, whose target is
#         a moving average (EMA) of the network, and its sample(use_ema=True).
# Source: predict_flow(model, ...) in rectified_flow_pytorch/rectified_flow.py calls self.model and never its argument.
#         forward gives it self.ema_model for the target, and sample gives it the network that use_ema has chosen.
# Guess:  the loss compares the network with its average, and use_ema=True draws images from the average.
# Seen:   the average is kept and updated, and nothing ever reads it. Samples with and without use_ema are equal to the
#         bit, with mean 2.44, where samples of the average itself have mean 2.14. With NaN for the average's weights,
#         the loss and the samples stay as they were.
# Date:   2026-11-29
# Why:    the teacher of the consistency loss is the student itself at a slightly later time, which is another method
#         than the paper's. A comparison of samples with and without the average shows no difference, as if averaging
#         did not help; consistency_decay changes nothing, and the memory and time for the average are spent.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 rectified-flow-pytorch==0.14.0 ema-pytorch==0.8.3
cat > "$dir/probe.py" <<'PY'
import torch
from rectified_flow_pytorch import RectifiedFlow


class Constant(torch.nn.Module):
    """One velocity for all; the best one for data at 3 and noise around 0 is 3."""

    def __init__(self):
        super().__init__()
        self.velocity = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, times):
        return self.velocity.expand_as(x)


def sample(**options):
    return flow.sample(batch_size=256, noise=torch.randn(256, 4, generator=torch.Generator().manual_seed(1)), **options)


def loss():
    torch.manual_seed(2)
    return flow(torch.full((256, 4), 3.0), return_loss_breakdown=True)[1]


torch.manual_seed(0)
flow = RectifiedFlow(Constant(), use_consistency=True, data_normalize_fn=None, data_unnormalize_fn=None,
                     ema_update_after_step=0, ema_kwargs=dict(update_every=1))
optimizer = torch.optim.SGD(flow.model.parameters(), lr=0.02)
for _ in range(40):
    optimizer.zero_grad()
    flow(torch.full((256, 4), 3.0)).backward()
    optimizer.step()
    flow.post_training_step_update()

network, average = flow.model, flow.ema_model.ema_model
print(f"velocity of the network {network.velocity.item():.3f}, of its average {average.velocity.item():.3f}")
assert network.velocity - average.velocity > 0.3
plain, averaged = sample(), sample(use_ema=True)
print(f"mean of samples: {plain.mean():.3f}; with use_ema=True: {averaged.mean():.3f}")
assert torch.equal(plain, averaged) and abs(plain.mean() - network.velocity) < 0.1

flow.model = average  # what use_ema=True says: the same sampler on the average
wanted = sample()
flow.model = network
print(f"mean of samples of the average itself: {wanted.mean():.3f}")
assert plain.mean() - wanted.mean() > 0.3

before = loss()
with torch.no_grad():
    average.velocity.fill_(float("nan"))
after = loss()
print(f"with NaN for the average's weights: loss {after.total:.6f} (before {before.total:.6f}), of it against the "
      f"average {after.data_match:.2e} (before {before.data_match:.2e})")
assert torch.isfinite(after.total) and after.total == before.total and after.data_match == before.data_match
assert torch.equal(sample(use_ema=True), plain)
assert torch.isnan(flow.ema_model(torch.zeros(1, 4), times=torch.zeros(1))).all()  # called itself, it does give NaN
print("As described: the moving average is kept, and neither the loss nor the samples read it.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
