"""DKDM: train a diffusion model of any architecture from a teacher alone, without data.

Paper: Xiang, Zhang, Shang, Wu, Yan, Nie, "DKDM: Data-Free Knowledge Distillation for Diffusion Models with Any
Architecture", CVPR 2025, arXiv 2409.03550. This file is the whole method; it opens no dataset.

    python dkdm.py --dataset cifar10                        a small U-Net from the built-in teacher
    python dkdm.py --dataset cifar10 --student vit-tiny     a transformer from the same teacher
    python dkdm.py --sample cifar10 --student vit-tiny      images of that student that ships; so does the small U-Net

Notation. The chain has T steps. Index i is the paper's t - 1 and runs down: T-1 is nearly pure noise, 0 nearly clean.

    symbol          here                shape           meaning
    x^t             x                   (B, C, H, W)    a noisy image at index i = t - 1
    B+              Pool                N entries       the enlarged batch set: images on their way, each at its i
    B^s             rows                (B,)            the batch: entries of B+ drawn at random
    rho             rho                 scalar          size of the pool, N = rho T B
    eps_T, eps_S    *_out[:, :C]        (B, C, H, W)    the noise that teacher and student see in x
    g_T(x, t)       Pool.advance                        one step of the teacher: x^{t-1} ~ p_T(. | x^t)
    p(x^{t-1}|x^t)  p_mean_variance     (B, C, H, W)    that step, a Gaussian; mean and log-variance come from *_out
    lambda          lambda_vlb          scalar          weight of L_vlb
    c               y                   (B,)            class label

The idea. A diffusion model trains on noisy images, and a teacher makes them: each of its sampling steps leaves one. So
a pool of images on their way from noise to picture is all the data there is. Each training step draws a batch from it
and calls the teacher once: what it answers is the student's target, and moves the batch one step on in the pool. What
arrives at a picture starts again from noise.
"""

import copy
import csv
import dataclasses
import math
import os
import shutil
import time
from dataclasses import dataclass

import torch
from torch import nn
from tqdm import tqdm

import teachers
from teachers import UserError, opt, per_sample

MODES = ("dynamic", "shuffled", "iterative")
STRIDES, KEPT = 40, 20  # the cheap filling of the pool: steps from noise to picture, and how many of them it keeps


@dataclass
class Config:
    """One run. The paper's own values are named where ours differ; ours were chosen for 2 CPU cores."""

    dataset: str = opt("cifar10", "name of the built-in teacher; no data is read")
    teacher: str = opt("", "name or path of another teacher, or diffusers:NAME, a pipeline of that library (default: "
                           "the one that belongs to --dataset)")
    arch: str = opt("", teachers.ARCH_HELP)
    prompts: str = opt("", teachers.PROMPTS_HELP, metavar="FILE")
    student: str = opt("nano", "named size of the student, a U-Net or a ViT; it starts from random weights",
                       choices=tuple(teachers.SIZES))
    predicts: str = opt("", "what the student predicts: eps (the paper), v or x0 (default: what the teacher does)",
                        choices=("eps", "v", "x0"))
    mode: str = opt("dynamic", "where a batch comes from: dynamic, drawn from the pool; shuffled, one batch of mixed "
                               "indices; iterative, one batch at one index (section 3.3)", choices=MODES)
    rho: float = opt(0.4, "pool size in units of T times batch (rho), for dynamic; at the defaults the pool has 12,800 "
                          "images and takes 79 MB, in half precision")
    init: str = opt("strided", "how the pool is filled: strided, in few large steps of the teacher; shuffle, the "
                               "paper's full chain, 250 times the teacher calls", choices=("strided", "shuffle"))
    pool_on_host: bool = opt(False, "keep the pool's images in the host's memory, not the GPU's; they are copied while "
                                    "the student learns")
    label_dropout: float = opt(None, "share of pool entries without a class, so that the student can be guided "
                                     "(default: 0.1; 0 for teachers that know no \"no class\")")
    lambda_vlb: float = opt(None, "weight of L_vlb (lambda), counted over all T steps (default: 0.001; 0 for teachers "
                                  "without learned variances; at 0 the student learns none)")
    steps: int = opt(3000, "training steps")
    batch: int = opt(32, "images per step, of all processes, and the teacher's calls (paper: 128)")
    accum: int = opt(1, "parts of a process's batch that go through the networks one after the other, to save memory")
    lr: float = opt(1e-3, "peak learning rate of Adam; rises over --warmup steps, then falls to 0 on a half cosine "
                          "(paper: 1e-4, constant)")
    warmup: int = opt(150, "steps until the learning rate reaches its peak")
    ema: float = opt(0.995, "decay of the averaged weights that are the student; shorter at the start (paper: 0.9999)")
    seed: int = opt(0, "seed of every random draw")
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "fp32, bf16 (autocast), or auto: bf16 where it pays", choices=teachers.PRECISIONS)
    compare: int = opt(64, "noises on which student and teacher are compared at the end")
    sample_every: int = opt(500, "steps between pictures")
    save_every: float = opt(60.0, "seconds between saves")
    out: str = opt("", "run folder (default: runs/dkdm-NAME-STUDENT)")
    resume: bool = opt(False, "go on with the run in --out; its options are taken over")

    def __post_init__(self):
        self.out = self.out or f"runs/dkdm-{teachers.run_name(self.teacher or self.dataset)}-{self.student}"


# ---------------------------------------------------------------------------------------------------------------------
# The pool


class Pool:
    """B+ of Algorithm 1: images on the teacher's way from noise to picture.

    x (N, C, H, W) float16, half the memory and no measurable difference;  i (N,) the index at which each stands;
    y (N,) its label, num_classes for "no class", or None for teachers without classes. All start as noise at T - 1.
    Lives on the generator's device; x in the host's memory if asked: then copies go on while the GPU computes.
    """

    def __init__(self, size, image_shape, T, num_classes, label_dropout, generator, on_host=False):
        self.T, self.num_classes, self.label_dropout = T, num_classes, label_dropout
        self.on_host, self.moved = on_host, None
        self.x = torch.empty(size, *image_shape, dtype=torch.float16, device="cpu" if on_host else generator.device)
        for part in self.x.split(1024):
            part.copy_(torch.randn(part.shape, generator=generator, device=generator.device))
        self.i = torch.full((size,), T - 1, device=generator.device)
        self.y = self.new_labels(size, generator)

    def new_labels(self, n, generator):
        """n labels, uniform, the share label_dropout of them "no class"; None if there are no classes."""
        if self.num_classes is None:
            return None
        labels = torch.randint(self.num_classes, (n,), generator=generator, device=generator.device)
        dropped = torch.rand(n, generator=generator, device=generator.device) < self.label_dropout
        return torch.where(dropped, self.num_classes, labels)

    def draw(self, n, generator):
        """The rows of n entries, at random and none twice; all of them in order if there are no more than n."""
        if n >= len(self.i):
            return torch.arange(len(self.i), device=self.x.device)
        if generator.device.type != self.x.device.type:
            generator = None  # the host draws: a GPU would answer when all its work is done
        return torch.randperm(len(self.i), generator=generator, device=self.x.device)[:n]

    def at(self, rows):
        """x float32 (B, C, H, W), i (B,) and y (B,) or None of these entries."""
        self.settle()
        x, rows = self.x[rows.to(self.x.device)], rows.to(self.i.device, non_blocking=True)
        if self.on_host:
            x = (x.pin_memory() if rows.is_cuda else x).to(rows.device, non_blocking=True)
        return x.float(), self.i[rows], None if self.y is None else self.y[rows]

    def advance(self, rows, teacher_out, schedule, generator):
        """Moves these entries one step on, x_{i-1} ~ p_T(. | x_i); those that stood at 0 restart from noise at T - 1.

        teacher_out (B, C or 2C, H, W) is the teacher's output for them, in eps form. A restarted entry has a new label.
        """
        x, i, y = self.at(rows)
        mean, log_variance, _, _ = schedule.p_mean_variance(teacher_out, x, i)
        rank, processes = teachers.processes()  # all draw the same, for the whole batch, and take their part of it
        noise = torch.randn(processes * len(x), *x.shape[1:], generator=generator, device=x.device)
        noise, labels = noise.chunk(processes)[rank], self.new_labels(processes * len(x), generator)
        arrived = i == 0
        stepped = mean + (0.5 * log_variance).exp() * noise
        new = torch.where(arrived[:, None, None, None], noise, stepped).half()
        if self.on_host:  # its place is there when settle() asks; until then nobody waits
            new = new.to("cpu", non_blocking=x.is_cuda)
            self.moved = rows, new, torch.cuda.current_stream().record_event() if x.is_cuda else None
            rows = rows.to(i.device, non_blocking=True)
        else:
            self.x[rows] = new
        self.i[rows] = (i - 1) % self.T
        if y is not None:
            self.y[rows] = torch.where(arrived, labels.chunk(processes)[rank], y)

    def settle(self):
        """Puts in its place what advance() left on its way to the host."""
        if self.moved is not None:
            rows, new, copied = self.moved
            if copied is not None:
                copied.synchronize()
            self.x[rows.to("cpu")], self.moved = new, None

    def state(self):
        """x, i and y of all processes' pools."""
        self.settle()
        return {name: teachers.gathered(getattr(self, name)) for name in ("x", "i", "y")}

    def load_state(self, state):
        for name, saved in state.items():
            if saved is not None:
                getattr(self, name).copy_(teachers.part(saved, *teachers.processes()))


def pool_size(config, T):
    """Number of entries: rho T B for dynamic, the batch alone for the other modes."""
    return round(config.rho * T) * config.batch if config.mode == "dynamic" else config.batch


def filling_calls(config, T):
    """Teacher calls (images) that filling the pool costs: as asked, and as the paper's shuffle (its mean)."""
    size = pool_size(config, T)
    if config.mode == "iterative":
        return 0, 0
    strided = math.ceil(size / kept_strides(size, config.batch)) * STRIDES
    shuffle = size * (T - 1) // 2
    return (shuffle if config.init == "shuffle" else strided), shuffle


def kept_strides(size, batch):
    """How many entries a path leaves in the pool: KEPT, or fewer so that there are no fewer paths than a batch has."""
    return max(1, min(KEPT, size // batch))


@torch.no_grad()
def fill_shuffle(pool, teacher, generator, autocast, chunk=64):
    """The paper's shuffle denoise: each entry goes down the whole chain, step by step, to an index of its own."""
    goal = torch.randint(pool.T, pool.i.shape, generator=generator, device=pool.i.device)
    order = goal.argsort(descending=True)  # neighbours have about as far to go, so that calls stay full
    progress = tqdm(total=int((pool.T - 1 - goal).sum()), desc="filling the pool", unit=" calls", dynamic_ncols=True)
    for rows in order.split(chunk):
        while len(rows := rows[pool.i[rows] > goal[rows]]):
            x, i, y = pool.at(rows)
            with autocast():
                out = teacher.eps_form(x, i, y)
            pool.advance(rows, out, teacher.schedule, generator)
            progress.update(len(rows))
    progress.close()


@torch.no_grad()
def fill_strided(pool, teacher, generator, autocast, batch, chunk=64):
    """Each path runs from noise to picture in STRIDES large steps, and leaves entries at some of the places it passes.

    The places are spread evenly over the chain and shifted at random per path, so that all indices are equally likely.
    A path's entries share their noise and their picture until they have moved on.
    """
    size, device, keep = len(pool.i), pool.i.device, kept_strides(len(pool.i), batch)
    paths = math.ceil(size / keep)
    progress = tqdm(total=paths * STRIDES, desc="filling the pool", unit=" calls", dynamic_ncols=True)
    down = torch.arange(STRIDES - 1, -1, -1, device=device)[:, None]
    for first in range(0, paths, chunk):
        B = min(chunk, paths - first)
        indices = ((down + torch.rand(B, generator=generator, device=device)) * pool.T / STRIDES).long()  # (STRIDES, B)
        xi = torch.randn(B, *pool.x.shape[1:], generator=generator, device=device)
        y = pool.new_labels(B, generator)
        x = torch.stack(list(descend(teacher, xi, y, indices, autocast, progress)))             # (STRIDES, B, C, H, W)
        kept = torch.rand(STRIDES, B, generator=generator, device=device).argsort(0)[:keep].mT.flatten()  # (B * keep,)
        path = torch.arange(B, device=device).repeat_interleave(keep)
        rows = slice(first * keep, min((first + B) * keep, size))
        n = rows.stop - rows.start
        pool.x[rows], pool.i[rows] = x[kept, path][:n].to(pool.x), indices[kept, path][:n]
        if y is not None:
            pool.y[rows] = y[path][:n]
    progress.close()


def descend(teacher, xi, y, indices, autocast, progress=None):
    """Yields x at each row of indices (K, B), falling, on the teacher's ODE path from noise xi at T - 1; K calls.

    By DPM-Solver++(2M), arXiv 2211.01095: DDIM's step, with x0 extrapolated from the last two calls to its middle.
    """
    schedule, B = teacher.schedule, len(xi)
    x, i, last = xi, torch.full((B,), schedule.T - 1, device=xi.device), None
    for nxt in indices:
        with autocast():
            out = teacher.eps_form(x, i, y)
        _, _, x0, _ = schedule.p_mean_variance(out, x, i)
        h = schedule.lam((i + 1) / schedule.T) - schedule.lam((nxt + 1) / schedule.T)
        middle = x0
        if last is not None:
            last_x0, last_h = last
            middle = x0 + per_sample(h / (2 * last_h.clamp(min=1e-6)), x) * (x0 - last_x0)  # a first step may be 0 long
        (alpha, sigma), (next_alpha, next_sigma) = schedule.levels(i, x), schedule.levels(nxt, x)
        x = next_alpha * middle + next_sigma * (x - alpha * middle) / sigma
        i, last = nxt, (x0, h)
        if progress is not None:
            progress.update(B)
        yield x


# ---------------------------------------------------------------------------------------------------------------------
# Student


def new_student(teacher, size, predicts, learned_sigma):
    """A network of the named size with random weights, wrapped like the teacher: same schedule, images and classes."""
    net = teachers.new_network(size, teacher.image_shape, teacher.num_classes, learned_sigma,
                               teacher.null_label is not None, teachers.text_features(teacher.net))
    return teachers.Teacher(net, teacher.schedule, teacher.image_shape, teacher.num_classes, predicts, learned_sigma,
                            teacher.pipeline)


# ---------------------------------------------------------------------------------------------------------------------
# Losses


def dkdm_loss(student_out, teacher_out, x, i, schedule):
    """L_simple and L_vlb of each sample (eq. 20 and 21): (B,), (B,).

    student_out, teacher_out (B, C or 2C, H, W) are the outputs in eps form for x (B, C, H, W) at chain indices i (B,).
    L_simple is || eps_T - eps_S ||^2, L_vlb is KL(p_T(x_{i-1} | x_i) || p_S(x_{i-1} | x_i)) in bits; both are averaged
    over dimensions. The teacher's x0 is clipped as when it samples, images to [-1, 1]; the student's is not. L_vlb
    teaches the variance alone: no gradient flows from it into the student's mean, and none flows into the teacher.
    """
    C, teacher_out = x.shape[1], teacher_out.detach()
    l_simple = (teacher_out[:, :C] - student_out[:, :C]).square().flatten(1).mean(1)

    frozen = torch.cat([student_out[:, :C].detach(), student_out[:, C:]], dim=1)
    mean_T, log_var_T, _, _ = schedule.p_mean_variance(teacher_out, x, i)
    mean_S, log_var_S, _, _ = schedule.p_mean_variance(frozen, x, i, clip=False)
    kl = 0.5 * (log_var_S - log_var_T + (log_var_T - log_var_S).exp() + (mean_T - mean_S) ** 2 * (-log_var_S).exp() - 1)
    return l_simple, kl.flatten(1).mean(1) / math.log(2)


def simple_weight(predicts, i, x, schedule):
    """What makes L_simple the squared error of what the student predicts, as in its ordinary training: (B,).

    1 for eps, the paper's case. For v it is 1 / alpha^2, for x0 sigma^2 / alpha^2: counted in eps, their errors at high
    noise would weigh nothing, and pictures start there.
    """
    alpha, sigma = (level.flatten() for level in schedule.levels(i, x))
    return {"eps": torch.ones_like(alpha), "v": alpha**-2, "x0": (sigma / alpha) ** 2}[predicts]


# ---------------------------------------------------------------------------------------------------------------------
# Training


def training_step(student, teacher, pool, ema, optimizer, step, config, generator, autocast):
    """Lines 4 to 8 of Algorithm 1: changes student, pool, ema and optimizer, and returns the two losses (2,).

    generator: where the batch and the teacher's noise come from.
    """
    rows = pool.draw(config.batch // teachers.processes()[1], generator)   # line 4: B^s from B+
    drawn = pool.at(rows)
    parts = [[teachers.part(x, k, config.accum) for x in drawn] for k in range(config.accum)]
    with torch.no_grad(), autocast():                                      # the one call: target and next step at once
        answers = [teacher.eps_form(*part) for part in parts]
    pool.advance(rows, torch.cat(answers), teacher.schedule, generator)    # line 8: B+ for the next step

    optimizer.zero_grad()
    losses = torch.zeros(2, device=answers[0].device)
    for (x, i, y), teacher_out in zip(parts, answers, strict=True):
        with autocast():
            student_out = student.eps_form(x, i, y)
        simple, vlb = dkdm_loss(student_out, teacher_out, x, i, teacher.schedule)               # lines 5 and 6
        simple = (simple_weight(student.predicts, i, x, teacher.schedule) * simple).mean()
        vlb = vlb.mean()                                                   # line 7; vlb is one of T terms of the bound
        ((simple + config.lambda_vlb * teacher.schedule.T * vlb) / config.accum).backward()
        losses += torch.stack([simple, vlb]).detach() / config.accum
    teachers.average_gradients(student.net.parameters(), losses)
    nn.utils.clip_grad_norm_(student.net.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    optimizer.step()

    decay = min(config.ema, (1 + step) / (10 + step))  # shorter at the start, when the weights still move fast
    with torch.no_grad():
        for average, parameter in zip(ema.net.parameters(), student.net.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
    return losses


def learning_rate(step, config):
    """Linear rise over `warmup` steps, then half a cosine down to 0 at the last step."""
    return config.lr * min(1, (step + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * step / config.steps))


# ---------------------------------------------------------------------------------------------------------------------
# Sampling


def load_student(name_or_path, size="nano", device="cpu", prompts=""):
    """The Teacher (a model like any) in a checkpoint that this file wrote; "cifar10" names those that ship, by size.

    prompts: a file with texts, for students of texts; without it, those it was made with.

    UserError if it is anything else.
    """
    shipped = f"{name_or_path}-dkdm-{size}"
    path = shipped if shipped in teachers.NAMED else name_or_path
    checkpoint = teachers.load(path, prompts=prompts)
    if checkpoint["method"] != "dkdm":
        ship = ", ".join(name for name in teachers.NAMED if "-dkdm-" in name)
        raise UserError(f"{path} holds a {checkpoint['method']}, not a DKDM student (these ship: {ship}): sample it "
                        "with boot.py or teachers.py")
    return teachers.from_checkpoint(checkpoint, path, device)


@torch.no_grad()
def report(student, teacher, config, autocast):
    """How far the student's eps is from the teacher's: {index: squared difference, mean over pixels}.

    At 10 indices, on images that the teacher makes from `compare` noises of their own on 50-step paths.
    """
    device = next(student.net.parameters()).device
    xi, y = fixed_noise(config.compare, teacher, config)
    indices = ((torch.arange(49, -1, -1, device=device) + 0.5) * teacher.schedule.T / 50).long()
    errors = {}
    size = teachers.at_once(teacher)
    for k in tqdm(range(0, len(xi), size), desc="comparing with the teacher", leave=False):
        noise, labels = xi[k:k + size].to(device), y if y is None else y[k:k + size].to(device)
        path = descend(teacher, noise, labels, indices[:, None].expand(-1, len(noise)), autocast)
        for place, (i, x) in enumerate(zip(indices, path, strict=True)):
            if place % 5 == 2:
                with autocast():
                    eps_T, eps_S = (model.eps_form(x, i.expand(len(x)), labels)[:, :x.shape[1]]
                                    for model in (teacher, student))
                errors.setdefault(i.item(), []).append((eps_T - eps_S).square().flatten(1).mean(1))
    return {i: torch.cat(parts).mean().item() for i, parts in errors.items()}


def fixed_noise(n, teacher, config):
    """The noises (n, C, H, W) and labels (n,) or None, on the CPU, of a run's pictures and comparisons."""
    generator = torch.Generator().manual_seed(config.seed + 1)  # not the training's
    xi = torch.randn(n, *teacher.image_shape, generator=generator)
    return xi, teachers.labels_for(n, teacher.num_classes)


def save_picture(path, student_images, teacher_images, pool, teacher):
    """A PNG of the student's images (20, C, H, W) below the teacher's, and 10 pool entries from noise to picture."""
    order = pool.i.argsort(descending=True)
    entries = order[torch.linspace(0, len(order) - 1, 10).long().to(order.device)]
    highest, lowest = pool.i[entries[0]].item(), pool.i[entries[-1]].item()
    rows = []
    for some in (slice(0, 10), slice(10, 20)):
        rows += [("teacher, 50 steps", teacher_images[some]), ("student, 50 steps", student_images[some])]
    teachers.save_rows([*rows, (f"the pool, from\ni = {highest} to {lowest}", pool.at(entries)[0])], path, teacher)


# ---------------------------------------------------------------------------------------------------------------------
# Main


def check(config):
    """UserError for the first option out of its range."""
    teachers.require(config, (
        ("dataset", config.teacher or config.dataset in teachers.NAMED, f"one of {', '.join(teachers.NAMED)}"),
        ("student", config.student in teachers.SIZES, f"one of {', '.join(teachers.SIZES)}"),
        ("predicts", config.predicts in ("", "eps", "v", "x0"), "eps, v or x0"),
        ("mode", config.mode in MODES, f"one of {', '.join(MODES)}"),
        ("rho", 0 < config.rho < math.inf, "positive"),
        ("init", config.init in ("strided", "shuffle"), "strided or shuffle"),
        ("label_dropout", config.label_dropout is None or 0 <= config.label_dropout <= 1, "in [0, 1]"),
        ("lambda_vlb", config.lambda_vlb is None or 0 <= config.lambda_vlb < math.inf, "0 or more"),
        ("steps", config.steps >= 1, "at least 1"),
        ("batch", config.batch >= 1, "at least 1"),
        ("accum", config.accum >= 1, "at least 1"),
        ("batch", config.batch % max(1, config.accum * teachers.processes()[1]) == 0,
         "a multiple of --accum x processes"),
        ("lr", 0 < config.lr < math.inf, "positive"),
        ("warmup", config.warmup >= 1, "at least 1"),
        ("ema", 0 <= config.ema < 1, "in [0, 1)"),
        ("seed", 0 <= config.seed < 2**32, "from 0 to 2^32 - 1"),
        ("compare", config.compare >= 1, "at least 1"),
        ("sample_every", config.sample_every >= 1, "at least 1"),
        ("save_every", config.save_every >= 0, "0 or more"),
    ))


def check_pool(config, teacher, device):
    """Number of entries and GB of the pool; UserError if it is empty or larger than the device's memory."""
    size = pool_size(config, teacher.schedule.T)
    gigabytes = size * math.prod(teacher.image_shape) * 2 / 1e9
    if device.type == "cuda" and not config.pool_on_host:
        memory, where = torch.cuda.mem_get_info(device)[0] / 1e9, device
    else:
        where = "this computer"
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9 if hasattr(os, "sysconf") else math.inf
    if size == 0:
        raise UserError(f"--rho {config.rho:g} leaves the pool empty: it must be at least {1 / teacher.schedule.T:g}")
    if gigabytes > memory:
        raise UserError(f"--rho {config.rho:g} asks for a pool of {size:,} images, {gigabytes:.1f} GB, and {where} "
                        f"has {memory:.1f} GB: lower --rho or --batch, or try --pool-on-host")
    return size, gigabytes


def main(config):
    """Distils config.teacher; returns the errors of report(). Leaves in config.out:

    config.json, log.csv, samples/step_XXXXXX.png, student.pt (averaged weights), last.pt (for --resume), summary.png.
    Raises UserError for bad input and for a loss that is not finite.
    """
    check(config)
    device = teachers.pick_device(config.device)
    teacher = teachers.load_teacher(config.teacher or config.dataset, device, config.arch, config.prompts)
    no_null = teacher.num_classes is not None and teacher.null_label is None
    if config.label_dropout and no_null:
        raise UserError(f'--label-dropout {config.label_dropout:g} needs a teacher that knows "no class": leave it out')
    if config.label_dropout is None:
        config = dataclasses.replace(config, label_dropout=0.0 if no_null else 0.1)
    if config.lambda_vlb and not teacher.learned_sigma:
        raise UserError(f"--lambda-vlb {config.lambda_vlb:g} needs a teacher with learned variances, and this one has "
                        "none: leave it out")
    if config.lambda_vlb is None:
        config = dataclasses.replace(config, lambda_vlb=0.001 if teacher.learned_sigma else 0.0)
    size, gigabytes = check_pool(config, teacher, device)
    torch.manual_seed(config.seed)  # initial weights, and dropout
    student = new_student(teacher, config.student, config.predicts or teacher.predicts, config.lambda_vlb > 0)
    folder, saved = teachers.open_run(config)

    student.net.to(device).train()
    ema = copy.deepcopy(student)
    ema.net.requires_grad_(False).eval()
    optimizer = torch.optim.Adam(student.net.parameters(), config.lr, betas=(0.9, 0.99), fused=True)
    generator = torch.Generator(device).manual_seed(config.seed)
    autocast = teachers.autocasting(config.precision, device, teacher.predicts)
    if device.type == "cuda":  # pays on GPUs; on CPUs GroupNorm loses more than the convolutions win
        for model in (teacher, student, ema):
            model.net.to(memory_format=torch.channels_last)
    T = teacher.schedule.T
    rank, processes = teachers.processes()
    filler = generator  # what comes into the pool before training is different in each process's part of it
    if processes > 1:
        filler = torch.Generator(device).manual_seed(config.seed + 2**32 * (rank + 1))
    pool = Pool(size // processes, teacher.image_shape, T, teacher.num_classes, config.label_dropout, filler,
                config.pool_on_host)
    tqdm.write(f"pool: {size:,} entries, {gigabytes:.3f} GB in half precision on {pool.x.device}")
    start = 0
    if saved:
        try:
            start = saved["step"]
            student.net.load_state_dict(saved["student"])
            ema.net.load_state_dict(saved["ema"])
            optimizer.load_state_dict(saved["optimizer"])
            generator.set_state(saved["generator"])
            torch.set_rng_state(saved["rng"])
            pool.load_state(saved["pool"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(f"{folder}/last.pt does not fit the teacher given, or is no DKDM run ({error}): resume "
                            "with the teacher it was begun with") from None
    else:
        calls, shuffle = filling_calls(config, T)
        tqdm.write(f"filling it: {calls:,} teacher calls ({config.init}; shuffle takes {shuffle:,})" if calls else
                   "it starts as noise: 0 teacher calls")
        if config.mode != "iterative":
            if config.init == "shuffle":
                fill_shuffle(pool, teacher, filler, autocast, teachers.at_once(teacher))
            else:
                fill_strided(pool, teacher, filler, autocast, config.batch // processes, teachers.at_once(teacher))

    def save(step):
        teachers.save(folder / "last.pt", {"step": step, "student": student.net.state_dict(),
                                           "ema": ema.net.state_dict(), "optimizer": optimizer.state_dict(),
                                           "generator": generator.get_state(), "rng": torch.get_rng_state(),
                                           "pool": pool.state()})
        teachers.save(folder / "student.pt", teachers.checkpoint(ema, "dkdm", dataclasses.asdict(config)))

    def images(model):
        xi, y = fixed_noise(20, teacher, config)
        with autocast():
            return teachers.in_parts(lambda xi, y: model.ddim(xi, 50, y), model, xi, y)

    teacher_images = images(teacher)

    def picture(path):
        save_picture(path, images(ema), teacher_images, pool, teacher)

    if not saved:
        save(0)
        picture(folder / "samples/step_000000.png")
    log = teachers.open_log(folder / "log.csv", ["step", "simple", "vlb", *teachers.Meter.COLUMNS], start)
    losses, saved_at, meter = [], time.monotonic(), teachers.Meter(device, teacher.net, student.net)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="DKDM", dynamic_ncols=True)
    for step in progress:
        both = training_step(student, teacher, pool, ema, optimizer, step, config, generator, autocast)
        losses.append(both)
        done = step + 1
        last = done == config.steps
        due = torch.tensor([time.monotonic() - saved_at > config.save_every])
        save_now = last or bool(teachers.gathered(due)[0])  # all save at once: each has a part of the pool
        if done % 10 == 0 or last or save_now:  # reading a loss makes a GPU wait, so not at each step
            values = torch.stack(losses).cpu()
            if not values.isfinite().all():
                bad = done - len(values) + 1 + values.isfinite().all(1).long().argmin().item()
                raise UserError(f"the loss is not finite at step {bad}: lower --lr; {folder} keeps the last good save")
            costs, (simple, vlb) = meter.read(config.batch * len(values)), values.mean(0).tolist()
            csv.writer(log).writerow([done, *(f"{value:.6g}" for value in (simple, vlb, *costs))])
            progress.set_postfix_str(f"simple {simple:.4f}, vlb {vlb:.4g}, {costs[0]:.0f} images/s")
            losses = []
        if last or done % config.sample_every == 0:
            picture(folder / f"samples/step_{done:06d}.png")
        if save_now:
            save(done)
            saved_at = time.monotonic()
        if not losses:  # pictures and saves are not counted as training time
            meter.skip()
    log.close()
    tqdm.write(str(meter))
    if rank == 0:
        shutil.copyfile(folder / f"samples/step_{config.steps:06d}.png", folder / "summary.png")
    return report(ema, teacher, config, autocast)


def sample_command(args):
    """Writes a grid of args.n images of the student args.sample, 50 DDIM steps each."""
    out = getattr(args, "out", "dkdm-samples.png")
    if args.n < 1 or not out.endswith(".png"):
        raise UserError(f"--n is {args.n} and must be at least 1; --out is {out} and must end in .png")
    config = teachers.config_from(args, Config)
    check(config)
    device = teachers.pick_device(config.device)
    student = load_student(args.sample, config.student, device, config.prompts)
    xi, y = fixed_noise(args.n, student, config)
    autocast = teachers.autocasting(config.precision, device, student.predicts)
    began = time.monotonic()
    with autocast():
        images = teachers.in_parts(lambda xi, y: student.ddim(xi, 50, y), student, xi, y, desc="50 DDIM steps")
    speed = args.n / (time.monotonic() - began)
    teachers.save_grid(images, out, student)
    print(f"{args.n} images in {out}, 50 network calls each, {speed:.1f} images/s")


def evaluate_command(args):
    """The errors of report() for any diffusion checkpoint, args.evaluate, and the configuration they were taken with.

    UserError if its images, classes or chain are not the teacher's.
    """
    config = teachers.config_from(args, Config)
    check(config)
    device = teachers.pick_device(config.device)
    teacher = teachers.load_teacher(config.teacher or config.dataset, device, config.arch, config.prompts)
    model = teachers.load_teacher(args.evaluate, device, prompts=config.prompts)
    mine, theirs = ((m.image_shape, m.num_classes, m.schedule.name, m.schedule.T) for m in (model, teacher))
    if mine != theirs or not torch.equal(model.schedule.alphas_cumprod, teacher.schedule.alphas_cumprod):
        raise UserError(f"{args.evaluate} does not fit the teacher: shape, classes, schedule and T are {mine}, not "
                        f"{theirs}")
    return report(model, teacher, config, teachers.autocasting(config.precision, device, teacher.predicts)), config


def command_line():
    parser = teachers.Parser(prog="dkdm.py", description=__doc__.splitlines()[0])
    parser.add_argument("--evaluate", metavar="MODEL.pt", help="no training: how far this checkpoint's eps is from the "
                        "teacher's; takes --teacher, --prompts, --compare, --seed, --device and --precision too")
    parser.add_argument("--sample", metavar="STUDENT.pt", help="no training: a grid of this student's images, at "
                        "--out (default: dkdm-samples.png); cifar10 is the one that ships, of size --student; takes "
                        "--prompts, --seed, --device and --precision too")
    parser.add_argument("--n", type=int, default=64, help="images of --sample (default: 64)")
    teachers.add_options(parser, Config)
    args = parser.parse_args()
    if args.sample:
        return sample_command(args)
    if args.evaluate:
        errors, config = evaluate_command(args)
    else:
        config = teachers.config_from(args, Config)
        errors = main(config)
    print(f"Squared difference to the teacher's eps, by index ({config.compare} noises):")
    for i, error in errors.items():
        print(f"  {i:4d}  {error:.6f}")
    print(f"  mean  {sum(errors.values()) / len(errors):.6f}")
    if not args.evaluate:
        print(f"Look at {config.out}/summary.png; more images: python teachers.py sample {config.out}/student.pt; "
              f"in one step: python boot.py --teacher {config.out}/student.pt")


if __name__ == "__main__":
    teachers.run_script(command_line)
