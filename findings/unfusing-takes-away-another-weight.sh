#!/bin/bash
# What:   diffusers 0.42.1 with peft 0.21.2: unfuse_lora after set_adapters has set another weight, and
#         fuse_lora(lora_scale=...) twice.
# Source: PeftAdapterMixin._fuse_lora_apply and _unfuse_lora_apply in diffusers/loaders/peft.py; unmerge in
#         peft/tuners/lora/layer.py subtracts the adapter at the weight it has NOW, and set_adapters sets that weight
#         though the layer is fused. lora_scale multiplies the adapter's weight and stays when it is unfused.
# Guess:  unfuse_lora "reverses the effect" of fuse_lora, as its docs say: the base model's weights come back, whatever
#         was set in between, and the next fuse_lora(lora_scale=0.5) fuses half of the adapter again.
# Seen:   fused at weight 0.5, set to 1 and unfused, the base weights keep -0.5 times the adapter. disable_lora() and
#         unload_lora() do not give the base model back: outputs differ from its by up to 0.4 here, where they have a
#         standard deviation of 0.27. Ten such rounds leave -5 times the adapter. Set after it is unfused, the weight
#         does no harm. And fuse_lora(lora_scale=0.5) with unfuse_lora() after it, three times, fuses 1/2, 1/4 and 1/8
#         of the adapter, which then runs at 1/8 unfused, too. No warning.
# Date:   2026-11-29
# Why:    a loop over weights that sets the next weight before it unfuses the last one changes the base model itself.
#         Every later picture, with other adapters too, and a saved model come from it; what was measured for the later
#         weights of the loop is wrong, and only loading the model again helps.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 diffusers==0.42.1 peft==0.21.2 transformers==5.24.0 \
    accelerate==1.15.0
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig

torch.set_num_threads(1)


class Model:
    """A small U-Net with one random adapter, of weight 1."""

    def __init__(self):
        torch.manual_seed(0)
        self.unet = UNet2DConditionModel(
            sample_size=8, in_channels=3, out_channels=3, down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",), block_out_channels=(32,), norm_num_groups=8,
            cross_attention_dim=16, attention_head_dim=2, layers_per_block=1).eval()
        self.x, self.text = torch.randn(4, 3, 8, 8), torch.randn(4, 5, 16)
        self.base, self.before = self(), self.query()
        self.unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]), "a")
        for name, weight in self.unet.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=0.3)
        layer = self.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_q
        self.adapter = (layer.lora_B["a"].weight @ layer.lora_A["a"].weight).detach()

    def __call__(self):
        with torch.no_grad():
            return self.unet(self.x, torch.tensor(5), self.text).sample

    def at(self, weight):
        """The output with the adapter at this weight, on a fresh model."""
        model = Model()
        model.unet.set_adapters(["a"], [weight])
        return model()

    def query(self):
        layer = self.unet.mid_block.attentions[0].transformer_blocks[0].attn2.to_q
        return getattr(layer, "base_layer", layer).weight.detach().clone()

    def left(self):
        """How many times the adapter is in the base model's weights."""
        change = self.query() - self.before
        times = (change * self.adapter).sum() / self.adapter.square().sum()
        assert (change - times * self.adapter).abs().max() < 1e-5
        return times.item()


def difference(a, b):
    return (a - b).abs().max().item()


warnings.simplefilter("error")
model = Model()
print(f"outputs have a standard deviation of {model.base.std():.2f}")
for after in (True, False):
    model = Model()
    for round_ in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10):
        model.unet.set_adapters(["a"], [0.5])
        model.unet.fuse_lora()
        if round_ == 1:
            assert difference(model(), model.at(0.5)) < 1e-4
        if not after:
            model.unet.set_adapters(["a"], [1.0])
        model.unet.unfuse_lora()
        if after:
            model.unet.set_adapters(["a"], [1.0])
        if round_ in (1, 10):
            model.unet.disable_lora()
            print(f"the next weight is set {'after' if after else 'before'} unfuse_lora(), {round_} times: the base "
                  f"weights keep {model.left():+.2f} times the adapter, and outputs without adapters differ from the "
                  f"base model's by {difference(model(), model.base):.1g}")
            assert abs(model.left() - (0 if after else -0.5 * round_)) < 1e-3
            assert (difference(model(), model.base) < 1e-4) == after
            model.unet.enable_lora()
    model.unet.unload_lora()
    assert (difference(model(), model.base) < 1e-4) == after

model = Model()
for round_ in range(3):
    model.unet.fuse_lora(lora_scale=0.5)
    print(f"fuse_lora(lora_scale=0.5), round {round_ + 1}: the adapter is fused {model.left():.3f} times")
    assert abs(model.left() - 0.5 ** (round_ + 1)) < 1e-3
    model.unet.unfuse_lora()
    assert abs(model.left()) < 1e-3
assert difference(model(), model.at(0.125)) < 1e-4 and difference(model(), model.at(1.0)) > 0.1
print("As described: unfusing subtracts the weight of now, and a lora_scale stays.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
