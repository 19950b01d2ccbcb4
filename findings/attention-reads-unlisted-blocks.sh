#!/bin/bash
# What:   PyTorch 2.14.1, flex_attention without torch.compile, with BlockMask.from_kv_blocks(counts, indices), the list
#         of key blocks that each query block attends to, as a router or a top-k of blocks gives it.
# Source: _math_attention_inner in torch/_higher_order_ops/flex_attention.py masks by mask_mod, the last entry of the
#         block mask, and reads none of the others. Without an argument, mask_mod is one that lets everything pass.
# Guess:  what is not listed is not attended to: the docstring of BlockMask calls it a block-sparse mask, and says that
#         its format requires only the counts and the indices. The mask's own to_dense() and print show it so.
# Seen:   the list has no effect. With 2 of 8 blocks listed the attention is the one without a mask, and 75 % of its
#         weight is on blocks that are not listed. It is so for partial and for full blocks. The same pattern as a
#         mask_mod, by create_block_mask, is right, and on a CPU the compiled flex_attention goes by the list. There is
#         a warning that this implementation is unfused and needs more memory, not that it gives something else.
# Date:   2026-11-29
# Why:    sparse attention for video and long sequences hands over lists, of blocks near in space and time, or chosen by
#         their means. Without torch.compile it is developed, debugged, tested and compared. There the sparse model is
#         a dense one, and as good as that: the choice of blocks seems not to matter, and the loss of quality comes
#         when it is compiled, for which the compiler is then blamed.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

warnings.filterwarnings("ignore", "flex_attention called without torch.compile")
BLOCKS, SIZE, LISTED, HEADS = 8, 128, 2, 2
TOKENS = BLOCKS * SIZE

torch.manual_seed(0)
query, key = (torch.randn(1, HEADS, TOKENS, 16) for _ in range(2))
means = [x.unflatten(2, (BLOCKS, SIZE)).mean(3) for x in (query, key)]
chosen = (means[0] @ means[1].mT).topk(LISTED).indices  # the blocks of keys whose mean is nearest to the queries'
blocks = torch.zeros(1, HEADS, BLOCKS, BLOCKS, dtype=torch.bool).scatter_(3, chosen, True)
mask = blocks.repeat_interleave(SIZE, 2).repeat_interleave(SIZE, 3)

# values that are 1 in the blocks of one number: the output is the weight on each block
value = torch.eye(BLOCKS).repeat_interleave(SIZE, 0).expand(1, HEADS, -1, -1)
value = torch.cat([value, torch.randn(1, HEADS, TOKENS, 8)], 3)

counts = torch.full((1, HEADS, BLOCKS), LISTED, dtype=torch.int32)
indices = torch.zeros(1, HEADS, BLOCKS, BLOCKS, dtype=torch.int32)
indices[..., :LISTED] = chosen
none = torch.zeros_like(counts), torch.zeros_like(indices)
masks = {
    "listed as partial blocks": BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=SIZE),
    "listed as full blocks": BlockMask.from_kv_blocks(*none, counts, indices, BLOCK_SIZE=SIZE),
    "by mask_mod": create_block_mask(lambda b, h, q, k: mask[b, h, q, k], 1, HEADS, TOKENS, TOKENS, device="cpu"),
}


def look(output):
    """The part of the weight that is on blocks that were not chosen."""
    return output[..., :BLOCKS].masked_fill(blocks.repeat_interleave(SIZE, 2), 0).sum(3).mean().item()


sparse = scaled_dot_product_attention(query, key, value, attn_mask=mask)
dense = scaled_dot_product_attention(query, key, value)
print("without a mask %.1f %% of the weight is outside of the chosen blocks" % (100 * look(dense)))
for name, block_mask in masks.items():
    assert (block_mask.to_dense().bool() == blocks).all()
    output = flex_attention(query, key, value, block_mask=block_mask)
    same = [torch.allclose(output, other, atol=1e-4) for other in (sparse, dense)]
    print("%s: %.1f %% outside; equal to the sparse attention: %s, to that without a mask: %s"
          % (name, 100 * look(output), *same))
    if name == "by mask_mod":
        assert same == [True, False] and look(output) == 0
    else:
        assert same == [False, True] and 0.6 < look(output) < 0.8
print("As described: without torch.compile the list of blocks has no effect.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
