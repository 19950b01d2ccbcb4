"""BOOT: distil a diffusion teacher into a one-step generator, without data.

Paper: Gu, Zhai, Zhang, Liu, Susskind, "BOOT: Data-free Distillation of Denoising Diffusion Models with
Bootstrapping", arXiv 2306.05544. This file is the whole method; it opens no dataset.

    python boot.py --dataset cifar10                                   distil the built-in teacher
    python boot.py --sample runs/boot-cifar10/student.pt --n 64        a grid of images, one network call each
    python boot.py --sample cifar10                                    the same of the student that ships

Notation. Time t is continuous, in (0, 1], and sampling runs it down: t near 1 is noise, t near 0 the image, s < t.

    symbol        here              shape           meaning
    xi            xi                (B, C, H, W)    the noise a path starts from, N(0, I); all the student is given
    t, s          t, s              (B,)            current and next time; s = t - delta
    alpha, sigma  schedule.alpha    (B,)            signal and noise level, alpha^2 + sigma^2 = 1
    lambda_t      schedule.lam      (B,)            -log(alpha_t / sigma_t), rises with t
    x_t           x_t               (B, C, H, W)    the noisy image on the teacher's path: alpha_t y_t + sigma_t xi
    y_t           y_t               (B, C, H, W)    its signal part, (x_t - sigma_t xi) / alpha_t: never noisy
    f_phi(x, t)   teacher.x0        (B, C, H, W)    the clean image the teacher sees in x
    y_theta(xi,t) student           (B, C, H, W)    the student's y_t, any t in one call; y_theta(xi, t_min) is a sample
    c             y                 (B,)            class label
    w             guidance          number or (B,)  guidance scale: one for all, or drawn for each sample

The idea. The path of the teacher that starts at xi obeys the signal-ODE

    dy_t / dt = -lambda'_t (f_phi(x_t, t) - y_t).

The student learns y_t for all t at once: where it stands at t, the teacher says where to go next, and that is the
target at s = t - delta (bootstrapping: the target is built from the student itself). At t_max, where the path starts,
y is the teacher's own first guess f_phi(xi, t_max) (the boundary).

Guidance. f_phi may be the guided f(x, t, null) + w (f(x, t, c) - f(x, t, null)). With w fixed, the student is as
before; with w drawn for each sample, it is given w as well, and one student serves all of them (section 3.3).
"""

import copy
import csv
import dataclasses
import math
import time
from dataclasses import dataclass

import torch
from torch import nn
from tqdm import tqdm

import teachers
from teachers import UserError, opt, per_sample

SOLVERS = ("euler", "ddim", "heun")
TIMES = ("uniform", "progressive")
# Where the path starts unless --t-max says otherwise: at the highest 1 / alpha up to these, by what the teacher
# predicts. Pure noise is right where nothing of the image is left: at 65 (v and x0) the mean colour of a CIFAR-10 image
# has 2 % of the noise's variance. Teachers of noise start at 13 (46 %), since it multiplies their errors in x0.
STARTS = {"v": 65, "x0": 65, "eps": 13}


@dataclass
class Config:
    """One run. The paper's own settings are not known to us; these are the best of what we measured on 2 CPU cores."""

    dataset: str = opt("cifar10", "name of the built-in teacher; no data is read")
    teacher: str = opt("", "name or path of another teacher, or diffusers:NAME, a pipeline of that library (default: "
                           "the one that belongs to --dataset)")
    arch: str = opt("", teachers.ARCH_HELP)
    prompts: str = opt("", teachers.PROMPTS_HELP, metavar="FILE")
    steps: int = opt(2400, "training steps")
    batch: int = opt(8, "noises per step, of all processes; on a CPU, small batches and many steps learn most in a "
                        "given time")
    accum: int = opt(1, "parts of a process's batch that go through the networks one after the other, to save memory")
    lr: float = opt(7e-4, "peak learning rate of Adam; rises over --warmup steps, then falls to 0 on a half cosine")
    warmup: int = opt(150, "steps until the learning rate reaches its peak")
    solver: str = opt("heun", "how the teacher steps from t to s: euler or ddim (1 call), heun (2)", choices=SOLVERS)
    delta: float = opt(1 / 16, "step t - s of the bootstrap, in time units (delta)")
    beta: float = opt(64.0, "weight of the boundary loss (beta); the bootstrap loss is divided by delta^2")
    t_min: float = opt(0.02, "time at which the path ends (t_min); samples are y(xi, t_min)")
    t_max: float = opt(None, "time at which the path starts from pure noise (t_max) (default: where 1 / alpha is 65, "
                             "or 13 if the teacher predicts noise; on the cosine schedule 0.99 or 0.95)")
    time: str = opt("uniform", "how t is drawn: uniform (the paper), or progressive, from a narrow range that moves "
                               "from t_max to t_min during the run (what the paper decides against)", choices=TIMES)
    init: str = opt("teacher", "what the student's weights start from: teacher (the paper) or random",
                    choices=("teacher", "random"))
    classes: tuple = opt((), "class labels to learn, or with --sample to draw (default: all)", type=int, nargs="+",
                         metavar="LABEL", also=["--label"])
    guidance: tuple = opt((1.0,), "classifier-free guidance scale to distil (w), 1 is none; two are the lowest and the "
                                  "highest: w is drawn for each sample, and the student is given it", type=float,
                          nargs="+", metavar="W")
    ema: float = opt(0.995, "decay of the averaged weights that samples come from; shorter at the start")
    seed: int = opt(0, "seed of every random draw")
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "fp32, bf16 (autocast), or auto: bf16 where it pays", choices=teachers.PRECISIONS)
    compare: int = opt(256, "noises on which student and teacher are compared at the end")
    sample_every: int = opt(100, "steps between picture grids")
    save_every: float = opt(60.0, "seconds between saves")
    out: str = opt("", "run folder (default: runs/boot-NAME)")
    resume: bool = opt(False, "go on with the run in --out; its options are taken over")

    def __post_init__(self):
        self.guidance = scales(self.guidance)
        self.out = self.out or f"runs/boot-{teachers.run_name(self.teacher or self.dataset)}"


def scales(guidance):
    """(w,), or (lowest, highest), from a number or a sequence."""
    return tuple(guidance) if isinstance(guidance, (tuple, list)) else (guidance,)


def latest_start(schedule, predicts):
    """The default t_max of teachers with this schedule that predict eps, v or x0, see STARTS."""
    return round((schedule.alphas_cumprod >= STARTS[predicts]**-2).sum().item() / schedule.T, 2)


# ---------------------------------------------------------------------------------------------------------------------
# The signal-ODE


def signal_ode_step(y_t, xi, t, s, teacher, solver, y=None, guidance=1.0):
    """y_s: one step of the signal-ODE from times t to s < t, both (B,), along the path that starts at xi.

    y_t, xi (B, ...);  teacher: anything with .schedule and .x0;  y (B,) labels or None;  guidance: a number, or (B,).
    Returns (B, ...).
    euler   y_s = y_t + delta lambda'_t (f - y_t), the paper's bootstrap target
    ddim    y_s = (1 - r) f + r y_t with r = exp(lambda_s - lambda_t): exact where f does not change
    heun    the same with f averaged over both ends, where the far end is the ddim step's
    """
    schedule = teacher.schedule
    f_t = teacher.x0(noisy(y_t, xi, t, schedule), t, y, guidance)
    if solver == "euler":
        with torch.enable_grad():
            at = t.detach().requires_grad_()
            slope, = torch.autograd.grad(schedule.lam(at).sum(), at)  # lambda'_t of each sample
        return y_t + per_sample((t - s) * slope, y_t) * (f_t - y_t)
    r = per_sample(torch.exp(schedule.lam(s) - schedule.lam(t)), y_t)
    y_s = (1 - r) * f_t + r * y_t
    if solver == "ddim":
        return y_s
    if solver == "heun":
        f_s = teacher.x0(noisy(y_s, xi, s, schedule), s, y, guidance)
        return (1 - r) * (f_t + f_s) / 2 + r * y_t
    raise UserError(f"unknown solver {solver!r}: choose {', '.join(SOLVERS)}")


def noisy(y_t, xi, t, schedule):
    """x_t = alpha_t y_t + sigma_t xi."""
    return per_sample(schedule.alpha(t), xi) * y_t + per_sample(schedule.sigma(t), xi) * xi


# ---------------------------------------------------------------------------------------------------------------------
# Student


class Student(nn.Module):
    """y_theta(xi, t): the teacher's network and weights, asked for the signal at t from pure noise.

    The input is always xi, so whatever t is, the network's prediction is turned into an image with the levels of
    t_max: for a teacher that predicts v, y = alpha(t_max) xi - sigma(t_max) v(xi, t). At t_max this is f_phi(xi, t_max)
    itself, so an untrained student has no boundary loss. A teacher that predicts noise, with its x0 divided by a small
    alpha, cannot be kept so: errors of the size of its own would be 13 times as large in y. Its student predicts v too,
    with a new last layer that starts at 0, hence at y = alpha(t_max) xi, nearly 0.

    guidance: the scale w it is made for, or the lowest and the highest. With two, the network takes w as a second
    condition, embedded like the time and added through a layer that starts at 0: the teacher's weights mean the same.
    init: "teacher", or "random" for weights of its own, which the paper does not do.
    """

    def __init__(self, teacher, t_min, t_max, guidance=1.0, init="teacher"):
        super().__init__()
        self.t_min, self.t_max, self.guidance = t_min, t_max, scales(guidance)
        guided = teacher.net.guided or len(self.guidance) == 2
        self.net = type(teacher.net)(**teacher.net.arguments | {"guided": guided}).to(next(teacher.net.parameters()))
        if init == "teacher":
            self.net.load_state_dict(self.net.state_dict() | teacher.net.state_dict())
        self.predicts = teacher.predicts
        if teacher.predicts == "eps":
            self.predicts = "v"
            for p in self.net.last_layer.parameters():
                nn.init.zeros_(p)
        self.net.requires_grad_(True)
        self.schedule, self.image_shape, self.num_classes = teacher.schedule, teacher.image_shape, teacher.num_classes
        self.learned_sigma, self.null_label, self.pipeline = teacher.learned_sigma, teacher.null_label, teacher.pipeline

    def forward(self, xi, t, y=None, w=None):                              # (B, C, H, W), (B,), (B,), (B,)
        if self.null_label is not None and y is None:
            y = torch.full((len(xi),), self.null_label, device=xi.device)
        p = self.net(xi, t * self.schedule.T - 1, y, w)[:, :xi.shape[1]].float()
        t_max = torch.full((), self.t_max, device=xi.device)
        return teachers.to_x0(self.predicts, p, xi, self.schedule.alpha(t_max), self.schedule.sigma(t_max))


# ---------------------------------------------------------------------------------------------------------------------
# Losses


def bootstrap_loss(student, teacher, xi, t, s, solver="heun", y=None, guidance=1.0, y_s=None):
    """|| y_theta(xi, s) - SG[step from y_theta(xi, t)] ||^2 / delta^2, mean over each image's values: (B,).

    xi (B, ...), t and s (B,), delta = t - s. Gradient flows through y_theta(xi, s) alone. The paper's weight w_t is
    left to how t is drawn, uniformly. guidance (B,), unlike a number, is given to the student too. y_s (B, ...) is
    y_theta(xi, s), if it is known already.
    """
    w = (guidance,) if torch.is_tensor(guidance) else ()
    with torch.no_grad():                                                  # SG[.]: target and teacher have no gradient
        y_t = student(xi, t, y, *w)
        target = signal_ode_step(y_t, xi, t, s, teacher, solver, y, guidance)
    if y_s is None:
        y_s = student(xi, s, y, *w)
    return (y_s - target).square().flatten(1).mean(1) / (t - s) ** 2


def boundary_loss(student, teacher, xi, t_max, y=None, guidance=1.0, y_t=None):
    """|| f_phi(xi, t_max) - y_theta(xi, t_max) ||^2, mean over each image's values: (B,). t_max is a number.

    y_t (B, ...) is y_theta(xi, t_max), if it is known already.
    """
    t = torch.full((len(xi),), t_max, device=xi.device)
    w = (guidance,) if torch.is_tensor(guidance) else ()
    with torch.no_grad():
        start = teacher.x0(xi, t, y, guidance)
    if y_t is None:
        y_t = student(xi, t, y, *w)
    return (y_t - start).square().flatten(1).mean(1)


def both_losses(student, teacher, xi, t, y, w, config):
    """L^BS and L^BC, means over the batch: (2,). Their gradients come from one call of the student, not from two."""
    few = slice(None, None, 8)  # the boundary starts out right and only has to be kept: an eighth of the batch does it
    xi_few, y_few, w_few = (x[few] if torch.is_tensor(x) else x for x in (xi, y, w))
    s, t_max = t - config.delta, t.new_full((len(xi_few),), config.t_max)
    inputs = [(xi, xi_few), (s, t_max), (y, y_few), *([(w, w_few)] if torch.is_tensor(w) else [])]
    answers = student(*(None if x[0] is None else torch.cat(x) for x in inputs))
    y_s, y_t_max = answers[:len(xi)], answers[len(xi):]
    bootstrap = bootstrap_loss(student, teacher, xi, t, s, config.solver, y, w, y_s)
    boundary = boundary_loss(student, teacher, xi_few, config.t_max, y_few, w_few, y_t_max)
    return torch.stack([bootstrap.mean(), boundary.mean()])


# ---------------------------------------------------------------------------------------------------------------------
# Training


def training_step(student, teacher, ema, optimizer, step, config, labels, generator, autocast):
    """One step of BOOT: changes student, ema and optimizer, and returns the two losses, detached (2,).

    labels: the class labels (K,) to draw from, or None. generator: where all randomness comes from.
    """
    B, device = config.batch, generator.device
    xi = torch.randn(B, *teacher.image_shape, generator=generator, device=device)
    y = None if labels is None else labels[torch.randint(len(labels), (B,), generator=generator, device=device)]
    w = config.guidance[0]
    if len(config.guidance) == 2:
        w = torch.empty(B, device=device).uniform_(*config.guidance, generator=generator)
    lowest, highest = t_range(step, config)
    # t uniform in the range, one draw in each B-th of it: the same law, less scatter between steps
    u = (torch.arange(B, device=device) + torch.rand(B, generator=generator, device=device)) / B
    t = lowest + (highest - lowest) * u

    optimizer.zero_grad()
    rank, processes = teachers.processes()
    losses = torch.zeros(2, device=device)
    for k in range(rank * config.accum, (rank + 1) * config.accum):  # this process's parts of the batch
        parts = (teachers.part(x, k, processes * config.accum) for x in (xi, t, y, w))
        with autocast():
            both = both_losses(student, teacher, *parts, config)
        ((both[0] + config.beta * both[1]) / config.accum).backward()
        losses += both.detach() / config.accum
    teachers.average_gradients(student.parameters(), losses)
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)  # the norm is mostly larger: each step weighs about the same
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    optimizer.step()

    decay = min(config.ema, (1 + step) / (10 + step))  # shorter at the start, when the weights still move fast
    with torch.no_grad():
        for average, parameter in zip(ema.parameters(), student.parameters(), strict=True):
            average.lerp_(parameter, 1 - decay)
    return losses


def t_range(step, config):
    """Lowest and highest t of a step: t_min + delta and t_max; progressive: a part of that, delta wide, moving down.

    What is learned at t is the target at t - delta, so progressive learns each stretch from the one before, and does
    not come back to correct it.
    """
    lowest, highest = config.t_min + config.delta, config.t_max
    if config.time == "progressive":
        front = max(lowest, highest - config.delta - (highest - config.delta - lowest) * step / config.steps)
        lowest, highest = front, min(highest, front + config.delta)
    return lowest, highest


def learning_rate(step, config):
    """Linear rise over `warmup` steps, then half a cosine down to 0 at the last step."""
    return config.lr * min(1, (step + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * step / config.steps))


# ---------------------------------------------------------------------------------------------------------------------
# Sampling


@torch.no_grad()
def sample(student, xi, y=None, guidance=None):
    """Images (B, C, H, W) from noise xi (B, C, H, W) in one network call: y_theta(xi, t_min).

    y (B,) labels or None. guidance: the scale the student was distilled with, or None; of a student distilled for a
    range of scales, one in it or one for each sample (B,), None the middle. UserError for others.
    """
    t = torch.full((len(xi),), student.t_min, device=xi.device)
    lowest, highest = student.guidance[0], student.guidance[-1]
    w = torch.as_tensor((lowest + highest) / 2 if guidance is None else guidance, dtype=torch.float32)
    if not ((lowest <= w) & (w <= highest)).all():
        made_for = f"{lowest:g}" if lowest == highest else f"{lowest:g} to {highest:g}"
        wrong = w[~((lowest <= w) & (w <= highest))].flatten()[0].item()
        raise UserError(f"this student was distilled with guidance {made_for}, not {wrong:g}: leave it out")
    if len(student.guidance) == 1:
        return student(xi, t, y)
    return student(xi, t, y, w.to(xi.device).expand(len(xi)))


def load_student(name_or_path, device="cpu", prompts=""):
    """The Student in a checkpoint that this file wrote, in eval mode; "cifar10" names the one that ships.

    prompts: a file with texts, for students of texts; without it, those it was distilled with.

    UserError if it is anything else.
    """
    shipped = f"{name_or_path}-boot"
    path = shipped if shipped in teachers.NAMED else name_or_path
    checkpoint = teachers.load(path, prompts=prompts)
    if checkpoint["method"] != "boot":
        raise UserError(f"{path} holds a {checkpoint['method']}, not a BOOT student: sample it with teachers.py sample")
    config = checkpoint["config"]
    teacher_like = teachers.from_checkpoint(checkpoint, path, device)  # the same fields, the student's weights
    student = Student(teacher_like, config["t_min"], config["t_max"], config["guidance"])
    return student.requires_grad_(False).eval()


@torch.no_grad()
def report(student, teacher, config, autocast, folder):
    """How far images made in few calls are from the teacher's 50-step DDIM endpoint: {who: per-pixel MSE}.

    On `compare` fixed noises with the same labels, for the student in one call and the teacher in 1, 2, 5, 10 and
    20, all from t_max to t_min; guidance scales in a range are spread over the noises. Draws it, and the student's y_t
    along t, as folder/summary.png; with a range, also folder/guidance.png: one noise and one label a row, w rising; and
    folder/prompts.png, if the teacher's conditions have words.
    """
    n = config.compare
    xi, y = fixed_noise(n, teacher, config)
    drawn = len(config.guidance) == 2
    w = torch.linspace(*config.guidance, n) if drawn else None

    def batched(f, xi=xi, y=y, w=w):
        with autocast():
            return teachers.in_parts(f, teacher, xi, y, w)

    def path(steps):
        return lambda xi, y, w: teacher.ddim(xi, steps, y, w if drawn else config.guidance[0], config.t_max,
                                             config.t_min)

    def one_call(xi, y, w):
        return sample(student, xi, y, w)

    images = {"teacher, 1 step": batched(path(1))}
    for steps in tqdm((2, 5, 10, 20, 50), desc="comparing with the teacher", leave=False):
        images[f"teacher, {steps} steps"] = batched(path(steps))
    images["student, 1 step"] = batched(one_call)
    endpoint = images["teacher, 50 steps"]
    distance = {who: (x - endpoint).square().mean().item() for who, x in images.items() if x is not endpoint}

    rows = [(who + (f"\nMSE {distance[who]:.4f}" if who in distance else ""), x[:10]) for who, x in images.items()]
    few = [None if x is None else x[:10] for x in (xi, y, w)]
    for t in torch.linspace(config.t_max, config.t_min, 6).tolist():
        y_t = batched(lambda xi, y, w: student(xi, torch.full((len(xi),), t, device=xi.device), y, w), *few)
        rows.append((f"student's y_t\nat t = {t:.2f}", y_t))
    teachers.save_rows(rows, folder / "summary.png", teacher)
    teachers.save_prompts(folder / "prompts.png", teacher, y,
                          {"50 steps": endpoint, "1 call": images["student, 1 step"]})
    if drawn:
        w, rows = torch.linspace(*config.guidance, 9), []
        for k in range(min(n, 4)):
            same = xi[k].expand(9, -1, -1, -1), y[k].expand(9), w
            rows += [(f"teacher, 50 steps\nw = {w[0]:g} to {w[-1]:g}", batched(path(50), *same)),
                     ("student, 1 step", batched(one_call, *same))]
        teachers.save_rows(rows, folder / "guidance.png", teacher)
    return distance


def fixed_noise(n, teacher, config):
    """The noises (n, C, H, W) and labels (n,) or None, on the CPU, of a run's pictures and comparisons."""
    generator = torch.Generator().manual_seed(config.seed + 1)  # not the training's
    xi = torch.randn(n, *teacher.image_shape, generator=generator)
    return xi, teachers.labels_for(n, teacher.num_classes, config.classes)


# ---------------------------------------------------------------------------------------------------------------------
# Main


def check(config):
    """UserError for the first option out of its range."""
    t_max, w = config.t_max or 0.99, config.guidance  # until the teacher is known, and main() checks again
    longest = t_max - config.t_min
    teachers.require(config, (
        ("dataset", config.teacher or config.dataset in teachers.NAMED, f"one of {', '.join(teachers.NAMED)}"),
        ("steps", config.steps >= 1, "at least 1"),
        ("batch", config.batch >= 1, "at least 1"),
        ("accum", config.accum >= 1, "at least 1"),
        ("batch", config.batch % max(1, config.accum * teachers.processes()[1]) == 0,
         "a multiple of --accum x processes"),
        ("lr", 0 < config.lr < math.inf, "positive"),
        ("warmup", config.warmup >= 1, "at least 1"),
        ("solver", config.solver in SOLVERS, f"one of {', '.join(SOLVERS)}"),
        ("time", config.time in TIMES, f"one of {', '.join(TIMES)}"),
        ("init", config.init in ("teacher", "random"), "teacher or random"),
        ("t_min", 0 < config.t_min < t_max, f"above 0 and below --t-max {t_max}"),
        ("t_max", t_max <= 1, "at most 1"),
        ("delta", 0 < config.delta <= longest, f"above 0 and at most t_max - t_min = {longest:g}"),
        ("beta", 0 <= config.beta < math.inf, "0 or more"),
        ("guidance", 1 <= w[0] < math.inf and (len(w) == 1 or len(w) == 2 and w[0] < w[1] < math.inf),
         "1 (none) or more, or two such scales, the lower one first"),
        ("ema", 0 <= config.ema < 1, "in [0, 1)"),
        ("seed", 0 <= config.seed < 2**32, "from 0 to 2^32 - 1"),
        ("compare", config.compare >= 1, "at least 1"),
        ("sample_every", config.sample_every >= 1, "at least 1"),
        ("save_every", config.save_every >= 0, "0 or more"),
    ))


def main(config):
    """Distils config.teacher; returns the distances of report(). Leaves in config.out:

    config.json, log.csv, samples/step_XXXXXX.png, student.pt (averaged weights), last.pt (for --resume), summary.png,
    and with a range of guidance scales guidance.png. Raises UserError for bad input and for a loss that is not finite.
    """
    check(config)
    device = teachers.pick_device(config.device)
    teacher = teachers.load_teacher(config.teacher or config.dataset, device, config.arch, config.prompts)
    if config.t_max is None:
        config = dataclasses.replace(config, t_max=latest_start(teacher.schedule, teacher.predicts))
        check(config)
    if config.t_min * teacher.schedule.T < 1:
        raise UserError(f"--t-min {config.t_min} lies before the chain's first index, 1 / {teacher.schedule.T}")
    if config.guidance != (1.0,) and teacher.null_label is None:
        raise UserError("--guidance needs a teacher with classes" + (
            ', and this one has none' if teacher.num_classes is None else ' and "no class", which this one lacks'))
    labels = teachers.labels_for(len(config.classes) or teacher.num_classes or 1, teacher.num_classes, config.classes)
    torch.manual_seed(config.seed)  # random weights, if there are any
    student = Student(teacher, config.t_min, config.t_max, config.guidance, config.init).eval()  # targets: no dropout
    folder, saved = teachers.open_run(config)

    ema = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters(), config.lr, betas=(0.9, 0.99), fused=True)
    generator = torch.Generator(device).manual_seed(config.seed)
    autocast = teachers.autocasting(config.precision, device, teacher.predicts)
    if device.type == "cuda":  # pays on GPUs; on CPUs GroupNorm loses more than the convolutions win
        for net in (teacher.net, student.net, ema.net):
            net.to(memory_format=torch.channels_last)
    labels = None if labels is None else labels.to(device)
    start = 0
    if saved:
        try:
            start = saved["step"]
            student.load_state_dict(saved["student"])
            ema.load_state_dict(saved["ema"])
            optimizer.load_state_dict(saved["optimizer"])
            generator.set_state(saved["generator"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise UserError(f"{folder}/last.pt does not fit the teacher given, or is no BOOT run ({error}): resume "
                            "with the teacher it was begun with") from None

    def save(step):
        teachers.save(folder / "last.pt", {"step": step, "student": student.state_dict(), "ema": ema.state_dict(),
                                           "optimizer": optimizer.state_dict(), "generator": generator.get_state()})
        teachers.save(folder / "student.pt", teachers.checkpoint(ema, "boot", dataclasses.asdict(config)))

    def grid(step):
        xi, y = fixed_noise(64, teacher, config)
        with autocast():
            images = teachers.in_parts(lambda xi, y: sample(ema, xi, y), teacher, xi, y)
        teachers.save_grid(images, folder / f"samples/step_{step:06d}.png", teacher)

    if not saved:
        save(0)
        grid(0)
    log = teachers.open_log(folder / "log.csv", ["step", "bootstrap", "boundary", *teachers.Meter.COLUMNS], start)
    losses, saved_at, meter = [], time.monotonic(), teachers.Meter(device, teacher.net, student.net)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="BOOT", dynamic_ncols=True)
    for step in progress:
        both = training_step(student, teacher, ema, optimizer, step, config, labels, generator, autocast)
        losses.append(both)
        done = step + 1
        last = done == config.steps
        save_now = last or time.monotonic() - saved_at > config.save_every
        if done % 10 == 0 or last or save_now:  # reading a loss makes a GPU wait, so not at each step
            values = torch.stack(losses).cpu()
            if not values.isfinite().all():
                bad = done - len(values) + 1 + values.isfinite().all(1).long().argmin().item()
                raise UserError(f"the loss is not finite at step {bad}: lower --lr; {folder} keeps the last good save")
            costs, (bootstrap, boundary) = meter.read(config.batch * len(values)), values.mean(0).tolist()
            csv.writer(log).writerow([done, *(f"{value:.6g}" for value in (bootstrap, boundary, *costs))])
            progress.set_postfix_str(f"bootstrap {bootstrap:.3f}, boundary {boundary:.4f}, {costs[0]:.0f} images/s")
            losses = []
        if last or done % config.sample_every == 0:
            grid(done)
        if save_now:
            save(done)
            saved_at = time.monotonic()
        if not losses:  # pictures and saves are not counted as training time
            meter.skip()
    log.close()
    tqdm.write(str(meter))
    return report(ema, teacher, config, autocast, folder)


def sample_command(args):
    """Writes a grid of args.n one-step samples of the student args.sample; of two scales, 8 between for each noise."""
    out, guidance = getattr(args, "out", "boot-samples.png"), getattr(args, "guidance", [None])
    if args.n < 1 or not out.endswith(".png"):
        raise UserError(f"--n is {args.n} and must be at least 1; --out is {out} and must end in .png")
    asked = teachers.config_from(args, Config)
    check(asked)
    device = teachers.pick_device(asked.device)
    student = load_student(args.sample, device, asked.prompts)
    xi, y = fixed_noise(args.n, student, asked)
    w = None if guidance[0] is None else torch.full((args.n,), guidance[0])
    if len(guidance) == 2:  # a row of the grid is one noise and one label
        w, rows = torch.linspace(*guidance, 8).repeat(args.n // 8 + 1)[:args.n], torch.arange(args.n) // 8
        xi, y = xi[rows], None if y is None else y[rows]
    autocast = teachers.autocasting(asked.precision, device, student.predicts)
    began = time.monotonic()
    with autocast():
        images = teachers.in_parts(lambda *part: sample(student, *part), student, xi, y, w)
    speed = args.n / (time.monotonic() - began)
    teachers.save_grid(images, out, student)
    middle = len(student.guidance) == 2 and w is None
    print(f"{args.n} images in {out}, one network call each, {speed:.0f} images/s" + (
        f", guidance {sum(student.guidance) / 2:g}; --guidance takes {student.guidance[0]:g} to {student.guidance[1]:g}"
        if middle else ""))


def command_line():
    parser = teachers.Parser(prog="boot.py", description=__doc__.splitlines()[0])
    parser.add_argument("--sample", metavar="STUDENT.pt", help="no training: a grid of this student's images, at "
                        "--out (default: boot-samples.png); cifar10 is the one that ships; takes --label, --prompts, "
                        "--guidance, --seed, --device and --precision too; with two scales of guidance, a row is one "
                        "noise and one label")
    parser.add_argument("--n", type=int, default=64, help="images of --sample (default: 64)")
    teachers.add_options(parser, Config)
    args = parser.parse_args()
    if args.sample:
        return sample_command(args)
    config = teachers.config_from(args, Config)
    distance = main(config)
    print(f"Per-pixel MSE to the teacher's 50-step DDIM endpoint ({config.compare} noises):")
    for who, mse in distance.items():
        print(f"  {who:20s} {mse:.4f}")
    print(f"Look at {config.out}/summary.png; more images: python boot.py --sample {config.out}/student.pt --n 64")


if __name__ == "__main__":
    teachers.run_script(command_line)
