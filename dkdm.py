"""DKDM: train a diffusion model of any architecture from a teacher alone, without data.

Paper: Xiang, Zhang, Shang, Wu, Yan, Nie, "DKDM: Data-Free Knowledge Distillation for Diffusion
Models with Any Architecture", CVPR 2025, arXiv 2409.03550.
This file is the whole method; it opens no dataset.

    python dkdm.py --dataset cifar10                        a small U-Net from the built-in teacher
    python dkdm.py --dataset cifar10 --student vit-tiny     a transformer from the same teacher
    python teachers.py sample runs/dkdm-cifar10-nano/student.pt --out samples.png

Notation. The chain has T of the teacher's noise levels. Index i is the paper's t - 1 and runs
down: T - 1 is nearly pure noise, 0 nearly clean.

    symbol          here                shape           meaning
    x^t             x                   (B, C, H, W)    a noisy image at index i = t - 1
    B+              Pool                N entries       the enlarged batch set: images on their way
    B^s             rows                (B,)            the batch: entries of B+ drawn at random
    rho             rho                 scalar          the pool's ratio to T B: N = rho T B
    eps_T, eps_S    *_out[:, :C]        (B, C, H, W)    the noise that teacher and student see in x
                    *_out               (B, 2C, H, W)   an output in eps form: eps, and variance
    g_T(x, t)       Pool.advance                        a step of the teacher, x^{t-1} ~ p_T(.|x^t)
    p(x^{t-1}|x^t)  p_mean_variance     (B, C, H, W)    the Gaussian that an output describes
    lambda          lambda_vlb          scalar          weight of L_vlb
    c               c                   (B,)            class label

The idea. A diffusion model trains on noisy images, and a teacher makes them: each of its sampling
steps leaves one. So a pool of images on their way from noise to picture is all the data there is.
Each training step draws a batch from it and calls the teacher once: the output is the student's
target, and moves the batch one step on in the pool. What arrives starts again from noise.

A network may predict eps, v or the image. "In eps form" its prediction is expressed as noise, so
the losses compare any two networks; C more channels of variance follow it, if that is learned.
"""

import copy
import dataclasses
import math
import time
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from tqdm import tqdm

import teachers
import unet
import vit
from teachers import UserError, opt

# ------------------------------------------------------------------------------------------------
# The pool, and how it is filled (line 1 of Algorithm 1)


class Pool:
    """B+ of Algorithm 1: images on the teacher's way from noise to picture, on generator's device.

    x (N, C, H, W) float16, half the memory;  i (N,) the index at which each stands;  c (N,) its
    label, num_classes for "no class"; None without classes. All start as noise at T - 1.
    """

    def __init__(self, size, image_shape, T, num_classes, label_dropout, generator):
        self.T, self.num_classes, self.label_dropout = T, num_classes, label_dropout
        self.x = torch.empty(size, *image_shape, dtype=torch.float16, device=generator.device)
        for part in self.x.split(1024):
            part.copy_(torch.randn(part.shape, generator=generator, device=generator.device))
        self.i = torch.full((size,), T - 1, device=generator.device)
        self.c = self.new_labels(size, generator)

    def new_labels(self, n, generator):
        """n labels, uniform, the share label_dropout of them "no class"; None without classes."""
        if self.num_classes is None:
            return None
        device = generator.device
        labels = torch.randint(self.num_classes, (n,), generator=generator, device=device)
        dropped = torch.rand(n, generator=generator, device=device) < self.label_dropout
        return torch.where(dropped, self.num_classes, labels)

    def draw(self, n, generator):
        """Rows of n distinct random entries; all, in order, if at most n exist."""
        if n >= len(self.i):
            return torch.arange(len(self.i), device=self.i.device)
        return torch.randperm(len(self.i), generator=generator, device=self.i.device)[:n]

    def at(self, rows):
        """x float32 (B, C, H, W), i (B,) and c (B,) or None of these entries."""
        return self.x[rows].float(), self.i[rows], None if self.c is None else self.c[rows]

    def advance(self, rows, teacher_out, schedule, generator):
        """Moves entries one step on, x_{i-1} ~ p_T(. | x_i), by the teacher's output in eps form.

        Those that stood at 0 start again from noise at T - 1, with a new label.
        """
        x, i, c = self.at(rows)
        mean, log_variance, _, _ = schedule.p_mean_variance(teacher_out, x, i)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        labels, arrived = self.new_labels(len(x), generator), i == 0
        stepped = mean + (0.5 * log_variance).exp() * noise
        self.x[rows] = torch.where(arrived[:, None, None, None], noise, stepped).half()
        self.i[rows] = (i - 1) % self.T
        if c is not None:
            self.c[rows] = torch.where(arrived, labels, c)

    def state_dict(self):  # on the CPU: other processes receive it
        state = {"x": self.x, "i": self.i, "c": self.c}
        return {name: None if part is None else part.cpu() for name, part in state.items()}

    def load_state_dict(self, state):
        for name, saved in state.items():
            if saved is not None:
                getattr(self, name).copy_(saved)


def pool_size(config, T):
    """Number of entries: rho T B for dynamic, the batch alone for the other modes."""
    return round(config.rho * T) * config.batch if config.mode == "dynamic" else config.batch


@torch.no_grad()
def shuffle_denoise(pool, teacher, generator):
    """The paper's way: each entry goes down the chain to an index of its own, uniform over T.

    This is G_T(t). It takes T / 2 teacher calls an entry, on average.
    """
    goal = torch.randint(pool.T, pool.i.shape, generator=generator, device=pool.i.device)
    order = goal.argsort(descending=True)  # neighbours have about as far to go: calls stay full
    progress = tqdm(total=int((pool.T - 1 - goal).sum()), desc="filling the pool", unit=" calls")
    for rows in order.split(teacher.at_once):
        while len(rows := rows[pool.i[rows] > goal[rows]]):
            x, i, c = pool.at(rows)
            pool.advance(rows, teacher.eps_form(x, i, c), teacher.schedule, generator)
            progress.update(len(rows))
    progress.close()


@torch.no_grad()
def strided_denoise(pool, teacher, generator):
    """Our way, a twentieth of the calls: a path of DDIM in steps of 2 indices leaves KEPT entries.

    T / 2 teacher calls a path. Its entries share one noise sample and one label. Half of the paths
    first move by one index, so that entries stand at all indices equally often (with an odd T, at 0
    twice as often).
    """
    N, T, device = len(pool.i), pool.T, pool.i.device
    places = (T + 1) // 2  # on a path
    each = min(KEPT, places)
    paths = math.ceil(N / each)
    i = torch.full((paths,), T - 1, device=device)  # pure noise belongs here alone
    goal = (T - 2 + torch.randint(2, (paths,), generator=generator, device=device)).clamp(min=0)
    x = torch.randn(paths, *teacher.image_shape, generator=generator, device=device)
    c = pool.new_labels(paths, generator)
    kept = torch.rand(paths, places, generator=generator, device=device).argsort(1)[:, :each]
    path, place = torch.arange(N, device=device) // each, kept.flatten()[:N]  # of each entry
    if c is not None:
        pool.c.copy_(c[path])
    for k in tqdm(range(places), desc="filling the pool"):
        for some in (i > goal).nonzero().flatten().split(teacher.at_once):
            if len(some) == 0:  # at first there may be none to move
                break
            x_i, label = x[some], None if c is None else c[some]
            out = teacher.eps_form(x_i, i[some], label)
            _, _, x0, eps = teacher.schedule.p_mean_variance(out, x_i, i[some])
            alpha, sigma = teacher.schedule.levels(goal[some], x_i)
            x[some] = alpha * x0 + sigma * eps
        rows = (place == k).nonzero().flatten()
        pool.x[rows], pool.i[rows] = x[path[rows]].half(), goal[path[rows]]
        i, goal = goal, (goal - 2).clamp(min=0)


FILL = {"paper": shuffle_denoise, "strided": strided_denoise}


# ------------------------------------------------------------------------------------------------
# The student


def new_student(teacher, size, predicts, learned_sigma, no_class):
    """A DiffusionModel like the teacher, with a network of the named size and random weights.

    no_class: whether a teacher's labels get "no class" besides.
    Size "same": the teacher's own network with its weights, which is to predict something else.
    """
    if size == "same":
        net = type(teacher.net)(**teacher.net.arguments).to(teacher.device).eval()  # no dropout
        net.load_state_dict(teacher.net.state_dict())
        return dataclasses.replace(teacher, net=net, predicts=predicts)
    rows = None if teacher.num_classes is None else teacher.num_classes + no_class
    net = new_network(size, teacher.image_shape, rows, learned_sigma).to(teacher.device)
    return dataclasses.replace(teacher, net=net, predicts=predicts, learned_sigma=learned_sigma,
                               stride=1)


def new_network(size, image_shape, label_rows, learned_sigma):
    """A U-Net or ViT of the named size with random weights, for images (C, H, W).

    label_rows: classes, and one more for "no class"; None: no labels. UserError if a trial call
    with such images fails.
    """
    C, H, W = image_shape
    try:
        if size in vit.SIZES:
            net = vit.ViT(H, in_channels=C, num_classes=label_rows, learn_sigma=learned_sigma,
                          **vit.SIZES[size])
        else:
            net = unet.UNet(C, out_channels=2 * C if learned_sigma else C, num_classes=label_rows,
                            **unet.SIZES[size])
        index = torch.zeros(1, dtype=torch.long)
        with torch.no_grad():
            net(torch.zeros(1, C, H, W), index, None if label_rows is None else index)
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{size} does not fit images of {C} x {H} x {W} ({error}): choose another "
                        "size") from None
    return net


# ------------------------------------------------------------------------------------------------
# Losses and the training step (sections 3.2 and 3.3)


def dkdm_loss(student_out, teacher_out, x, i, schedule):
    """L_simple and L_vlb of each sample (eq. 20 and 21): (B,), (B,).

    student_out, teacher_out (B, C or 2C, H, W): outputs in eps form for x (B, C, H, W) at i (B,).
    L_simple is || eps_T - eps_S ||^2, L_vlb is KL(p_T(x_{i-1} | x_i) || p_S(x_{i-1} | x_i)) in
    bits; both are averaged over dimensions. The teacher's x0 is clipped as when it samples, the
    student's is not. L_vlb teaches the variance alone: no gradient flows from it into the student's
    mean, and none flows into the teacher.
    """
    C, teacher_out = x.shape[1], teacher_out.detach()
    l_simple = (teacher_out[:, :C] - student_out[:, :C]).square().flatten(1).mean(1)

    frozen = torch.cat([student_out[:, :C].detach(), student_out[:, C:]], dim=1)
    mean_T, log_var_T, _, _ = schedule.p_mean_variance(teacher_out, x, i)
    mean_S, log_var_S, _, _ = schedule.p_mean_variance(frozen, x, i, clip=False)
    kl = 0.5 * (log_var_S - log_var_T + (log_var_T - log_var_S).exp()
                + (mean_T - mean_S) ** 2 * (-log_var_S).exp() - 1)
    return l_simple, kl.flatten(1).mean(1) / math.log(2)


def simple_weight(predicts, i, x, schedule):
    """Weights that make L_simple the squared error of the student's own prediction: (B,).

    1 for eps, the paper's case. For v it is 1 / alpha^2, for x0 sigma^2 / alpha^2. Without it, the
    errors of v and x0 would hardly count at high noise, where alpha is small and sampling starts.
    """
    alpha, sigma = (level.flatten() for level in schedule.levels(i, x))
    return {"eps": torch.ones_like(alpha), "v": alpha**-2, "x0": (sigma / alpha) ** 2}[predicts]


def training_step(student, teacher, pool, ema, optimizer, rate, share, config, generator,
                  losses=dkdm_loss):
    """Lines 4 to 8 of Algorithm 1, at what rates() gives: changes student, pool, ema and optimizer.

    Returns L_simple, weighted, and L_vlb, detached (2,).
    """
    schedule = teacher.schedule
    rows = pool.draw(config.batch, generator)                              # line 4: B^s from B+
    x, i, c = pool.at(rows)
    with torch.no_grad():
        teacher_out = teacher.eps_form(x, i, c)                            # the one teacher call
    student_out = student.eps_form(x, i, c)
    target, weight = teacher_out, simple_weight(student.predicts, i, x, schedule)
    if teacher.predicts == "eps" != student.predicts:
        # 1 / alpha multiplies its errors in x0: that is clipped, as in sampling, and counts less.
        _, _, _, eps = schedule.p_mean_variance(teacher_out, x, i)
        target = torch.cat([eps, teacher_out[:, x.shape[1]:]], dim=1)
        weight = weight.clamp(max=NOISY**2)
    l_simple, l_vlb = losses(student_out, target, x, i, schedule)          # lines 5 and 6
    l_simple, l_vlb = (weight * l_simple).mean(), l_vlb.mean()
    loss = l_simple + config.lambda_vlb * schedule.T * l_vlb               # line 7: sum over T
    logged = torch.stack([l_simple, l_vlb]).detach()
    update(student, ema, optimizer, loss, logged, rate, share)
    pool.advance(rows, teacher_out, schedule, generator)                   # line 8: the next B+
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
KEPT = 20       # entries that --fill strided keeps of a path, if it has as many
SAVES = 24      # of a run, at most
LOSSES = "simple", "vlb"  # their columns in log.csv
PICTURE = 4     # at each PICTURE-th save, a picture
NOISY = 6       # where 1 / alpha is above it, x0 of a teacher of noise counts less


@dataclass
class Config(teachers.RunOptions):
    """DKDM: trains a student from a teacher alone, in a folder of its own.

    Defaults suit 2 CPU cores; where the paper or its released code has others, these are named.
    """

    teacher: str = opt("cifar10", "a name of teachers.py list, or a path", also=["--dataset"])
    student: str = opt("nano", "named size of the student; same: the teacher's own network and "
                       "weights, for another --predicts", choices=("same", *unet.SIZES, *vit.SIZES))
    predicts: str = opt(None, "what it predicts; eps is the paper (default: as the teacher)",
                        choices=("eps", "v", "x0"))
    mode: str = opt("dynamic", "where a batch comes from: dynamic, the pool; shuffled, one batch "
                    "of mixed indices; iterative, one batch at one index (section 3.3)",
                    choices=("dynamic", "shuffled", "iterative"))
    rho: float = opt(0.4, "ratio of the pool's size to T times batch (rho)", 1e-6, 1e4)
    fill: str = opt("paper", "how the pool is filled: paper, each entry by steps of its own; or "
                    f"strided, in steps of two, {KEPT} entries a path", choices=tuple(FILL))
    T: int = opt(100, "steps of the chain, a divisor of the teacher's, or all if it has fewer "
                 "(paper: 1000; filling the pool then takes 100 times the calls)", 1)
    label_dropout: float = opt(None, "share of entries without a class (default: 0.1; "
                               '0 if the teacher knows no "no class")', 0, 1)
    lambda_vlb: float = opt(None, "weight of L_vlb (lambda), for the sum over T steps (default: "
                            "0.001, or 0 if the teacher learned no variance)", 0)
    steps: int = opt(4000, "training steps (paper's ablation: 200,000)", 1)
    batch: int = opt(16, "images a step, of each process (released code: 128)", 1)
    lr: float = opt(1e-3, "peak of Adam's learning rate: warm-up, then half a cosine (released "
                    "code: 1e-4, constant)", 1e-9, 10)
    ema: float = opt(0.995, "decay of the averaged weights (released code: 0.9999)", 0, 0.99999)
    seed: int = opt(0, "seed of every random draw", 0, 2**32 - 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "auto: bf16 if it pays", choices=("auto", "fp32", "bf16"))
    graph: bool = opt(False, "on a GPU: launch each step as one CUDA graph (untried)")
    compare: int = opt(64, "noise samples of the comparison at the end", 1)
    out: str = opt("", "run folder (default: runs/dkdm-TEACHER-STUDENT)")
    resume: bool = opt(False, "go on with the run in --out, with its options")

    def __post_init__(self):
        super().__post_init__()
        self.out = self.out or f"{self.run_folder('dkdm')}-{self.student}"

    def fitted(self, teacher):
        """This configuration with what depends on the teacher settled; UserError if unfit."""
        T = min(self.T, teacher.schedule.T)
        if self.label_dropout and teacher.null_label is None:
            raise UserError('--label-dropout needs a teacher with classes and "no class": leave it '
                            "out")
        if self.mode != "dynamic" and self.rho != Config.rho:
            raise UserError(f"--mode {self.mode} has no --rho: leave it out")
        if self.mode == "iterative" and self.fill != Config.fill:
            raise UserError("--mode iterative fills no pool: leave --fill out")
        if self.lambda_vlb and not teacher.learned_sigma:
            raise UserError("--lambda-vlb needs a teacher with learned variances: leave it out")
        if self.student == "same" and (self.predicts or teacher.predicts) == teacher.predicts:
            raise UserError(f"--student same starts as the teacher, which predicts "
                            f"{teacher.predicts}: give another --predicts")
        if self.student == "same" and teacher.learned_sigma and self.lambda_vlb == 0:
            raise UserError("--student same keeps the learned variance: leave --lambda-vlb out")
        if self.student == "same" and teacher.null_label is not None and self.label_dropout == 0:
            raise UserError('--student same keeps "no class": leave --label-dropout out')
        if pool_size(self, T) < 1:
            raise UserError(f"--rho {self.rho} leaves the pool empty: give at least {1 / T:g}")
        if self.fill == "strided" and pool_size(self, T) <= min(KEPT, (T + 1) // 2):
            raise UserError("--fill strided would make all of so small a pool one image's: give "
                            "--fill paper, or a larger --rho or --batch")
        settled = {"T": T, "predicts": self.predicts or teacher.predicts}
        if self.label_dropout is None:
            settled["label_dropout"] = 0.0 if teacher.null_label is None else 0.1
        if self.lambda_vlb is None:
            settled["lambda_vlb"] = 0.001 if teacher.learned_sigma else 0.0
        return dataclasses.replace(self, **settled)


# ------------------------------------------------------------------------------------------------
# The run


def train(config, losses=dkdm_loss):
    """Distils config.teacher by these losses; returns what compare() finds. Leaves in config.out:

    config.json, log.csv, samples/step_XXXXXX.png, student.pt (averaged weights), last.pt (for
    --resume) and summary.png. Raises UserError for bad input and for a loss that is not finite.
    """
    whole = teachers.load_teacher(config.teacher, config.device)  # on its own, longer chain
    config = config.fitted(whole)
    teacher = whole.respaced(config.T).in_precision(config.precision)
    torch.manual_seed(config.seed)  # initial weights
    student = new_student(teacher, config.student, config.predicts, config.lambda_vlb > 0,
                          config.label_dropout > 0)
    student.net.train(config.student != "same")  # a teacher's weights need no dropout
    ema = copy.deepcopy(student)
    ema.net.requires_grad_(False).eval()
    optimizer = torch.optim.Adam(student.net.parameters(), config.lr, betas=(0.9, 0.99), fused=True,
                                 capturable=config.graph)
    generator = teacher.generator(config.seed)
    pool = Pool(pool_size(config, config.T), teacher.image_shape, config.T, teacher.num_classes,
                config.label_dropout, generator)
    take_step = partial(training_step, student, teacher, pool, ema, optimizer, config=config,
                        generator=generator, losses=losses)
    if config.graph:
        take_step = student.captured(take_step, generator)
    parts = {"student": student.net, "ema": ema.net, "optimizer": optimizer}
    given = {"the teacher": teacher.checkpoint("teacher", {}), "the loss": losses.__qualname__,
             "precision": teacher.precision}  # auto may mean another one elsewhere
    folder, log, save_run = teachers.open_run(config, generator, given, parts, {"pool": pool})
    size, memory = len(pool.x), pool.x.nbytes / 1e9
    tqdm.write(f"pool: {size:,} entries, {memory:.3f} GB on {pool.x.device}")
    xi, c = teacher.noise(20, config.seed), teacher.labels(20)
    calls = ddim_calls(teacher.schedule)
    w = 2.0 if config.label_dropout else 1.0  # without "no class", no guidance

    def images(model):
        return teacher.in_parts(lambda xi, c: model.ddim(xi, calls, c, w), xi, c)

    drawn = images(teacher)

    def save():  # last.pt last: if the run stops before it, --resume makes the rest again
        made = ema
        if config.student == "same":  # its network knows the whole chain
            made = dataclasses.replace(ema, schedule=whole.schedule, stride=whole.stride)
        checkpoint = made.checkpoint("dkdm", dataclasses.asdict(config))
        teachers.save(folder / "student.pt", checkpoint)
        save_run()

    def picture(step):
        order = pool.i.argsort(descending=True)
        entries = order[torch.linspace(0, size - 1, 10).long().to(order.device)]
        highest, lowest = pool.i[entries[0]].item(), pool.i[entries[-1]].item()
        ours, pooled = images(ema), pool.at(entries)[0].cpu()
        rows = torch.cat([drawn[:10], ours[:10], drawn[10:], ours[10:], pooled])
        names = [f"{model}, {calls * (1 if w == 1 else 2)} calls,\nw = {w:g}"
                 for model in ("teacher", "student", "teacher", "student")]
        names.append(f"the pool, from\ni = {highest} to {lowest}")
        for path in (folder / f"samples/step_{step:06d}.png", folder / "summary.png"):
            teachers.save_grid(path, teacher.to_images(rows), 10, names)

    start = log[-1]["step"] if log else 0
    save()  # at first with the pool as noise: a run that is stopped now fills it again
    if start == 0:
        if config.mode != "iterative":
            FILL[config.fill](pool, teacher, generator)
        picture(0)
    recent, since, save_every = [], time.monotonic(), math.ceil(config.steps / SAVES)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="DKDM")
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
    return compare(ema, teacher, config)


def ddim_calls(schedule):
    """DDIM steps of pictures and errors: 50, or as many below that as a whole stride in T gives."""
    return math.ceil(schedule.T / math.ceil(schedule.T / 50))


def compare(student, teacher, config):
    """How far the student's eps is from the teacher's: {index: squared error, mean over pixels}.

    At 10 indices, on the teacher's images of config.compare noise samples, noised again.
    """
    n, errors = config.compare, {}
    c, noise = teacher.labels(n), teacher.noise(n, config.seed + 1)
    steps = ddim_calls(teacher.schedule)
    images = teacher.in_parts(lambda xi, c: teacher.ddim(xi, steps, c),
                              teacher.noise(n, config.seed), c, desc="comparing")
    for k in range(9, -1, -1):
        i = torch.full((n,), int((k + 0.5) * teacher.schedule.T / 10))
        alpha, sigma = teacher.schedule.levels(i, images)
        x, C = alpha * images + sigma * noise, images.shape[1]
        eps_T, eps_S = (teacher.in_parts(model.eps_form, x, i, c)[:, :C]
                        for model in (teacher, student))
        errors[i[0].item()] = (eps_T - eps_S).square().mean().item()
    return errors


# ------------------------------------------------------------------------------------------------
# Sampling: a student is a diffusion model like any other, see teachers.py


def main():
    config = Config.parse()
    errors = train(config)
    print(f"Squared difference to the teacher's eps, by index ({config.compare} noise samples):")
    for i, error in errors.items():
        print(f"  {i:4d}  {error:.6f}")
    print(f"  mean  {sum(errors.values()) / len(errors):.6f}")
    print(f"See {config.out}/summary.png; more: python teachers.py sample {config.out}/student.pt; "
          "in one step, unless it predicts noise: "
          f"python boot.py --teacher {config.out}/student.pt")


if __name__ == "__main__":
    teachers.run_script(main)
