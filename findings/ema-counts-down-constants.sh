#!/bin/bash
# What:   torch 2.14.1, torch.optim.swa_utils.AveragedModel(use_buffers=True) with get_ema_multi_avg_fn or
#         get_ema_avg_fn.
# Source: AveragedModel.update_parameters and get_ema_multi_avg_fn in torch/optim/swa_utils.py.
# Guess:  use_buffers=True averages the buffers too; a buffer that never changes stays as it is, an average of equal
#         numbers being that number, and integer buffers are copied.
# Seen:   integer buffers are averaged as floats and cut off. With decay 0.9999, the usual one for diffusion, 198 of the
#         constants 0..999 are one too small after two updates (11 -> 10, 22 -> 21, 29 -> 28, ...), with 0.9995 it is
#         301, and with 0.99, 0.995 or 0.999 none, so a short trial shows nothing.
# Date:   2026-11-27
# Why:    U-Nets and text encoders keep constants in integer buffers: position_ids, relative_position_index of windowed
#         attention, tables of kept time steps. The averaged teacher then reads other rows of its embeddings than the
#         trained network, all weights being right. Lightning's EMAWeightAveraging sets use_buffers=True by default.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn


class Net(torch.nn.Module):
    """A table of 1,000 rows, read through a constant index."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(1000, 8)
        self.register_buffer("index", torch.arange(1000))

    def forward(self):
        return self.table(self.index)


def wrong(**options):
    """How many constants differ after two updates with a network that does not change, and the outputs that differ."""
    torch.manual_seed(0)
    net = Net()
    average = AveragedModel(net, use_buffers=True, **options)
    for _ in range(2):
        average.update_parameters(net)
    assert torch.equal(net.index, torch.arange(1000))
    rows = (average() - net()).abs().amax(1) > 0.01
    return int((average.module.index != net.index).sum()), int(rows.sum())


seen = {decay: wrong(multi_avg_fn=get_ema_multi_avg_fn(decay)) for decay in (0.99, 0.995, 0.999, 0.9995, 0.9999)}
print("wrong constants and rows of the output, by decay:", seen)
assert all(seen[decay] == (0, 0) for decay in (0.99, 0.995, 0.999))
assert seen[0.9995] == (301, 301) and seen[0.9999] == (198, 198)
assert wrong(avg_fn=get_ema_avg_fn(0.9999)) == (198, 198)
assert wrong() == (0, 0)  # the plain average keeps them
print("As described: an EMA of 0.9999 changes 198 of 1,000 constants, one of 0.999 none.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
