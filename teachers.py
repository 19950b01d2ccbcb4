"""Diffusion models as both methods use them: noise schedule, model, samplers, checkpoints.

    python teachers.py list
    python teachers.py sample cifar10 --steps 50 --sampler ddim --n 64 --out samples.npz
    python teachers.py convert downloaded.pt --arch iddpm-cifar10 --out teacher.pt

Parts: the noise schedule, the model and its samplers; a reader of the papers needs no more, and can
stop at "Checkpoints". After it come checkpoints, options and errors, runs (resuming, several
processes), pictures, and the commands above.

Two clocks. The chain has T steps with indices i = 0 .. T-1; index 0 is nearly clean, T-1 nearly
pure noise (the papers' t is i + 1). Continuous time is t = (i + 1) / T in (0, 1]. A noisy image is
x_t = alpha_t x_0 + sigma_t eps with alpha_t^2 + sigma_t^2 = 1, and lam_t = -log(alpha_t / sigma_t)
rises with t. A network takes the index, whole or fractional, and predicts one of

    predicts   the first C channels           x0 from them               eps from them
    "eps"      eps, the noise                 (x - sigma eps) / alpha    eps
    "x0"       x0, the clean image            x0                         (x - alpha x0) / sigma
    "v"        v = alpha eps - sigma x0       alpha x - sigma v          alpha v + sigma x

If it learned the variance, C more channels interpolate the log-variance (improved DDPM, eq. 15).
Images are float32 (B, C, H, W) in [-1, 1]; labels c are int64 (B,).
"""

import argparse
import ctypes
import dataclasses
import hashlib
import json
import math
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from PIL import Image, ImageDraw
from tqdm import tqdm

import unet
import vit

ARCHITECTURES = {net.arch: net for net in (unet.UNet, vit.ViT)}
WEIGHTS = Path(__file__).resolve().parent / "weights"


class UserError(ValueError):
    """Bad input, in one line: what is wrong and what to do. Scripts print it and exit with 2."""


# ------------------------------------------------------------------------------------------------
# Noise schedule


def per_sample(values, x):
    """values (B,) or () shaped to multiply x (B, ...), in x's precision and on its device."""
    values = values.to(x.dtype).to(x.device)  # precision first: MPS has no float64
    return values.reshape(-1, *[1] * (x.ndim - 1))


class Schedule:
    """A noise schedule: the discrete chain, and its continuous-time view.

    name  "cosine" (improved DDPM, eq. 17), "linear" (DDPM's betas, scaled by 1000 / T), or a tensor
          (T,): alphas_cumprod, the product of (1 - beta) up to each index, which is alpha^2
    T     steps of the chain (default: 1000, or as many as the tensor has)
    clip  the limit of predicted images x0: 1.0 for [-1, 1]; False for none, as for latents; or
          (q, most), Imagen's thresholding: x0 is clamped to the quantile q of its |x0|, which
          counts as at least 1 and at most `most`, and divided by it
    variance   of a step whose variance is not learned: "fixed_large", beta, or "fixed_small",
          beta-tilde (DDPM, sec. 3.2)
    Raises UserError unless the levels fall strictly, below 1 and above 0, and are T.
    """

    def __init__(self, name, T=None, clip=1.0, variance="fixed_large"):
        T = T or (len(name) if torch.is_tensor(name) else 1000)
        if torch.is_tensor(name):
            abar = name.double()
            if len(abar) != T:
                raise UserError(f"a schedule of {len(abar)} levels is no chain of T = {T}")
        elif name == "cosine":
            s = torch.arange(T + 1, dtype=torch.float64) / T
            f = torch.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2
            betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
            abar = torch.cumprod(1 - betas, dim=0)
        elif name == "linear":
            betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64) * 1000 / T
            abar = torch.cumprod(1 - betas, dim=0)
        else:
            raise UserError(f"unknown noise schedule {name!r}: choose cosine or linear")
        if variance not in ("fixed_large", "fixed_small"):
            raise UserError(f"unknown variance {variance!r}: choose fixed_large or fixed_small")
        before = torch.cat([abar.new_ones(1), abar[:-1]])
        if not ((0 < abar) & (abar < before)).all():
            raise UserError(f"the noise schedule {'given' if torch.is_tensor(name) else name} does "
                            f"not fall strictly between 1 and 0 in {T} steps: take another, or "
                            "another number of steps")
        self.name, self.T, self.alphas_cumprod = name, T, abar
        self.clip, self.variance = tuple(clip) if isinstance(clip, list) else clip, variance
        self._copies = {}
        self._lam = 0.5 * torch.log((1 - abar) / abar)
        self._alpha, self._sigma = abar.sqrt(), (1 - abar).sqrt()
        # For posterior(). At i = 0 its variance is 0, so the logarithm takes that of i = 1.
        betas = 1 - abar / before
        tilde = betas * (1 - before) / (1 - abar)
        first = tilde[1:2] if self.T > 1 else betas
        self._min_log, self._max_log = torch.cat([first, tilde[1:]]).log(), betas.log()
        large = torch.cat([first, betas[1:]]).log()
        self._fixed_log = self._min_log if variance == "fixed_small" else large
        self._mean_x0 = betas * before.sqrt() / (1 - abar)
        self._mean_x = (1 - before) * (abar / before).sqrt() / (1 - abar)

    def respaced(self, indices):
        """The chain that visits only these rising indices of this one (improved DDPM, sec. 4)."""
        levels = self.alphas_cumprod[list(indices)]
        return Schedule(levels, clip=self.clip, variance=self.variance)

    def _table(self, name, dtype, device):
        """A table (T,), kept on each device it is asked for: a copy each time makes a GPU wait."""
        key = name, dtype, device
        if key not in self._copies:
            self._copies[key] = getattr(self, name).to(dtype).to(device)  # MPS has no float64
        return self._copies[key]

    def _at(self, i, x, *names):
        """Entries i (B,) of each table, shaped to multiply x (B, ...)."""
        return [per_sample(self._table(name, x.dtype, i.device)[i], x) for name in names]

    def _around(self, t):
        """lam at the indices left and right of times t (...), and where t lies between, 0 to 1."""
        position = (t * self.T - 1).clamp(0, self.T - 1)
        left = position.long().clamp(max=max(self.T - 2, 0))
        table = self._table("_lam", t.dtype, t.device)
        return table[left], table[(left + 1).clamp(max=self.T - 1)], position - left

    def lam(self, t):
        """-log(alpha_t / sigma_t) at times t (...), linear between indices; constant below 1/T."""
        return torch.lerp(*self._around(torch.as_tensor(t)))

    def slope(self, t):
        """lambda'_t, the derivative of lam at times t (...); 0 below 1/T, where lam is constant."""
        t = torch.as_tensor(t)
        left, right, _ = self._around(t)
        return (right - left) * self.T * (t * self.T >= 1)

    def alpha(self, t):
        """Signal level at times t (...)."""
        return torch.sigmoid(-2 * self.lam(t)).sqrt()

    def sigma(self, t):
        """Noise level at times t (...)."""
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def levels(self, i, x):
        """alpha and sigma at chain indices i (B,) int64, each shaped to multiply x (B, ...)."""
        return self._at(i, x, "_alpha", "_sigma")

    def posterior(self, x0, x, i):
        """Mean and log-variance of q(x_{i-1} | x_i, x_0) (DDPM, eq. 6 and 7)."""
        for_x0, for_x, log_variance = self._at(i, x, "_mean_x0", "_mean_x", "_min_log")
        return for_x0 * x0 + for_x * x, log_variance

    def clipped(self, x0):
        """x0 (B, ...) limited as self.clip says."""
        if isinstance(self.clip, tuple):
            q, most = self.clip
            bound = per_sample(x0.flatten(1).abs().quantile(q, dim=1).clamp(1, most), x0)
            return x0.clamp(-bound, bound) / bound
        return x0.clamp(-self.clip, self.clip) if self.clip else x0

    def p_mean_variance(self, out, x, i, clip=True):
        """The step p(x_{i-1} | x_i) that an output in eps form asks for (improved DDPM, sec. 3.1).

        out   (B, 2C, ...) predicted noise, then the variance interpolation; or (B, C, ...)
        x     (B, C, ...) at chain indices i (B,) int64
        clip  whether the predicted x0 is limited, see clipped()
        Returns mean, log_variance, x0, and the eps that this x0 implies, each (B, C, ...).
        """
        C = x.shape[1]
        alpha, sigma = self.levels(i, x)
        x0 = (x - sigma * out[:, :C]) / alpha
        if clip:
            x0 = self.clipped(x0)
        mean, low = self.posterior(x0, x, i)
        if out.shape[1] == 2 * C:  # eq. 15: from -1 to 1 between the bounds of the log-variance
            high, = self._at(i, x, "_max_log")
            log_variance = low + (out[:, C:] + 1) / 2 * (high - low)
        else:
            log_variance = self._at(i, x, "_fixed_log")[0].expand_as(x)
        return mean, log_variance, x0, (x - alpha * x0) / sigma


# ------------------------------------------------------------------------------------------------
# Model and samplers


def to_x0(predicts, p, x, alpha, sigma):
    """The clean image that a prediction p (B, C, ...) means for x at levels alpha, sigma (B,)."""
    alpha, sigma = per_sample(alpha, x), per_sample(sigma, x)
    if predicts == "v":
        return alpha * x - sigma * p
    return p if predicts == "x0" else (x - sigma * p) / alpha


def is_guided(w):
    """Whether scale w guides: a number other than 1, or any (B,), which on a GPU is not read."""
    return torch.is_tensor(w) or w != 1


@dataclass
class DiffusionModel:
    """A diffusion network with all that is needed to use it: a teacher, or a student of DKDM.

    Its methods take labels c (B,), or None: "no class", and the scale w of classifier-free
    guidance, f(x, no class) + w (f(x, c) - f(x, no class)), a number or (B,). The number 1 is no
    guidance; all else calls the network twice.
    """

    net: torch.nn.Module   # called as net(x, i, c), see unet.py
    schedule: Schedule
    image_shape: tuple     # (C, H, W)
    num_classes: int       # without "no class"; None: the network takes no labels
    predicts: str          # "eps" | "x0" | "v", see the top of this file
    learned_sigma: bool    # whether C channels of variance interpolation follow the prediction
    pipeline: object = None  # decodes latents, for models of the diffusers library; see extras/
    stride: int = 1        # indices of the network's own chain to one of the schedule
    bf16: bool = False     # whether the network computes in bfloat16, see in_precision()
    latents: bool = False  # whether an autoencoder would make images of what it makes

    @property
    def null_label(self):
        """The label of "no class"; None without classes, or if the network does not know it."""
        rows = getattr(self.net, "num_classes", None)
        return None if rows == self.num_classes else self.num_classes

    @property
    def device(self):
        return next(self.net.parameters()).device

    def call(self, *inputs):
        """net(*inputs), the network's own output, in the model's precision; returned as float32."""
        # No cache: torch 2.6 reuses weights that were cast under no_grad, and loses their gradient.
        with torch.autocast(inputs[0].device.type, torch.bfloat16, self.bf16, cache_enabled=False):
            return self.net(*inputs).float()

    def _predict(self, x, i, c, guidance):
        """The network's own output, float32 (B, C or 2C, ...), its prediction guided."""
        i = (i + 1) * self.stride - 1
        if self.num_classes is None:
            if c is not None or is_guided(guidance):
                raise UserError("this model has no classes: leave labels and guidance out")
            return self.call(x, i)
        if self.null_label is None and (c is None or is_guided(guidance)):
            raise UserError('this model has no "no class": give it labels, leave guidance out')
        null = torch.full((len(x),), self.num_classes, device=x.device)
        if c is None or not is_guided(guidance):
            return self.call(x, i, null if c is None else c)
        both = self.call(x.repeat(2, 1, 1, 1), i.repeat(2), torch.cat([c, null]))
        (with_class, without), C = both.chunk(2), x.shape[1]
        w = per_sample(guidance, x) if torch.is_tensor(guidance) else guidance
        guided = without[:, :C] + w * (with_class[:, :C] - without[:, :C])
        return torch.cat([guided, with_class[:, C:]], dim=1)

    def respaced(self, T):
        """The same model on a chain of T of its noise levels, evenly spaced, t = 1 among them.

        UserError if T does not divide the steps of its chain.
        """
        k = self.schedule.T // T
        if k * T != self.schedule.T:
            raise UserError(f"a chain of {self.schedule.T} steps has no {T} evenly spaced ones: "
                            "choose a divisor of it (of dkdm.py, by --T)")
        chain = self.schedule.respaced(range(k - 1, self.schedule.T, k))
        return dataclasses.replace(self, schedule=chain, stride=k * self.stride)

    def eps_form(self, x, i, c=None, guidance=1.0):
        """The output at chain indices i (B,) int64, its prediction as noise: (B, C or 2C, H, W)."""
        out, C = self._predict(x, i, c, guidance), x.shape[1]
        alpha, sigma = self.schedule.levels(i, x)
        p, rest = out[:, :C], out[:, C:]
        if self.predicts == "v":
            p = alpha * p + sigma * x
        elif self.predicts == "x0":
            p = (x - alpha * p) / sigma
        return torch.cat([p, rest], dim=1)

    @torch.no_grad()
    def x0(self, x, t, c=None, guidance=1.0):
        """f_phi: the clean image (B, C, H, W) predicted from x at continuous times t (B,).

        Clipped as the schedule says, but only under guidance and for models that predict noise,
        whose errors near t = 1 are divided by a small alpha.
        """
        p = self._predict(x, t * self.schedule.T - 1, c, guidance)[:, :x.shape[1]]
        x0 = to_x0(self.predicts, p, x, self.schedule.alpha(t), self.schedule.sigma(t))
        clip = self.predicts == "eps" or is_guided(guidance)
        return self.schedule.clipped(x0) if clip else x0

    @torch.no_grad()
    def ddim(self, x_T, steps, c=None, guidance=1.0, t_max=None, t_min=None):
        """Images (B, C, H, W) from noise x_T by DDIM with eta = 0 (arXiv 2010.02502, eq. 12).

        Without t_max and t_min: ADM's sampler, at indices 0, k, 2k, ... for the smallest k that
        gives `steps` of them (UserError if none does), x0 clipped as the schedule says. With them:
        `steps` calls at times evenly spaced from t_max to t_min; the last call's x0 is the image.
        BOOT's student learns this path but for its start: y = f(x_T, t_max), here x = x_T.
        """
        x, B, schedule = x_T, len(x_T), self.schedule
        if t_max is None:
            indices = range(0, schedule.T, math.ceil(schedule.T / steps))
            if len(indices) != steps:
                raise UserError(f"no whole stride takes {steps} DDIM steps out of a chain of "
                                f"{schedule.T}: try {len(indices)}")
            chain = schedule.respaced(indices)
            for k in reversed(range(steps)):
                out = self.eps_form(x, torch.full((B,), indices[k], device=x.device), c, guidance)
                _, _, x0, eps = chain.p_mean_variance(out, x, torch.full((B,), k, device=x.device))
                x = chain._alpha[k - 1].item() * x0 + chain._sigma[k - 1].item() * eps if k else x0
            return x
        times = torch.linspace(t_max, t_min, steps, device=x.device)
        alpha, sigma = schedule.alpha(times), schedule.sigma(times)
        for k in range(steps - 1):
            x0 = self.x0(x, times[k].expand(B), c, guidance)
            eps = (x - alpha[k] * x0) / sigma[k]
            x = alpha[k + 1] * x0 + sigma[k + 1] * eps
        return self.x0(x, times[-1].expand(B), c, guidance)

    @torch.no_grad()
    def dpm_solver(self, x_T, steps, c=None, guidance=1.0, t_max=0.99, t_min=0.02):
        """Images (B, C, H, W) from noise x_T by DPM-Solver++(2M) (arXiv 2211.01095, algorithm 2).

        `steps` calls at the times of ddim(); the last call's x0 is the image.
        """
        x, B, schedule, last = x_T, len(x_T), self.schedule, None
        times = torch.linspace(t_max, t_min, steps, device=x.device)
        alpha, sigma, lam = schedule.alpha(times), schedule.sigma(times), schedule.lam(times)
        for k in range(steps - 1):
            x0 = D = self.x0(x, times[k].expand(B), c, guidance)
            if k > 0:  # D: x0 in the middle of the step, extrapolated from the last two
                D = x0 + (lam[k] - lam[k + 1]) / (lam[k - 1] - lam[k]) / 2 * (x0 - last)
            eps, last = (x - alpha[k] * D) / sigma[k], x0
            x = alpha[k + 1] * D + sigma[k + 1] * eps
        return self.x0(x, times[-1].expand(B), c, guidance)

    @torch.no_grad()
    def ddpm(self, x_T, steps, c=None, guidance=1.0, noises=None):
        """Images (B, C, H, W) from noise x_T by ancestral sampling (improved DDPM).
        `steps` indices, evenly spaced and rounded, with both ends; UserError for more than T.
        noises: (steps, B, C, H, W), first = largest index, or an iterator of (B, C, H, W); the last
        step uses none. None: drawn here.
        """
        x, T, noises = x_T, self.schedule.T, None if noises is None else iter(noises)
        if steps > T:
            raise UserError(f"{steps} DDPM steps do not fit a chain of {T}: choose 1 to {T}")
        indices = [round(k * (T - 1) / (steps - 1)) for k in range(steps)] if steps > 1 else [T - 1]
        chain = self.schedule.respaced(indices)
        for k in reversed(range(steps)):
            i = torch.full((len(x),), indices[k], device=x.device)
            out = self.eps_form(x, i, c, guidance)
            mean, log_variance, _, _ = chain.p_mean_variance(out, x, torch.full_like(i, k))
            if k == 0:
                return mean
            noise = torch.randn_like(x) if noises is None else next(noises).to(x.device)
            x = mean + (0.5 * log_variance).exp() * noise

    def generator(self, seed):
        """A random generator on the model's device; each process has one of its own."""
        seed += 10**6 * processes()[0]  # not 2**32: a CPU's generator sees only 32 bits of its seed
        return torch.Generator(self.device).manual_seed(seed)

    def noises(self, rows, seed):
        """Yields noise (len(rows), C, H, W) on the CPU; row k's depends on seed and k alone."""
        streams = [np.random.default_rng([seed, k]) for k in rows]
        while True:
            draws = [stream.standard_normal(self.image_shape, np.float32) for stream in streams]
            yield torch.from_numpy(np.stack(draws))

    def noise(self, n, seed):
        """Noise (n, C, H, W) on the CPU; sample k depends on seed and k alone."""
        return next(self.noises(range(n), seed))

    def labels(self, n, label=None):
        """n labels (n,): all classes in turn, or `label`; None for a model without classes."""
        if label is not None and not 0 <= label < (self.num_classes or 0):
            raise UserError(f"no class {label}: this model has {self.num_classes or 'no'} classes")
        if self.num_classes is None:
            return None
        return torch.arange(n) % self.num_classes if label is None else torch.full((n,), label)

    @property
    def at_once(self):
        """How many images to make at once: 64, on a GPU 256, or fewer large ones."""
        most = 64 if self.device.type == "cpu" else 256
        return max(1, min(most, most * 3 * 32 * 32 // math.prod(self.image_shape)))

    @torch.no_grad()
    def in_parts(self, f, *tensors, desc=""):
        """f(*tensors) at_once rows at a time; joined, on the CPU.

        tensors: each (N, ...) is split; all else, such as None or a number, goes to every call.
        desc: of a progress bar, "" for none.
        """
        size, found = self.at_once, []
        for k in tqdm(range(0, len(tensors[0]), size), desc=desc, unit="batch", disable=not desc):
            part = (x[k:k + size].to(self.device) if torch.is_tensor(x) else x for x in tensors)
            found.append(f(*part).cpu())
        return torch.cat(found)

    def to_images(self, x):
        """The images of what the model makes: x itself, RGBA on white, or latents decoded."""
        if self.latents and self.pipeline is not None:
            x = self.pipeline.decode(x.to(self.device)).cpu()
        elif not self.latents and x.shape[1] == 4:
            opacity = (x[:, 3:].clamp(-1, 1) + 1) / 2
            x = opacity * x[:, :3] + 1 - opacity
        return x

    @property
    def precision(self):
        """What the network computes in, "bf16" or "fp32"."""
        return "bf16" if self.bf16 else "fp32"

    def in_precision(self, precision):
        """The same model, its network computing in "fp32", "bf16" or "auto".

        auto is bfloat16 where the hardware computes in it, about twice as fast.
        """
        kind, bf16 = self.device.type, precision == "bf16"
        if precision == "auto":
            if kind == "cuda":
                bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
            elif kind == "cpu" and hasattr(torch.cpu, "get_capabilities"):
                can = torch.cpu.get_capabilities()
                bf16 = any(can.get(key) for key in ("avx512_bf16", "amx_bf16", "sve_bf16"))
        return dataclasses.replace(self, bf16=bf16)

    def captured(self, step, generator):
        """step, which trains this network, as a CapturedStep. UserError where that cannot be."""
        parts = self.net.modules()
        recomputes = any(getattr(part, "gradient_checkpointing", False) for part in parts)
        if self.device.type != "cuda" or processes()[1] > 1 or recomputes:
            raise UserError("--graph needs a GPU, one process, and a network of which the backward "
                            "pass recomputes nothing (it does in pipelines above 200 M parameters)"
                            ": leave it out")
        return CapturedStep(step, generator)

    def checkpoint(self, method, config):
        """A plain dict of all that sampling and scoring need; method: "teacher", "dkdm", "boot"."""
        return {"arch": self.net.arch, "arch_args": self.net.arguments,
                "weights": self.net.state_dict(), "stride": self.stride,
                "schedule": self.schedule.name, "T": self.schedule.T,
                "clip": self.schedule.clip, "variance": self.schedule.variance,
                "latents": self.latents,
                "predicts": self.predicts, "learned_sigma": self.learned_sigma,
                "image_shape": list(self.image_shape), "num_classes": self.num_classes,
                "pipeline": self.pipeline and dataclasses.asdict(self.pipeline),
                "method": method, "config": config}


# ------------------------------------------------------------------------------------------------
# Checkpoints, and the models with a name

# {name: [file in weights/, or address; licence and published score; what its bare weights are]}
NAMED = json.loads((WEIGHTS / "named.json").read_text())
# What a checkpoint says of its weights at least, and named.json or --arch of bare ones
DESCRIPTION = {"arch", "arch_args", "image_shape", "num_classes", "predicts", "learned_sigma",
               "schedule", "T"}


def save(path, content):
    """Writes content (tensors and plain values), as write() does."""
    write(path, lambda file: torch.save(content, file))


def write(path, fill):
    """Writes what fill(binary file) does, whole or not at all. UserError on a full disk."""
    if processes()[0] > 0:  # the first process writes for all
        return
    aside = Path(f"{path}.part")
    try:
        with open(aside, "wb") as file:
            fill(file)
        os.replace(aside, path)
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot write {path} ({one_line(error)}): make room, or choose another "
                        "place; an older file of that name is unharmed") from None
    finally:
        aside.unlink(missing_ok=True)


def can_write(folder):
    """Whether a file can be made in folder, asked before the work that it is for."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def download(name, advice="try again", sha256=None):
    """The Path of a named model, a path, or an https address. UserError if it cannot be fetched.

    What is not here goes to torch.hub's cache at first use. advice: what else to do if that fails;
    sha256: how the file's SHA-256 must begin. An address without one is no more than a path: the
    cache may have another file of that name.
    """
    if name not in NAMED and not sha256:
        return Path(name)
    address = NAMED[name][0] if name in NAMED else name
    if address.startswith("https://drive.google.com/"):
        raise UserError(f"download {name} in a browser, from {address}; then run python "
                        f"teachers.py convert FILE --arch {name} --out teacher.pt")
    if not address.startswith("https://"):
        return WEIGHTS / address
    path = Path(torch.hub.get_dir(), "checkpoints", address.split("/")[-1])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            torch.hub.download_url_to_file(address, path, sha256)  # aside, then renamed
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot download {address} ({one_line(error)}): {advice}, or put the file "
                        f"at {path}") from None
    return path


def read(path):
    """What save() wrote, or tensors in a .safetensors file. UserError for a file that is missing,
    broken or another's; code in it is refused, never run."""
    if not Path(path).is_file():
        raise UserError(f"no checkpoint at {path}: give a path, or one of {', '.join(NAMED)}; "
                        "for public weights and pipelines, see teachers.py convert --help")
    options = torch.serialization.safe_globals([argparse.Namespace])  # as training scripts save
    try:
        with warnings.catch_warnings(), options, open(path, "rb") as file:
            warnings.simplefilter("ignore")  # what matters is in the error
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file can fail in any way
        from extras import foreign
        return foreign.other_file(path, error)


def build(content, path, device="cpu"):
    """The DiffusionModel in a checkpoint's dict, in eval mode, without gradients.

    UserError unless the weights fit the network exactly, and the network its images and labels.
    """
    networks, pipeline, classes = ARCHITECTURES, content.get("pipeline"), content["num_classes"]
    if content["arch"] == "diffusers":
        from extras import diffusers_teacher
        diffusers_teacher.library()  # UserError without it
        networks = networks | {"diffusers": diffusers_teacher.DiffusersNet}
    try:
        C, H, W = shape = tuple(content["image_shape"])
        if pipeline:
            from extras import diffusers_teacher
            pipeline = diffusers_teacher.Pipeline(**pipeline)
        with torch.device("meta"), torch.no_grad():  # shapes alone, before any memory is taken
            net = networks[content["arch"]](**content["arch_args"])
            c = None if classes is None else torch.zeros(1, dtype=torch.long)
            w = torch.ones(1) if net.guided else None
            out = net(torch.zeros(1, C, H, W), torch.zeros(1), c, w)
        rows = (None,) if classes is None else (classes, classes + 1)
        wanted = (C * (1 + content["learned_sigma"]), H, W)
        if out.shape[1:] != wanted or net.num_classes not in rows:
            raise ValueError(f"an output of {tuple(out.shape[1:])} and {net.num_classes} labels do "
                             "not go with image_shape, learned_sigma and num_classes")
        if content["predicts"] not in ("eps", "x0", "v"):
            raise ValueError(f"predicts is {content['predicts']!r}, not eps, x0 or v")
        weights = {name: w.float() for name, w in content["weights"].items()}
        if not all(w.isfinite().all() for w in weights.values()):
            raise ValueError("some weights are not finite")
        net.load_state_dict(weights, assign=True)
        # Checkpoints of earlier versions lack these three, and the stride.
        latents = content.get("latents", bool(pipeline and pipeline.latents) or C not in (1, 3))
        if not latents and C not in (1, 3, 4):
            raise ValueError(f"pixels have 1, 3 or 4 channels, not {C}: are these latents?")
        clip = content.get("clip", False if latents else 1.0)
        variance = content.get("variance", "fixed_large")
        schedule = Schedule(content["schedule"], content["T"], clip, variance)
        return DiffusionModel(net.requires_grad_(False).eval().to(device), schedule, shape, classes,
                              content["predicts"], content["learned_sigma"], pipeline,
                              content.get("stride", 1), latents=latents)
    except Exception as error:  # a broken or hostile file can fail in any way
        raise UserError(f"{path} does not fit what is said of it ({content['arch']}): "
                        f"{one_line(error)}") from None


def load(name_or_path, device="cpu", about=None):
    """(DiffusionModel, checkpoint dict) of a named model, or of a file. UserError.

    about: what bare weights are, see DESCRIPTION; a checkpoint of ours needs none.
    """
    path, about = download(name_or_path), NAMED.get(name_or_path, [about])[-1]
    content, wanted = read(path), DESCRIPTION | {"weights", "method", "config"}
    if about or not isinstance(content, dict) or not wanted <= content.keys():
        from extras import foreign
        content = foreign.described(content, about, path)
    model = build(content, name_or_path, pick_device(device))
    if model.pipeline:
        model.pipeline.demand_decoder()  # now, not after hours
    return model, content


def load_teacher(name_or_path, device="cpu"):
    """The DiffusionModel of that name (see NAMED) or path. UserError for a one-step student."""
    model, content = load(name_or_path, device)
    if content["method"] == "boot":
        raise UserError(f"{name_or_path} is a one-step student of BOOT, which takes noise alone: "
                        "draw it with python boot.py --sample")
    return model


# ------------------------------------------------------------------------------------------------
# Options, errors, devices


def opt(default, help, low=-math.inf, high=math.inf, **argparse_options):
    """A field of a configuration: default, meaning, and the range that its value must lie in."""
    return dataclasses.field(default=default, metadata={
        "help": help, "range": (low, high), **argparse_options})


@dataclass
class Options:
    """A configuration whose fields, made by opt(), are options. UserError outside their ranges."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, (low, high) = getattr(self, field.name), field.metadata["range"]
            if isinstance(value, list):  # as argparse gives them
                value = tuple(value)
                setattr(self, field.name, value)
            for v in value if isinstance(value, tuple) else (value,):
                if isinstance(v, int | float) and not (low <= v <= high and v < math.inf):
                    raise UserError(f"--{field.name.replace('_', '-')} is {v}, and must be from "
                                    f"{low:g} to {high:g}")

    @classmethod
    def parser(cls):
        """The argparse.ArgumentParser of these options."""
        # Without a usage, argparse's errors are one line.
        parser = argparse.ArgumentParser(description=cls.__doc__, usage=argparse.SUPPRESS)
        for field in dataclasses.fields(cls):
            how = {"type": field.type, "default": field.default, **field.metadata}
            names = [f"--{field.name.replace('_', '-')}", *how.pop("also", [])]
            low, high = how.pop("range")
            if how.pop("positional", False):
                names = [field.name]
            if low > -math.inf:
                how["help"] += f" [{low:g} to {high:g}]"
            if field.type is bool:
                how["action"] = "store_true"
                del how["type"]
            elif field.default not in ("", None):
                how["help"] += " (default: %(default)s)"
            if len(names) == 1:
                parser.add_argument(*names, **how)
                continue
            either = parser.add_mutually_exclusive_group()
            for name in names:
                either.add_argument(name, dest=field.name, **how)
                how["help"] = f"the same as {names[0]}"
        return parser

    @classmethod
    def parse(cls, argv=None):
        """The configuration that the command line asks for."""
        return cls(**vars(cls.parser().parse_args(argv)))


def one_line(error):
    """An error's message on one line that is not too long."""
    return " ".join(str(error).split())[:300]


def run_script(main):
    """Runs main(), then prints the peak of memory. Bad input ends in one line and exit status 2."""
    keep_freed_memory()
    try:
        main()
        if dist.is_initialized():
            dist.destroy_process_group()
        return print(peak_memory(), file=sys.stderr)
    except (UserError, OSError) as error:
        message = " ".join(str(error).split())
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, (torch.OutOfMemoryError, MemoryError)) and (
                "DefaultCPUAllocator" not in str(error)):
            raise
        message = "out of memory: try a smaller --batch (of boot.py --sample, a smaller --n)"
    except KeyboardInterrupt:
        sys.exit("\nstopped; --resume continues a training run from its last save")
    print(f"{Path(sys.argv[0]).name}: error: {message}", file=sys.stderr)
    sys.exit(2)


def keep_freed_memory():
    """Lets glibc keep freed blocks: on a CPU a forward pass is up to 1.6 times as fast."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        libc.mallopt(-4, 0)   # M_MMAP_MAX: no block from mmap
        libc.mallopt(-1, -1)  # M_TRIM_THRESHOLD: give none back


def peak_memory():
    """The most memory that this process has had, in words."""
    if torch.cuda.is_initialized():
        peak = max(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
        return f"peak of GPU memory: {peak / 2**20:,.0f} MiB"
    if sys.platform == "win32":
        return ""
    import resource  # which Windows does not have
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"peak of memory: {peak / (2**20 if sys.platform == 'darwin' else 2**10):,.0f} MiB"


def pick_device(name):
    """torch.device of that name; "auto" is a GPU, or Apple's, if there is one. UserError."""
    if name == "auto":
        found = torch.accelerator.is_available()
        name = torch.accelerator.current_accelerator().type if found else "cpu"
    if processes()[1] > 1 and name not in ("cpu", "cuda"):
        raise UserError(f"several processes need --device cpu or cuda, not {name}")
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"  # torchrun's number of this process
    try:
        device = torch.zeros(1, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"no device {name!r} here ({one_line(error)}): try --device cpu") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)  # the one that PyTorch asks about bfloat16
    return device


# ------------------------------------------------------------------------------------------------
# Runs, in one process or in several that torchrun starts


def processes():
    """(rank, how many) of the processes that torchrun started; (0, 1) without it."""
    if not dist.is_torchelastic_launched():
        return 0, 1
    if not dist.is_initialized():  # NCCL averages gradients of GPUs, gloo gathers the rest
        nccl = torch.cuda.is_available() and dist.is_nccl_available()
        dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo")
    return dist.get_rank(), dist.get_world_size()


def one_process():
    """UserError under torchrun, for what is not training: it would be done several times."""
    if processes()[1] > 1:
        raise UserError("this takes one process: run it by python, not by torchrun")


def average_gradients(parameters, losses):
    """Averages the gradients of parameters, and the losses, over all processes; in place."""
    count, waiting = processes()[1], []
    if count == 1:
        return
    for values in (*(p.grad for p in parameters if p.grad is not None), losses):
        waiting.append(values)
        if values is losses or sum(x.nbytes for x in waiting) > 25e6:  # few calls: each has a price
            joined = torch.nn.utils.parameters_to_vector(waiting)
            dist.all_reduce(joined)
            torch.nn.utils.vector_to_parameters(joined / count, waiting)
            waiting = []


class CapturedStep:
    """A training step, step(*numbers) -> losses, in one launch on a GPU.

    Python takes ten times as long to launch a step's kernels one by one as the GPU takes to run
    them. So the step is recorded as a CUDA graph, and later calls replay it. A number would stay
    what it was when the step was recorded: step gets a tensor () instead, which each call fills.
    The first WARM_UP calls are ordinary steps, on a stream of their own, as PyTorch asks for.
    Recording runs nothing. UserError if it fails.
    """

    WARM_UP = 3

    def __init__(self, step, generator):
        self.step, self.generator, self.calls = step, generator, 0

    def __call__(self, *numbers):
        self.calls += 1
        if self.calls == 1:
            self.numbers = [torch.zeros((), device=self.generator.device) for _ in numbers]
            self.aside = torch.cuda.Stream()
        for kept, number in zip(self.numbers, numbers, strict=True):
            kept.fill_(number)
        if self.calls <= self.WARM_UP:
            here = torch.cuda.current_stream()
            self.aside.wait_stream(here)
            with torch.cuda.stream(self.aside):
                losses = self.step(*self.numbers)
            here.wait_stream(self.aside)
            return losses
        if self.calls == self.WARM_UP + 1:
            self.graph = torch.cuda.CUDAGraph()
            if torch.__version__ < "2.14":  # later ones find the generator themselves
                self.graph.register_generator_state(self.generator)
            try:
                with torch.cuda.graph(self.graph):
                    self.losses = self.step(*self.numbers)
            except RuntimeError as error:
                raise UserError(f"--graph cannot record the step ({one_line(error)}): leave it "
                                "out") from None
        self.graph.replay()
        return self.losses.clone()  # the next replay writes over them


@dataclass
class RunOptions(Options):
    """A configuration of a training run, with the fields out and resume."""

    @classmethod
    def parse(cls, argv=None):
        """The configuration that the command line asks for; to resume, on top of the run's."""
        config, parser = super().parse(argv), cls.parser()
        if config.resume:
            saved = read_run(config.out)["config"]
            # An option that came later would be guessed.
            if saved.keys() != {field.name for field in dataclasses.fields(cls)}:
                raise UserError(f"{config.out} is not a run of this script and version: resume it "
                                "with those it began with")
            parser.set_defaults(**saved | {"out": config.out})
            config = cls(**vars(parser.parse_args(argv)))
        return config

    def run_folder(self, method):
        """Where a run goes: runs/METHOD-TEACHER; runs/NAME/student.pt is called NAME."""
        path = Path(self.teacher)
        nameless = path.stem in ("teacher", "student") and path.parent.name
        return f"runs/{method}-{path.parent.name if nameless else path.stem}"


def read_run(folder):
    """What last.pt of a run holds. UserError if there is no run to resume."""
    path = Path(folder) / "last.pt"
    if not path.is_file():
        raise UserError(f"no run to resume in {folder}: leave --resume out to start one, after "
                        "deleting that folder if it exists")
    saved = read(path)
    if not isinstance(saved, dict) or not {"config", "given", "log", "processes"} <= saved.keys():
        raise UserError(f"{path} is no last save of a run: resuming needs the file of that name "
                        "that the run wrote")
    return saved


def open_run(config, generator, given, shared, own=None):
    """Begins the run in config.out, or goes on with it: (folder, log so far, save_run()).

    given {what: text, or tensors and plain values}: what the run depends on besides config, such as
    its teacher or data, and what "auto" in config is here. shared {name: module or optimizer},
    alike in all processes, and own {name: what differs, such as a pool} are brought back to the
    last save, and so are random draws. log: a list of rows {column: number}. save_run writes
    config.json, log.csv and, for --resume, last.pt; all processes call it. UserError if a new run's
    folder exists, or the run to resume had another configuration, precision, teacher, loss, data,
    device or number of processes.
    """
    folder, (rank, count) = Path(config.out), processes()
    torch.manual_seed(generator.initial_seed())  # of the device's own draws, such as dropout's
    on_cpu = generator.device.type == "cpu"
    random = torch if on_cpu else torch.get_device_module(generator.device)
    asked, log = dataclasses.asdict(config) | {"resume": False}, []
    given = {what: x if isinstance(x, str) else f"SHA-256 {sha256(x)}" for what, x in given.items()}

    def save_run():
        mine = {"generator": generator.get_state(), "rng": random.get_rng_state()}
        mine |= {name: part.state_dict() for name, part in (own or {}).items()}
        everyone = [mine] * count
        if count > 1:
            dist.gather_object(mine, everyone if rank == 0 else None)
        columns = list(dict.fromkeys(name for row in log for name in row))
        rows = [[row.get(name, math.nan) for name in columns] for row in log]
        if log:
            write(folder / "log.csv", lambda file: np.savetxt(
                file, rows, "%.6g", ",", header=",".join(columns), comments=""))
        write(folder / "config.json",
              lambda file: file.write(json.dumps(asked, indent=2).encode() + b"\n"))
        states = {name: part.state_dict() for name, part in shared.items()}
        save(folder / "last.pt", states | {"config": asked, "given": given, "log": log,
                                           "processes": everyone})

    if not config.resume:
        if rank == 0:
            if folder.exists():
                if (folder / "last.pt").is_file():
                    raise UserError(f"{folder} exists: go on with it by --resume, or change --out")
                raise UserError(f"{folder} exists, without a run's last save: change --out, or "
                                "delete it if a run that stopped early left it")
            try:
                (folder / "samples").mkdir(parents=True)
            except OSError as error:
                raise UserError(f"--out {folder}: {one_line(error)}; choose another") from None
        return folder, log, save_run
    saved = read_run(folder)
    asked_now = asked | given | {"processes": count}
    # What is read may have moved: its content is compared. A device's kind shows in its state.
    moved = {name: asked[name] for name in ("out", "teacher", "data", "table", "device")
             if name in asked}
    was = saved["config"] | saved["given"] | moved | {"processes": len(saved["processes"])}
    differ = [f"{name} was {was.get(name)} and is {new}" for name, new in asked_now.items()
              if was.get(name) != new]
    if differ:
        raise UserError(f"{folder} cannot be resumed like this: {'; '.join(differ)}")
    (folder / "samples").mkdir(exist_ok=True)  # last.pt may be all that was copied
    mine = saved["processes"][rank]
    try:
        for name, part in (shared | (own or {})).items():
            part.load_state_dict((saved | mine)[name])
        generator.set_state(mine["generator"])
        random.set_rng_state(mine["rng"])
    except (KeyError, RuntimeError, ValueError) as error:
        raise UserError(f"{folder}/last.pt does not fit what it is given ({one_line(error)}): "
                        "resume with the teacher, data and device it began with") from None
    log += saved["log"]
    return folder, log, save_run


def sha256(content):
    """The first 16 hexadecimal digits of the SHA-256 of tensors and plain values, also in dicts."""
    digest, waiting = hashlib.sha256(), [content]
    while waiting:
        x = waiting.pop()
        if isinstance(x, dict):
            waiting += [*x.keys(), *x.values()]
        elif isinstance(x, (list, tuple)):
            waiting += x
        elif torch.is_tensor(x):
            digest.update(f"{x.dtype} {tuple(x.shape)}".encode())
            digest.update(x.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        else:
            digest.update(repr(x).encode())
    return digest.hexdigest()[:16]


def finite_mean(recent, taken, folder):
    """The mean [float, ...] of recent steps' losses, each (2,). UserError if one is not finite."""
    losses = torch.stack(recent)
    if not losses.isfinite().all():
        step = taken - len(recent) + 1 + (~losses.isfinite()).any(1).nonzero()[0].item()
        advice = "lower --lr" if step > 1 else (
            "before anything was learned, so the networks overflow: try --precision fp32")
        raise UserError(f"the loss is not finite at step {step}: {advice}; {folder} keeps the last "
                        "good save")
    return losses.mean(0).tolist()


# ------------------------------------------------------------------------------------------------
# Pictures


def to_uint8(images):
    """Images (B, C, H, W) in [-1, 1] as uint8, rounded; what lies outside is cut off."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def enlargement(images):
    """How many times as large save_grid() draws images (N, C, H, W), an int.

    Each has at least 64 pixels a side then, room for a label of three lines.
    """
    return math.ceil(64 / min(images.shape[-2:]))


def save_grid(path, images, columns=8, labels=(), heads=()):
    """A PNG of images (N, C, H, W) in [-1, 1], `columns` a row, small ones enlarged.

    labels, heads: a text for each row, at its left, and for each column, above it. Of latents, the
    first three channels are shown, of two the first.
    """
    import torchvision  # not at the top: it takes seconds, and --help needs none of it

    C, times = images.shape[1], enlargement(images)
    images = to_uint8(images[:, :1 if C == 2 else 3])  # Pillow takes the second of two for opacity
    images = images.repeat_interleave(times, 2).repeat_interleave(times, 3)
    grid = torchvision.utils.make_grid(images, nrow=columns, padding=2, pad_value=255)
    left, lines = 150 * bool(labels), max((head.count("\n") + 1 for head in heads), default=0)
    top = (6 + 16 * lines) * bool(heads)
    picture = Image.fromarray(F.pad(grid, (left, 0, top, 0), value=255).permute(1, 2, 0).numpy())
    draw, (row, column) = ImageDraw.Draw(picture), (size + 2 for size in images.shape[-2:])
    for k, label in enumerate(labels):
        draw.text((8, top + (k + 0.5) * row), label, "black", font_size=15, anchor="lm")
    for k, head in enumerate(heads):
        at = left + (k + 0.5) * column, top - 4
        draw.text(at, head, "black", font_size=12, anchor="md", align="center")
    write(path, lambda file: picture.save(file, "PNG"))


def draw_images(model, config, draw, source, how, size=None):
    """Writes config.n images to config.out: a grid (.png), or data to be scored (.npz).

    draw(x, c, noises) makes `size` images (None: at_once) of noise x; noises yields more noise for
    the same ones. Image k depends on config.seed and k alone. The .npz has arr_0, uint8
    (n, H, W, C), or float32 latents that nothing decodes; arr_1, the labels (n,), if any; and
    made_by, a JSON text for the score's line: source, its hash, and how {what: value}.
    UserError for a wrong --out, and for images that are not finite.
    """
    out, n, size = Path(config.out), config.n, size or model.at_once
    if out.suffix not in (".png", ".npz") or not can_write(out.parent) or out.is_dir():
        raise UserError(f"--out {out}: give a .png or an .npz, in a folder that exists and can be "
                        "written to")
    one_process()
    c, images = model.labels(n, config.label), []
    if out.suffix == ".npz":  # now, since a run may write another student before all is drawn
        digest = hashlib.sha256(download(source).read_bytes()).hexdigest()[:8]
    began = time.monotonic()
    for k in tqdm(range(0, n, size), desc="drawing", unit="batch"):
        noises = model.noises(range(k, min(k + size, n)), config.seed)
        some_c = None if c is None else c[k:k + size].to(model.device)
        with torch.no_grad():
            x = draw(next(noises).to(model.device), some_c, noises)
        x = model.to_images(x).cpu()
        if not x.isfinite().all():  # as 8 bits they would look like black pictures
            raise UserError(f"the images of {source} are not finite, though its weights are: the "
                            "network overflows; try --precision fp32, or a smaller --guidance")
        bare_latents = model.latents and model.pipeline is None
        images.append(x if out.suffix == ".png" or bare_latents else to_uint8(x))
    images, speed = torch.cat(images), n / (time.monotonic() - began)
    if out.suffix == ".png":
        save_grid(out, images)
    else:
        made_by = {"images of": str(source), "sha256": digest, **how, "seed": config.seed,
                   "precision": model.precision}
        labels = {} if c is None else {"arr_1": c.numpy()}
        pixels = images.permute(0, 2, 3, 1).numpy()
        write(out, lambda file: np.savez(file, arr_0=pixels, **labels, made_by=json.dumps(made_by)))
    print(f"{n} images in {out}, {speed:.1f} images/s")


# ------------------------------------------------------------------------------------------------
# Commands


@dataclass
class SampleOptions(Options):
    """Images of a diffusion model, a teacher or a student of DKDM."""

    teacher: str = opt("", "a name of teachers.py list, or a path", positional=True)
    steps: int = opt(50, "network calls an image; guidance doubles them", 1)
    sampler: str = opt("ddim", "ddim; ddpm, which is ancestral; or dpm, DPM-Solver++(2M), which "
                               "needs --t-max and --t-min", choices=("ddim", "ddpm", "dpm"))
    t_max: float = opt(None, "time of the first call; calls are then evenly spaced, as on BOOT's "
                             "path (default: ADM's indices)", 1e-4, 1)
    t_min: float = opt(None, "time of the last call, to go with --t-max", 1e-4, 1)
    n: int = opt(64, "images", 1)
    label: int = opt(None, "class of all images (default: all classes in turn)", 0)
    guidance: float = opt(1.0, "scale w of classifier-free guidance; 1 is none", 1)
    seed: int = opt(0, "seed of the noise", 0, 2**32 - 1)
    batch: int = opt(None, "images at a time (default: 64, on a GPU 256, or fewer large ones)", 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "auto: bf16 if it pays", choices=("auto", "fp32", "bf16"))
    out: str = opt("samples.npz", "a grid (.png), or images and labels to be scored (.npz)")


def sample(config):
    """Draws config.n images of config.teacher and writes them to config.out."""
    model, w = load_teacher(config.teacher, config.device), config.guidance
    # Near t = 1, the x0 of a model that predicts noise divides rounding by a small alpha.
    exact = config.precision == "auto" and model.predicts == "eps"
    model = model.in_precision("fp32" if exact else config.precision)
    path = [t for t in (config.t_max, config.t_min) if t is not None]
    if len(path) not in {"ddim": (0, 2), "ddpm": (0,), "dpm": (2,)}[config.sampler]:
        raise UserError("--t-max and --t-min go together: ddpm takes neither, dpm needs both")
    if path and not path[0] > path[1] >= 1 / model.schedule.T:
        raise UserError(f"--t-max {path[0]} must be above --t-min {path[1]}, and that at least "
                        f"1/{model.schedule.T}")

    def draw(x, c, noises):
        if config.sampler == "ddpm":
            return model.ddpm(x, config.steps, c, w, noises)
        sampler = model.dpm_solver if config.sampler == "dpm" else model.ddim
        return sampler(x, config.steps, c, w, *path)

    how = {name: getattr(config, name) for name in ("sampler", "steps", "guidance")}
    if path:
        how |= {"t_max": config.t_max, "t_min": config.t_min}
    draw_images(model, config, draw, config.teacher, how, config.batch)


def main():
    command, *arguments = sys.argv[1:] or [""]
    if command == "list":
        for name, (address, note, about) in NAMED.items():
            print(f"{name}: {note}\n    {address if about else WEIGHTS / address}")
    elif command == "sample":
        sample(SampleOptions.parse(arguments))
    elif command == "convert":
        from extras import convert
        convert.convert(convert.Config.parse(arguments))
    elif command in ("-h", "--help"):
        print(__doc__)
    else:
        raise UserError("the first argument must be one of list, sample, convert")


if __name__ == "__main__":
    import teachers  # extras raise this module's UserError, not that of __main__, so it must run
    teachers.run_script(teachers.main)
