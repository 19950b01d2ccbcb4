"""Diffusion teachers: noise schedules, checkpoints, samplers, and the training of a teacher from data.

    python teachers.py list
    python teachers.py sample cifar10 --steps 50 --sampler ddim --n 64 --out samples.npz
    python teachers.py train --dataset cifar10
    python teachers.py convert downloaded.pt --out teacher.pt

The named teachers, with their SHA-256 in NAMED; any other name is taken as the path of a checkpoint.

    name      file                 origin, licence, score
    cifar10   weights/cifar10.pt   ours, from CIFAR-10's 50,000 training images; MIT; FID-cifar10net 0.845 (DDIM-50)

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
import hashlib
import io
import json
import math
import os
import pickle
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

import unet
import vit

ARCHITECTURES = {"unet": unet.UNet, "vit": vit.ViT}
SIZES = unet.SIZES | vit.SIZES  # what new_network() builds, by name
WEIGHTS = Path(__file__).resolve().parent / "weights"
PRECISIONS = ("auto", "fp32", "bf16")
NAMED = {"cifar10": (WEIGHTS / "cifar10.pt", "45aba96ef11be0742add693e9ed33c27334ed57d10204edf094d36bdf72c04f5")}


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

    name            "cosine" (improved DDPM, eq. 17) or "linear" (DDPM's betas, scaled by 1000 / T)
    T               number of steps
    alphas_cumprod  (T,) float64, the product of (1 - beta) up to each index: alpha^2 at t = (i + 1) / T
    Raises UserError for an unknown name or T < 1.
    """

    def __init__(self, name, T=1000):
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
        self.T = len(alphas_cumprod)
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
        chain = object.__new__(Schedule)
        chain.name = self.name
        chain._set_chain(self.alphas_cumprod[list(indices)])
        return chain

    def lam(self, t):
        """-log(alpha_t / sigma_t) at times t (...), linear between the indices; t below 1 / T counts as 1 / T."""
        t = torch.as_tensor(t)
        position = (t * self.T - 1).clamp(0, self.T - 1)
        left = position.detach().long().clamp(max=max(self.T - 2, 0))
        right = (left + 1).clamp(max=self.T - 1)
        table = self._lam.to(t.dtype).to(t.device)
        return torch.lerp(table[left], table[right], position - left)

    def alpha(self, t):
        """Signal level at times t (...)."""
        return torch.sigmoid(-2 * self.lam(t)).sqrt()

    def sigma(self, t):
        """Noise level at times t (...)."""
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def levels(self, i, x):
        """alpha and sigma at chain indices i (B,) int64, each shaped to multiply x (B, ...)."""
        return per_sample(self._alpha[i.cpu()], x), per_sample(self._sigma[i.cpu()], x)

    def posterior(self, x0, x, i):
        """Mean and log-variance of q(x_{i-1} | x_i, x_0) (DDPM, eq. 6 and 7), each shaped to go with x (B, ...)."""
        i = i.cpu()
        mean = per_sample(self._mean_x0[i], x) * x0 + per_sample(self._mean_x[i], x) * x
        return mean, per_sample(self._min_log[i], x)

    def p_mean_variance(self, out, x, i, clip=True):
        """The step p(x_{i-1} | x_i) that a network's output in eps form asks for (improved DDPM, section 3.1).

        out  (B, 2C, ...) predicted noise, then the variance interpolation; or (B, C, ...) without learned variances
        x    (B, C, ...) at chain indices i (B,) int64;  clip: keep the predicted x0 in [-1, 1]
        Returns mean, log_variance, x0 and eps, each (B, C, ...); eps is the noise that x0, clipped or not, implies.
        """
        C = x.shape[1]
        alpha, sigma = self.levels(i, x)
        x0 = (x - sigma * out[:, :C]) / alpha
        if clip:
            x0 = x0.clamp(-1, 1)
        eps = (x - alpha * x0) / sigma
        mean, low = self.posterior(x0, x, i)
        if out.shape[1] == 2 * C:  # eq. 15: the network picks between the two bounds of the log-variance, from -1 to 1
            high = per_sample(self._max_log[i.cpu()], x)
            log_variance = low + (out[:, C:] + 1) / 2 * (high - low)
        else:
            log_variance = per_sample(self._fixed_log[i.cpu()], x).expand_as(x)
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

    Labels y are (B,) int64; None means "no class". guidance w is classifier-free guidance,
    f(x, null) + w (f(x, c) - f(x, null)), so 1 is none; it costs a second network evaluation.
    """

    def __init__(self, net, schedule, image_shape, num_classes, predicts, learned_sigma):
        self.net, self.schedule = net, schedule
        self.image_shape, self.num_classes = tuple(image_shape), num_classes
        self.predicts, self.learned_sigma = predicts, learned_sigma

    def _predict(self, x, i, y, guidance):
        """The network's own output, float32 (B, C or 2C, ...), its prediction guided."""
        C = x.shape[1]
        if self.num_classes is None:
            if guidance != 1 or y is not None:
                raise UserError("this teacher knows no classes: leave labels and guidance out")
            return self.net(x, i).float()
        null = torch.full((len(x),), self.num_classes, device=x.device)
        if guidance == 1 or y is None:
            return self.net(x, i, null if y is None else y).float()
        with_class, without = self.net(x.repeat(2, 1, 1, 1), i.repeat(2), torch.cat([y, null])).float().chunk(2)
        guided = without[:, :C] + guidance * (with_class[:, :C] - without[:, :C])
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
        """f_phi: the clean image predicted from x (B, C, H, W) at continuous times t (B,), not clipped."""
        p = self._predict(x, t * self.schedule.T - 1, y, guidance)[:, :x.shape[1]]
        return to_x0(self.predicts, p, x, self.schedule.alpha(t), self.schedule.sigma(t))

    @torch.no_grad()
    def ddim(self, x_T, steps, y=None, guidance=1.0, t_max=None, t_min=None):
        """Images (B, C, H, W) from noise x_T by deterministic DDIM (eta = 0, arXiv 2010.02502 eq. 12).

        Without t_max and t_min: ADM's sampler, at indices 0, k, 2k, ... for the stride k that gives `steps` of them
        (UserError if none does), x0 clipped to [-1, 1]. With them: the path that BOOT's student learns; calls at
        `steps` times evenly spaced from t_max to t_min, unclipped; the last call's x0 is the image, so that one step
        is f(x_T, t_max).
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
            "schedule": model.schedule.name, "T": model.schedule.T, "predicts": model.predicts,
            "learned_sigma": model.learned_sigma, "image_shape": list(model.image_shape),
            "num_classes": model.num_classes, "method": method, "config": config}


def save(path, content):
    """Writes content (a dict of tensors and plain values) to path, whole or not at all. UserError if it cannot."""
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


def load(path):
    """A checkpoint as checkpoint() describes it. UserError for anything else.

    A bare state dict of a U-Net, the format of the public ADM and improved-DDPM weights, is taken too if a file
    NAME.json beside it gives config (the arguments of UNet), image_shape, predicts, learned_sigma, schedule, T, and
    classes (without the "no class" row; null for none).
    """
    content = read(path)
    if isinstance(content, dict) and content and all(torch.is_tensor(value) for value in content.values()):
        description = Path(path).with_suffix(".json")
        if not description.is_file():
            raise UserError(f"{path} holds bare weights: {description.name} must say what they are, see teachers.load")
        try:
            about = json.loads(description.read_text())
            return {"arch": "unet", "arch_args": about["config"], "weights": content, "schedule": about["schedule"],
                    "T": about["T"], "predicts": about["predicts"], "learned_sigma": about["learned_sigma"],
                    "image_shape": about["image_shape"], "num_classes": about["classes"], "method": "teacher",
                    "config": about.get("training", {})}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{description} does not describe a teacher ({error!r}): see teachers.load") from None
    if not isinstance(content, dict) or not CHECKPOINT <= content.keys():
        raise UserError(f"{path} is no model checkpoint of this project: see teachers.load for what is taken")
    return content


def from_checkpoint(content, path, device="cpu"):
    """The Teacher in a checkpoint dict, in eval mode and without gradients. UserError if the parts do not fit."""
    try:
        net = ARCHITECTURES[content["arch"]](**content["arch_args"])
        net.load_state_dict(content["weights"])
        if content["predicts"] not in ("eps", "x0", "v"):
            raise ValueError(f"predicts is {content['predicts']!r}, not eps, x0 or v")
        return Teacher(net.requires_grad_(False).eval().to(device), Schedule(content["schedule"], content["T"]),
                       content["image_shape"], content["num_classes"], content["predicts"], content["learned_sigma"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        first = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: weights do not fit the architecture it names, {content['arch']!r}: {first}") from None


def new_network(size, image_shape, num_classes, learned_sigma):
    """A network of the named size with random weights for images (C, H, W), and labels if num_classes is not None.

    UserError if images of this shape do not fit it, which is tried.
    """
    (C, H, W), rows = image_shape, None if num_classes is None else num_classes + 1  # the last row is "no class"
    try:
        if size in vit.SIZES:
            if H != W:
                raise ValueError(f"a ViT takes square images, not {H}x{W}")
            net = vit.ViT(H, in_channels=C, num_classes=rows, learn_sigma=learned_sigma, **vit.SIZES[size])
        else:
            net = unet.UNet(C, out_channels=2 * C if learned_sigma else C, num_classes=rows, **unet.SIZES[size])
        with torch.no_grad():
            index = torch.zeros(1, dtype=torch.long)
            net(torch.zeros(1, C, H, W), index, None if rows is None else index)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{size} does not fit images of {C} x {H} x {W} ({' '.join(str(error).split())[:200]}): choose "
                        "another size") from None
    return net


def load_teacher(name_or_path, device="cpu"):
    """The named teacher (see the top of this file), or the one in a checkpoint file. UserError if there is none."""
    path = name_or_path
    if name_or_path in NAMED:
        path, sha256 = NAMED[name_or_path]
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            raise UserError(f"{path} is not the file this version came with (SHA-256 differs): get it again")
    content = load(path)
    if content["method"] == "boot":
        raise UserError(f"{path} holds a one-step BOOT student, not a teacher: sample it with boot.py --sample")
    return from_checkpoint(content, path, device)


# ---------------------------------------------------------------------------------------------------------------------
# What every script needs: devices, options, run folders, pictures


def pick_device(name):
    """torch.device for "auto" (cuda, else mps, else cpu) or a device's own name. UserError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
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


def add_options(parser, config_class):
    """One command-line option for each field of a configuration made with opt(); the result holds those given."""
    for field in (field for field in dataclasses.fields(config_class) if "help" in field.metadata):
        flag = "--" + field.name.replace("_", "-")
        text = field.metadata["help"]
        if field.type is bool:
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS, help=text)
        else:
            if field.default not in ("", (), None):
                text += f" (default: {field.default:g})" if field.type is float else f" (default: {field.default})"
            how = {"type": field.type} | {key: value for key, value in field.metadata.items() if key != "help"}
            parser.add_argument(flag, default=argparse.SUPPRESS, help=text, **how)


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
            raise UserError(f"--{name.replace('_', '-')} is {getattr(config, name)}, but must be {wanted}")


class Parser(argparse.ArgumentParser):
    """argparse, with errors on one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message} (--help lists the options)\n")


def run_script(main):
    """Runs a script's main(); bad input ends it with one line and exit status 2, Ctrl-C with status 130."""
    keep_freed_memory()
    try:
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


def open_run(config):
    """The folder config.out of a run, new or, with config.resume, continued: (folder, what last.pt holds or None).

    UserError if a new run's folder exists, or a run to resume does not or has another configuration.
    """
    folder = Path(config.out)
    asked = json.loads(json.dumps(dataclasses.asdict(config) | {"resume": False}))
    if not config.resume:
        if folder.exists():
            raise UserError(f"{folder} exists: go on with it by --resume, or name another folder with --out")
        (folder / "samples").mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(asked, indent=2) + "\n")
        return folder, None
    saved = run_config(folder)
    differing = [f"{name} is {saved.get(name)} there and {value} here" for name, value in asked.items()
                 if saved.get(name) != value and name != "out"]
    if differing:
        raise UserError(f"{folder} was begun with another configuration: {'; '.join(differing)}")
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


def open_log(path, columns, step):
    """A CSV file open for more rows, each flushed at once; rows after `step`, of a run cut short, are dropped."""
    rows = []
    if path.exists():
        with open(path, newline="") as f:
            rows = [row for row in csv.reader(f) if len(row) == len(columns) and row[0].isdigit()]
        rows = [row for row in rows if int(row[0]) <= step]
    f = open(path, "w", newline="", buffering=1)
    csv.writer(f).writerows([columns, *rows])
    return f


def to_uint8(images):
    """Images (B, C, H, W) in [-1, 1] as uint8, rounded; what lies outside is cut off."""
    return ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def save_grid(images, path, columns=8):
    """A PNG of images (N, C, H, W) in [-1, 1], `columns` a row, small ones enlarged to some 64 pixels."""
    scale = max(1, 64 // images.shape[-1])
    enlarged = to_uint8(images).cpu().repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torchvision.utils.save_image(enlarged / 255, path, nrow=columns, padding=2, pad_value=1.0)


def save_rows(rows, path, size=64):
    """A PNG with a row for each (label, images (N, C, H, W) in [-1, 1]), its label at the left."""
    margin, gap = 150, 2
    sheet = Image.new("RGB", (margin + len(rows[0][1]) * (size + gap), len(rows) * (size + gap)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for r, (label, images) in enumerate(rows):
        draw.text((8, r * (size + gap) + size / 2), label, fill="black", font=font, anchor="lm")
        for c, pixels in enumerate(to_uint8(images).cpu().permute(0, 2, 3, 1).numpy()):
            tile = Image.fromarray(pixels.repeat(3, axis=2) if pixels.shape[2] == 1 else pixels)
            tile = tile.resize((size, size), Image.Resampling.NEAREST)
            sheet.paste(tile, (margin + c * (size + gap), r * (size + gap)))
    sheet.save(path)


# ---------------------------------------------------------------------------------------------------------------------
# Training a teacher from data (improved DDPM, with the choice of what to predict)


@dataclasses.dataclass
class Config:
    """One training run of a teacher."""

    dataset: str = opt("cifar10", "what to train on", choices=("cifar10",))
    data: str = opt("data", "the images: an .npz with arr_0 uint8 (N, H, W, C) and, if there are classes, arr_1 (N,), "
                            "or a folder of such files; into a folder without any, torchvision downloads CIFAR-10")
    mix: float = opt(0.0, "share of the images at --data that real ones from --real replace (DKDM's data-limited "
                          "training: 0.05 to 0.2)")
    real: str = opt("data", "the real images of --mix, given like --data")
    arch: str = opt("tiny", "named size of the network, a U-Net or a ViT", choices=tuple(SIZES))
    predicts: str = opt("v", "what the network predicts: v, eps or x0", choices=("v", "eps", "x0"))
    schedule: str = opt("cosine", "noise schedule", choices=("cosine", "linear"))
    steps: int = opt(16_000, "training steps")
    batch: int = opt(64, "images per step")
    lr: float = opt(1e-3, "peak learning rate of Adam; rises over 500 steps, then falls to 0 on a line")
    label_dropout: float = opt(0.1, "share of labels replaced by \"no class\", for guidance")
    ema: float = opt(0.9995, "decay of the averaged weights; shorter at the start")
    seed: int = opt(0, "seed of every random draw")
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "fp32, bf16 (autocast), or auto: bf16 where it pays", choices=PRECISIONS)
    sample_every: int = opt(1000, "steps between picture grids (DDIM, 50 steps)")
    save_every: float = opt(60.0, "seconds between saves")
    out: str = opt("", "run folder (default: runs/teacher-DATASET)")
    resume: bool = opt(False, "go on with the run in --out; its options are taken over")

    def __post_init__(self):
        self.out = self.out or f"runs/teacher-{self.dataset}"


def load_images(dataset, path, split="train"):
    """The images of a split, "train" or "test": uint8 (N, C, H, W), and labels, int64 (N,) or None.

    Files of a folder whose names start with "test" are the test images. UserError if they cannot be had.
    """
    path = Path(path)
    files = [path] if path.suffix == ".npz" else sorted(path.glob("*.npz"))
    try:
        if files:
            files = [file for file in files if file.name.startswith("test") == (split == "test") or file == path]
            parts = [np.load(file) for file in files]
            images = np.concatenate([part["arr_0"] for part in parts])
            labels = np.concatenate([part["arr_1"] for part in parts]) if "arr_1" in parts[0] else None
        else:
            cifar = torchvision.datasets.CIFAR10(path, train=split == "train", download=True)
            images, labels = cifar.data, np.array(cifar.targets)
        if images.dtype != np.uint8 or images.ndim != 4 or (labels is not None and len(labels) != len(images)):
            raise ValueError(f"arr_0 is {images.dtype} {images.shape}, not uint8 (N, H, W, C) with as many labels")
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"no {dataset} images in {path} ({reason}): name their place with --data") from None
    return (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
            None if labels is None else torch.from_numpy(labels).long())


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


def train(config):
    """Trains a teacher; returns the path of its checkpoint. Leaves in the run folder what boot.py's main leaves."""
    require(config, (
        ("mix", 0 <= config.mix <= 1, "in [0, 1]"),
        ("arch", config.arch in SIZES, f"one of {', '.join(SIZES)}"),
        ("steps", config.steps >= 1, "at least 1"),
        ("batch", config.batch >= 1, "at least 1"),
        ("lr", 0 < config.lr < math.inf, "positive"),
        ("label_dropout", 0 <= config.label_dropout <= 1, "in [0, 1]"),
        ("ema", 0 <= config.ema < 1, "in [0, 1)"),
        ("seed", 0 <= config.seed < 2**32, "from 0 to 2^32 - 1"),
        ("sample_every", config.sample_every >= 1, "at least 1"),
        ("save_every", config.save_every >= 0, "0 or more"),
    ))
    device = pick_device(config.device)
    images, labels = load_images(config.dataset, config.data)
    generator = torch.Generator().manual_seed(config.seed)
    if config.mix:
        images, labels = mixed(images, labels, *load_images(config.dataset, config.real), config.mix, generator)
    classes, shape = None if labels is None else int(labels.max()) + 1, tuple(images.shape[1:])
    torch.manual_seed(config.seed)  # initial weights, and dropout
    net = new_network(config.arch, shape, classes, learned_sigma=True).to(device)
    folder, saved = open_run(config)

    schedule = Schedule(config.schedule)
    average = Teacher(copy.deepcopy(net).requires_grad_(False).eval(), schedule, shape, classes, config.predicts, True)
    optimizer = torch.optim.Adam(net.parameters(), config.lr, betas=(0.9, 0.99))
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

    if not saved:
        save_run(0)
    log = open_log(folder / "log.csv", ["step", "simple", "vlb", "images_per_s"], start)
    sums, since, saved_at = torch.zeros(2), (start, time.monotonic()), time.monotonic()
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="teacher", dynamic_ncols=True)
    for step in progress:
        rows = torch.randint(len(images), (config.batch,), generator=generator)
        flip = torch.rand(config.batch, 1, 1, 1, generator=generator) < 0.5
        image = images[rows].float() / 127.5 - 1
        image = torch.where(flip, image.flip(3), image).to(device)
        y = None
        if classes is not None:
            dropped = torch.rand(config.batch, generator=generator) < config.label_dropout
            y = torch.where(dropped, classes, labels[rows]).to(device)
        i = torch.randint(schedule.T, (config.batch,), generator=generator)
        noise = torch.randn(image.shape, generator=generator).to(device)
        alpha, sigma = schedule.levels(i, image)
        x = alpha * image + sigma * noise

        with autocast():
            out = net(x, i.to(device), y).float()
        simple, vlb = hybrid_loss(out, image, x, noise, i.to(device), schedule, config.predicts)
        loss = simple.mean() + vlb.mean() * schedule.T / 1000  # one of T terms, weighed 0.001 each (improved DDPM)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = config.lr * min(1, (step + 1) / 500) * (1 - step / config.steps)
        optimizer.step()
        decay = min(config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            for p, q in zip(average.net.parameters(), net.parameters(), strict=True):
                p.lerp_(q, 1 - decay)

        done = step + 1
        sums += torch.stack([simple.mean(), vlb.mean()]).detach().cpu()
        if not sums.isfinite().all():
            raise UserError(f"the loss is not finite at step {done}: lower --lr; {folder} keeps the last good save")
        if done % 10 == 0 or done == config.steps:
            now, count = time.monotonic(), done - since[0]
            speed, means = config.batch * count / (now - since[1]), (sums / count).tolist()
            csv.writer(log).writerow([done, *(f"{mean:.6g}" for mean in means), f"{speed:.1f}"])
            progress.set_postfix_str(f"simple {means[0]:.4f}, vlb {means[1]:.4f}, {speed:.0f} images/s")
            sums, since = torch.zeros(2), (done, now)
        if done % config.sample_every == 0 or done == config.steps:
            x_T = torch.randn(64, *shape, generator=torch.Generator().manual_seed(config.seed)).to(device)
            y = labels_for(64, classes)
            with autocast():
                grid = average.ddim(x_T, 50, y if y is None else y.to(device))
            save_grid(grid, folder / f"samples/step_{done:06d}.png")
        if time.monotonic() - saved_at > config.save_every or done == config.steps:
            save_run(done)
            saved_at = time.monotonic()
    log.close()
    return folder / "teacher.pt"


# ---------------------------------------------------------------------------------------------------------------------
# Command line


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
    """Writes args.n images of a teacher as .npz, and the first 64 as a .png beside it."""
    if args.n < 1 or args.batch < 1:
        raise UserError("--n and --batch must be at least 1")
    if Path(args.out).suffix != ".npz" or not Path(args.out).parent.is_dir():
        raise UserError(f"--out {args.out}: give a file that ends in .npz, in a folder that exists")
    device = pick_device(args.device)
    teacher = load_teacher(args.teacher, device)
    y = labels_for(args.n, teacher.num_classes, args.classes)
    {"ddim": ddim_indices, "ddpm": ddpm_indices}[args.sampler](args.steps, teacher.schedule.T)  # refuses now, not later
    generator = torch.Generator().manual_seed(args.seed)
    # one image after the other from one generator, so that images do not depend on --batch
    x_T = torch.stack([torch.randn(teacher.image_shape, generator=generator) for _ in range(args.n)])
    autocast = autocasting(args.precision, device, teacher.predicts)
    torch.manual_seed(args.seed)  # the noises of DDPM
    images = []
    for k in tqdm(range(0, args.n, args.batch), desc=f"{args.sampler}, {args.steps} steps", unit="batch"):
        labels = None if y is None else y[k:k + args.batch].to(device)
        with autocast():
            x = getattr(teacher, args.sampler)(x_T[k:k + args.batch].to(device), args.steps, labels, args.guidance)
        images.append(to_uint8(x).cpu())
    images = torch.cat(images)
    arrays = {"arr_0": images.permute(0, 2, 3, 1).numpy()} | ({} if y is None else {"arr_1": y.numpy()})
    np.savez(args.out, **arrays)
    picture = Path(args.out).with_suffix(".png")
    save_grid(images[:64].float() / 127.5 - 1, picture)
    print(f"{args.n} images in {args.out}, the first {min(64, args.n)} in {picture}")


def convert_command(args):
    """Writes a teacher or student checkpoint, or public weights, as a checkpoint with weights in half precision."""
    content = load(args.checkpoint)
    from_checkpoint(content, args.checkpoint)  # refuses what does not fit
    if Path(args.out).exists():
        raise UserError(f"{args.out} exists: choose another --out")
    content["weights"] = {name: w.half() if w.is_floating_point() else w for name, w in content["weights"].items()}
    save(args.out, content)
    whole = Path(args.out).read_bytes()
    print(f"{args.out}: {len(whole) / 1e6:.1f} MB, sha256 {hashlib.sha256(whole).hexdigest()}")


def list_command(args):
    """Prints the named teachers."""
    for name, (path, _) in NAMED.items():
        t = load_teacher(name)
        shape, count = "x".join(map(str, t.image_shape)), sum(p.numel() for p in t.net.parameters())
        print(f"{name:10s} {shape}, {t.num_classes or 'no'} classes, {count / 1e6:.1f} M parameters, predicts "
              f"{t.predicts}, {t.schedule.name} schedule with {t.schedule.T} steps; {path}")


def main():
    parser = Parser(prog="teachers.py", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True, metavar="list | sample | train | convert")
    commands.add_parser("list", help="the named teachers").set_defaults(run=list_command)

    p = commands.add_parser("sample", help="images from a teacher")
    p.add_argument("teacher", help="name, or path of a checkpoint")
    p.add_argument("--steps", type=int, default=50, help="network calls an image, doubled by guidance (default: 50)")
    p.add_argument("--sampler", choices=("ddim", "ddpm"), default="ddim", help="default: ddim; ddpm is ancestral")
    p.add_argument("--n", type=int, default=64, help="images (default: 64)")
    p.add_argument("--classes", type=int, nargs="+", help="labels to cycle through (default: all)")
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
    p.add_argument("checkpoint", help="path")
    p.add_argument("--out", required=True, help="path of the new file")
    p.set_defaults(run=convert_command)

    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    run_script(main)
