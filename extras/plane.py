"""BOOT and DKDM on points in the plane, where the teacher is exact and a run takes seconds.

    pip install matplotlib
    python -m extras.plane --out runs/plane

The data are a mixture of Gaussians, a point is an image (2, 1, 1), and a student is a small network
with random weights. The methods are those of boot.py and dkdm.py, unchanged.
docs/labs/lab0.md says what to look at.
"""

import copy
import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import boot
import dkdm
import teachers
from extras import plot
from teachers import DiffusionModel, Schedule, UserError, opt, per_sample

ANGLES = 2 * math.pi * (torch.arange(5) / 5 + 0.25)
MEANS, STD = 0.8 * torch.stack([ANGLES.cos(), ANGLES.sin()], 1), 0.08  # of the Gaussians


@dataclass
class Config(teachers.Options):
    """Distils an exact teacher of points in the plane, and draws what happens."""

    steps: int = opt(1500, "training steps of each student", 1)
    delta: float = opt(1 / 8, "bootstrap step t - s (delta)", 1e-4, 0.4)
    t_max: float = opt(0.99, "time at which the paths start (t_max)", 0.45, 1)
    solver: str = opt("midpoint", "of the signal-ODE", choices=boot.SOLVERS)
    seed: int = opt(0, "seed of every random draw", 0, 2**31)
    out: str = opt("runs/plane", "a new folder for the pictures")


class Mixture(nn.Module):
    """The exact network, E[x_0 | x_i], for equally likely Gaussians N(means[k], std^2 I)."""

    def __init__(self, means, std, schedule):
        super().__init__()
        self.means, self.std, self.schedule = nn.Parameter(means, False), std, schedule

    def forward(self, x, i, c=None, w=None):
        """(B, 2, 1, 1) for x (B, 2, 1, 1) at indices i (B,)."""
        t = (i[:, None, None] + 1) / self.schedule.T
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        variance = (alpha * self.std) ** 2 + sigma**2             # of x_i around alpha means[k]
        off = x.flatten(1)[:, None] - alpha * self.means          # (B, K, 2)
        each = self.means + alpha * self.std**2 / variance * off  # (B, K, 2), E[x_0 | x_i, k]
        p = torch.softmax(-off.square().sum(2, True) / (2 * variance), 1)  # (B, K, 1), of k
        return (p * each).sum(1)[:, :, None, None]


class Mlp(nn.Sequential):
    """A student's network: (B, 2, 1, 1) for x (B, 2, 1, 1) at indices i (B,) of T."""

    def __init__(self, T, width=128):
        super().__init__(nn.Linear(10, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
                         nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2))
        self.T = T

    def forward(self, x, i, c=None, w=None):
        angles = math.pi * torch.arange(1, 5) * (i[:, None] + 1) / self.T  # of time, (B, 4)
        inputs = torch.cat([x.flatten(1), angles.cos(), angles.sin()], 1)
        return super().forward(inputs)[:, :, None, None]


class StudentOfX(boot.Student):
    """A student whose network predicts x_t; it still returns y_t = (x_t - sigma_t xi) / alpha_t."""

    def forward(self, xi, t, c=None, w=None):
        schedule, x_t = self.model.schedule, super().forward(xi, t)
        return (x_t - per_sample(schedule.sigma(t), xi) * xi) / per_sample(schedule.alpha(t), xi)


def nearest(y):
    """The Gaussian (B,) whose mean is nearest to each point y (B, 2, ...)."""
    return torch.cdist(y.flatten(1), MEANS).argmin(1)


def new_teacher(means=MEANS, std=STD):
    """The mixture of Gaussians with these means (K, 2) as a DiffusionModel."""
    schedule = Schedule("cosine", clip=False)
    return DiffusionModel(Mixture(means, std, schedule), schedule, (2, 1, 1), None, "x0", False)


def train(teacher, config, kind=boot.Student, beta=16):
    """The averaged student of BOOT, from random weights; beta: weight of the boundary loss."""
    how = boot.Config(steps=config.steps, batch=128, lr=5e-3, solver=config.solver, beta=beta,
                      delta=config.delta, t_max=config.t_max, times="all").fitted(teacher)
    torch.manual_seed(config.seed)
    net = Mlp(teacher.schedule.T)
    student = kind(dataclasses.replace(teacher, net=net), how.t_min, how.t_max)
    ema, generator = copy.deepcopy(student).requires_grad_(False), teacher.generator(config.seed)
    optimizer = torch.optim.Adam(net.parameters(), how.lr, betas=(0.9, 0.99))
    for step in range(config.steps):
        boot.training_step(student, teacher, ema, optimizer, *boot.rates(step, how), how,
                           generator)
    return ema


@torch.no_grad()
def path(xi, times, teacher, student=None):
    """y_t (M, B, 2, 1, 1) at falling times (M,): the student's, or by steps of the teacher."""
    times = times[:, None].expand(-1, len(xi))
    if student is not None:
        return torch.stack([student(xi, t) for t in times])
    y = [boot.boundary_target(teacher, xi, times[0])]
    for t, s in zip(times[:-1], times[1:], strict=True):
        y.append(boot.signal_ode_step(y[-1], xi, t, s, teacher, "midpoint"))
    return torch.stack(y)


def film(teacher, mixed, generator):
    """Four panels of 300 entries of a pool that go down DKDM's chain of 100 steps.

    mixed: whether they begin at indices of their own, as in dkdm.py, or all as noise.
    """
    model, rows, panels, trail = teacher.respaced(100), torch.arange(300), [], []
    pool = dkdm.Pool(300, model.image_shape, 100, None, 0, generator)
    if mixed:
        dkdm.shuffle_denoise(pool, model, generator)
    for step in range(100):
        x, i, _ = pool.at(rows)
        trail.append(x[:4].where((i[:4] < 99)[:, None, None, None], math.nan))  # gaps at restarts
        if step % 33 == 0:
            title = f"the pool after {step} steps" if mixed else f"all at one index, {99 - step}"
            panels.append((title, x, i / 99, torch.stack(trail[-16:])))
        pool.advance(rows, model.eps_form(x, i), model.schedule, generator)
    return panels


def draw(config):
    """Writes the pictures to the folder config.out. UserError if it exists."""
    plot.pyplot()  # if it is missing, say so now
    out, teacher = Path(config.out), new_teacher()
    if out.exists():
        raise UserError(f"{out} exists: choose another --out")
    xi, generator = teacher.noise(1000, config.seed + 1), teacher.generator(config.seed)
    times = torch.linspace(config.t_max, 0.02, 101)
    exact = path(xi, times, teacher)
    ends = nearest(exact[-1])

    def ways(title, y):
        return title, y[-1, :40], ends[:40] / 10, y[:, :40]

    def points(name, y):
        mse, other = F.mse_loss(y, exact[-1]), (nearest(y) != ends).float().mean()
        print(f"{name:30s} MSE {mse:.4f}, {other:6.1%} at another Gaussian")
        return f"{name}\nMSE {mse:.4f}, {other:.1%} elsewhere", y, ends / 10, None

    def student(name, *how):
        y = path(xi, times, teacher, train(teacher, config, *how))
        return [ways(f"{name}: y_t", y), points(name, y[-1])]

    few = [points(f"teacher, {k} calls", teacher.ddim(xi, k, None, 1.0, config.t_max, 0.02))
           for k in (5, 10)]
    ours = student("student, 1 call")
    bare = student("no boundary loss", boot.Student, 0)
    of_x = student("predicts x_t", StudentOfX)
    bare_of_x = student("predicts x_t, no boundary", StudentOfX, 0)
    data = MEANS.repeat(200, 1) + STD * torch.randn(1000, 2, generator=generator)
    x = torch.stack([boot.noisy(y, xi, t, teacher.schedule)
                     for y, t in zip(exact, times, strict=True)])
    out.mkdir(parents=True)
    hue = "Colour: the Gaussian where the teacher's path from the same noise ends"
    plot.strip(out / "paths.png", hue, "tab10", [
        ways("teacher, 200 calls: x_t", x),
        ways("teacher, 200 calls: y_t", exact), ours[0]])
    plot.strip(out / "samples.png", hue, "tab10", [
        ("the mixture", data[:, :, None, None], nearest(data) / 10, None), *few, ours[1]])
    plot.strip(out / "boundary.png", hue, "tab10", bare + bare_of_x)
    plot.strip(out / "signal.png", hue, "tab10", ours + of_x)
    plot.strip(out / "pool.png", "Colour: the index, from 99, noise (yellow), to 0 (violet)",
               "viridis", film(teacher, False, generator) + film(teacher, True, generator), 3.5)


def main():
    config = Config.parse()
    draw(config)
    print(f"Drew {config.out}")


if __name__ == "__main__":
    teachers.run_script(main)
