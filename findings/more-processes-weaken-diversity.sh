#!/bin/bash
# What:   vector-quantize-pytorch 1.32.0, LFQ (lookup-free quantization), in training on several processes.
# Source: maybe_distributed_mean in vector_quantize_pytorch/lookup_free_quantization.py calls the all_reduce of
#         torch.distributed.nn, which returns the sum and leaves its argument as it was. What it returns is not used,
#         and the argument is divided by the number of processes. (evo_lookup_free_quantization.py has the same lines.)
# Guess:  the entropy that is to keep all codes in use is that of the whole batch: with the same images on each of W
#         processes, the entropy and its gradient are as with one process. In issue 148 the author says that it is so.
# Seen:   each process takes its own probabilities of the codes, divided by W, so that they add up to 1 / W. Where 256
#         codes are equally likely, and the entropy is 5.55, it is 3.12 with two processes and 1.73 with four. Two
#         processes that hold one half of the codes each, which are all used together, get 2.77. The gradient of this
#         term is W times smaller, while that of the other one, which asks for confident codes, is as before: it acts
#         as diversity_gamma / W. The only warning is of the age of that all_reduce.
# Date:   2026-11-29
# Why:    LFQ makes tokens of images and videos (MAGVIT-v2). With eight GPUs the balance that was found on one is off
#         by a factor of eight, against the use of all codes, and it changes with the number of GPUs.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 vector-quantize-pytorch==1.32.0 einops==0.8.2 einx==0.4.3
cat > "$dir/probe.py" <<'PY'
import math
import sys
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from vector_quantize_pytorch import LFQ

warnings.filterwarnings("ignore", message=".*all_reduce is deprecated")
torch.set_num_threads(1)
BITS = 8
corners = LFQ(dim=BITS).codebook  # one token at each of the 256 codes
tokens = 0.005 + 0.01 * torch.randn(512, BITS, generator=torch.Generator().manual_seed(0))  # not all codes alike


def entropies(x):
    """Of each token's code and of the codes over the batch, as LFQ gives them, in natural units."""
    _, parts = LFQ(dim=BITS).train()(x[None], return_loss_breakdown=True)
    return parts.per_sample_entropy, parts.batch_entropy


def work(rank, count, folder):
    if count > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/meet{count}", rank=rank, world_size=count)
    x = tokens.clone().requires_grad_()
    single, batch = torch.autograd.grad(entropies(x)[0], x)[0], torch.autograd.grad(entropies(x)[1], x)[0]
    half = corners[corners[:, 0] == (1 if rank % 2 else -1)]
    torch.save((entropies(corners)[1].item(), entropies(half)[1].item(), single, batch), f"{folder}/{count}-{rank}")
    if count > 1:
        dist.destroy_process_group()


first = None
for count in (1, 2, 4):
    mp.start_processes(work, (count, sys.argv[1]), nprocs=count, start_method="fork")
    for rank in range(count):
        seen = torch.load(f"{sys.argv[1]}/{count}-{rank}")
        first = first or seen
        whole, half, single, batch = seen
        ratios = [(mine.norm() / alone.norm()).item() for mine, alone in ((batch, first[3]), (single, first[2]))]
        print(f"processes: {count}, rank {rank}: entropy {whole:.3f} of 256 codes, {half:.3f} of one half of them;",
              f"gradient of this term {ratios[0]:.3f}, of the other {ratios[1]:.3f}")
        assert abs(whole - math.log(256 * count) / count) < 0.01
        assert abs(half - math.log(128 * count) / count) < 0.01
        assert (single - first[2]).norm() < 0.01 * first[2].norm()
        assert (batch * count - first[3]).norm() < 0.01 * first[3].norm()
print("As described: each process uses its own codes only, and the more there are, the less they count.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
