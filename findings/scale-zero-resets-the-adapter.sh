#!/bin/bash
# What:   diffusers 0.42.1 with peft 0.21.2, a call with cross_attention_kwargs={"scale": 0} after set_adapters.
# Source: unscale_lora_layers in diffusers/utils/peft_utils.py: after a call each adapter's scale is divided by that of
#         the call, but for 0, where set_scale(name, 1.0) takes its place.
# Guess:  the scale holds for that call, as its docs say (0 is the base model), and the weights that set_adapters gave
#         are those of the next call.
# Seen:   after a call with scale 0.3 they are. After one with 0 every active adapter has the weight 1: one that was set
#         to 0.5 counts twice as much as before, two that were set to 0.7 and 0.2 both count in full. The same call as
#         before gives another output, by up to 0.7 and 1.1 here, where outputs have a standard deviation of 0.3, and
#         fuse_lora() bakes the 1 into the weights. disable_lora() and enable_lora() keep the weights. No warning.
# Date:   2026-11-28
# Why:    scale 0 is how one draws the picture without the adapter to put beside the picture with it, between two calls
#         of a loop over seeds or weights. From the second seed on, the pictures are those of other weights.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 diffusers==0.42.1 peft==0.21.2 transformers==5.24.0 \
    accelerate==1.15.0
cat > "$dir/probe.py" <<'PY'
import torch
from diffusers import UNet2DConditionModel
from peft import LoraConfig


def network(names, weights):
    """A small U-Net with random adapters, active with the given weights, and a function that calls it."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=3, down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",), block_out_channels=(32,), norm_num_groups=8, cross_attention_dim=16,
        attention_head_dim=2, layers_per_block=1).eval()
    x, text = torch.randn(4, 3, 8, 8), torch.randn(4, 5, 16)

    def call(**kwargs):
        with torch.no_grad():
            return unet(x, torch.tensor(5), text, **kwargs).sample

    base = call()
    for name in names:
        unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"]), name)
    for name, weight in unet.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    unet.set_adapters(names, weights)
    return unet, call, base


def difference(a, b):
    return (a - b).abs().max().item()


for names, weights in ((["a"], [0.5]), (["a", "b"], [0.7, 0.2])):
    unet, call, base = network(names, weights)
    before = call()
    assert difference(before, base) > 0.1
    call(cross_attention_kwargs={"scale": 0.3})
    assert difference(call(), before) < 1e-5
    unet.disable_lora()
    assert difference(call(), base) < 1e-5
    unet.enable_lora()
    assert difference(call(), before) < 1e-5

    assert difference(call(cross_attention_kwargs={"scale": 0}), base) < 1e-5
    after = call()
    unet.fuse_lora()
    fused = call()
    _, call, _ = network(names, [1.0] * len(names))
    full = call()
    print(f"weights {weights}: the same call before and after scale 0 differs by {difference(after, before):.2f}, and "
          f"from one with all weights 1 by {difference(after, full):.1g} (standard deviation {before.std():.2f})")
    assert difference(after, before) > 0.1
    assert difference(after, full) < 1e-5 and difference(fused, full) < 1e-4
print("As described: scale 0 for one call sets the adapters' weights to 1 for all later ones.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
