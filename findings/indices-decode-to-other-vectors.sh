#!/bin/bash
# What:   vector-quantize-pytorch 1.32.0, VectorQuantize and ResidualVQ with affine_param=True, in eval mode.
# Source: update_affine in vector_quantize_pytorch/vector_quantize_pytorch.py asks for training mode for the codebook's
#         mean and variance, not for the batch's. forward moves the codebook by both; get_codes_from_indices, which
#         get_output_from_indices calls, does not.
# Guess:  eval mode freezes the quantizer, as it freezes a BatchNorm, and indices decode to the output that they came
#         with: both are exact without the option.
# Seen:   features of mean 2 and variance 0.25 have a squared error of 0.08 in the output and of 4.2 in what their
#         indices decode to (ResidualVQ: 0.01 and 4.2), as much as zeros have. And each call in eval mode goes on
#         averaging: after 100 batches of mean -2 instead of 2 the first features have an error of 4.7 (ResidualVQ: 10)
#         in the output too, and 1 % of their indices are the same. Without the option nothing changes. No warning.
# Date:   2026-11-29
# Why:    a tokenizer is judged by its outputs, and then images are stored as indices, on which a model is trained and
#         from which its samples are decoded. The reconstructions look better than without the option and the samples
#         are broken, which is put down to that model. And indices depend on what was encoded before, in which order.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 vector-quantize-pytorch==1.32.0
cat > "$dir/probe.py" <<'PY'
import copy

import torch
from vector_quantize_pytorch import ResidualVQ, VectorQuantize

torch.set_num_threads(1)
MEAN, STD = 2.0, 0.5  # of the encoder's features


def features(n, mean=MEAN):
    return mean + STD * torch.randn(n, 64, 8)


def error(a, b):
    return (a - b).square().mean().item()


torch.manual_seed(0)
test = features(8)
for kind, extra in ((VectorQuantize, {}), (ResidualVQ, {"num_quantizers": 3})):
    for affine in (False, True):
        torch.manual_seed(0)
        quantizer = kind(dim=8, codebook_size=256, affine_param=affine, **extra)
        for _ in range(300):
            quantizer(features(8))
        quantizer.eval()
        with torch.no_grad():
            quantized, indices = quantizer(test)[:2]
            decoded = quantizer.get_output_from_indices(indices)
            whole, stored = error(quantized, test), error(decoded, test)
            print(f"{kind.__name__}, affine_param={affine}: squared error {whole:.3f} of the output, {stored:.3f} of "
                  f"its indices decoded; the features have a variance of {STD**2}")
            if not affine:
                assert torch.equal(quantized, decoded)
            else:
                assert whole < 0.5 * STD**2 and stored > 10 * STD**2

            kept = copy.deepcopy(quantizer)
            assert not kept.training
            for _ in range(100):
                kept(features(8, mean=-MEAN))
            again, other = kept(test)[:2]
            same = (other == indices).float().mean().item()
            print(f"   after 100 other batches in eval mode: squared error {error(again, test):.3f}, {same:.0%} of the "
                  "indices are the same")
            if not affine:
                assert torch.equal(again, quantized)
            else:
                assert error(again, test) > 1.5 * whole and same < 0.1
print("As described: with affine_param eval mode goes on learning, and indices decode to other vectors.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
