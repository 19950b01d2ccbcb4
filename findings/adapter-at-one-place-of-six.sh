#!/bin/bash
# What:   peft 0.21.2, LoRA and LoHa on a module that several blocks of the network share.
# Source: BaseTuner.inject_adapter in peft/tuners/tuners_utils.py goes through named_modules(), which names a shared
#         module once, and puts the adapter's layer into that one parent. Its checks of tied weights are for the
#         embeddings of transformers. Merging adds the adapter to the weight itself, which all blocks have.
# Guess:  target_modules=["modulation"] fits the name in each block, so the adapter works wherever the module does, or
#         a warning says that it cannot. Merging does not change the output.
# Seen:   of six blocks the first has the adapter, the other five have the bare module. Merged, all six have it. The
#         target is a change of rank 4 to the shared weight, and the adapter has rank 4. Without it the loss is 3.3.
#         With it 600 steps end at 1.5, and merging that gives 5.2, worse than no training. LoHa has 1.5 and 6.0. With
#         the same adapter put into all six blocks by hand LoRA ends below 1e-9, merged or not. modules_to_save errs
#         the other way: it gives each block a copy of its own, which is trained apart from the others. No warning.
# Date:   2026-11-29
# Why:    one modulation layer for all blocks, or one decoder for two branches, is a usual way to save weights. When
#         such a network is fine-tuned, the loss stays high, which looks as if the rank were too low. And what is merged
#         and passed on is not the model that was trained and looked at.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 peft==0.21.2 transformers==5.24.0 accelerate==1.15.0
cat > "$dir/probe.py" <<'PY'
import copy
import warnings

import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from torch import nn

warnings.simplefilter("error")
WIDTH, BLOCKS, RANK = 32, 6, 4


class Block(nn.Module):
    def __init__(self, modulation):
        super().__init__()
        self.linear, self.modulation = nn.Linear(WIDTH, WIDTH), modulation

    def forward(self, x, condition):
        scale, shift = self.modulation(condition).chunk(2, -1)
        return x + torch.tanh(self.linear(x) * (1 + scale) + shift)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        modulation = nn.Linear(WIDTH, 2 * WIDTH)
        self.blocks = nn.ModuleList(Block(modulation) for _ in range(BLOCKS))
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, condition):
        for block in self.blocks:
            x = block(x, condition)
        return self.out(x)


torch.manual_seed(0)
base, x, condition = Net(), torch.randn(512, WIDTH), torch.randn(512, WIDTH)
changed = copy.deepcopy(base)
with torch.no_grad():
    changed.blocks[0].modulation.weight += 0.1 * torch.randn(2 * WIDTH, RANK) @ torch.randn(RANK, WIDTH)
    target = changed(x, condition)


def loss(net):
    return (net(x, condition) - target).square().mean()


def train(config, by_hand=False):
    """How many blocks have the adapter, its parameters, and the loss after 600 steps, when merged, and unloaded."""
    net = get_peft_model(copy.deepcopy(base), config)
    blocks = net.base_model.model.blocks
    adapted = sum(type(block.modulation) is not nn.Linear for block in blocks)
    if by_hand:
        for block in blocks:
            block.modulation = blocks[0].modulation
    trained = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-2)
    for _ in range(600):
        optimizer.zero_grad()
        loss(net).backward()
        optimizer.step()
    before = loss(net).item()
    net.merge_adapter()
    merged = loss(net).item()
    net.unmerge_adapter()
    assert abs(loss(net).item() - before) < 1e-4
    unloaded = loss(net.merge_and_unload()).item()
    return adapted, sum(p.numel() for p in trained), before, merged, unloaded


start = loss(base).item()
print(f"without an adapter: loss {start:.2f}")
target_modules = ["modulation"]
for name, config in (("LoRA", LoraConfig(target_modules=target_modules, r=RANK)),
                     ("LoHa", LoHaConfig(target_modules=target_modules, r=RANK))):
    adapted, count, before, merged, unloaded = train(config)
    print(f"{name}: adapter in {adapted} of {BLOCKS} blocks, {count} parameters")
    print(f"{name}: loss {before:.2f} after training, {merged:.2f} when it is merged")
    assert adapted == 1 and 0.3 * start < before < 0.7 * start and merged > 1.2 * start
    assert abs(unloaded - merged) < 1e-4

_, by_hand, before, merged, unloaded = train(LoraConfig(target_modules=target_modules, r=RANK), by_hand=True)
print(f"LoRA, put into all blocks by hand: {by_hand} parameters; loss {before:.1e}, merged {merged:.1e}")
assert max(before, merged, unloaded) < 1e-9 and by_hand == 3 * WIDTH * RANK

# The adapter on "out" is there because peft asks for one.
net = get_peft_model(copy.deepcopy(base), LoraConfig(target_modules=["out"], modules_to_save=["modulation"]))
copies = {block.modulation.modules_to_save["default"].weight.data_ptr() for block in net.base_model.model.blocks}
print(f"modules_to_save: {len(copies)} weights for the {BLOCKS} blocks, which had 1")
assert len(copies) == BLOCKS and len({block.modulation for block in base.blocks}) == 1
print("As described: the adapter is at the first place of the shared module, and merging puts it at all of them.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
