"""DiT, the diffusion transformer with adaLN-Zero, with the public checkpoints' state-dict keys.

Source: Peebles & Xie, arXiv 2212.09748. The call contract is that of unet.py:

    net(x, i, c=None, w=None) -> out
    x    (B, C, H, W)   noisy images, float, H = W = input_size
    i    (B,)           index in the chain, 0 .. T-1 (0 is nearly clean), whole or fractional
    c    (B,)           class labels, int64; only for networks with num_classes
    w    (B,)           guidance scales, float; only for networks with guided=True
    out  (B, C or 2C, H, W)   the prediction, and behind it the variance interpolation, if learned
"""

import torch
import torch.nn.functional as F
from torch import nn

from unet import attend, timestep_embedding

# Named sizes: arguments of ViT besides input_size, in_channels, num_classes and learn_sigma. A test
# checks the counts.
SIZES = {
    # 2.9 M parameters on 32x32 images with 11 labels, 64 patches: trains on a CPU
    "vit-tiny": dict(patch_size=4, hidden_size=192, depth=4, num_heads=3),
    # DiT-S/2 and its like: the letter is the width and depth, the number the patch
    "vit-s4": dict(patch_size=4, hidden_size=384, depth=12, num_heads=6),
    "vit-s2": dict(patch_size=2, hidden_size=384, depth=12, num_heads=6),
    "vit-b2": dict(patch_size=2, hidden_size=768, depth=12, num_heads=12),
    "vit-l2": dict(patch_size=2, hidden_size=1024, depth=24, num_heads=16),
    "vit-xl2": dict(patch_size=2, hidden_size=1152, depth=28, num_heads=16),
}


def position_embedding(size, dim):
    """Sines and cosines of each patch's column, then of its row: (1, size * size, dim) float32."""
    freqs = 10_000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angles = torch.arange(size, dtype=torch.float64)[:, None] * freqs            # (size, dim / 4)
    line = torch.cat([angles.sin(), angles.cos()], dim=1)                        # (size, dim / 2)
    column, row = line.expand(size, -1, -1), line[:, None].expand(-1, size, -1)  # (size, size, ...)
    return torch.cat([column, row], dim=2).reshape(1, size * size, dim).float()


def modulate(x, shift, scale):
    """x (B, N, D) with its last axis scaled and shifted, by (B, D) each."""
    return torch.addcmul(shift[:, None], x, 1 + scale[:, None])


class Attention(nn.Module):
    """Self-attention over all patches."""

    def __init__(self, dim, num_heads):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x):
        B, N, D = x.shape
        qkv = self.qkv(x).reshape(B, N, 3, self.num_heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)                                # (B, heads, N, ...)
        return self.proj(attend(q, k, v).transpose(1, 2).reshape(B, N, D))


class Mlp(nn.Module):
    """Two layers, wider in the middle."""

    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """Attention, then an MLP; the embedding shifts, scales and gates both. Gates start at 0."""

    def __init__(self, dim, num_heads, mlp_ratio):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 6 * dim))

    def forward(self, x, emb):                                              # (B, N, D), (B, D)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(emb).chunk(6, dim=1)
        x = x + gate1[:, None] * self.attn(modulate(self.norm1(x), shift1, scale1))
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))


class FinalLayer(nn.Module):
    """From tokens to the pixels of each patch, all output channels; starts at 0."""

    def __init__(self, dim, patch_size, out_channels):
        super().__init__()
        self.norm_final = nn.LayerNorm(dim, elementwise_affine=False, eps=1e-6)
        self.linear = nn.Linear(dim, patch_size * patch_size * out_channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(dim, 2 * dim))

    def forward(self, x, emb):
        shift, scale = self.adaLN_modulation(emb).chunk(2, dim=1)
        return self.linear(modulate(self.norm_final(x), shift, scale))      # (B, N, p * p * out)


class ViT(nn.Module):
    """Argument meanings as in DiT.

    input_size    height and width of the images, a multiple of patch_size
    hidden_size   width of a token, a multiple of 4 and of num_heads
    num_classes   rows of the label table, "no class" included; None: no labels
    learn_sigma   whether C channels of variance interpolation follow the prediction
    guided        whether forward takes w, embedded like the index and added to it by a layer that
                  starts at 0
    Raises ValueError for a patch that does not divide, and for c or w missing or not asked for.

    num_heads leaves no trace in a state dict: weights load into a network with a wrong one.
    """

    arch = "vit"  # its name in checkpoints

    def __init__(self, input_size, patch_size, in_channels, hidden_size, depth, num_heads,
                 mlp_ratio=4.0, num_classes=None, learn_sigma=True, guided=False):
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        if input_size % patch_size:
            raise ValueError(f"ViT: {input_size} pixels do not split into patches of {patch_size}")
        self.arguments = arguments  # what a checkpoint stores to build this network again
        self.patch_size, self.num_classes, self.guided = patch_size, num_classes, guided
        self.out_channels = 2 * in_channels if learn_sigma else in_channels
        D = hidden_size

        def embedder():
            layers = nn.Sequential(nn.Linear(256, D), nn.SiLU(), nn.Linear(D, D))
            return nn.ModuleDict({"mlp": layers})

        # x_embedder.proj, t_embedder.mlp, y_embedder.embedding_table: as in the public checkpoints
        self.x_embedder = nn.ModuleDict({
            "proj": nn.Conv2d(in_channels, D, patch_size, stride=patch_size)})
        positions = position_embedding(input_size // patch_size, D)
        self.pos_embed = nn.Parameter(positions, requires_grad=False)
        self.t_embedder = embedder()
        if num_classes is not None:
            self.y_embedder = nn.ModuleDict({"embedding_table": nn.Embedding(num_classes, D)})
        if guided:
            self.guidance_embedder = embedder()
        self.blocks = nn.ModuleList([Block(D, num_heads, mlp_ratio) for _ in range(depth)])
        self.final_layer = FinalLayer(D, patch_size, self.out_channels)
        self.initialize()

    def initialize(self):
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        proj = self.x_embedder["proj"]
        nn.init.xavier_uniform_(proj.weight.flatten(1))  # a view: a patch is a linear layer's input
        nn.init.zeros_(proj.bias)
        tables = [m for m in self.modules() if isinstance(m, nn.Embedding)]
        for layer in (self.t_embedder["mlp"][0], self.t_embedder["mlp"][2], *tables):
            nn.init.normal_(layer.weight, std=0.02)
        zero = [block.adaLN_modulation[1] for block in self.blocks]  # blocks start as the identity,
        zero += [self.final_layer.adaLN_modulation[1], self.final_layer.linear]   # the output at 0
        if self.guided:
            zero.append(self.guidance_embedder["mlp"][2])
        for layer in zero:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def last_of_time(self):
        return self.t_embedder["mlp"][2]

    def embed_time(self, i):
        """The embedding of indices i (B,), of which last_of_time is the last layer: (B, D)."""
        return self.t_embedder["mlp"](timestep_embedding(i, 256))

    def forward(self, x, i, c=None, w=None):
        if (c is None) != (self.num_classes is None):
            raise ValueError(f"ViT: this network wants {'' if c is None else 'no '}labels c")
        if (w is None) == self.guided:
            raise ValueError(f"ViT: this network wants {'' if w is None else 'no '}guidance w")
        emb = self.embed_time(i)                                            # (B, D)
        if c is not None:
            emb = emb + self.y_embedder["embedding_table"](c)
        if w is not None:
            emb = emb + self.guidance_embedder["mlp"](timestep_embedding(w, 256))
        x = self.x_embedder["proj"](x)                                      # (B, D, side, side)
        side, p = x.shape[3], self.patch_size
        x = x.flatten(2).mT + self.pos_embed                                # (B, N, D), N = side^2
        for block in self.blocks:
            x = block(x, emb)
        x = self.final_layer(x, emb)                                        # (B, N, p * p * out)
        x = x.reshape(-1, side, side, p, p, self.out_channels).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(-1, self.out_channels, side * p, side * p)         # (B, out, H, W)
