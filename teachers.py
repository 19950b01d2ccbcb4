"""Diffusion teachers: noise schedules, checkpoints, samplers, and the training of a teacher from data.

    python teachers.py list
    python teachers.py sample cifar10 --steps 50 --sampler ddim --n 64 --out samples.npz
    python teachers.py train --data my-pictures --size 32
    python teachers.py convert downloaded.pt --arch iddpm-cifar10 --out teacher.pt

The table NAMED below has the teachers with a name: ours and public ones, with origin, address, size, SHA-256, licence
and score; list prints it. diffusers:NAME, or diffusers:FOLDER, is a pipeline of the diffusers library (class Pipeline).
Any other name is taken as the path of a checkpoint.

Two clocks. The chain has T steps with indices i = 0 .. T-1; index 0 is nearly clean, T-1 nearly pure noise (the
papers' t is i + 1). Continuous time is t = (i + 1) / T in (0, 1]. Noise level: x_t = alpha_t x_0 + sigma_t eps with
alpha_t^2 + sigma_t^2 = 1; lam_t = -log(alpha_t / sigma_t), which rises with t. A network takes the index and predicts

    predicts   the network's first C channels              x0 from it                    eps from it
    "eps"      eps, the noise                              (x - sigma eps) / alpha       eps
    "x0"       x0, the clean image                         x0                            (x - alpha x0) / sigma
    "v"        v = alpha eps - sigma x0                    alpha x - sigma v             alpha v + sigma x

Behind them, if it learned the variance, come C channels that interpolate the log-variance (improved DDPM, eq. 15).
Images are float32 (B, C, H, W) in [-1, 1].
"""

import argparse
import contextlib
import copy
import csv
import ctypes
import dataclasses
import errno
import functools
import hashlib
import importlib
import io
import json
import math
import os
import pickle
import shutil
import sys
import textwrap
import time
import urllib.error
import urllib.request
import warnings
from http.client import HTTPException
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torchvision
from PIL import Image, ImageDraw, ImageFont, ImageOps
from tqdm import tqdm

import unet
import vit

SIZES = unet.SIZES | vit.SIZES  # what new_network() builds, by name
WEIGHTS = Path(__file__).resolve().parent / "weights"
PRECISIONS = ("auto", "fp32", "bf16")


# ---------------------------------------------------------------------------------------------------------------------
# The named teachers


@dataclasses.dataclass(frozen=True)
class Named:
    """A teacher with a name, or a student that ships. The file itself says what it holds, or `about` (see load()).

    url      address of the file; a web page (by_hand) if a program cannot get it; "" if it is in weights/
    sha256   "" if its publisher gives none: then it is recorded at the first download, and checked from then on
    size     in bytes; of public weights computed from their number, in single precision. Half precision loads too
    """

    origin: str
    licence: str
    fid: str
    file: str
    size: int
    url: str = ""
    by_hand: bool = False
    sha256: str = ""
    about: dict = None


def public_unet(size, pixels, classes=None, schedule="cosine", T=1000, **arguments):
    """What the bare weights of a public U-Net are: they all predict noise and learned the variance, for RGB images.

    Those with classes know no "no class": their label tables have one row a class.
    """
    config = SIZES[size] | dict(in_channels=3, out_channels=6, num_classes=classes) | arguments
    return dict(arch="unet", config=config, image_shape=[3, pixels, pixels], classes=classes, predicts="eps",
                learned_sigma=True, schedule=schedule, T=T)


OPENAI, DRIVE = "https://openaipublic.blob.core.windows.net/diffusion/", "https://drive.google.com/file/d/"
DKDM_FID = "of DKDM's teacher in this format (50 steps; arXiv 2409.03550)"
NAMED = {
    "cifar10": Named(
        "ours, trained on CIFAR-10 with teachers.py", "MIT", "FID-cifar10net 0.28 (ours; 10 DDIM steps, w = 2)",
        "cifar10.pt", 5_769_517, sha256="ee29e34d71f84270c60cd1c39c77f6a0b98cda96c8331cc4414a69498ff41cef"),
    "cifar10-boot": Named(
        "ours, a one-step student of cifar10 at w = 2, by boot.py", "MIT", "FID-cifar10net 0.39 (ours; 1 step)",
        "cifar10_boot.pt", 5_769_453, sha256="e6c400a86e4d0d549619b2e6a102934097017936205ab68732d9d2c540cbd415"),
    "cifar10-dkdm-nano": Named(
        "ours, a U-Net student of cifar10, by dkdm.py", "MIT", "FID-cifar10net 2.47 (ours; 10 DDIM steps)",
        "cifar10_dkdm_nano.pt", 2_441_905, sha256="fc4b13c46f8f2bba9e3d069c4519d684cfeac885da15bf54b63f0908950ee24d"),
    "cifar10-dkdm-vit-tiny": Named(
        "ours, a transformer student of cifar10, by dkdm.py", "MIT", "FID-cifar10net 4.07 (ours; 10 DDIM steps)",
        "cifar10_dkdm_vit_tiny.pt", 5_753_735,
        sha256="ebed06a477d3053a8f5a7966d467d2d1e08ef74cecb242f45129d4c6a737d018"),
    "iddpm-cifar10": Named(
        "openai/improved-diffusion, trained on CIFAR-10", "MIT", "FID 3.19 (4,000 steps; arXiv 2102.09672)",
        "cifar10_uncond_50M_500K.pt", 210_185_752, OPENAI + "march-2021/cifar10_uncond_50M_500K.pt",
        about=public_unet("iddpm-50m", 32, T=4000, index_scale=1000 / 4000)),
    "iddpm-imagenet64": Named(
        "openai/improved-diffusion, trained on ImageNet", "MIT", "FID 19.2 (4,000 steps; arXiv 2102.09672)",
        "imagenet64_uncond_100M_1500K.pt", 484_255_768, OPENAI + "march-2021/imagenet64_uncond_100M_1500K.pt",
        about=public_unet("iddpm-121m", 64, T=4000, index_scale=1000 / 4000)),
    "adm-imagenet64": Named(
        "openai/guided-diffusion, trained on ImageNet", "MIT", "FID 2.07 (250 steps; arXiv 2105.05233)",
        "64x64_diffusion.pt", 1_183_617_816, OPENAI + "jul-2021/64x64_diffusion.pt",
        about=public_unet("adm-296m", 64, classes=1000)),
    "adm-lsun-bedroom": Named(
        "openai/guided-diffusion, trained on LSUN bedroom", "MIT", "FID 1.90 (1,000 steps; arXiv 2105.05233)",
        "lsun_bedroom.pt", 2_211_256_344, OPENAI + "jul-2021/lsun_bedroom.pt",
        about=public_unet("adm-553m", 256, schedule="linear")),
    "ddpm-ip-cifar10": Named(
        "forever208/DDPM-IP, trained on CIFAR-10: ADM-IP or ADM-baseline", "MIT", f"FID 4.45 {DKDM_FID}", "ADM-IP.pt",
        228_378_648, DRIVE + "107CyhiRazNZWkksvoyYRLn71Pcs5FOBo", by_hand=True, about=public_unet("adm-57m", 32)),
    "ddpm-ip-celeba64": Named(
        "forever208/DDPM-IP, trained on CelebA", "MIT", f"FID 4.43 {DKDM_FID}", "ADM-IP.pt",
        1_180_545_816, DRIVE + "1Us9zKaIMh8dDlAZVXt3hR2FQYwhxEPYk", by_hand=True, about=public_unet("adm-296m", 64)),
    "ddpm-ip-imagenet32": Named(
        "forever208/DDPM-IP, trained on ImageNet", "MIT", f"FID 4.67 {DKDM_FID}", "ADM-IP.pt",
        228_378_648, DRIVE + "1FFUJDk-__9y9DnAG6DKDx5W7LgEIuJyk", by_hand=True, about=public_unet("adm-57m", 32)),
    "dit-xl2": Named(
        "facebookresearch/DiT, trained on ImageNet, latents of 256 x 256 images", "CC BY-NC 4.0",
        "FID 2.27 (250 steps, guidance 1.5, decoded; arXiv 2212.09748)", "DiT-XL-2-256x256.pt", 2_700_518_528,
        "https://dl.fbaipublicfiles.com/DiT/models/DiT-XL-2-256x256.pt",
        about=dict(arch="vit", config=SIZES["vit-xl2"] | dict(input_size=32, in_channels=4, num_classes=1001),
                   image_shape=[4, 32, 32], classes=1000, predicts="eps", learned_sigma=True, schedule="linear",
                   T=1000)),
}


def first_words(error, length=200):
    """An error's message on one line, no longer than that."""
    return " ".join(str(error).split())[:length]


class UserError(ValueError):
    """Bad input. The message is one line, what is wrong and what to do; the scripts print it and exit with status 2."""


def opt(default, help, **metadata):
    """A field of a configuration dataclass that becomes a command-line option."""
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


# ---------------------------------------------------------------------------------------------------------------------
# Noise schedule


def per_sample(values, x):
    """values (B,) shaped to multiply x (B, ...), in x's precision and on its device."""
    return values.to(x.dtype).to(x.device).reshape(-1, *[1] * (x.ndim - 1))  # precision first: MPS knows no float64


class Schedule:
    """A noise schedule: the discrete chain, and its continuous-time view.

    name            "cosine" (improved DDPM, eq. 17), "linear" (DDPM's betas, scaled by 1000 / T), or the alphas_cumprod
    T               number of steps
    alphas_cumprod  (T,) float64, the product of (1 - beta) up to each index: alpha^2 at t = (i + 1) / T
    clip            whether p_mean_variance keeps x0 in [-1, 1]; a Teacher of latents sets it to False
    Raises UserError for an unknown name or T < 1.
    """

    clip = True

    def __init__(self, name, T=1000):
        if torch.is_tensor(name):
            self.name = "given"
            return self._set_chain(name.double())
        if T < 1:
            raise UserError(f"a noise schedule needs at least one step, got T = {T}")
        if name == "cosine":
            f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
        elif name == "linear":
            betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64) * 1000 / T
        else:
            raise UserError(f"unknown noise schedule {name!r}: choose cosine or linear")
        self.name = name
        self._set_chain(torch.cumprod(1 - betas, dim=0))

    def _set_chain(self, alphas_cumprod):
        self.T, self._tables = len(alphas_cumprod), {}
        self.alphas_cumprod = alphas_cumprod
        self._lam = 0.5 * torch.log((1 - alphas_cumprod) / alphas_cumprod)
        self._alpha, self._sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
        # For posterior(). At i = 0 its variance is 0, so the logarithm takes that of i = 1.
        before = torch.cat([alphas_cumprod.new_ones(1), alphas_cumprod[:-1]])
        betas = 1 - alphas_cumprod / before
        variance = betas * (1 - before) / (1 - alphas_cumprod)
        first = variance[1:2] if self.T > 1 else betas
        self._min_log = torch.log(torch.cat([first, variance[1:]]))
        self._max_log = torch.log(betas)
        self._fixed_log = torch.log(torch.cat([first, betas[1:]]))  # for networks that did not learn the variance
        self._mean_x0 = betas * before.sqrt() / (1 - alphas_cumprod)
        self._mean_x = (1 - before) * (alphas_cumprod / before).sqrt() / (1 - alphas_cumprod)

    def respaced(self, indices):
        """The chain that visits only these rising indices of this one (improved DDPM, section 4)."""
        chain = Schedule(self.alphas_cumprod[list(indices)])
        chain.clip = self.clip
        return chain

    def lam(self, t):
        """-log(alpha_t / sigma_t) at times t (...), linear between the indices; t below 1 / T counts as 1 / T."""
        t = torch.as_tensor(t)
        position = (t * self.T - 1).clamp(0, self.T - 1)
        left = position.detach().long().clamp(max=max(self.T - 2, 0))
        right = (left + 1).clamp(max=self.T - 1)
        table = self._table("_lam", t.dtype, t.device)
        return torch.lerp(table[left], table[right], position - left)

    def alpha(self, t):
        """Signal level at times t (...)."""
        return torch.sigmoid(-2 * self.lam(t)).sqrt()

    def sigma(self, t):
        """Noise level at times t (...)."""
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def _table(self, name, dtype, device):
        """A table (T,) on a device. It stays there: a copy at each step would make a GPU wait."""
        if (name, dtype, device) not in self._tables:
            self._tables[name, dtype, device] = getattr(self, name).to(dtype).to(device)  # MPS knows no float64
        return self._tables[name, dtype, device]

    def _at(self, i, x, *names):
        """Entries i (B,) of each table, shaped to multiply x (B, ...)."""
        return [per_sample(self._table(name, x.dtype, i.device)[i], x) for name in names]

    def levels(self, i, x):
        """alpha and sigma at chain indices i (B,) int64, each shaped to multiply x (B, ...)."""
        return self._at(i, x, "_alpha", "_sigma")

    def posterior(self, x0, x, i):
        """Mean and log-variance of q(x_{i-1} | x_i, x_0) (DDPM, eq. 6 and 7), each shaped to go with x (B, ...)."""
        for_x0, for_x, log_variance = self._at(i, x, "_mean_x0", "_mean_x", "_min_log")
        return for_x0 * x0 + for_x * x, log_variance

    def p_mean_variance(self, out, x, i, clip=None):
        """The step p(x_{i-1} | x_i) that a network's output in eps form asks for (improved DDPM, section 3.1).

        out  (B, 2C, ...) predicted noise, then the variance interpolation; or (B, C, ...) without learned variances
        x    (B, C, ...) at chain indices i (B,) int64;  clip: keep the predicted x0 in [-1, 1]; None: self.clip
        Returns mean, log_variance, x0 and eps, each (B, C, ...); eps is the noise that x0, clipped or not, implies.
        """
        C = x.shape[1]
        alpha, sigma = self.levels(i, x)
        x0 = (x - sigma * out[:, :C]) / alpha
        if self.clip if clip is None else clip:
            x0 = x0.clamp(-1, 1)
        eps = (x - alpha * x0) / sigma
        mean, low = self.posterior(x0, x, i)
        if out.shape[1] == 2 * C:  # eq. 15: the network picks between the two bounds of the log-variance, from -1 to 1
            high, = self._at(i, x, "_max_log")
            log_variance = low + (out[:, C:] + 1) / 2 * (high - low)
        else:
            log_variance = self._at(i, x, "_fixed_log")[0].expand_as(x)
        return mean, log_variance, x0, eps


# ---------------------------------------------------------------------------------------------------------------------
# Teacher and samplers


class Teacher:
    """A trained diffusion network with all that is needed to use it.

    net             called as net(x, i, y), see unet.py
    schedule        Schedule
    image_shape     (C, H, W)
    num_classes     classes that may be asked for; label num_classes is "no class". None: the network takes no labels
    predicts        "eps" | "x0" | "v", see the top of this file
    learned_sigma   whether C channels of variance interpolation follow the prediction
    null_label      the label of "no class"; None without classes, and for networks trained without it (ADM's)
    pipeline        Pipeline, where latents are decoded and classes are texts; None for all others

    Labels y are (B,) int64; None means "no class". guidance w is classifier-free guidance,
    f(x, null) + w (f(x, c) - f(x, null)), so 1 is none; it costs a second network evaluation. w is a number, or one
    for each sample (B,).
    """

    def __init__(self, net, schedule, image_shape, num_classes, predicts, learned_sigma, pipeline=None):
        self.net, self.schedule, self.pipeline = net, schedule, pipeline
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.predicts, self.learned_sigma = predicts, learned_sigma
        rows = getattr(net, "num_classes", None)
        self.null_label = None if rows is not None and rows == num_classes else num_classes
        if self.image_shape[0] not in (1, 3) or (pipeline is not None and pipeline.latents):
            self.schedule = copy.copy(schedule)
            self.schedule.clip = False

    def _predict(self, x, i, y, guidance):
        """The network's own output, float32 (B, C or 2C, ...), its prediction guided."""
        C = x.shape[1]
        if self.num_classes is None:
            if is_guided(guidance) or y is not None:
                raise UserError("this teacher knows no classes: leave labels and guidance out")
            return self.net(x, i).float()
        if self.null_label is None and (y is None or is_guided(guidance)):
            raise UserError('this teacher knows no "no class": give it labels, and leave guidance out')
        null = None if self.null_label is None else torch.full((len(x),), self.null_label, device=x.device)
        if y is None or not is_guided(guidance):
            return self.net(x, i, null if y is None else y).float()
        with_class, without = self.net(x.repeat(2, 1, 1, 1), i.repeat(2), torch.cat([y, null])).float().chunk(2)
        w = per_sample(guidance, x) if torch.is_tensor(guidance) else guidance
        guided = without[:, :C] + w * (with_class[:, :C] - without[:, :C])
        return torch.cat([guided, with_class[:, C:]], dim=1)

    def eps_form(self, x, i, y=None, guidance=1.0):
        """The network's output at chain indices i (B,) int64, its prediction turned into noise: (B, C or 2C, H, W).

        Records a gradient if the weights want one; those of a loaded teacher do not.
        """
        out, C = self._predict(x, i, y, guidance), x.shape[1]
        alpha, sigma = self.schedule.levels(i, x)
        p = out[:, :C]
        eps = {"eps": lambda: p, "x0": lambda: (x - alpha * p) / sigma, "v": lambda: alpha * p + sigma * x}
        return torch.cat([eps[self.predicts](), out[:, C:]], dim=1)

    @torch.no_grad()
    def x0(self, x, t, y=None, guidance=1.0):
        """f_phi: the clean image predicted from x (B, C, H, W) at continuous times t (B,).

        Kept in [-1, 1] as in the samplers where it may leave it far: for teachers that predict noise, whose errors
        near t = 1 are divided by a small alpha, and under guidance.
        """
        p = self._predict(x, t * self.schedule.T - 1, y, guidance)[:, :x.shape[1]]
        x0 = to_x0(self.predicts, p, x, self.schedule.alpha(t), self.schedule.sigma(t))
        return x0.clamp(-1, 1) if self.schedule.clip and (self.predicts == "eps" or is_guided(guidance)) else x0

    @torch.no_grad()
    def ddim(self, x_T, steps, y=None, guidance=1.0, t_max=None, t_min=None):
        """Images (B, C, H, W) from noise x_T by deterministic DDIM (eta = 0, arXiv 2010.02502 eq. 12).

        Without t_max and t_min: ADM's sampler, at indices 0, k, 2k, ... for the stride k that gives `steps` of them
        (UserError if none does), x0 clipped to [-1, 1]. With them: the path that BOOT's student learns; calls at
        `steps` times evenly spaced from t_max to t_min; the last call's x0 is the image, so that one step is
        f(x_T, t_max).
        """
        x, B = x_T, len(x_T)
        if t_max is None:
            indices = ddim_indices(steps, self.schedule.T)
            chain = self.schedule.respaced(indices)
            for k in reversed(range(steps)):
                out = self.eps_form(x, torch.full((B,), indices[k], device=x.device), y, guidance)
                _, _, x0, eps = chain.p_mean_variance(out, x, torch.full((B,), k))
                x = chain._alpha[k - 1].item() * x0 + chain._sigma[k - 1].item() * eps if k else x0
            return x
        times = torch.linspace(t_max, t_min, steps, device=x.device)
        for cur, nxt in zip(times, [*times[1:], None], strict=True):
            x0 = self.x0(x, cur.expand(B), y, guidance)
            if nxt is None:
                return x0
            eps = (x - self.schedule.alpha(cur) * x0) / self.schedule.sigma(cur)
            x = self.schedule.alpha(nxt) * x0 + self.schedule.sigma(nxt) * eps

    @torch.no_grad()
    def ddpm(self, x_T, steps, y=None, guidance=1.0, noises=None):
        """Images (B, C, H, W) from noise x_T by ancestral sampling on `steps` evenly spaced indices (improved DDPM).

        noises (steps, B, C, H, W), first = largest index, or an iterator of them; None draws them. The last one is not
        used. x0 is clipped.
        """
        x, noises = x_T, None if noises is None else iter(noises)
        indices = ddpm_indices(steps, self.schedule.T)
        chain = self.schedule.respaced(indices)
        for k in reversed(range(steps)):
            out = self.eps_form(x, torch.full((len(x),), indices[k], device=x.device), y, guidance)
            mean, log_variance, _, _ = chain.p_mean_variance(out, x, torch.full((len(x),), k))
            if k == 0:
                return mean
            noise = torch.randn_like(x) if noises is None else next(noises)
            x = mean + (0.5 * log_variance).exp() * noise


def is_guided(guidance):
    """Whether classifier-free guidance w changes anything: a number other than 1, or a number for each sample."""
    return torch.is_tensor(guidance) or guidance != 1


def to_x0(predicts, p, x, alpha, sigma):
    """The clean image that a prediction p (B, C, ...) means for x (B, C, ...) at levels alpha, sigma (B,) or ()."""
    alpha, sigma = per_sample(alpha, x), per_sample(sigma, x)
    if predicts == "v":
        return alpha * x - sigma * p
    return p if predicts == "x0" else (x - sigma * p) / alpha


def ddim_indices(steps, T):
    """ADM's indices for DDIM: every k-th, from 0, for the smallest k that gives `steps` of them."""
    for stride in range(1, T + 1):
        if len(range(0, T, stride)) == steps:
            return list(range(0, T, stride))
    raise UserError(f"no whole stride takes {steps} DDIM steps out of a chain of {T}: try 10, 20, 50, 100 or 250")


def ddpm_indices(steps, T):
    """Improved DDPM's indices: `steps` of them, evenly spaced and rounded, with both ends (one step: the noisy one)."""
    if not 1 <= steps <= T:
        raise UserError(f"{steps} DDPM steps do not fit a chain of {T}: choose 1 to {T}")
    return [round(k * (T - 1) / (steps - 1)) for k in range(steps)] if steps > 1 else [T - 1]


# ---------------------------------------------------------------------------------------------------------------------
# Checkpoints

CHECKPOINT = {"arch", "arch_args", "weights", "schedule", "T", "predicts", "learned_sigma", "image_shape",
              "num_classes", "method", "config"}


def checkpoint(model, method, config):
    """A plain dict of tensors and values with all that sampling and scoring `model` needs.

    model: a Teacher, or anything with the same fields;  method: what made it ("teacher", "dkdm", "boot");  config: dict
    """
    arch, = (name for name, cls in ARCHITECTURES.items() if type(model.net) is cls)
    return {"arch": arch, "arch_args": model.net.arguments, "weights": model.net.state_dict(),
            "schedule": model.schedule.alphas_cumprod if model.schedule.name == "given" else model.schedule.name,
            "T": model.schedule.T, "predicts": model.predicts, "learned_sigma": model.learned_sigma,
            "image_shape": list(model.image_shape), "num_classes": model.num_classes, "method": method,
            "config": config, "pipeline": model.pipeline and dataclasses.asdict(model.pipeline)}


def save(path, content):
    """Writes content (a dict of tensors and plain values) to path, whole or not at all. UserError if it cannot."""
    if processes()[0] > 0:  # the first process writes for all, here and below
        return
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    buffer = io.BytesIO()  # torch.save straight to a full disk raises a RuntimeError that does not say so
    torch.save(content, buffer)
    try:
        with open(aside, "wb") as f:
            f.write(buffer.getbuffer())
            f.flush()
            os.fsync(f.fileno())
        os.replace(aside, path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise UserError(f"cannot write {path} ({error.strerror}): make room, or choose another place; "
                        "a file of that name is as it was") from None


def read(path):
    """What save() wrote. UserError if path is missing, broken, or carries code, which is never run."""
    if not Path(path).is_file():
        raise UserError(f"no checkpoint at {path}: check the path" +
                        (f", or choose a named one ({', '.join(NAMED)})" if "/" not in str(path) else ""))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are then refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail in any way
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise UserError(f"{path} carries code, which was not run: save tensors instead (a state_dict)") from None
        raise UserError(f"{path} is truncated or no PyTorch checkpoint: get it again") from None


DESCRIPTION = {"config", "image_shape", "classes", "predicts", "learned_sigma", "schedule", "T"}
NOTES = {"arch", "training", "network", "parameters", "null_label", "out_channels_meaning", "network_time"}


def load(name_or_path, arch="", prompts=""):
    """A checkpoint as checkpoint() describes it: of a named teacher, a pipeline (diffusers:NAME), or read from a file.

    prompts is a file, for models whose classes are texts: then they are its lines. UserError for anything else.

    Bare state dicts, the format of the public ADM, improved-DDPM and DiT weights, do not say what they are. `arch`
    does: the name of a teacher whose file has the same format, or a JSON file with

        arch            "unet" (default) or "vit"
        config          arguments of UNet or ViT
        image_shape     [C, H, W]
        classes         without the "no class" row; null for none
        predicts        "eps", "x0" or "v"
        learned_sigma   true or false
        schedule, T     "cosine" or "linear", number of steps

    and perhaps "training", any notes. Without `arch` that file is NAME.json beside NAME.pt.
    """
    path, texts = name_or_path, read_prompts(prompts) if prompts else []
    if str(path).startswith(DIFFUSERS):
        if arch:
            raise UserError(f"{path} says itself what it is: leave --arch out")
        return from_pipeline(str(path).removeprefix(DIFFUSERS), texts)
    if name_or_path in NAMED:
        if arch:
            raise UserError(f"{name_or_path} is known by its name: leave --arch out")
        path, arch = locate(name_or_path), name_or_path if NAMED[name_or_path].about else ""
    content = read(path)
    if isinstance(content, dict) and content and all(torch.is_tensor(value) for value in content.values()):
        about = describe(arch or Path(path).with_suffix(".json"), path)
        return {"arch": about.get("arch", "unet"), "arch_args": about["config"], "weights": content,
                "schedule": about["schedule"], "T": about["T"], "predicts": about["predicts"],
                "learned_sigma": about["learned_sigma"], "image_shape": about["image_shape"],
                "num_classes": about["classes"], "method": "teacher", "config": about.get("training", {})}
    if not isinstance(content, dict) or not CHECKPOINT <= content.keys():
        held = f" (it holds {', '.join(map(str, list(content)[:6]))})" if isinstance(content, dict) else ""
        raise UserError(f"{path} is no model checkpoint of this project, and no bare state dict{held}: see "
                        "teachers.load for what is taken")
    if arch:
        raise UserError(f"{path} says itself what it is: leave --arch out")
    if texts:
        set_texts(content, path, texts)
    return content


def describe(arch, path):
    """What the bare weights at path are, as load() wants it: arch names a teacher or a JSON file."""
    if arch in NAMED:
        if NAMED[arch].about is None:
            raise UserError(f"--arch {arch}: its file says itself what it is; choose a public one of teachers.py list")
        return NAMED[arch].about
    if not Path(arch).is_file():
        raise UserError(f"{path} holds bare weights, and there is no {arch} to say what they are: give --arch a name "
                        "of teachers.py list, or a JSON file as teachers.load describes it")
    try:
        about = json.loads(Path(arch).read_text())
        wrong = [f"{key} is missing" for key in sorted(DESCRIPTION - about.keys())]
        wrong += [f"{key} is unknown" for key in sorted(about.keys() - DESCRIPTION - NOTES)]
        if not isinstance(about["config"], dict):
            wrong.append("config is no dictionary")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        wrong = [repr(error)]
    if wrong:
        raise UserError(f"{arch} does not describe a teacher ({', '.join(wrong)}): see teachers.load")
    return about


def from_checkpoint(content, path, device="cpu"):
    """The Teacher in a checkpoint dict, in eval mode and without gradients. UserError if the parts do not fit."""
    arch, weights, pipeline = content["arch"], content["weights"], content.get("pipeline")
    try:
        pipeline = pipeline and Pipeline(**pipeline)
        if arch not in ARCHITECTURES:
            raise ValueError(f"arch is {arch!r}, not {', '.join(ARCHITECTURES)}")
        with torch.device("meta"):  # shapes alone, before any memory is taken
            why = misfit(ARCHITECTURES[arch](**content["arch_args"]), weights)
        if why:
            raise ValueError(why)
        net = ARCHITECTURES[arch](**content["arch_args"])
        net.load_state_dict(weights)
        schedule, (C, H, W) = Schedule(content["schedule"], content["T"]), content["image_shape"]
        classes, out = content["num_classes"], 2 * C if content["learned_sigma"] else C
        shrinks = 2 ** (len(net.arguments.get("channel_mult", "1")) - 1)
        for fits, what in (
                (content["predicts"] in ("eps", "x0", "v"), f"predicts is {content['predicts']!r}, not eps, x0 or v"),
                (net.in_channels == C, f"image_shape has {C} channels, the network in_channels {net.in_channels}"),
                (net.out_channels == out, f"the network has {net.out_channels} output channels; with learned_sigma "
                                          f"{content['learned_sigma']} there are {out}"),
                (net.arguments.get("input_size", H) == H == (W if arch == "vit" else H),
                 f"image_shape {[C, H, W]} is not the network's input_size"),
                (H % shrinks == 0 == W % shrinks, f"the network shrinks images {shrinks} times, and {H} x {W} do not "
                                                  "divide so"),
                (net.num_classes in ((None,) if classes is None else (classes, classes + 1)),
                 f"classes is {classes}, the network's num_classes {net.num_classes}")):
            if not fits:
                raise ValueError(what)
        return Teacher(net.requires_grad_(False).eval().to(device), schedule, (C, H, W), classes, content["predicts"],
                       content["learned_sigma"], pipeline)
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
        first = first_words(error, 500)
        raise UserError(f"{path}: weights do not fit the architecture it names, {arch!r}: {first}") from None


def misfit(net, weights):
    """Why a state dict does not load into net, "" if it does: the first wrong keys, and the arguments to change."""
    wanted, found = ({name: tuple(w.shape) for name, w in state.items()} for state in (net.state_dict(), weights))
    wrong = [f"{name} is missing" for name in wanted if name not in found]
    wrong += [f"{name} is not expected" for name in found if name not in wanted]
    wrong += [f"{name} is {found[name]}, not {shape}" for name, shape in wanted.items()
              if found.get(name, shape) != shape]
    if not wrong:
        return "" if all(w.isfinite().all() for w in weights.values()) else "some weights are not finite"
    text = f"{', '.join(wrong[:3])}{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}"
    for arch, module in (("unet", unet), ("vit", vit)):
        with contextlib.suppress(KeyError, ValueError, ZeroDivisionError):
            told = module.arguments_of(weights)
            if type(net) is not ARCHITECTURES[arch]:
                return f"{text}; these are weights of arch {arch!r}"
            other = [f"{name} {value}, not {net.arguments[name]}" for name, value in told.items()
                     if value != net.arguments[name]]
            return f"{text}; by their shapes they have {', '.join(other) or 'other heads'}"
    return text


def new_network(size, image_shape, num_classes, learned_sigma, null_label=True, features=None):
    """A network of the named size with random weights for images (C, H, W), and labels if num_classes is not None.

    null_label: whether the label table has one more row, the last, for "no class". features (rows, width): a vector for
    each label, such as that of a text, which it is known by; None: labels learn their own.
    UserError if images of this shape do not fit it, which is tried.
    """
    (C, H, W), rows = image_shape, None if num_classes is None else num_classes + null_label
    width = None if features is None else features.shape[1]
    try:
        if size in vit.SIZES:
            if H != W:
                raise ValueError(f"a ViT takes square images, not {H}x{W}")
            net = vit.ViT(H, in_channels=C, num_classes=rows, learn_sigma=learned_sigma, class_features=width,
                          **vit.SIZES[size])
        else:
            net = unet.UNet(C, out_channels=2 * C if learned_sigma else C, num_classes=rows, class_features=width,
                            **unet.SIZES[size])
        with torch.no_grad():
            index = torch.zeros(1, dtype=torch.long)
            net(torch.zeros(1, C, H, W), index, None if rows is None else index)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{size} does not fit images of {C} x {H} x {W} ({first_words(error)}): choose "
                        "another size") from None
    if features is not None:
        text_features(net).copy_(features)
    return net


def load_teacher(name_or_path, device="cpu", arch="", prompts=""):
    """The named teacher (see NAMED), or that of a pipeline or a file, as in load(). UserError if there is none."""
    content = load(name_or_path, arch, prompts)
    if content["method"] == "boot":
        raise UserError(f"{name_or_path} holds a one-step BOOT student, not a teacher: sample it with boot.py --sample")
    return from_checkpoint(content, name_or_path, device)


def locate(name):
    """The Path of a named teacher's file, downloaded to torch.hub's cache if need be, its SHA-256 checked."""
    named = NAMED[name]
    if not named.url:
        path, recorded = WEIGHTS / named.file, named.sha256
        if not path.is_file():
            raise UserError(f"{path} is missing: get this version's weights/ again")
    else:
        path = Path(torch.hub.get_dir()) / "checkpoints" / named.file
        record = path.with_name(path.name + ".sha256")
        if named.by_hand:
            raise UserError(f"{name} has to be downloaded by hand, in a browser, from {named.url}: then give its path "
                            f"as the teacher, with --arch {name}")
        if not path.is_file():
            record.unlink(missing_ok=True)
            download(named.url, path)
        if not named.sha256 and not record.is_file():
            record.write_text(sha256(path) + "\n")
            print(f"{path}: sha256 {record.read_text().strip()}, recorded and checked from now on", file=sys.stderr)
        recorded = named.sha256 or record.read_text().strip()
    if sha256(path) != recorded:
        raise UserError(f"{path} is not the file it was when it came (SHA-256 differs): " + (
            "delete it, and it is downloaded again" if named.url else "get it again"))
    return path


def sha256(path):
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as f:
        while part := f.read(2**20):  # the file may be larger than the memory
            digest.update(part)
    return digest.hexdigest()


def download(url, path):
    """Gets url into path; a transfer that broke off goes on where it was. UserError, one line, if it cannot be had."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    by_hand = f"or put the file at {path} by hand"
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            have = have if response.status == 206 else 0  # 200: the server cannot go on, and sends all of it
            length = int(response.headers["Content-Length"] or 0)
            if length > shutil.disk_usage(path.parent).free:
                raise UserError(f"no space for {length / 1e6:.0f} MB in {path.parent}: make room, or set TORCH_HOME")
            with open(part, "ab" if have else "wb") as f, tqdm(
                    desc=path.name, initial=have, total=have + length, unit="B", unit_scale=True) as progress:
                while chunk := response.read(2**20):
                    f.write(chunk)
                    progress.update(len(chunk))
        if length and part.stat().st_size != have + length:
            raise ConnectionError(f"{part.stat().st_size} of {have + length} bytes arrived")
    except urllib.error.HTTPError as error:
        if error.code == 416:  # what is there is longer than the file
            part.unlink()
            raise UserError(f"{part} did not fit {url} and is deleted: run the same command again") from None
        raise UserError(f"{url}: the server answers {error.code} {error.reason}; try again later, {by_hand}") from None
    except (OSError, HTTPException) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise UserError(f"no space left for {path.name} in {path.parent}: make room and run the same command "
                            "again; it goes on from there") from None
        again = "run the same command again, it goes on from there" if part.is_file() else "check the network"
        raise UserError(f"cannot download {url} ({getattr(error, 'reason', error)}): {again}, {by_hand}") from None
    os.replace(part, path)


# ---------------------------------------------------------------------------------------------------------------------
# Teachers of the diffusers library: images or latents, without a condition, with classes or with texts


DIFFUSERS = "diffusers:"
LARGE = 200_000_000  # parameters from which on activations are computed again for the backward pass, and not kept


@functools.cache
def diffusers_library():
    """The module diffusers. UserError if it is missing or too old, or its transformers."""
    try:
        import diffusers
        import transformers
        diffusers.utils.check_min_version("0.35.0")
    except ImportError as error:
        raise UserError(f"pipelines of diffusers need more packages ({first_words(error)}): pip install -U "
                        "'diffusers>=0.35' transformers") from None
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return diffusers


class DiffusersNet(torch.nn.Module):
    """A network of diffusers, called like ours: net(x, i, y=None, w=None), see unet.py.

    kind, config   its class there, and that class's own arguments
    num_classes    rows of the label table, the empty text included; None: no labels
    text           (tokens, width) of the text embedding that each label stands for; None: labels are the network's own
    guided         whether forward takes w, embedded like the index and added to it through weights that start at 0
    Raises UserError for guided without texts.
    """

    def __init__(self, kind, config, num_classes=None, text=None, guided=False):
        arguments = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        super().__init__()
        if guided and text is None:
            raise UserError(f"a {kind} cannot be told the scale of guidance: give one, not a range")
        self.arguments, self.num_classes, self.guided = arguments, num_classes, guided
        config = config | {"time_cond_proj_dim": 256} if guided else config
        self.net = getattr(diffusers_library(), kind).from_config(config)
        self.in_channels, self.out_channels = self.net.config.in_channels, self.net.config.out_channels
        if text is not None:
            self.register_buffer("features", torch.zeros(num_classes, *text))
        if guided:
            torch.nn.init.zeros_(self.net.time_embedding.cond_proj.weight)
        if sum(p.numel() for p in self.net.parameters()) > LARGE:
            self.net.enable_gradient_checkpointing()

    @property
    def last_layer(self):
        return self.net.conv_out

    def forward(self, x, i, y=None, w=None):
        condition = {}
        if self.arguments["text"]:
            condition["encoder_hidden_states"] = self.features[y]                       # (B, tokens, width)
        elif y is not None:
            condition["class_labels"] = y
        if w is not None:
            condition["timestep_cond"] = unet.timestep_embedding(w, 256)
        return self.net(x, i, return_dict=False, **condition)[0]


ARCHITECTURES = {"unet": unet.UNet, "vit": vit.ViT, "diffusers": DiffusersNet}


@dataclasses.dataclass
class Pipeline:
    """A pipeline of diffusers, as far as models of its space need it.

    name       on the Hugging Face hub, or a folder
    latents    whether the models work on latents, which an autoencoder makes images of
    prompts    the texts that labels 0, 1, ... stand for; the label behind them is the empty text. None: no texts
    """

    name: str
    latents: bool
    prompts: list = None

    @torch.no_grad()
    def decode(self, x):
        """Images (B, 3, H, W), about [-1, 1], of latents x (B, C, h, w); x itself where there are no latents."""
        if not self.latents:
            return x
        vae = autoencoder(self.name).to(x.device)
        # one at a time: of 512 pixels, each takes about 1 GB
        return torch.cat([vae.decode(part.float() / vae.config.scaling_factor).sample for part in x.split(1)])

    @torch.no_grad()
    def encode(self, images):
        """Latents (B, C, h, w) of images (B, 3, H, W) in [-1, 1]; the mean, if the autoencoder gives a distribution."""
        if not self.latents:
            return images
        vae = autoencoder(self.name).to(images.device)
        found = [vae.encode(part) for part in images.split(1)]
        found = [part.latent_dist.mode() if hasattr(part, "latent_dist") else part.latents for part in found]
        return torch.cat(found) * vae.config.scaling_factor


def makes_images(model):
    """Whether a model makes images, or latents that decoded() makes images of; not so latents without a decoder."""
    return model.image_shape[0] in (1, 3) or model.pipeline is not None


def decoded(x, model):
    """The images of what a model makes, x (B, C, H, W): x itself, but latents of a pipeline decoded."""
    return x if model.pipeline is None else model.pipeline.decode(x.to(next(model.net.parameters()).device))


@functools.cache
def pipeline_parts(name):
    """The parts of a pipeline, {part: (library, class)}, itself as "pipeline". UserError if there is none."""
    library = diffusers_library()
    try:
        index = library.DiffusionPipeline.load_config(name)
    except Exception as error:  # of the network, the hub or the file
        raise UserError(f"{name} is no pipeline of diffusers, neither a folder with a model_index.json nor a name on "
                        f"the hub ({first_words(error)}): check it, and the network") from None
    return {"pipeline": ("diffusers", index.get("_class_name"))} | {
        part: tuple(value) for part, value in index.items() if isinstance(value, (list, tuple)) and value[0]}


def pipeline_part(name, part):
    """One part of a pipeline: its scheduler, unet, text_encoder, vae or vqvae. UserError if it cannot be had."""
    library, kind = pipeline_parts(name)[part]
    try:
        if library not in ("diffusers", "transformers"):
            raise ImportError(f"{library} is code of its own, which is not run")
        its_class = getattr(importlib.import_module(library), kind)
        if part == "scheduler":
            return its_class.from_pretrained(name, subfolder=part)
        found, info = its_class.from_pretrained(name, subfolder=part, output_loading_info=True)
        if missing := [*info["missing_keys"], *info["mismatched_keys"]]:  # the library would draw them at random
            raise ValueError(f"weights are missing or do not fit: {', '.join(map(str, missing[:3]))}")
    except Exception as error:  # of the network, the hub or the file
        raise UserError(f"the {part} of {name}, a {kind}, cannot be loaded ({first_words(error)}): get it again, or "
                        "install what it asks for") from None
    return found.float().eval().requires_grad_(False)


@functools.cache
def autoencoder(name):
    """The autoencoder of a pipeline."""
    return pipeline_part(name, "vqvae" if "vqvae" in pipeline_parts(name) else "vae")


def from_pipeline(name, texts):
    """The teacher in a pipeline, as a checkpoint (see checkpoint()); texts: the classes, if it makes images of texts.

    Taken are U-Nets for images or latents, without a condition, with class labels or with one text encoder, and with a
    chain of noise levels: DDPM, latent diffusion, Stable Diffusion 1 and 2, DeepFloyd-IF's first stage and the like.
    UserError for all others.
    """
    parts = pipeline_parts(name)

    def demand(fine, what):
        if not fine:
            raise UserError(f"{name}, a {parts['pipeline'][1]}, is not supported: {what}; see teachers.from_pipeline "
                            "for what is")

    kind = parts.get("unet", parts.get("transformer", parts.get("prior", ("", "stranger"))))[1]
    demand("text_encoder_2" not in parts, "it has two text encoders, as Stable Diffusion XL")
    demand(kind in ("UNet2DModel", "UNet2DConditionModel"), f"its network is a {kind}")
    demand(kind == "UNet2DModel" or "text_encoder" in parts, "its network wants texts, and it has no text_encoder")
    scheduler = pipeline_part(name, "scheduler")
    predicts = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}.get(scheduler.config.get("prediction_type"))
    demand(predicts and hasattr(scheduler, "alphas_cumprod"),
           f"its {type(scheduler).__name__} has no chain of noise levels on which eps, v or x0 is predicted")
    net, latents = pipeline_part(name, "unet"), not parts.keys().isdisjoint(("vae", "vqvae"))
    config = {key: value for key, value in net.config.items() if not key.startswith("_")}
    C, size = config["in_channels"], config["sample_size"]
    demand(C == (autoencoder(name).config.latent_channels if latents else C) and config["out_channels"] in (C, 2 * C)
           and config.get("addition_embed_type") in (None, "text") and config.get("class_embed_type") is None,
           "its network wants more than a noisy image, the index, and a class or text")
    demand(size, "its network does not say of what size its images are")
    if kind == "UNet2DConditionModel" and not texts:
        raise UserError(f"{name} makes images of texts: give it some by --prompts FILE, one a line")
    classes = config.get("num_class_embeds")
    content = {"arch": "diffusers", "arch_args": {"kind": kind, "config": config, "num_classes": classes},
               "weights": {f"net.{key}": value for key, value in net.state_dict().items()},
               "schedule": scheduler.alphas_cumprod.double().clamp(min=2**-24), "T": len(scheduler.alphas_cumprod),
               "predicts": predicts, "learned_sigma": config["out_channels"] == 2 * C,
               "image_shape": [C, *(size if isinstance(size, (list, tuple)) else (size, size))],
               "num_classes": classes, "method": "teacher", "config": {},
               "pipeline": {"name": str(Path(name).resolve()) if Path(name).is_dir() else name, "latents": latents,
                            "prompts": [] if "text_encoder" in parts else None}}
    if texts:
        set_texts(content, name, texts)
    return content


def set_texts(content, path, texts):
    """Makes texts the classes of a checkpoint: the rows of its label table are then their embeddings."""
    pipeline = content.get("pipeline") or {}
    if pipeline.get("prompts") is None:
        raise UserError(f"{path} knows no texts: leave --prompts out")
    features, arguments = embeddings(pipeline["name"], texts), content["arch_args"]
    if content["arch"] == "diffusers":
        key, arguments["text"] = "features", list(features.shape[1:])
    else:
        key, = (key for key in content["weights"] if key.endswith(".features"))
        features = pooled(features)
    content["weights"][key], arguments["num_classes"] = features, len(features)
    content["num_classes"], pipeline["prompts"] = len(texts), texts


def read_prompts(path):
    """The lines of a text file that are not empty. UserError if it is missing, empty or not UTF-8."""
    try:
        texts = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8: save it as such") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): --prompts takes a file, one text a line") from None
    if not texts:
        raise UserError(f"{path} is empty: --prompts takes a file, one text a line")
    return texts


@torch.no_grad()
def embeddings(name, texts):
    """What a pipeline's text encoder makes of texts, and of the empty one behind them: (N + 1, tokens, width)."""
    parts = dict.fromkeys(pipeline_parts(name).keys() - {"pipeline", "tokenizer"})  # None: not to be loaded
    parts["text_encoder"] = pipeline_part(name, "text_encoder")
    try:
        pipeline = diffusers_library().DiffusionPipeline.from_pretrained(name, **parts)
    except Exception as error:  # of the network, the hub or the file
        raise UserError(f"the tokenizer of {name} cannot be loaded ({first_words(error)}): get it again, or install "
                        "what it asks for") from None
    found = []
    for text in tqdm([*texts, ""], desc="reading the texts", leave=False):
        found.append(pipeline.encode_prompt(text, device="cpu", num_images_per_prompt=1,
                                            do_classifier_free_guidance=False)[0])
        tokens, most = len(pipeline.tokenizer(text).input_ids), found[-1].shape[1]
        if tokens > most:
            tqdm.write(f"warning: cut after {most} of {tokens} tokens: {text[:60]}...")
    return torch.cat(found).float()


def pooled(features):
    """One vector a text, (N, width), of its embedding (N, tokens, width): the mean of the tokens, normalised."""
    return torch.nn.functional.layer_norm(features.mean(1), features.shape[2:])


def text_features(net):
    """The vectors (rows, width) by which our networks know their labels as texts; None for labels of their own."""
    found = [value for key, value in net.named_buffers() if key.split(".")[-1] == "features"]
    return None if not found else pooled(found[0]) if found[0].ndim == 3 else found[0]


# ---------------------------------------------------------------------------------------------------------------------
# What every script needs: devices, options, run folders, pictures


def pick_device(name):
    """torch.device for "auto" (cuda, else mps, else cpu) or a device's own name. UserError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # torchrun's number of this process on its machine
    try:
        device = torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here ({str(error).splitlines()[0]}): try --device cpu") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"--device {name} is not one of cpu, cuda, cuda:N, mps and auto")
    return device


def autocasting(precision, device, predicts):
    """A function that makes the autocast context for network calls: precision is "fp32", "bf16" or "auto".

    auto is bfloat16 where the hardware computes in it, at about twice the speed. Not for teachers that predict noise:
    near t = 1 their x0 divides the rounding by a small alpha.
    """
    if precision == "auto":
        cpu = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        native = {"cuda": lambda: torch.cuda.is_bf16_supported(including_emulation=False),
                  "cpu": lambda: any(cpu.get(key) for key in ("avx512_bf16", "amx_bf16", "sve_bf16"))}
        precision = "bf16" if predicts != "eps" and native.get(device.type, bool)() else "fp32"
    return lambda: torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def processes():
    """(rank, how many) of the processes that torchrun started: (0, 1) without it. The first call joins them."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return 0, 1
    if not dist.is_initialized():
        try:
            dist.init_process_group()
        except ValueError as error:
            raise UserError(f"WORLD_SIZE asks for several processes ({error}): start them with torchrun, or unset it"
                            ) from None
    return dist.get_rank(), dist.get_world_size()


def part(x, k, n):
    """The k-th of n equal parts of a batch: of the rows of a tensor; anything else is the same for all."""
    return x.chunk(n)[k] if torch.is_tensor(x) else x


def average_gradients(parameters, losses):
    """Averages the gradients of parameters, and a tensor of losses, over all processes; in place."""
    if processes()[1] > 1:
        values = [p.grad for p in parameters] + [losses]
        flat = torch.cat([value.flatten() for value in values])  # one transfer
        dist.all_reduce(flat)
        for value, mean in zip(values, (flat / processes()[1]).split([v.numel() for v in values]), strict=True):
            value.copy_(mean.view_as(value))


def gathered(x):
    """What all processes hold, joined: a tensor of their rows; None stays None."""
    if x is None or processes()[1] == 1:
        return x
    parts = [None] * processes()[1]
    dist.all_gather_object(parts, x.cpu())
    return torch.cat(parts)


def add_options(parser, config_class):
    """One command-line option for each field of a configuration made with opt(); the result holds those given."""
    for field in (field for field in dataclasses.fields(config_class) if "help" in field.metadata):
        flag = "--" + field.name.replace("_", "-")
        text = field.metadata["help"]
        if field.type is bool:
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            if field.default not in ("", (), None):
                values = field.default if field.type is tuple else (field.default,)
                text += f" (default: {' '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)})"
            how = {"type": field.type} | {key: value for key, value in field.metadata.items() if key != "help"}
            flags = [flag, *how.pop("also", [])]
            parser.add_argument(*flags, default=argparse.SUPPRESS, help=text, **how)


def config_from(args, config_class):
    """The configuration that parsed options ask for; with --resume, options not given are those of the run."""
    names = {field.name for field in dataclasses.fields(config_class)}
    given = {name: value for name, value in vars(args).items() if name in names}
    config = config_class(**given)
    if config.resume:
        saved = {name: value for name, value in run_config(config.out).items() if name in names}
        config = config_class(**saved | given | {"out": config.out})
    return config


def require(config, conditions):
    """UserError for the first option out of its range; conditions: (field name, fine or not, what it must be)."""
    for name, fine, wanted in conditions:
        if not fine:
            value = getattr(config, name)
            shown = " ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else value
            raise UserError(f"--{name.replace('_', '-')} is {shown}, but must be {wanted}")


class Parser(argparse.ArgumentParser):
    """argparse, with errors on one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def run_script(main):
    """Runs a script's main(); bad input ends it with one line and exit status 2, Ctrl-C with status 130."""
    keep_freed_memory()
    try:
        if processes()[0] > 0:  # the first process speaks for all
            sys.stdout = sys.stderr = open(os.devnull, "w")
        main()
    except (UserError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except torch.OutOfMemoryError:
        print(f"{Path(sys.argv[0]).name}: error: the device's memory is full: try a smaller --batch", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nstopped; a training run goes on from its last save with --resume", file=sys.stderr)
        sys.exit(130)


def keep_freed_memory():
    """Makes glibc keep big freed blocks instead of asking the kernel for them, cleared, at each use.

    On a CPU a network's forward pass is up to 1.6 times as fast with it. Does nothing under another C library.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-4, 0)   # M_MMAP_MAX: no block from mmap
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: give none back


def run_name(teacher):
    """What a teacher, a name or a path, is called in the name of a run's folder: runs/NAME/teacher.pt is NAME."""
    path = Path(str(teacher).removeprefix(DIFFUSERS))
    if str(teacher).startswith(DIFFUSERS):
        return path.name
    return path.parent.name if path.stem in ("teacher", "student") and path.parent.name else path.stem


def open_run(config):
    """The folder config.out of a run, new or, with config.resume, continued: (folder, what last.pt holds or None).

    UserError if a new run's folder exists, or a run to resume does not or has another configuration.
    """
    folder = Path(config.out)
    asked = json.loads(json.dumps(dataclasses.asdict(config) | {"resume": False}))
    if not config.resume:
        if folder.exists():
            raise UserError(f"{folder} exists: go on with it by --resume, or name another folder with --out")
        if processes()[1] > 1:
            dist.barrier()  # all have looked
        if processes()[0] == 0:
            (folder / "samples").mkdir(parents=True)
            (folder / "config.json").write_text(json.dumps(asked, indent=2) + "\n")
            if asked.get("prompts"):
                shutil.copyfile(config.prompts, folder / "prompts.txt")
        return folder, None
    saved = run_config(folder)
    differing = [f"{name} is {saved.get(name)} there and {value} here" for name, value in asked.items()
                 if name not in ("out", "accum", "pool_on_host") and saved.get(name, value) != value]
    if differing:
        raise UserError(f"{folder} was begun with another configuration: {'; '.join(differing)}")
    if asked.get("prompts") and read_prompts(config.prompts) != read_prompts(folder / "prompts.txt"):
        raise UserError(f"{config.prompts} has changed since {folder} was begun: its own {folder / 'prompts.txt'} has "
                        "the texts")
    return folder, read(folder / "last.pt")


def run_config(folder):
    """The configuration of the run in folder, as a dict. UserError if there is no run to resume."""
    folder = Path(folder)
    if not (folder / "last.pt").is_file():
        raise UserError(f"no run to resume in {folder}: leave --resume out to start one" +
                        (" (and delete that folder)" if folder.exists() else ""))
    try:
        return json.loads((folder / "config.json").read_text())
    except ValueError:
        raise UserError(f"{folder / 'config.json'} is not readable: this run cannot be resumed") from None


class Meter:
    """What a training run costs: read() gives images/s, network calls an image and the peak of memory (MiB).

    nets: whose calls are counted. Time between a read() and the skip() after it, for pictures and saves, is left out.
    """

    COLUMNS = ("images_per_s", "calls_per_image", "peak_mib")

    def __init__(self, device, *nets):
        self.device, self.calls, self.images, self.seconds, self.since = device, 0, 0, 0.0, time.monotonic()
        for net in nets:
            net.register_forward_pre_hook(self.count)

    def count(self, net, inputs):
        self.calls += len(inputs[0]) * processes()[1]

    def read(self, images):
        """Values for COLUMNS, after so many more images of all processes: speed since last time, the others of all."""
        elapsed = time.monotonic() - self.since
        self.images, self.seconds = self.images + images, self.seconds + elapsed
        self.skip()
        return images / elapsed, self.calls / self.images, self.peak()

    def skip(self):
        self.since = time.monotonic()

    def peak(self):
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        try:
            import resource
        except ImportError:  # Windows
            return math.nan
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)

    def __str__(self):
        speed, calls = self.images / max(self.seconds, 1e-9), self.calls / max(self.images, 1)
        return f"{speed:.1f} images/s in training, {calls:.3g} network calls an image, {self.peak():,.0f} MiB at most"


def open_log(path, columns, step):
    """A CSV file open for more rows, each flushed at once; rows after `step`, of a run cut short, are dropped."""
    if processes()[0] > 0:
        return open(os.devnull, "w")
    rows = []
    if path.exists():
        with open(path, newline="") as f:
            rows = [row for row in csv.reader(f) if len(row) == len(columns) and row[0].isdigit()]
        rows = [row for row in rows if int(row[0]) <= step]
    f = open(path, "w", newline="", buffering=1)
    csv.writer(f).writerows([columns, *rows])
    return f


def at_once(model):
    """How many images to make at once beside a training: 64, or fewer large ones, that have no more values together."""
    return max(1, min(64, 64 * 3 * 32 * 32 // math.prod(model.image_shape)))


def in_parts(f, model, *tensors, desc=""):
    """f(*tensors), each (N, ...) or None, made of at_once(model) rows at a time and joined, on the CPU.

    desc: what a progress bar says; "": none.
    """
    device, size, found = next(model.net.parameters()).device, at_once(model), []
    for k in tqdm(range(0, len(tensors[0]), size), desc=desc, unit="batch", disable=not desc):
        found.append(f(*(None if x is None else x[k:k + size].to(device) for x in tensors)).cpu())
    return torch.cat(found)


def to_uint8(images):
    """Images (B, C, H, W) in [-1, 1] as uint8, rounded; what lies outside is cut off."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def save_grid(images, path, model=None, columns=8):
    """A PNG of images (N, C, H, W) in [-1, 1], `columns` a row, small ones enlarged to some 64 pixels, large ones 256.

    model: whose they are, if they may be latents; of those without a decoder it shows the first three channels."""
    if processes()[0] > 0:
        return
    images = (images if model is None else decoded(images, model))[:, :3]
    scale = max(1, 64 // images.shape[-1])
    if images.shape[-1] > 256:
        images = torch.nn.functional.interpolate(images.float(), (256, 256), mode="area")
    enlarged = to_uint8(images).cpu().repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torchvision.utils.save_image(enlarged / 255, path, nrow=columns, padding=2, pad_value=1.0)


def save_rows(rows, path, model):
    """A PNG with a row for each (label, what a model makes (N, C, H, W)), its label at the left, 64 to 256 pixels."""
    if processes()[0] > 0:
        return
    rows = [(label, decoded(images, model)) for label, images in rows]
    size = min(max(64, rows[0][1].shape[-1]), 256)
    margin, gap = 150, 2
    sheet = Image.new("RGB", (margin + len(rows[0][1]) * (size + gap), len(rows) * (size + gap)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for r, (label, images) in enumerate(rows):
        lines = [part for line in label.split("\n") for part in textwrap.wrap(line, 20)]
        label = "\n".join(lines if len(lines) <= size // 18 else [*lines[:size // 18 - 1], "..."])
        draw.text((8, r * (size + gap) + size / 2), label, fill="black", font=font, anchor="lm")
        for c, pixels in enumerate(to_uint8(images[:, :3]).cpu().permute(0, 2, 3, 1).numpy()):
            tile = Image.fromarray(pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels)
            tile = tile.resize((size, size), Image.Resampling.NEAREST if size >= tile.width else Image.Resampling.BOX)
            sheet.paste(tile, (margin + c * (size + gap), r * (size + gap)))
    sheet.save(path)


def save_prompts(path, model, y, images):
    """For models of texts, a PNG text by text, 8 at most: a row of each of images, {who: (N, ...)}, of labels y."""
    if model.pipeline is not None and model.pipeline.prompts:
        save_rows([(f"{who}: {model.pipeline.prompts[label]}", x[y == label][:8])
                   for label in y.unique()[:8] for who, x in images.items()], path, model)


# ---------------------------------------------------------------------------------------------------------------------
# Training a teacher from data (improved DDPM, with the choice of what to predict)


DATASETS = {"cifar10": torchvision.datasets.CIFAR10, "mnist": torchvision.datasets.MNIST,
            "fashion-mnist": torchvision.datasets.FashionMNIST, "celeba": torchvision.datasets.CelebA}
MOST_CLASSES = 100_000  # a label beyond it is taken for a mistake: each takes a row of weights


@dataclasses.dataclass
class Config:
    """One training run of a teacher."""

    dataset: str = opt("", "one of torchvision's, downloaded into --data (default: cifar10, if there is no --data)",
                       choices=tuple(DATASETS))
    data: str = opt("", "without --dataset, images of your own: a folder of pictures, its subfolders the classes, if "
                        "any; or an .npz with arr_0 uint8 (N, H, W, C), arr_1 (N,) if there are classes, or a folder "
                        "of such files. With it, the folder for its files (default: data)")
    size: int = opt(0, "pixels of a side; images are cropped to their middle square and resized (default: as they "
                       "are; 64 for celeba)")
    flip: float = opt(None, "chance that an image is mirrored; 0 for letters and digits (default: 0.5; 0 for mnist)")
    mix: float = opt(0.0, "share of the images at --data that real ones from --real replace (DKDM's data-limited "
                          "training: 0.05 to 0.2)")
    real: str = opt("data", "the real images of --mix: those of --dataset, cifar10 by default, are kept here")
    arch: str = opt("tiny", "named size of the network; nano, tiny and vit-tiny suit a CPU, the others a GPU",
                    choices=tuple(SIZES))
    init: str = opt("", "name or path of a teacher whose weights training starts from (default: random weights)")
    predicts: str = opt("v", "what the network predicts: v, eps or x0", choices=("v", "eps", "x0"))
    schedule: str = opt("cosine", "noise schedule", choices=("cosine", "linear"))
    steps: int = opt(16_000, "training steps")
    batch: int = opt(64, "images per step, of all processes")
    accum: int = opt(1, "parts of a process's batch that go through the network one after the other, to save memory")
    lr: float = opt(1e-3, "peak learning rate of Adam; rises over 500 steps, then falls to 0 on a line")
    label_dropout: float = opt(0.1, "share of labels replaced by \"no class\", for guidance")
    ema: float = opt(0.9995, "decay of the averaged weights; shorter at the start")
    seed: int = opt(0, "seed of every random draw")
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "fp32, bf16 (autocast), or auto: bf16 where it pays", choices=PRECISIONS)
    sample_every: int = opt(1000, "steps between picture grids (DDIM, 50 steps)")
    save_every: float = opt(60.0, "seconds between saves")
    out: str = opt("", "run folder (default: runs/teacher-NAME, of the dataset or of your folder)")
    resume: bool = opt(False, "go on with the run in --out; its options are taken over")

    def __post_init__(self):
        self.dataset = self.dataset or ("" if self.data else "cifar10")
        self.data = self.data or "data"
        self.flip = (0.0 if self.dataset == "mnist" else 0.5) if self.flip is None else self.flip
        self.out = self.out or f"runs/teacher-{self.dataset or Path(self.data).resolve().stem}"


def load_images(dataset, path, split="train", size=0):
    """The images of a split, "train" or "test": uint8 (N, C, H, W), and labels, int64 (N,) or None.

    dataset  a name in DATASETS, which torchvision downloads to the folder path; "" for images of one's own
    path     of those: a folder of pictures, an .npz, or a folder of .npz files, of which those whose names start with
             "test" are the test images. Of CIFAR-10, .npz files in the folder go before a download
    size     pixels of a side, 0: as they are.  UserError, which names the file, if they cannot be had as asked.
    """
    path = Path(path)
    files = [path] if path.suffix == ".npz" else sorted(path.glob("*.npz")) if dataset in ("", "cifar10") else []
    try:
        if files:
            files = [file for file in files if file.name.startswith("test") == (split == "test") or file == path]
            parts = [np.load(file) for file in files]
            images = np.concatenate([part["arr_0"] for part in parts])
            labels = np.concatenate([part["arr_1"] for part in parts]) if "arr_1" in parts[0] else None
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3) or not len(images):
                raise ValueError(f"arr_0 is {images.dtype} {images.shape}, not uint8 (N, H, W, C) with C 1 or 3")
            if size:
                images = np.stack([square(Image.fromarray(image.squeeze()), size) for image in images])
        elif dataset:
            images, labels = torchvision_images(dataset, path, split, size)
        else:
            images, labels = folder_images(path, size)
        if labels is not None and (labels.shape != (len(images),) or labels.dtype.kind not in "iu" or labels.min() < 0
                                   or labels.max() > MOST_CLASSES):
            raise ValueError(f"labels are {labels.dtype} {labels.shape}, from {labels.min()} to {labels.max()}, not "
                             f"whole numbers from 0 to {MOST_CLASSES}, one an image")
    except UserError:
        raise
    except Exception as error:  # a broken file can fail in any way
        reason = first_words(error, 300)
        raise UserError(f"no {dataset or 'usable'} images in {path} ({reason}): name their place with --data") from None
    images = images.reshape(*images.shape[:3], -1)  # gray ones may have no axis of channels
    return (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            None if labels is None else torch.from_numpy(labels.astype(np.int64)))


def torchvision_images(dataset, path, split, size):
    """Images uint8 (N, H, W, 3) or (N, H, W), and labels or None, of a dataset that torchvision downloads to path."""
    if dataset == "celeba":  # its labels are 40 attributes, no classes
        try:
            files = torchvision.datasets.CelebA(path, split, target_type=[], download=True)
        except (ImportError, RuntimeError, OSError) as error:  # torchvision wants a package, and Google often refuses
            raise UserError(f"CelebA cannot be downloaded ({first_words(error)}): get "
                            f"img_align_celeba.zip and the .txt files from its web page, and put them into "
                            f"{path / 'celeba'}") from None
        pictures = (files[k][0] for k in tqdm(range(len(files)), desc="reading CelebA", unit=" images"))
        return np.stack([square(picture, size or 64) for picture in pictures]), None
    data = DATASETS[dataset](path, train=split == "train", download=True)
    images, labels = (x.numpy() if torch.is_tensor(x) else np.array(x) for x in (data.data, data.targets))
    return np.stack([square(Image.fromarray(image), size) for image in images]) if size else images, labels


def folder_images(path, size):
    """Images uint8 (N, H, W, 3), or (N, H, W) if all are gray, of the pictures in a folder and its subfolders.

    Labels number the subfolders, in alphabetical order, if there are several; else None. Hidden files are left out.
    UserError for a picture that cannot be read or is not 8-bit, and for sizes that differ where none is asked for.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in torchvision.datasets.folder.IMG_EXTENSIONS
                   and not any(part.startswith(".") for part in file.relative_to(path).parts))
    if not files:
        raise UserError(f"no pictures in {path}: check the path" if path.is_dir() else f"no folder or .npz at {path}")
    of = [file.relative_to(path).parts[0] if file.parent != path else "" for file in files]
    classes = sorted(set(of))
    if len(classes) > 1 and "" in classes:
        raise UserError(f"{path} has pictures of its own and some in {path / classes[1]}: subfolders are classes, so "
                        "put all pictures into subfolders, or none")
    images, gray = [], True
    for file in tqdm(files, desc=f"reading {path}", unit=" images"):
        try:
            with Image.open(file) as picture:
                if picture.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"):
                    raise UserError(f"{file} is of mode {picture.mode}, not 8 bits a channel: convert it")
                gray &= picture.mode in ("1", "L", "LA")
                picture = ImageOps.exif_transpose(picture)  # as its camera was held
                if picture.has_transparency_data:  # on white
                    picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture.convert("RGBA"))
                image = picture.convert("RGB")
                images.append(square(image, size) if size else np.asarray(image))
        except UserError:
            raise
        except Exception as error:  # a broken file can fail in any way
            reason = first_words(error)
            raise UserError(f"{file} cannot be read ({reason}): repair it, or take it away") from None
        if images[-1].shape != images[0].shape:
            raise UserError(f"{file} has {images[-1].shape[1]} x {images[-1].shape[0]} pixels, {files[0]} "
                            f"{images[0].shape[1]} x {images[0].shape[0]}: make them equal by --size, as in --size 32")
    if len(classes) > 1:
        tqdm.write(f"classes: {', '.join(f'{k} {name}' for k, name in enumerate(classes))}")
    images = np.stack(images)
    return images[..., 0] if gray else images, np.array([classes.index(c) for c in of]) if len(classes) > 1 else None


def square(picture, size):
    """The middle square of a PIL image, resized to size x size: uint8 (size, size, 3) or (size, size)."""
    return np.asarray(ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS))


def mixed(images, labels, real, real_labels, share, generator):
    """The images and labels with a share of them, drawn at random, replaced by real ones (DKDM, section 4.1)."""
    n = round(share * len(images))
    if real.shape[1:] != images.shape[1:] or (labels is None) != (real_labels is None) or n > len(real):
        raise UserError(f"--mix {share} takes {n} real images of shape {list(images.shape[1:])}, with classes if those "
                        f"of --data have any, but --real has {list(real.shape)}")
    kept = torch.randperm(len(images), generator=generator)[n:]
    taken = torch.randperm(len(real), generator=generator)[:n]
    return (torch.cat([images[kept], real[taken]]),
            None if labels is None else torch.cat([labels[kept], real_labels[taken]]))


def hybrid_loss(out, image, x, noise, i, schedule, predicts):
    """L_simple and L_vlb of each sample (improved DDPM, eq. 16; L_simple on what the network predicts): (B,), (B,).

    out (B, 2C, H, W) is the network's output for x = alpha image + sigma noise at chain indices i (B,) int64.
    L_vlb is the one term of index i, averaged over dimensions, in bits: the KL between the true and the learned step,
    at i = 0 the negative log-likelihood of the 8-bit image. No gradient flows from it into the mean.
    """
    C = image.shape[1]
    alpha, sigma = schedule.levels(i, x)
    target = noise if predicts == "eps" else image if predicts == "x0" else alpha * noise - sigma * image
    simple = (out[:, :C] - target).square().flatten(1).mean(1)

    x0 = to_x0(predicts, out[:, :C].detach(), x, alpha.flatten(), sigma.flatten())
    frozen = torch.cat([(x - alpha * x0) / sigma, out[:, C:]], dim=1)
    mean, log_variance, _, _ = schedule.p_mean_variance(frozen, x, i, clip=False)
    step = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    true_mean, true_log_variance = schedule.posterior(image, x, i)
    kl = torch.distributions.kl_divergence(torch.distributions.Normal(true_mean, (0.5 * true_log_variance).exp()), step)
    # the chance of the 8-bit value: the Gaussian's mass in its bin of width 2 / 255, open-ended at -1 and 1
    upper = torch.where(image > 0.999, 1.0, step.cdf(image + 1 / 255))
    lower = torch.where(image < -0.999, 0.0, step.cdf(image - 1 / 255))
    nll = -(upper - lower).clamp(min=1e-12).log()
    vlb = torch.where(per_sample(i == 0, x).bool(), nll, kl).flatten(1).mean(1) / math.log(2)
    return simple, vlb


def duration(seconds):
    """Seconds in words: "45 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds // 3600:.0f} h {seconds % 3600 / 60:.0f} min"


def train(config):
    """Trains a teacher; returns the path of its checkpoint. Leaves in the run folder what boot.py's main leaves."""
    require(config, (
        ("dataset", not config.dataset or config.dataset in DATASETS, f"one of {', '.join(DATASETS)}"),
        ("size", config.size >= 0, "0 or more"),
        ("flip", 0 <= config.flip <= 1, "in [0, 1]"),
        ("mix", 0 <= config.mix <= 1, "in [0, 1]"),
        ("arch", config.arch in SIZES, f"one of {', '.join(SIZES)}"),
        ("steps", config.steps >= 1, "at least 1"),
        ("batch", config.batch >= 1, "at least 1"),
        ("accum", config.accum >= 1, "at least 1"),
        ("batch", config.batch % max(1, config.accum * processes()[1]) == 0, "a multiple of --accum x processes"),
        ("lr", 0 < config.lr < math.inf, "positive"),
        ("label_dropout", 0 <= config.label_dropout <= 1, "in [0, 1]"),
        ("ema", 0 <= config.ema < 1, "in [0, 1)"),
        ("seed", 0 <= config.seed < 2**32, "from 0 to 2^32 - 1"),
        ("sample_every", config.sample_every >= 1, "at least 1"),
        ("save_every", config.save_every >= 0, "0 or more"),
    ))
    device, (rank, count) = pick_device(config.device), processes()
    if not config.resume and Path(config.out).exists():
        open_run(config)  # refuses now, not after the images are read
    images, labels = load_images(config.dataset, config.data, size=config.size)
    generator = torch.Generator().manual_seed(config.seed)
    if config.mix:
        real = load_images(config.dataset or "cifar10", config.real, size=config.size)
        images, labels = mixed(images, labels, *real, config.mix, generator)
    classes, shape = None if labels is None else int(labels.max()) + 1, tuple(images.shape[1:])
    torch.manual_seed(config.seed)  # initial weights, and dropout
    net = new_network(config.arch, shape, classes, learned_sigma=True).to(device)
    if config.init and not config.resume:
        first = load_teacher(config.init, device)
        same = (net.arguments, config.predicts, config.schedule)
        if (first.net.arguments, first.predicts, first.schedule.name) != same:
            raise UserError(f"--init {config.init} is another network, or predicts another thing on another schedule "
                            f"({first.predicts}, {first.schedule.name}): give the options it was trained with")
        net.load_state_dict(first.net.state_dict())
    folder, saved = open_run(config)

    schedule = Schedule(config.schedule)
    average = Teacher(copy.deepcopy(net).requires_grad_(False).eval(), schedule, shape, classes, config.predicts, True)
    optimizer = torch.optim.Adam(net.parameters(), config.lr, betas=(0.9, 0.99), fused=True)
    autocast = autocasting(config.precision, device, config.predicts)
    start = 0
    if saved:
        start = saved["step"]
        net.load_state_dict(saved["net"])
        average.net.load_state_dict(saved["ema"])
        optimizer.load_state_dict(saved["optimizer"])
        generator.set_state(saved["generator"])
        torch.set_rng_state(saved["rng"])

    def save_run(step):
        save(folder / "last.pt", {"step": step, "net": net.state_dict(), "ema": average.net.state_dict(),
                                  "optimizer": optimizer.state_dict(), "generator": generator.get_state(),
                                  "rng": torch.get_rng_state()})
        save(folder / "teacher.pt", checkpoint(average, "teacher", dataclasses.asdict(config)))

    def losses(image, y, i, noise):
        alpha, sigma = schedule.levels(i, image)
        x = alpha * image + sigma * noise
        with autocast():
            out = net(x, i.to(device), y).float()
        return hybrid_loss(out, image, x, noise, i.to(device), schedule, config.predicts)

    def seconds_a_step():
        """Of forward and backward pass, the most of a step, on a batch of noise; the first of three warms up."""
        x = torch.randn(config.batch, *shape, device=device)
        y = None if classes is None else torch.zeros(config.batch, dtype=torch.long, device=device)
        for _ in range(3):
            began = time.monotonic()
            loss = sum(losses(x, y, torch.zeros(config.batch, dtype=torch.long), x)).mean()
            loss.backward()
            loss.item()  # waits for a GPU
        return time.monotonic() - began

    with torch.random.fork_rng():  # so that dropout in it changes nothing
        seconds = seconds_a_step()
    tqdm.write(f"{len(images):,} images of {' x '.join(map(str, shape))}, {classes or 'no'} classes; {config.arch}, "
               f"{sum(p.numel() for p in net.parameters()) / 1e6:.1f} M parameters, on {device}")
    left = config.steps - start
    tqdm.write(f"{left:,} steps of {config.batch} images: about {duration(left * seconds)} ({seconds:.2f} s a step); "
               f"pictures each {config.sample_every:,} steps in {folder / 'samples'}")
    if not saved:
        save_run(0)
    log = open_log(folder / "log.csv", ["step", "simple", "vlb", *Meter.COLUMNS], start)
    sums, since, saved_at, meter = torch.zeros(2, device=device), start, time.monotonic(), Meter(device, net)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="teacher", dynamic_ncols=True)
    for step in progress:
        rows = torch.randint(len(images), (config.batch,), generator=generator)
        flip = torch.rand(config.batch, 1, 1, 1, generator=generator) < config.flip
        image = images[rows].float() / 127.5 - 1
        image = torch.where(flip, image.flip(3), image)
        y = None
        if classes is not None:
            dropped = torch.rand(config.batch, generator=generator) < config.label_dropout
            y = torch.where(dropped, classes, labels[rows])
        i = torch.randint(schedule.T, (config.batch,), generator=generator)
        noise = torch.randn(image.shape, generator=generator)
        optimizer.zero_grad()
        both = torch.zeros(2, device=device)
        for k in range(rank * config.accum, (rank + 1) * config.accum):  # this process's parts of the batch
            some = (part(x, k, count * config.accum) for x in (image, y, i, noise))
            simple, vlb = (loss.mean() for loss in losses(*(x if x is None else x.to(device) for x in some)))
            # one of T terms of the bound, weighed 0.001 each (improved DDPM)
            ((simple + vlb * schedule.T / 1000) / config.accum).backward()
            both += torch.stack([simple, vlb]).detach() / config.accum
        average_gradients(net.parameters(), both)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * min(1, (step + 1) / 500) * (1 - step / config.steps)
        optimizer.step()
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for p, q in zip(average.net.parameters(), net.parameters(), strict=True):
                p.lerp_(q, 1 - decay)

        done = step + 1
        sums += both
        last = done == config.steps
        save_now = last or time.monotonic() - saved_at > config.save_every
        if done % 10 == 0 or save_now:  # reading a loss makes a GPU wait, so not at each step
            if not sums.isfinite().all():
                raise UserError(f"the loss is not finite by step {done}: lower --lr; {folder} keeps the last good save")
            costs, means = meter.read(config.batch * (done - since)), (sums / (done - since)).tolist()
            csv.writer(log).writerow([done, *(f"{value:.6g}" for value in (*means, *costs))])
            progress.set_postfix_str(f"simple {means[0]:.4f}, vlb {means[1]:.4f}, {costs[0]:.0f} images/s")
            sums, since = torch.zeros(2, device=device), done
        if last or done % config.sample_every == 0:
            x_T = torch.randn(64, *shape, generator=torch.Generator().manual_seed(config.seed)).to(device)
            y = labels_for(64, classes)
            with autocast():
                grid = average.ddim(x_T, 50, y if y is None else y.to(device))
            save_grid(grid, folder / f"samples/step_{done:06d}.png")
        if save_now:
            save_run(done)
            saved_at = time.monotonic()
        if since == done:  # pictures and saves are not counted as training time
            meter.skip()
    log.close()
    tqdm.write(str(meter))
    return folder / "teacher.pt"


# ---------------------------------------------------------------------------------------------------------------------
# Command line


PROMPTS_HELP = "a file with one text a line, for teachers of texts: what images are made of"
ARCH_HELP = "what bare public weights are: a name of teachers.py list, or a JSON file (default: NAME.json beside them)"


def labels_for(n, num_classes, classes=None):
    """Labels (n,) that cycle through `classes` (none given: all), or None for a model without classes.

    UserError for a class the model does not have."""
    if num_classes is None:
        if classes:
            raise UserError("this model knows no classes: leave --classes out")
        return None
    for c in classes or ():
        if not 0 <= c < num_classes:
            raise UserError(f"no class {c}: this model has {num_classes}, numbered 0 to {num_classes - 1}")
    choices = torch.tensor(list(classes) if classes else range(num_classes))
    return choices[torch.arange(n) % len(choices)]


def sample_command(args):
    """Writes args.n images of a teacher as .npz, and the first 64 as a .png beside it. Latents are left as float32."""
    if args.n < 1 or args.batch < 1:
        raise UserError("--n and --batch must be at least 1")
    if not 1 <= args.guidance < math.inf:
        raise UserError(f"--guidance is {args.guidance}, but must be at least 1; 1 is none")
    if Path(args.out).suffix != ".npz" or not Path(args.out).parent.is_dir():
        raise UserError(f"--out {args.out}: give a file that ends in .npz, in a folder that exists")
    device = pick_device(args.device)
    teacher = load_teacher(args.teacher, device, args.arch, args.prompts)
    y = labels_for(args.n, teacher.num_classes, args.classes)
    {"ddim": ddim_indices, "ddpm": ddpm_indices}[args.sampler](args.steps, teacher.schedule.T)  # refuses now, not later
    generator = torch.Generator().manual_seed(args.seed)
    # one image after the other from one generator, so that images do not depend on --batch
    x_T = torch.stack([torch.randn(teacher.image_shape, generator=generator) for _ in range(args.n)])
    autocast = autocasting(args.precision, device, teacher.predicts)
    torch.manual_seed(args.seed)  # the noises of DDPM
    images, began = [], time.monotonic()
    for k in tqdm(range(0, args.n, args.batch), desc=f"{args.sampler}, {args.steps} steps", unit="batch"):
        labels = None if y is None else y[k:k + args.batch].to(device)
        with autocast():
            x = getattr(teacher, args.sampler)(x_T[k:k + args.batch].to(device), args.steps, labels, args.guidance)
        images.append((to_uint8(decoded(x, teacher)) if makes_images(teacher) else x).cpu())
    speed, images = args.n / (time.monotonic() - began), torch.cat(images)
    arrays = {"arr_0": images.permute(0, 2, 3, 1).numpy()} | ({} if y is None else {"arr_1": y.numpy()})
    np.savez(args.out, **arrays)
    picture = Path(args.out).with_suffix(".png")
    save_grid(images[:64].float() / 127.5 - 1 if makes_images(teacher) else images[:64], picture)
    print(f"{args.n} images in {args.out}, the first {min(64, args.n)} in {picture}; {speed:.1f} images/s")


def convert_command(args):
    """Writes a teacher or student checkpoint, or public weights, as a checkpoint with weights in half precision."""
    content = load(args.checkpoint, args.arch, args.prompts)
    from_checkpoint(content, args.checkpoint)  # refuses what does not fit
    if Path(args.out).exists():
        raise UserError(f"{args.out} exists: choose another --out")
    content["weights"] = {name: w.half() if w.is_floating_point() else w for name, w in content["weights"].items()}
    save(args.out, content)
    whole = Path(args.out).read_bytes()
    print(f"{args.out}: {len(whole) / 1e6:.1f} MB, sha256 {hashlib.sha256(whole).hexdigest()}")


def list_command(args):
    """Prints the named teachers, four lines each; downloads nothing."""
    for name, named in NAMED.items():
        own = load(name) if named.about is None else {}
        about = named.about or own | {"config": own["arch_args"], "classes": own["num_classes"]}
        with torch.device("meta"):  # counts without memory
            net = ARCHITECTURES[about["arch"]](**about["config"])
        shape, classes = " x ".join(map(str, about["image_shape"])), about["classes"]
        where = (WEIGHTS if not named.url else Path(torch.hub.get_dir()) / "checkpoints") / named.file
        have = "by hand" if named.by_hand else "here" if where.is_file() else "not here yet"
        unknown = "not published" + ("" if named.by_hand else ": recorded at the first download, checked from then on")
        print(f"{name}: {named.origin}; licence {named.licence}; {named.fid}\n"
              f"    {about['arch']}, {sum(p.numel() for p in net.parameters()) / 1e6:.1f} M parameters, {shape}, "
              f"{f'{classes:,}' if classes else 'no'} classes, predicts {about['predicts']}, "
              f"{about['schedule']} schedule with {about['T']:,} steps\n"
              f"    {named.url or where}\n"
              f"    {have}, {'about ' if named.about else ''}{named.size / 1e6:,.0f} MB, sha256 "
              f"{named.sha256 or unknown}")


def main():
    parser = Parser(prog="teachers.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="list | sample | train | convert")
    commands.add_parser("list", help="the named teachers").set_defaults(run=list_command)

    p = commands.add_parser("sample", help="images from a teacher")
    p.add_argument("teacher", help="name, path of a checkpoint, or diffusers:NAME")
    p.add_argument("--arch", default="", help=ARCH_HELP)
    p.add_argument("--prompts", default="", metavar="FILE", help=PROMPTS_HELP)
    p.add_argument("--steps", type=int, default=50, help="network calls an image, doubled by guidance (default: 50)")
    p.add_argument("--sampler", choices=("ddim", "ddpm"), default="ddim", help="default: ddim; ddpm is ancestral")
    p.add_argument("--n", type=int, default=64, help="images (default: 64)")
    p.add_argument("--classes", "--label", type=int, nargs="+", help="labels to cycle through (default: all)")
    p.add_argument("--guidance", type=float, default=1.0, help="classifier-free guidance w; 1 is none (default: 1)")
    p.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    p.add_argument("--batch", type=int, default=64, help="images at a time; does not change ddim's (default: 64)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    p.add_argument("--precision", choices=PRECISIONS, default="auto", help="of the network calls (default: auto)")
    p.add_argument("--out", default="samples.npz", help="arr_0: images uint8 (n, H, W, C), arr_1: labels; a .png "
                                                        "of the first 64 is put beside it (default: samples.npz)")
    p.set_defaults(run=sample_command)

    p = commands.add_parser("train", help="a teacher from data")
    add_options(p, Config)
    p.set_defaults(run=lambda args: print("teacher:", train(config_from(args, Config))))

    p = commands.add_parser("convert", help="any checkpoint this file reads, to one in half precision")
    p.add_argument("checkpoint", help="path, name, or diffusers:NAME")
    p.add_argument("--arch", default="", help=ARCH_HELP)
    p.add_argument("--prompts", default="", metavar="FILE", help=PROMPTS_HELP)
    p.add_argument("--out", required=True, help="path of the new file")
    p.set_defaults(run=convert_command)

    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    run_script(main)
