#!/bin/bash
# What:   torch.onnx.export(dynamo=True) of PyTorch 2.14.1 with onnxscript 0.7.2 and onnx-ir 1.1.0: torch.bernoulli, and
#         dropout that stays on. optimize=True is the default.
# Source: the optimizer has two lists of random operators, in onnxscript/optimizer/_constant_folding.py and in onnx_ir/
#         passes/common/common_subexpression_elimination.py. RandomNormal, RandomUniform, their -Like forms and
#         Multinomial are on both, Bernoulli and Dropout on neither.
# Guess:  each run of the file draws new masks, and two calls in one model draw two masks, as PyTorch does, and as the
#         exported torch.randn does.
# Seen:   a draw whose probabilities are constants is made once, during the export, and stored as a constant: the file
#         keeps that one mask for ever, and no random operator is left in it. Dropout of a weight, such as the "no
#         label" vector or a table of positions, is frozen as well. And two draws from one input become one: the
#         average of 16 passes with dropout of the features has the error of a single pass, and their spread, the
#         measure of how sure the network is, is exactly 0. With optimize=False all of it is random again. No warning.
# Date:   2026-11-29
# Why:    masks of patches, dropped conditions and Monte Carlo dropout are exported with the model when the draws are a
#         part of it. A test that looks at one output sees a plausible mask. Uncertainty 0 looks like a very sure model,
#         and each device in the field hides the same patches.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnx-ir==1.1.0 onnxruntime==1.32.0 \
    onnxscript==0.7.2
cat > "$dir/probe.py" <<'PY'
import logging
import warnings

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

PASSES = 16
torch.set_num_threads(1)
torch.manual_seed(0)
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # torchvision is absent


class Hidden(nn.Module):
    """Hides half of the 64 patches of each image."""

    def forward(self, patches):
        return patches * torch.bernoulli(torch.full((64,), 0.5))


class Positions(nn.Module):
    """Adds learned positions, with dropout."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.ones(64))

    def forward(self, patches):
        return patches + F.dropout(self.table, 0.5, training=True)


class Unsure(nn.Module):
    """A prediction from PASSES passes with dropout of the features, and how much they differ."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 1)

    def forward(self, features):
        passes = torch.cat([self.head(F.dropout(features, 0.5, training=True)) for _ in range(PASSES)], -1)
        return torch.stack([passes.mean(-1), passes.std(-1)])


def exported(module, like, **options):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        program = torch.onnx.export(module, (like,), dynamo=True, verbose=False, **options)
    assert not any(k in str(w.message).lower() for w in said for k in ("random", "dropout", "bernoulli", "determin"))
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0]), {
        node.op_type for node in program.model_proto.graph.node}


ones = torch.ones(1, 64)
for module in (Hidden(), Positions()):
    plain, operators = exported(module, ones)
    unoptimized, _ = exported(module, ones, optimize=False)
    masks = [len({tuple(run(ones)[0].tolist()) for _ in range(20)}) for run in (module, plain, unoptimized)]
    print(f"{type(module).__name__}: masks in 20 runs: PyTorch {masks[0]}, exported {masks[1]}, with optimize=False "
          f"{masks[2]}; operators of the exported one: {', '.join(sorted(operators))}")
    assert masks == [20, 1, 20] and not operators & {"Bernoulli", "Dropout"}

model, features = Unsure(), torch.randn(500, 64)
certain = model.head(features).squeeze(-1)  # what the mean of many passes tends to
ways = {"PyTorch": model, "exported": exported(model, features)[0],
        "with optimize=False": exported(model, features, optimize=False)[0]}
found = {}
for way, run in ways.items():
    mean, spread = run(features).detach()
    found[way] = (mean - certain.detach()).std().item(), spread.mean().item()
    print(f"{way}: error of the mean of {PASSES} passes {found[way][0]:.2f}, their spread {found[way][1]:.2f}")
one_pass = found["PyTorch"][1]
assert found["exported"][1] == 0 and abs(found["exported"][0] / one_pass - 1) < 0.2
for way in ("PyTorch", "with optimize=False"):
    assert abs(found[way][1] / one_pass - 1) < 0.1 and abs(found[way][0] / one_pass * PASSES**0.5 - 1) < 0.2
assert np.isfinite(one_pass)
print("As described: masks are drawn once, at the export, or once for all calls, without a warning.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
