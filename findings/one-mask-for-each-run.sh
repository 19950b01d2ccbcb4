#!/bin/bash
# What:   OpenVINO 2026.4.1 on the CPU, a PyTorch model (torch 2.14.1, traced) with torch.bernoulli in it, converted by
#         openvino.convert_model.
# Source: translate_bernoulli in src/frontends/pytorch/src/op/bernoulli.cpp asks for RandomUniform "aligned" with
#         PyTorch and the seed 0. For that, computeMersenneTwister in src/plugins/intel_cpu/src/nodes/random_uniform.cpp
#         chooses a seed once, and starts the generator from it in each execution.
# Guess:  each run draws new numbers: a comment in that file says so, the documentation of RandomUniform promises a
#         sequence that is not deterministic for the seeds 0, and torch.rand in the same model is like that.
# Seen:   a compiled model draws its numbers once, and has them in every run. Of 64 masks that keep 75 % of the pixels
#         all are one and the same, where PyTorch has 64; their average varies by 0.43 from pixel to pixel, not by 0.05.
#         The noise of a binary diffusion flips 10 % of the pixels in each step: after 20 steps 49 % are flipped in
#         PyTorch, and none here, as the same pixels flip to and fro. With torch.rand_like(x) < p, in the same model,
#         there are 64 masks, and 49 % are flipped. A model compiled again has other numbers, once more. No warning.
# Date:   2026-11-29
# Why:    binary pictures, masks of patches, dropped conditions and dropout that stays on are drawn by torch.bernoulli.
#         Shares are right, and each start of the program has another mask, so that it looks random. But all images of
#         a run lose the same pixels, the average over runs averages nothing, and their spread, the doubt, is 0.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 openvino==2026.4.1
cat > "$dir/probe.py" <<'PY'
import logging
import warnings

import numpy as np
import openvino
import torch

warnings.simplefilter("ignore")  # torch.jit.trace says that it is deprecated, and that draws are not repeatable
logging.disable(logging.WARNING)
RUNS, KEEP, STEPS, FLIP = 64, 0.75, 20, 0.1


class Drawn(torch.nn.Module):
    """Lets a pixel be 1 with a chance for each, by torch.bernoulli and by a comparison of uniform numbers."""

    def forward(self, chance):
        return torch.bernoulli(chance), (torch.rand_like(chance) < chance).float()


def chances(value):
    return torch.full((1, 3, 32, 32), value)


def in_openvino():
    compiled = openvino.Core().compile_model(converted, "CPU")
    return lambda chance: compiled([chance.numpy()]).values()


def look(where, model):
    """For each of the two ways: how many masks differ, how their average varies, what noise flips in some steps."""
    found = []
    for way, name in enumerate(("torch.bernoulli", "a comparison")):
        masks = np.stack([np.array(list(model(chances(KEEP)))[way]).ravel() for _ in range(RUNS)])
        flips = np.stack([np.array(list(model(chances(FLIP)))[way]).ravel() for _ in range(STEPS)])
        flipped = (flips.sum(0) % 2).mean()
        found.append((len({mask.tobytes() for mask in masks}), masks.mean(0).std(), flipped))
        print("%s, %s: %d of %d masks differ, their average varies by %.3f; after %d steps %.1f %% are flipped"
              % (where, name, found[-1][0], RUNS, found[-1][1], STEPS, 100 * flipped))
        assert abs(masks.mean() - KEEP) < 0.05 and abs(flips.mean() - FLIP) < 0.04
    return found


traced = torch.jit.trace(Drawn().eval(), chances(KEEP), check_trace=False)
converted = openvino.convert_model(traced, example_input=chances(KEEP))
torch.manual_seed(0)
pytorch = look("PyTorch", traced)
for model in (in_openvino(), in_openvino()):
    bernoulli, comparison = look("OpenVINO", model)
    assert bernoulli[0] == 1 and bernoulli[1] > 0.4 and bernoulli[2] == 0
    for masks, varies, flipped in (*pytorch, comparison):
        assert masks == RUNS and 0.045 < varies < 0.065 and 0.45 < flipped < 0.54
print("As described: every run of a compiled model has the same mask.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
