"""BOOT: distil a diffusion teacher into a one-step generator, without data.

Paper: Gu, Zhai, Zhang, Liu, Susskind, "BOOT: Data-free Distillation of Denoising Diffusion Models
with Bootstrapping", arXiv 2306.05544; with Wang, "Data-free Distillation of Diffusion Models with
Bootstrapping", ICML 2024. Sections are those of Pramook Khungurn's notes on the former.
This file is the whole method; it opens no dataset.

    python boot.py --dataset cifar10                                distil the built-in teacher
    python boot.py --sample runs/boot-cifar10/student.pt --n 64     images, one network call each
    python boot.py --sample cifar10                                 the same of the shipped student

Notation. Time t is continuous, in (0, 1], and sampling runs it down: near 1 is noise, near 0 the
image. A step goes from t to s < t.

    symbol          here                shape           meaning
    xi              xi                  (B, C, H, W)    the noise a path starts from, N(0, I)
    t, s            t, s                (B,)            current and next time, s < t
    alpha, sigma    schedule.alpha      (B,)            signal, noise level; alpha^2 + sigma^2 = 1
    lambda_t        schedule.lam        (B,)            -log(alpha_t / sigma_t), rises with t
    x_t             x_t                 (B, C, H, W)    the noisy image on the teacher's path
    y_t             y_t                 (B, C, H, W)    its signal, (x_t - sigma_t xi) / alpha_t
    f_phi(x, t)     teacher.x0          (B, C, H, W)    the clean image that the teacher sees in x
    y_theta(xi, t)  student             (B, C, H, W)    the student's y_t, for any t in one call
    c               c                   (B,)            class label
    w               w                   number or (B,)  scale of classifier-free guidance
    SG[.]           torch.no_grad                       stop-gradient

The idea. The teacher's path from xi obeys the signal-ODE

    dy_t/dt = -lambda'_t (f_phi(x_t, t) - y_t).

The student learns y_t at many t at once: where it stands at t, the teacher says where to go next,
and that is the target at s (bootstrapping: the target is built from the student itself). At t_max,
where the path starts, y is the teacher's first guess f_phi(xi, t_max) (the boundary). A sample is
y_theta(xi, t_min).
"""

import copy
import dataclasses
import math
import time
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

import teachers
from teachers import UserError, opt, per_sample

# ------------------------------------------------------------------------------------------------
# The signal-ODE (section 3.1)

SOLVERS = ("euler", "ddim", "heun", "midpoint")


def noisy(y_t, xi, t, schedule):
    """x_t = alpha_t y_t + sigma_t xi."""
    return per_sample(schedule.alpha(t), y_t) * y_t + per_sample(schedule.sigma(t), y_t) * xi


def signal_ode_step(y_t, xi, t, s, teacher, solver, c=None, guidance=1.0):
    """y_s (B, ...): one step from times t (B,) to s < t along the path that starts at xi.

    y_t, xi (B, ...);  teacher: anything with .schedule and .x0;  c (B,) or None;  guidance: a
    number or (B,).  UserError for an unknown solver.  delta is t - s:
    euler     y_s = y_t + delta lambda'_t (f - y_t), the paper's bootstrap target
    ddim      y_s = (1 - r) f + r y_t with r = exp(lambda_s - lambda_t): exact for a constant f
    heun      the same with f averaged over both ends, the far one reached by ddim: second order.
              The paper names Heun's method, which averages the whole slope, not f alone.
    midpoint  the same with f at (t + s) / 2, reached by ddim: second order, smaller errors
    """
    schedule = teacher.schedule

    def f(y, at):
        return teacher.x0(noisy(y, xi, at, schedule), at, c, guidance)

    def ddim(f_constant, end):
        r = per_sample(torch.exp(schedule.lam(end) - schedule.lam(t)), y_t)
        return (1 - r) * f_constant + r * y_t

    f_t = f(y_t, t)
    if solver == "euler":
        return y_t + per_sample((t - s) * schedule.slope(t), y_t) * (f_t - y_t)
    if solver == "ddim":
        return ddim(f_t, s)
    if solver == "heun":
        y_end = ddim(f_t, s)
        return ddim((f_t + f(y_end, s)) / 2, s)
    if solver == "midpoint":
        middle = (t + s) / 2
        y_middle = ddim(f_t, middle)
        return ddim(f(y_middle, middle), s)
    raise UserError(f"unknown solver {solver!r}: choose {', '.join(SOLVERS)}")


# ------------------------------------------------------------------------------------------------
# The student


class Student(nn.Module):
    """y_theta(xi, t): a diffusion network that is asked for the signal at t from pure noise.

    The input is always xi, so whatever t is, a prediction becomes an image with the levels of
    t_max: for a model that predicts v, y = alpha(t_max) xi - sigma(t_max) v(xi, t).

    guidance  (w,), or (lowest, highest): then the network takes w as well (section 3.3)
    """

    def __init__(self, model, t_min, t_max, guidance=(1.0,)):
        super().__init__()
        self.model, self.net = model, model.net
        self.t_min, self.t_max, self.guidance = t_min, t_max, guidance
        at = torch.tensor(t_max, device=model.device)
        self.register_buffer("alpha", model.schedule.alpha(at), persistent=False)
        self.register_buffer("sigma", model.schedule.sigma(at), persistent=False)

    def forward(self, xi, t, c=None, w=None):
        """y_theta(xi, t), (B, C, H, W).

        xi (B, C, H, W), t (B,), c (B,) or None without classes; w (B,), which a student for a range
        of scales takes as its input, and one for a single scale does not. model.call asks the
        network once, at index t T stride - 1; a learned variance, the channels after C, is cut off.
        """
        i = t * self.model.schedule.T * self.model.stride - 1
        out = self.model.call(xi, i, c, w if len(self.guidance) == 2 else None)
        p = out[:, :xi.shape[1]]                                 # without a learned variance
        return teachers.to_x0(self.model.predicts, p, xi, self.alpha, self.sigma)


def new_student(teacher, t_min, t_max, guidance=(1.0,), init="teacher"):
    """An untrained Student: at t_max the unguided teacher, and nearly so at all other t.

    It has the teacher's network and weights, but for the time embedding e(t), which starts as
    e(t_max) + START (e(t) - e(t_max)): asked at t itself, the teacher turns noise into garbage.
    For a range of scales, w is embedded like the time and added through a layer that starts at 0.
    init: "teacher", or "random" for random weights, which the paper does not do.
    """
    arguments = teacher.net.arguments | {"guided": len(guidance) == 2}
    net = type(teacher.net)(**arguments).to(teacher.device)
    given = teacher.net.state_dict()
    if init == "random":
        given = dict(teacher.net.named_buffers())  # embeddings of prompts, which are no weights
    net.load_state_dict(net.state_dict() | given)
    with torch.no_grad():
        i_max = torch.tensor([t_max * teacher.schedule.T * teacher.stride - 1])
        e_max = net.embed_time(i_max.to(teacher.device))[0]
        net.last_of_time.bias.lerp_(e_max, 1 - START)
        net.last_of_time.weight *= START
    return Student(dataclasses.replace(teacher, net=net), t_min, t_max, guidance)


# ------------------------------------------------------------------------------------------------
# Losses and the training step (sections 3.2 and 3.3)


@torch.no_grad()
def bootstrap_target(student, teacher, xi, t, s, solver, c=None, w=1.0):
    """SG[one step of the signal-ODE from y_theta(xi, t) to s], (B, ...)."""
    return signal_ode_step(student(xi, t, c, w), xi, t, s, teacher, solver, c, w)


@torch.no_grad()
def boundary_target(teacher, xi, t_max, c=None, w=1.0):
    """f_phi(xi, t_max), (B, ...), where the path starts; t_max (B,); teacher: with .x0."""
    return teacher.x0(xi, t_max, c, w)


def losses(student, teacher, xi, t, s, c, w, config):
    """L^BS and L^BC, means over the batch and over pixels: (), ().

    L^BS = || y_theta(xi, s) - SG[step from y_theta(xi, t)] ||^2 / delta^2, where the paper's weight
    w_t is the density of s, here uniform. The first hop, from t_max, may be shorter than delta; it
    is divided by delta^2, too, so that short hops do not weigh more.
    L^BC = || y_theta(xi, t_max) - f_phi(xi, t_max) ||^2. An eighth of the batch is enough for it:
    unguided, it starts at 0 and only has to stay there.
    One call of the student, with gradient, serves both.
    """
    rows = torch.arange(len(xi), device=xi.device)
    eighth = rows[::8]
    called = torch.cat([rows, eighth])

    def take(rows, values):  # c or w, which may be None or one number for all samples
        return values[rows] if torch.is_tensor(values) else values

    t_max = torch.full_like(s[eighth], config.t_max)
    target_s = bootstrap_target(student, teacher, xi, t, s, config.solver, c, w)
    target_start = boundary_target(teacher, xi[eighth], t_max, take(eighth, c), take(eighth, w))
    y = student(xi[called], torch.cat([s, t_max]), take(called, c), take(called, w))
    y_s, y_start = y.split([len(rows), len(eighth)])
    loss_bs = F.mse_loss(y_s, target_s) / config.delta**2
    loss_bc = F.mse_loss(y_start, target_start)
    return loss_bs, loss_bc


def hops(config):
    """How many hops of delta lead from t_max to t_min; the first may be shorter."""
    return math.ceil((config.t_max - config.t_min) / config.delta - 1e-6)


def training_step(student, teacher, ema, optimizer, rate, share, config, generator, losses=losses):
    """One step of BOOT, at what rates() gives for it: changes student, ema and optimizer.

    Returns L^BS and L^BC, detached (2,).
    """
    B, device = config.batch, generator.device
    xi = torch.randn(B, *teacher.image_shape, generator=generator, device=device)
    if config.times == "hops":  # t_min + k delta, for k in turn from a random one
        first = torch.randint(hops(config), (1,), generator=generator, device=device)
        s = config.t_min + config.delta * ((first + torch.arange(B, device=device)) % hops(config))
    else:  # uniform over [t_min, t_max), stratified: one draw in each of B equal parts
        u = (torch.arange(B, device=device) + torch.rand(B, generator=generator, device=device)) / B
        s = config.t_min + (config.t_max - config.t_min) * u
    t = (s + config.delta).clamp(max=config.t_max)
    c, w = None, config.guidance[0]
    if teacher.num_classes is not None:
        c = torch.randint(teacher.num_classes, (B,), generator=generator, device=device)
    if len(config.guidance) == 2:
        w = w + (config.guidance[1] - w) * torch.rand(B, generator=generator, device=device)

    loss_bs, loss_bc = losses(student, teacher, xi, t, s, c, w, config)
    loss = loss_bs + config.beta * loss_bc
    logged = torch.stack([loss_bs, loss_bc]).detach()
    update(student, ema, optimizer, loss, logged, rate, share)
    return logged


def update(student, ema, optimizer, loss, logged, rate, share):
    """One step of Adam down the gradient of loss, and of ema towards student; all in place.

    rate, share: what rates() gives for this step.
    Several processes average their gradients, and the two losses that are logged (2,).
    """
    optimizer.zero_grad()
    loss.backward()
    teachers.average_gradients(student.net.parameters(), logged)
    nn.utils.clip_grad_norm_(student.net.parameters(), 1.0)  # BOOT's are longer at first
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    for average, weight in zip(ema.net.parameters(), student.net.parameters(), strict=True):
        average.lerp_(weight.detach(), share)


def rates(step, config):
    """The learning rate, and the share of the new weights in ema: 1 - decay, but more at first."""
    return learning_rate(step, config), 1 - min(config.ema, (1 + step) / (10 + step))


def learning_rate(step, config):
    """Half a cosine from config.lr to 0, with a linear warm-up over WARMUP steps."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * min(1, (step + 1) / WARMUP) * cosine


# ------------------------------------------------------------------------------------------------
# Configuration

WARMUP = 150    # steps until the learning rate reaches its peak
SAVES = 24      # of a run, at most
LOSSES = "bootstrap", "boundary"  # their columns in log.csv
PICTURE = 1     # at each PICTURE-th save, a picture
START = 0.1     # how far the time embedding is from that of t_max at first, of 1


@dataclass
class Config(teachers.RunOptions):
    """BOOT. Without --sample: distils a teacher into a one-step student, in a folder of its own.

    The paper's own settings were not at hand; these did best on 2 CPU cores.
    """

    teacher: str = opt("cifar10", "a name of teachers.py list, or a path", also=["--dataset"])
    steps: int = opt(1200, "training steps", 1)
    batch: int = opt(8, "noise samples a step, of each process", 1)
    lr: float = opt(7e-4, "peak of Adam's learning rate: warm-up, then half a cosine", 1e-9, 10)
    solver: str = opt("midpoint", "of the signal-ODE; euler and ddim call the teacher once a hop, "
                      "the others twice", choices=SOLVERS)
    delta: float = opt(1 / 8, "bootstrap step t - s (delta)", 1e-4, 1)
    times: str = opt("hops", "times s that are learned: hops, the ends of the path's hops; all, "
                     "uniform from t_min to t_max, as in the paper", choices=("hops", "all"))
    beta: float = opt(16.0, "weight of the boundary loss (beta)", 0)
    t_min: float = opt(0.02, "time at which the path ends (t_min)", 1e-4, 1)
    t_max: float = opt(None, "time at which it starts (t_max); default: where 1 / alpha reaches "
                       "65", 1e-4, 1)
    init: str = opt("teacher", "the student's first weights", choices=("teacher", "random"))
    guidance: tuple = opt(None, "scale w to distil (default: 1, no guidance); two: w is drawn "
                          "between them, and given to the student", 1, type=float, nargs="+",
                          metavar="W")
    ema: float = opt(0.99, "decay of the averaged weights, the student", 0, 0.99999)
    seed: int = opt(0, "seed of every random draw", 0, 2**32 - 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "auto: bf16 if it pays", choices=("auto", "fp32", "bf16"))
    graph: bool = opt(False, "on a GPU: launch each step as one CUDA graph (untried)")
    compare: int = opt(64, "noise samples compared with the teacher", 10)
    out: str = opt("", "run folder (default: runs/boot-TEACHER); of --sample, a .png or an .npz")
    resume: bool = opt(False, "go on with the run in --out, with its options")
    sample: str = opt("", "no training: images of this student, a path or cifar10")
    n: int = opt(64, "images of --sample", 1)
    label: int = opt(None, "class of all images of --sample (default: all in turn)", 0)

    def __post_init__(self):
        super().__post_init__()
        asks = {field.name for field in dataclasses.fields(self)
                if getattr(self, field.name) != field.default}
        drawing = {"sample", "n", "label"}
        both = {"guidance", "seed", "device", "precision", "out"}
        for name in sorted(asks - both - drawing if self.sample else asks & drawing):
            raise UserError(f"--{name.replace('_', '-')} is for "
                            f"{'training' if self.sample else '--sample'}: leave it out")
        if self.guidance and (len(self.guidance) > 2 or self.guidance[0] > self.guidance[-1]):
            raise UserError(f"--guidance {self.guidance}: give one, or the lowest and highest")
        self.out = self.out or ("boot-samples.png" if self.sample else self.run_folder("boot"))

    def fitted(self, teacher):
        """This configuration with what depends on the teacher settled; UserError if unfit."""
        schedule = teacher.schedule
        if teacher.predicts == "eps":
            raise UserError(f"{self.teacher} predicts noise, whose errors 1 / alpha multiplies "
                            "where the path starts: make a copy that predicts v, by python dkdm.py "
                            f"--teacher {self.teacher} --student same --predicts v, and take the "
                            "student.pt that it leaves")
        # Starting at pure noise is right where nothing is left of the image: where 1 / alpha is 65,
        # a CIFAR-10 image's mean colour has 2 % of the noise's variance.
        alpha = schedule.alpha(torch.arange(1, 1001) / 1000)
        start = (alpha >= 1 / 65).sum().item() / 1000
        fitted = dataclasses.replace(self, t_max=self.t_max or round(start, 2),
                                     guidance=self.guidance or (1.0,))
        if not 1 / schedule.T <= self.t_min <= fitted.t_max - self.delta + 1e-6:  # for rounding
            raise UserError(f"--t-min is {self.t_min}, and must be from 1/{schedule.T} to --t-max "
                            f"{fitted.t_max} minus --delta {self.delta}")
        if fitted.guidance != (1.0,) and teacher.null_label is None:
            raise UserError('--guidance needs a teacher with classes and "no class": leave it out')
        return fitted


# ------------------------------------------------------------------------------------------------
# The run


def train(config, losses=losses):
    """Distils config.teacher by these losses; returns what compare() finds. Leaves in config.out:

    config.json, log.csv, samples/step_XXXXXX.png, student.pt (averaged weights), last.pt (for
    --resume) and summary.png. Raises UserError for bad input and for a loss that is not finite.
    """
    teacher = teachers.load_teacher(config.teacher, config.device)
    config = config.fitted(teacher)
    teacher = teacher.in_precision(config.precision)
    torch.manual_seed(config.seed)  # initial weights
    student = new_student(teacher, config.t_min, config.t_max, config.guidance, config.init)
    student.net.eval()  # no dropout: it would make the targets noisy
    ema = copy.deepcopy(student)
    ema.net.requires_grad_(False).eval()
    optimizer = torch.optim.Adam(student.net.parameters(), config.lr, betas=(0.9, 0.99), fused=True,
                                 capturable=config.graph)
    generator = teacher.generator(config.seed)
    take_step = partial(training_step, student, teacher, ema, optimizer, config=config,
                        generator=generator, losses=losses)
    if config.graph:
        take_step = student.model.captured(take_step, generator)
    parts = {"student": student.net, "ema": ema.net, "optimizer": optimizer}
    given = {"the teacher": teacher.checkpoint("teacher", {}), "the loss": losses.__qualname__,
             "precision": teacher.precision}  # auto may mean another one elsewhere
    folder, log, save_run = teachers.open_run(config, generator, given, parts)
    samples = held_out(teacher, config)
    drawn = draw_teacher(teacher, config)

    def save():  # last.pt last: if the run stops before it, --resume makes the rest again
        checkpoint = ema.model.checkpoint("boot", dataclasses.asdict(config))
        teachers.save(folder / "student.pt", checkpoint)
        save_run()

    def picture(step):
        ours = teacher.in_parts(partial(sample, ema), *samples)
        teachers.save_grid(folder / f"samples/step_{step:06d}.png", teacher.to_images(ours[:64]))
        if step > 0:
            mse = log[-1]["mse"] = F.mse_loss(ours, drawn["teacher, 50 steps"]).item()
            progress.set_description(f"BOOT, MSE {mse:.4f}")

    start = log[-1]["step"] if log else 0
    save()  # also when resuming: the student may have been deleted
    if start == 0:
        picture(0)
    recent, since, save_every = [], time.monotonic(), math.ceil(config.steps / SAVES)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="BOOT")
    for step in progress:
        recent.append(take_step(*rates(step, config)))
        taken, last = step + 1, step + 1 == config.steps
        saving = last or taken % save_every == 0
        if saving or taken % 10 == 0:  # reading a loss makes a GPU wait, so not at each step
            row = dict(zip(LOSSES, teachers.finite_mean(recent, taken, folder), strict=True))
            speed = len(recent) * config.batch / (time.monotonic() - since)
            log.append({"step": taken, **row, "images_per_s": speed})
            progress.set_postfix(row)
            if last or taken % (PICTURE * save_every) == 0:
                picture(taken)
            if saving:
                save()
            recent, since = [], time.monotonic()
    return compare(ema, drawn, config, folder / "summary.png")


def held_out(model, config):
    """xi (n, C, H, W), c (n,) or None, and w of the n = config.compare noise samples.

    Labels in turn; w is the one scale, or spread over the range, (n,).
    """
    n, w = config.compare, config.guidance[0]
    if len(config.guidance) == 2:
        w = torch.linspace(*config.guidance, n)
    return model.noise(n, config.seed), model.labels(n), w


def draw_teacher(teacher, config):
    """The teacher's images in 1 to 50 steps, from t_max to t_min: {row's name: (n, C, H, W)}."""
    drawn = {}
    for k in tqdm((1, 2, 5, 10, 20, 50), desc="drawing the teacher's images", leave=False):
        drawn[f"teacher, {k} step{'s' * (k > 1)}"] = teacher.in_parts(
            lambda xi, c, w, k=k: teacher.ddim(xi, k, c, w, config.t_max, config.t_min),
            *held_out(teacher, config))
    return drawn


def compare(student, drawn, config, path):
    """Per-pixel MSE to the teacher's 50-step DDIM endpoint: {row's name: MSE}; draws the rows.

    drawn: what draw_teacher() returns, to which the student's images are added. The picture at path
    shows ten samples of each row, and below them the student's y_t along t.
    """
    model, samples = student.model, held_out(student.model, config)
    drawn = drawn | {"student, 1 step": model.in_parts(partial(sample, student), *samples)}
    endpoint = drawn["teacher, 50 steps"]
    mse = {name: F.mse_loss(x, endpoint).item() for name, x in drawn.items()}

    rows, guided = {}, config.guidance != (1.0,)
    for name, x in drawn.items():
        calls = "\nof 2 calls" if guided and name.startswith("teacher") else ""
        rows[f"{name}{calls}\nMSE {mse[name]:.4f}"] = x[:10]
    ten = [x[:10] if torch.is_tensor(x) else x for x in samples]
    for k in torch.linspace(hops(config), 0, 6).round().tolist():
        t = min(config.t_min + k * config.delta, config.t_max)
        rows[f"student's y_t\nat t = {t:.2f}"] = model.in_parts(
            lambda xi, c, w, t=t: student(xi, xi.new_full((len(xi),), t), c, w), *ten)
    images = model.to_images(torch.cat(list(rows.values())))
    teachers.save_grid(path, images, 10, list(rows))
    return mse


# ------------------------------------------------------------------------------------------------
# Sampling


@torch.no_grad()
def sample(student, xi, c=None, guidance=None):
    """Images (B, C, H, W) from noise xi (B, C, H, W) in one network call: y_theta(xi, t_min).

    c (B,), or None without classes.  guidance: a scale, or one for each sample (B,), that the
    student was distilled for; None: the middle of them. UserError for others, and for labels left
    out where there are classes: BOOT never trains "no class".
    """
    if c is None and student.model.num_classes is not None:
        raise UserError("this student was distilled with classes: give it labels")
    lowest, highest = student.guidance[0], student.guidance[-1]
    w = torch.as_tensor((lowest + highest) / 2 if guidance is None else guidance).float()
    if not ((lowest <= w) & (w <= highest)).all():
        made_for = " to ".join(f"{scale:g}" for scale in student.guidance)
        raise UserError(f"this student was distilled with guidance {made_for}: choose that")
    t = torch.full((len(xi),), student.t_min, device=xi.device)
    return student(xi, t, c, w.to(xi.device).expand(len(xi)))


def load_student(name_or_path, device="cpu"):
    """The Student in a checkpoint of this file, in eval mode; "cifar10" names the one that ships.

    UserError if it is anything else.
    """
    path = "cifar10-boot" if name_or_path == "cifar10" else name_or_path
    model, checkpoint = teachers.load(path, device)
    if checkpoint["method"] != "boot":
        raise UserError(f"{path} is no student of BOOT: draw it with python teachers.py sample")
    made = checkpoint["config"]
    student = Student(model, made["t_min"], made["t_max"], tuple(made["guidance"]))
    student.path = path
    return student.requires_grad_(False).eval()


def draw(config):
    """Writes config.n one-step images of config.sample to config.out."""
    student = load_student(config.sample, config.device)
    student.model = student.model.in_precision(config.precision)
    if config.guidance and len(config.guidance) > 1:
        raise UserError("--sample takes one --guidance; for rising w, see extras/demo.py")
    w = config.guidance[0] if config.guidance else sum(student.guidance) / len(student.guidance)
    how = {"sampler": "BOOT", "steps": 1, "guidance": w}
    teachers.draw_images(student.model, config, lambda xi, c, _: sample(student, xi, c, w),
                         student.path, how)


def main():
    config = Config.parse()
    if config.sample:
        return draw(config)
    distance = train(config)
    print(f"Per-pixel MSE to the teacher's 50-step DDIM endpoint ({config.compare} noise samples):")
    for name, mse in distance.items():
        print(f"  {name:20s} {mse:.4f}")
    print(f"See {config.out}/summary.png; more: python boot.py --sample {config.out}/student.pt")


if __name__ == "__main__":
    teachers.run_script(main)
