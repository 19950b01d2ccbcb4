#!/bin/bash
# What:   torch.onnx.export(dynamo=True) of PyTorch 2.14.1 with onnxscript 0.7.2: torch.multinomial(weights, n), which
#         draws without replacement, its default.
# Source: aten_multinomial in onnxscript/function_libs/torch_lib/ops/core.py takes the argument replacement and
#         does not read it. ONNX's Multinomial has no such argument, and onnxruntime draws with replacement.
# Guess:  n different indices, as in PyTorch, or an error that ONNX has no such operator.
# Seen:   indices repeat. A draw of 64 out of 64 equal weights, a random order in PyTorch, has 63 % of them in the
#         exported model. A sampler that fills 8 of the 64 masked tokens in each of 8 steps, until none is left, leaves
#         11 % of them masked. Gumbel noise and topk, the same draw by hand, are right when exported. No warning.
# Date:   2026-11-29
# Why:    patches to hide, tokens to fill in at each step of a masked sampler, and images for a batch are chosen so.
#         With n far below the number of choices a repeat is rare, and a test sees none. What it leaves behind, mask
#         tokens in finished pictures and fewer patches than asked for, is blamed on the network.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 onnxscript==0.7.2
cat > "$dir/probe.py" <<'PY'
import logging
import warnings

import onnxruntime
import torch
from torch import nn

TOKENS, STEPS, IMAGES = 64, 8, 500
torch.set_num_threads(1)
torch.manual_seed(0)
onnxruntime.set_seed(0)
logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)  # torchvision is absent


def multinomial(weights, n):
    return torch.multinomial(weights, n)


def gumbel(weights, n):
    return (weights.log() - (-torch.rand_like(weights).log()).log()).topk(n, -1).indices


class Fill(nn.Module):
    """Fills masked tokens (weight 1) at random, the same number at each step, until none should be left."""

    def __init__(self, choose):
        super().__init__()
        self.choose = choose

    def forward(self, masked):
        for _ in range(STEPS):
            masked = masked.scatter(1, self.choose(masked, TOKENS // STEPS), 0.0)
        return masked


class Order(nn.Module):
    def __init__(self, choose):
        super().__init__()
        self.choose = choose

    def forward(self, weights):
        return self.choose(weights, TOKENS)


def exported(module, like):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        program = torch.onnx.export(module, (like,), dynamo=True, verbose=False)
    assert not any(k in str(w.message).lower() for w in said for k in ("multinomial", "replacement"))
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    name = session.get_inputs()[0].name
    return lambda x: torch.from_numpy(session.run(None, {name: x.numpy()})[0])


weights = torch.ones(IMAGES, TOKENS)
chosen, left = {}, {}
for choose in (multinomial, gumbel):
    for where, wrap in (("PyTorch", lambda m, _: m), ("exported", exported)):
        orders = wrap(Order(choose), weights)(weights)
        key = where, choose.__name__
        chosen[key] = torch.tensor([len(set(row.tolist())) for row in orders]).float().mean().item() / TOKENS
        left[key] = wrap(Fill(choose), weights)(weights).mean().item()
        print(f"{where} {choose.__name__}: {chosen[key]:.1%} of the tokens in a full draw; after {STEPS} steps "
              f"{left[key]:.1%} are still masked")
for key, share in chosen.items():
    if key == ("exported", "multinomial"):
        assert abs(share - 0.634) < 0.01 and left[key] > 0.02
    else:
        assert share == 1 and left[key] == 0
print("As described: draws without replacement repeat themselves when exported, without a warning.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
