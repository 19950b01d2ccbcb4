#!/bin/bash
# What:   PyTorch 2.14.1, torch.optim with a learning rate that is a tensor, two parameter groups, and LambdaLR.
# Source: Optimizer.add_param_group in torch/optim/optimizer.py gives each group the default itself, not a copy, and
#         _update_param_group_val in torch/optim/lr_scheduler.py fills a tensor in place.
# Guess:  each group has its own rate, as with a number: a tensor, which a CUDA graph needs, only keeps it elsewhere.
# Seen:   with one function for each group, the first group learns at the last group's rate, ten times its own here.
#         get_last_lr() says so too, nothing is raised, and optimizer and scheduler stay so after a save and a load.
#         As numbers the rates are those that were asked for.
# Date:   2026-11-28
# Why:    rates per layer, or a frozen part with rate 0, are common in fine-tuning. Moved to a tensor for a graph, the
#         frozen part trains.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import io

import torch


def trained(kind, rate, resumed=False):
    """Where three steps along a gradient of 1 take each of two weights, and the groups' rates."""
    weights = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
    optimizer = kind([{"params": [weight]} for weight in weights], lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, [lambda _: 0.1, lambda _: 1.0])
    if resumed:
        file = io.BytesIO()
        torch.save([optimizer.state_dict(), schedule.state_dict()], file)
        file.seek(0)
        for part, state in zip((optimizer, schedule), torch.load(file), strict=True):
            part.load_state_dict(state)
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.ones(())
        optimizer.step()
        schedule.step()
    rates = [round(float(x), 6) for x in schedule.get_last_lr()]
    return [round(weight.item(), 4) for weight in weights], rates


for kind in (torch.optim.Adam, torch.optim.SGD):
    for resumed in (False, True):
        number, tensor = (trained(kind, rate, resumed) for rate in (0.1, torch.tensor(0.1)))
        print(f"{kind.__name__}, {'loaded' if resumed else 'new'}: weights and rates "
              f"{number} with a number, {tensor} with a tensor")
        assert number == ([-0.03, -0.3], [0.01, 0.1])
        assert tensor == ([-0.3, -0.3], [0.1, 0.1])
own = [torch.nn.Parameter(torch.zeros(())) for _ in range(2)]
groups = torch.optim.SGD([{"params": [p]} for p in own], lr=torch.tensor(0.1)).param_groups
assert groups[0]["lr"] is groups[1]["lr"]
print("As described: parameter groups share one tensor as their rate, and the last one sets it.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
