#!/bin/bash
# What:   adam-mini 1.1.1, Adam_mini(model.named_parameters(), weight_decay=...) for a diffusion transformer (DiT), with
#         PyTorch 2.14.1.
# Source: __init__ in adam_mini/adam_mini.py sets weight_decay to 0 for each parameter with "norm", "ln" or "bias"
#         anywhere in its name in small letters, to leave out layer norms. adaLN_modulation, as the DiT's authors call
#         the linear layers for time and class, has "ln" in it, and norm1.linear, as diffusers calls them, "norm".
# Guess:  weight_decay is "decoupled weight decay to apply", as in AdamW, for which the README recommends the same
#         values. At most biases and the weights of layer norms, vectors all of them, are left out.
# Seen:   in a DiT's blocks a third of the weights, the matrices of adaLN_modulation, get no decay, and those of the
#         last layer neither. With zero gradients, rate 0.1 and decay 0.1, ten steps take 9.6 % off every other matrix
#         and nothing off these. The same modules by the name "modulation" decay as the rest. It prints a line for each
#         parameter and the kinds that it found, but says nothing about decay.
# Date:   2026-11-29
# Why:    the modulation sets the scale of all activations, and decay is turned on to keep a long training stable. A
#         comparison with AdamW at "the same values" is between two amounts of decay, and a new name for a module
#         changes the training.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 adam-mini==1.1.1
cat > "$dir/probe.py" <<'PY'
import torch
from adam_mini import Adam_mini
from torch import nn

WIDTH, HEADS, RATE, DECAY, STEPS = 64, 4, 0.1, 0.1, 10


class Block(nn.Module):
    """The weights of a block of a DiT, with names that Adam_mini knows; the name of the modulation is given."""

    def __init__(self, modulation):
        super().__init__()
        self.attn = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in ("wq", "wk", "wv", "wo")})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(WIDTH, 4 * WIDTH), "fc2": nn.Linear(4 * WIDTH, WIDTH)})
        self.add_module(modulation, nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 6 * WIDTH)))


class LastLayer(nn.Module):
    def __init__(self, modulation):
        super().__init__()
        self.linear = nn.Linear(WIDTH, 16)
        self.add_module(modulation, nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, 2 * WIDTH)))


class DiffusersBlock(nn.Module):
    """Of diffusers' DiT: the modulation belongs to norm1."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.ModuleDict({"linear": nn.Linear(WIDTH, 6 * WIDTH)})


def dit(modulation):
    torch.manual_seed(0)
    return nn.ModuleDict({
        "x_embedder": nn.Linear(16, WIDTH),
        "blocks": nn.ModuleList([Block(modulation) for _ in range(4)]),
        "final_layer": LastLayer(modulation),
    })


def taken_off(model, optimizer_of):
    """For each matrix, the share that steps with zero gradients take off its norm."""
    before = {name: p.detach().norm() for name, p in model.named_parameters() if p.ndim > 1}
    optimizer = optimizer_of(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    for _ in range(STEPS):
        optimizer.step()
    return {name: 1 - (model.get_parameter(name).detach().norm() / size).item() for name, size in before.items()}


def mini(model):
    return Adam_mini(model.named_parameters(), lr=RATE, weight_decay=DECAY, dim=WIDTH, n_heads=HEADS, verbose=False)


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)


full = 1 - (1 - RATE * DECAY) ** STEPS
for label, model, optimizer_of, skips in (
        ("AdamW, adaLN_modulation", dit("adaLN_modulation"), adamw, None),
        ("Adam_mini, adaLN_modulation", dit("adaLN_modulation"), mini, "adaLN_modulation"),
        ("Adam_mini, modulation", dit("modulation"), mini, None),
        ("Adam_mini, norm1.linear of diffusers", DiffusersBlock(), mini, "norm1.linear")):
    off = taken_off(model, optimizer_of)
    sizes = {name: model.get_parameter(name).numel() for name in off}
    skipped = [name for name in off if abs(off[name]) < 1e-6]
    share = sum(sizes[name] for name in skipped) / sum(sizes.values())
    print(f"{label}: {share:.0%} of the weights in matrices keep their size, the rest loses {full:.1%}")
    assert skipped == [name for name in off if skips and skips in name]
    assert all(abs(off[name] - full) < 1e-4 for name in off if name not in skipped)
    if label == "Adam_mini, adaLN_modulation":
        in_blocks = sum(sizes[n] for n in skipped if "blocks" in n) / sum(sizes[n] for n in off if "blocks" in n)
        print(f"  of the blocks alone: {in_blocks:.1%}")
        assert len(skipped) == 5 and abs(in_blocks - 1 / 3) < 1e-6
print("As described: weights with ln or norm in their names get no weight decay, the modulation among them.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
