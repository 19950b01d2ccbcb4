#!/bin/bash
# What:   diffusers 0.31.0 (and 0.21.4 to 0.30.3; right from 0.32.2 on), EMAModel.from_pretrained, on a folder that
#         EMAModel.save_pretrained of 0.42.1 or of 0.31.0 itself wrote.
# Source: EMAModel.from_pretrained, load_state_dict and get_decay in diffusers/training_utils.py.
# Guess:  decay, warm-up and step are in the folder's config.json, so they come back, and training goes on.
# Seen:   the weights come back, the settings do not: decay 0.99 and step 5,000 become the defaults 0.9999 and 0. At
#         step 0 the decay counts as 0, so the first step after resuming REPLACES the average by the raw weights. 0.42.1
#         reads the same folder right.
# Date:   2026-11-27
# Why:    the training scripts of diffusers save and resume the average this way, and environments of 2024 have such
#         versions. A teacher from a resumed run then has hardly any averaging, and its file looks perfect.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/0.42.1"
"$dir/0.42.1/bin/pip" install -q torch==2.14.1 diffusers==0.42.1
python3 -m venv "$dir/0.31.0"
"$dir/0.31.0/bin/pip" install -q torch==2.6.0 diffusers==0.31.0 accelerate==1.1.1 \
    huggingface-hub==0.26.5 safetensors==0.4.5
cat > "$dir/probe.py" <<'PY'
import sys

import diffusers
import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel

action, folder = sys.argv[1:]
version = diffusers.__version__


def net(value):
    model = UNet2DModel(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8,),
                        norm_num_groups=4, down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(value)
    return model


if action == "write":
    model = net(1.0)
    ema = EMAModel(model.parameters(), decay=0.99, model_cls=UNet2DModel, model_config=model.config)
    ema.optimization_step = 5000  # as after 5,000 steps
    ema.save_pretrained(folder)
else:
    ema = EMAModel.from_pretrained(folder, UNet2DModel)
    state = ema.decay, ema.optimization_step
    assert float(ema.shadow_params[0].mean()) == 1  # the weights themselves are right
    ema.step(net(0.0).parameters())  # one step after resuming, with other raw weights
    after = float(ema.shadow_params[0].mean())
    print(f"{version}: decay and step {state}, the average 1 and the raw weight 0 give {after:.4f}")
    if action == "right":
        assert state == (0.99, 5000) and abs(after - 0.99) < 1e-6
    else:
        assert state == (0.9999, 0) and after == 0
PY
"$dir/0.42.1/bin/python" "$dir/probe.py" write "$dir/new"
"$dir/0.31.0/bin/python" "$dir/probe.py" write "$dir/old"
for folder in new old; do
    "$dir/0.42.1/bin/python" "$dir/probe.py" right "$dir/$folder"
    "$dir/0.31.0/bin/python" "$dir/probe.py" forgets "$dir/$folder"
done
echo "As described: 0.31.0 resumes the average at step 0, and the first step throws it away."
