"""The U-Net of ADM and improved DDPM, with the state-dict keys of the public checkpoints.

Sources: Nichol & Dhariwal, arXiv 2102.09672 (improved DDPM); Dhariwal & Nichol, arXiv 2105.05233,
section 3 and appendix (ADM). Every network of this repository has this call contract, and none
knows the noise schedule:

    net(x, i, c=None, w=None) -> out
    x    (B, C, H, W)   noisy images, float
    i    (B,)           index in the chain, 0 .. T-1 (0 is nearly clean), whole or fractional
    c    (B,)           class labels, int64; only for networks with num_classes
    w    (B,)           guidance scales, float; only for networks with guided=True
    out  (B, C or 2C, H, W)   the prediction, and behind it the variance interpolation, if learned
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

# Named sizes: arguments of UNet besides in_channels, out_channels and num_classes. A test checks
# the counts. nano and tiny train on a CPU, on images of up to 64 pixels; the others want a GPU.
SIZES = {
    # 1.2 M parameters with 6 output channels and 11 labels: dkdm.py's student
    "nano": dict(model_channels=32, num_res_blocks=1, attention_resolutions=(4,),
                 channel_mult=(1, 2, 2), num_head_channels=32),
    # 2.9 M parameters with 6 output channels and 11 labels: the built-in CIFAR-10 teacher
    "tiny": dict(model_channels=32, num_res_blocks=1, attention_resolutions=(4,),
                 channel_mult=(1, 2, 4), num_head_channels=32),
    # 14.3 M: the CIFAR-10 student of DKDM's tables
    "adm-14m": dict(model_channels=64, num_res_blocks=3, attention_resolutions=(2, 4),
                    channel_mult=(1, 2, 2, 2), dropout=0.3, num_head_channels=32,
                    resblock_updown=True, use_new_attention_order=True),
    # 57.1 M: the CIFAR-10 teacher of DDPM-IP and DKDM
    "adm-57m": dict(model_channels=128, num_res_blocks=3, attention_resolutions=(2, 4),
                    channel_mult=(1, 2, 2, 2), dropout=0.3, num_head_channels=32,
                    resblock_updown=True, use_new_attention_order=True),
    # 52.5 M: improved DDPM's cifar10_uncond_50M_500K
    "iddpm-50m": dict(model_channels=128, num_res_blocks=3, attention_resolutions=(2, 4),
                      channel_mult=(1, 2, 2, 2), dropout=0.3, num_heads=4),
    # 121.1 M: improved DDPM's imagenet64_uncond_100M_1500K
    "iddpm-121m": dict(model_channels=128, num_res_blocks=3, attention_resolutions=(4, 8),
                       channel_mult=(1, 2, 3, 4), num_heads=4),
    # 295.9 M with 1,000 labels: ADM's 64x64_diffusion; without, DDPM-IP's and DKDM's for CelebA-64
    "adm-296m": dict(model_channels=192, num_res_blocks=3, attention_resolutions=(2, 4, 8),
                     channel_mult=(1, 2, 3, 4), dropout=0.1, num_head_channels=64,
                     resblock_updown=True, use_new_attention_order=True),
    # 552.8 M: ADM's lsun_bedroom, lsun_cat and lsun_horse, 256 pixels
    "adm-553m": dict(model_channels=256, num_res_blocks=2, attention_resolutions=(8, 16, 32),
                     channel_mult=(1, 1, 2, 2, 4, 4), dropout=0.1, num_head_channels=64,
                     resblock_updown=True),
}


def timestep_embedding(i, dim):
    """Sinusoids of i (B,), whole or fractional: cosines, then sines, (B, dim), dim even."""
    half = dim // 2
    freqs = torch.exp(-math.log(10_000) / half * torch.arange(half, device=i.device))
    angles = i.float()[:, None] * freqs[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def norm(channels):
    """GroupNorm with the 32 groups of the public checkpoints."""
    return nn.GroupNorm(32, channels)


def zeroed(module):
    """The same layer, starting at 0: then blocks start as the identity, and the output at 0."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


class Upsample(nn.Module):
    """Twice the size, nearest neighbour; then a 3x3 convolution unless `channels` is None."""

    def __init__(self, channels=None):
        super().__init__()
        self.conv = nn.Identity()
        if channels is not None:
            self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Downsample(nn.Module):
    """Half the size, by a strided 3x3 convolution, or by average pooling if `channels` is None."""

    def __init__(self, channels=None):
        super().__init__()
        self.op = nn.AvgPool2d(2)
        if channels is not None:
            self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x):
        return self.op(x)


class ResBlock(nn.Module):
    """norm, SiLU, (resample), conv; embedding; norm, SiLU, dropout, conv; plus the input."""

    def __init__(self, in_channels, emb_channels, out_channels, dropout, use_scale_shift_norm,
                 resample=None):
        super().__init__()
        self.use_scale_shift_norm = use_scale_shift_norm
        self.resample = resample or nn.Identity()  # without weights, so without state-dict keys
        self.in_layers = nn.Sequential(
            norm(in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 3, padding=1))
        e = 2 * out_channels if use_scale_shift_norm else out_channels
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, e))
        self.out_layers = nn.Sequential(
            norm(out_channels), nn.SiLU(), nn.Dropout(dropout),
            zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1)))
        self.skip_connection = nn.Identity()
        if in_channels != out_channels:
            self.skip_connection = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x, emb):
        h = self.in_layers[:2](x)                                     # (B, in, H, W)
        h = self.in_layers[2](self.resample(h))                       # (B, out, H', W')
        e = self.emb_layers(emb)[:, :, None, None]                    # (B, out or 2 out, 1, 1)
        if self.use_scale_shift_norm:
            scale, shift = e.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[1:](h)                                # (B, out, H', W')
        else:
            h = self.out_layers(h + e)
        return self.skip_connection(self.resample(x)) + h


def attend(q, k, v):
    """softmax(q k^T / sqrt(D)) v of (B, heads, N, D): fused, but not to train on a CPU.

    There its backward pass in bfloat16 takes 6 times as long as the formula's (PyTorch 2.15).
    """
    if q.device.type == "cpu" and q.requires_grad:
        return torch.softmax(q * q.shape[-1] ** -0.5 @ k.mT, dim=-1) @ v
    return F.scaled_dot_product_attention(q, k, v)


class AttentionBlock(nn.Module):
    """Self-attention over all positions of the image, added to its input."""

    def __init__(self, channels, num_heads, use_new_attention_order):
        super().__init__()
        self.num_heads, self.new_order = num_heads, use_new_attention_order
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, x):
        B, C, H, W = x.shape
        qkv = self.qkv(self.norm(x).reshape(B, C, H * W))             # (B, 3C, HW)
        # Both orders have the same keys and shapes: the wrong one loads, and gives garbage.
        if self.new_order:  # q, k, v first, then heads
            q, k, v = qkv.reshape(B, 3, self.num_heads, -1, H * W).mT.unbind(1)
        else:               # heads first, then q, k, v
            q, k, v = qkv.reshape(B, self.num_heads, 3, -1, H * W).mT.unbind(2)
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()      # for a fast fused kernel
        h = attend(q, k, v)                                           # (B, heads, HW, C / heads)
        return x + self.proj_out(h.mT.reshape(B, C, H * W)).reshape(B, C, H, W)


class Stage(nn.Sequential):
    """Layers in a row; those that want the time embedding get it."""

    def forward(self, x, emb):
        for layer in self:
            x = layer(x, emb) if isinstance(layer, ResBlock) else layer(x)
        return x


class UNet(nn.Module):
    """Argument meanings as in the public ADM code.

    attention_resolutions   downsampling factors (1, 2, 4, ...) that have attention, not pixels
    channel_mult            width at each level, in units of model_channels
    num_classes             rows of the label table, "no class" included; None: no labels
    num_heads, num_head_channels   of the attention; num_head_channels decides unless it is -1
    use_scale_shift_norm    the embedding scales and shifts after the second norm, instead of being
                            added before it
    resblock_updown         resample inside a residual block, not by a convolution of its own
    use_new_attention_order how q, k, v and the heads share the channels of qkv
    index_scale             what the index is multiplied by before it is embedded: 1000 / T for
                            networks trained with improved DDPM's rescale_timesteps, else 1
    guided                  whether forward takes w, embedded like the index and added to it by a
                            layer that starts at 0
    Raises ValueError for widths that 32 groups or the heads do not divide, and for c or w missing
    or not asked for.

    The heads, the attention order, dropout and index_scale leave no trace in a state dict: weights
    load into a network with wrong ones, and only the look of its samples tells.
    """

    arch = "unet"  # its name in checkpoints

    def __init__(self, in_channels, model_channels, out_channels, num_res_blocks,
                 attention_resolutions, dropout=0, channel_mult=(1, 2, 4, 8), num_classes=None,
                 num_heads=1, num_head_channels=-1, use_scale_shift_norm=True,
                 resblock_updown=False, use_new_attention_order=False, index_scale=1.0,
                 guided=False):
        attention_resolutions, channel_mult = tuple(attention_resolutions), tuple(channel_mult)
        arguments = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__()
        self.arguments = arguments  # what a checkpoint stores to build this network again
        self.model_channels, self.num_classes = model_channels, num_classes
        self.index_scale, self.guided = index_scale, guided
        emb_channels = 4 * model_channels

        def res(cin, cout, resample=None):
            return ResBlock(cin, emb_channels, cout, dropout, use_scale_shift_norm, resample)

        def attention(channels):
            by_heads = num_head_channels == -1
            per_head = channels // num_heads if by_heads else num_head_channels
            if per_head < 1 or channels % per_head or by_heads and channels % num_heads:
                raise ValueError(f"UNet: {channels} channels do not split into attention heads "
                                 f"(num_heads={num_heads}, num_head_channels={num_head_channels})")
            return AttentionBlock(channels, channels // per_head, use_new_attention_order)

        def embed(last):
            return nn.Sequential(nn.Linear(model_channels, emb_channels), nn.SiLU(), last)

        self.time_embed = embed(nn.Linear(emb_channels, emb_channels))
        if num_classes is not None:
            self.label_emb = nn.Embedding(num_classes, emb_channels)
        if guided:
            self.guidance_embed = embed(zeroed(nn.Linear(emb_channels, emb_channels)))

        ch = channel_mult[0] * model_channels
        factor = 1  # how much smaller than the input this level is
        self.input_blocks = nn.ModuleList([Stage(nn.Conv2d(in_channels, ch, 3, padding=1))])
        skips = [ch]
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                layers = [res(ch, mult * model_channels)]
                ch = mult * model_channels
                if factor in attention_resolutions:
                    layers.append(attention(ch))
                self.input_blocks.append(Stage(*layers))
                skips.append(ch)
            if level < len(channel_mult) - 1:
                down = res(ch, ch, Downsample()) if resblock_updown else Downsample(ch)
                self.input_blocks.append(Stage(down))
                skips.append(ch)
                factor *= 2

        self.middle_block = Stage(res(ch, ch), attention(ch), res(ch, ch))

        self.output_blocks = nn.ModuleList()
        for level, mult in reversed(list(enumerate(channel_mult))):
            for block in range(num_res_blocks + 1):
                layers = [res(ch + skips.pop(), mult * model_channels)]
                ch = mult * model_channels
                if factor in attention_resolutions:
                    layers.append(attention(ch))
                if level > 0 and block == num_res_blocks:
                    layers.append(res(ch, ch, Upsample()) if resblock_updown else Upsample(ch))
                    factor //= 2
                self.output_blocks.append(Stage(*layers))

        last = zeroed(nn.Conv2d(ch, out_channels, 3, padding=1))
        self.out = nn.Sequential(norm(ch), nn.SiLU(), last)

    @property
    def last_of_time(self):
        return self.time_embed[2]

    def embed_time(self, i):
        """The embedding of indices i (B,), of which last_of_time is the last layer: (B, D)."""
        return self.time_embed(timestep_embedding(i * self.index_scale, self.model_channels))

    def forward(self, x, i, c=None, w=None):
        if (c is None) != (self.num_classes is None):
            raise ValueError(f"UNet: this network wants {'' if c is None else 'no '}labels c")
        if (w is None) == self.guided:
            raise ValueError(f"UNet: this network wants {'' if w is None else 'no '}guidance w")
        emb = self.embed_time(i)
        if c is not None:
            emb = emb + self.label_emb(c)
        if w is not None:
            emb = emb + self.guidance_embed(timestep_embedding(w, self.model_channels))
        skips = []                                                   # emb (B, 4 model_channels)
        for stage in self.input_blocks:
            x = stage(x, emb)
            skips.append(x)
        x = self.middle_block(x, emb)
        for stage in self.output_blocks:
            x = stage(torch.cat([x, skips.pop()], dim=1), emb)
        return self.out(x)                                           # (B, out_channels, H, W)
