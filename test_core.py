"""Tests of the mathematics against closed forms and reference values, and of the scripts as users
meet them. Reference values without another source come from the papers' public code, run once on
inputs and weights that are made here by formulas."""

import ast
import contextlib
import copy
import dataclasses
import importlib
import inspect
import json
import math
import os
import re
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import boot
import dkdm
import eval_fid
import teachers
import unet
import vit
from teachers import DiffusionModel, Schedule, UserError

ROOT = Path(__file__).resolve().parent
teachers.keep_freed_memory()
torch.set_num_threads(1)  # the networks here are small, and the machine may be busy


# ------------------------------------------------------------------------------------------------
# Exact teachers: data whose denoiser is known


class Mixture:
    """The perfect teacher for a mixture of Gaussians N(mean_k, variance I) with equal weights."""

    image_shape, num_classes = (2,), None

    def __init__(self, means, variance, name="cosine"):
        self.schedule, self.variance = Schedule(name), variance
        self.means = torch.tensor(means, dtype=torch.float64)                       # (K, D)

    def x0(self, x, t, c=None, guidance=1.0):
        schedule = self.schedule
        a, s = schedule.alpha(t.double())[:, None], schedule.sigma(t.double())[:, None]
        return self.denoise(x.double(), a, s).to(x)

    def denoise(self, x, a, s):                            # E[x_0 | x] at levels a, s (B, 1) or ()
        total = a**2 * self.variance + s**2
        away = x[:, None] - a[..., None] * self.means                               # (B, K, D)
        weight = torch.softmax(-away.square().sum(-1) / (2 * total), dim=1)[..., None]
        gain = (a * self.variance / total)[..., None]
        return (weight * (self.means + gain * away)).sum(1)


def gaussian_path(teacher, y_t, xi, t, s):
    """Exact y_s of a one-component Mixture: on its path, (x - alpha m) / std keeps its value."""
    schedule, m = teacher.schedule, teacher.means[0]

    def levels(time):
        a, sigma = schedule.alpha(time)[:, None], schedule.sigma(time)[:, None]
        return a, sigma, (a**2 * teacher.variance + sigma**2).sqrt()

    (a_t, s_t, std_t), (a_s, s_s, std_s) = levels(t), levels(s)
    x_s = a_s * m + std_s / std_t * (a_t * y_t + s_t * xi - a_t * m)
    return (x_s - s_s * xi) / a_s


def runge_kutta(denoise, schedule, xi, t, s, steps=400):
    """y_s from y_t = f(xi, t), by classical Runge-Kutta on dy / dlambda = y - f.

    This is the signal-ODE written in lambda, so no solver of boot.py has a part in it.
    """
    lam = schedule.lam(torch.linspace(t, s, steps + 1, dtype=torch.float64))

    def levels(lam):
        return torch.sigmoid(-2 * lam).sqrt(), torch.sigmoid(2 * lam).sqrt()

    def slope(y, lam):
        a, s = levels(lam)
        return y - denoise(a * y + s * xi, a, s)

    y = denoise(xi, *levels(lam[0]))
    for cur, nxt in zip(lam[:-1], lam[1:], strict=True):
        h = nxt - cur
        k1 = slope(y, cur)
        k2 = slope(y + h / 2 * k1, cur + h / 2)
        k3 = slope(y + h / 2 * k2, cur + h / 2)
        k4 = slope(y + h * k3, nxt)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def walk(teacher, xi, t, s, steps, solver):
    """y_s after `steps` equal steps of boot.signal_ode_step from the boundary f(xi, t)."""
    times = torch.linspace(t, s, steps + 1, dtype=torch.float64)
    y = teacher.x0(xi, times[:1].expand(len(xi)))
    for cur, nxt in zip(times[:-1], times[1:], strict=True):
        cur, nxt = cur.expand(len(xi)), nxt.expand(len(xi))
        y = boot.signal_ode_step(y, xi, cur, nxt, teacher, solver)
    return y


def noise(B=64, D=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(B, D, generator=generator, dtype=torch.float64)


def full(t, B=64):
    return torch.full((B,), t, dtype=torch.float64)


BLOBS = [[1.0, 0.5], [-1.0, 0.3], [0.2, -1.0]]


# ------------------------------------------------------------------------------------------------
# Schedule


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_schedule_identities(name):
    s = Schedule(name)
    t = torch.linspace(0.001, 1, 777, dtype=torch.float64)
    assert s.alphas_cumprod.dtype == torch.float64 and s.alphas_cumprod.shape == (1000,)
    torch.testing.assert_close(s.alpha(t) ** 2 + s.sigma(t) ** 2, torch.ones_like(t))
    torch.testing.assert_close(s.lam(t), -torch.log(s.alpha(t) / s.sigma(t)))
    assert (s.lam(t).diff() > 0).all()
    at_indices = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(s.alpha(at_indices) ** 2, s.alphas_cumprod, rtol=1e-9, atol=0)
    between = s.lam((at_indices[:-1] + at_indices[1:]) / 2)
    wanted = (s.lam(at_indices[:-1]) + s.lam(at_indices[1:])) / 2
    torch.testing.assert_close(between, wanted)
    t = torch.linspace(0.00123, 0.9987, 313, dtype=torch.float64).requires_grad_()
    derivative, = torch.autograd.grad(s.lam(t).sum(), t)
    torch.testing.assert_close(s.slope(t.detach()), derivative)


def test_schedules_have_the_published_values():
    cosine, linear = Schedule("cosine"), Schedule("linear")
    f = [math.cos((k / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in (0, 500)]
    assert cosine.alphas_cumprod[499].item() == pytest.approx(f[1] / f[0], rel=1e-9)
    assert 1 / cosine.alphas_cumprod[-1].sqrt().item() == pytest.approx(20291, rel=1e-3)
    assert linear.alphas_cumprod[0].item() == pytest.approx(1 - 1e-4, rel=1e-12)
    assert 1 / linear.alphas_cumprod[-1].sqrt().item() == pytest.approx(157, rel=5e-3)
    long = Schedule("linear", 4000)  # the same curve, betas a quarter
    assert long.alphas_cumprod[0].item() == pytest.approx(1 - 0.25e-4, rel=1e-12)


def test_the_posterior_step_is_bayes_rule():
    """q(x_{i-1} | x_i, x_0) by multiplying the two Gaussians it comes from."""
    s, i = Schedule("cosine"), torch.tensor([1, 300, 998])
    x0, x = noise(3, 1, 1), noise(3, 1, 2)
    abar, before = s.alphas_cumprod[i][:, None], s.alphas_cumprod[i - 1][:, None]
    step = abar / before                     # x_i = sqrt(step) x_{i-1} + sqrt(1 - step) noise
    precision = 1 / (1 - before) + step / (1 - step)
    wanted = (before.sqrt() * x0 / (1 - before) + step.sqrt() * x / (1 - step)) / precision
    mean, log_variance = s.posterior(x0, x, i)
    torch.testing.assert_close(log_variance.exp(), 1 / precision)
    torch.testing.assert_close(mean, wanted)


def test_learned_variance_lies_between_its_bounds():
    s, i, x = Schedule("cosine"), torch.tensor([500] * 3), noise(3, 2)[..., None, None]
    ends = torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64).reshape(3, 1, 1, 1)
    out = torch.cat([x, ends.expand(3, 2, 1, 1)], dim=1)
    _, log_variance, _, _ = s.p_mean_variance(out, x, i)
    low = s.posterior(x, x, i)[1][0, 0, 0, 0]
    high = torch.log(1 - s.alphas_cumprod[500] / s.alphas_cumprod[499])
    wanted = torch.stack([low, (low + high) / 2, high])
    torch.testing.assert_close(log_variance[:, 0, 0, 0], wanted)


# ------------------------------------------------------------------------------------------------
# BOOT against exact paths


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("ddim", 1), ("heun", 2)])
def test_solvers_converge_at_their_order(solver, order):
    """Half the step divides the error by 2^order: for a Gaussian in closed form, and a mixture."""
    xi, t, s = noise(), full(0.9), full(0.2)
    for teacher in (Mixture([[0.7, -0.2]], 0.3), Mixture(BLOBS, 0.1)):
        if len(teacher.means) == 1:
            exact = gaussian_path(teacher, teacher.x0(xi, t), xi, t, s)
        else:
            exact = runge_kutta(teacher.denoise, teacher.schedule, xi, 0.9, 0.2)
        errors = [(walk(teacher, xi, 0.9, 0.2, n, solver) - exact).square().mean().sqrt()
                  for n in (40, 80)]
        assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.15)


def test_ddim_is_exact_where_the_teacher_is_constant():
    teacher, xi, y, t, s = Mixture([[0.7, -0.2]], 0.0), noise(), noise(seed=1), full(0.9), full(0.1)
    exact = gaussian_path(teacher, y, xi, t, s)
    torch.testing.assert_close(boot.signal_ode_step(y, xi, t, s, teacher, "ddim"), exact)
    assert (boot.signal_ode_step(y, xi, t, s, teacher, "euler") - exact).abs().max() > 0.1


class Exact(nn.Module):
    """The student that is the solution: the exact path from the boundary, off by `error` in y."""

    def __init__(self, teacher, t_max, error=0.0):
        super().__init__()
        self.teacher, self.t_max, self.error = teacher, t_max, error

    def forward(self, xi, t, c=None, w=None):
        start = torch.full_like(t, self.t_max)
        y = gaussian_path(self.teacher, self.teacher.x0(xi, start), xi, start, t)
        return y + self.error * t[:, None]


def test_the_exact_solution_has_no_loss():
    teacher, xi, t = Mixture([[0.7, -0.2]], 0.3), noise(), torch.linspace(0.2, 0.98, 64).double()
    exact, wrong = Exact(teacher, 0.98), Exact(teacher, 0.98, error=0.1)

    def losses(student, delta):
        config = SimpleNamespace(t_max=0.98, delta=delta, solver="heun")
        return boot.losses(student, teacher, xi, t, t - delta, None, full(1.0), config).tolist()

    # Heun's error in one step is of third order, so the loss, squared and divided by delta^2, is
    # of fourth
    (bootstrap, boundary), (finer, _) = losses(exact, 1 / 64), losses(exact, 1 / 128)
    assert boundary < 1e-12 and finer < 1e-6 and bootstrap / finer == pytest.approx(16, rel=0.25)
    assert min(losses(wrong, 1 / 128)) > 1e-3


class Mlp(nn.Module):
    """A student for points (B, D): three layers over xi, sinusoids of t and `more` numbers."""

    def __init__(self, D=2, more=0, width=128):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(D + 8 + more, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, D))

    def forward(self, xi, t, c=None, w=None):
        waves = t[:, None] * torch.pi * torch.arange(1, 5)
        known = [xi, waves.sin(), waves.cos()]
        if c is not None:
            known.append(torch.stack([c, w], dim=1))
        return self.layers(torch.cat(known, dim=1).to(self.layers[0].weight))


@pytest.mark.parametrize("solver", boot.SOLVERS)
def test_gradient_flows_through_the_student_at_s_alone(solver):
    torch.manual_seed(0)
    student, xi, teacher = Mlp(), noise().float(), Mixture(BLOBS, 0.1)
    teacher.means.requires_grad_(True)
    t = torch.linspace(0.2, 0.9, 64)
    step = boot.signal_ode_step(student(xi, t), xi, t, t - 0.1, teacher, solver)
    by_hand = (student(xi, t - 0.1) - step.detach()).square().mean() / 0.1**2
    wanted = torch.autograd.grad(by_hand, list(student.parameters()))
    config = SimpleNamespace(t_max=0.9, delta=0.1, solver=solver)
    both = boot.losses(student, teacher, xi, t, t - 0.1, None, torch.ones(64), config)
    both[0].backward()
    assert teacher.means.grad is None
    for parameter, gradient in zip(student.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert max(g.abs().max() for g in wanted) > 1e-3


class TwoClasses:
    """The perfect guided teacher of two Gaussian classes; c and guidance are those of f."""

    image_shape, num_classes = (2,), 2

    def __init__(self):
        self.both = Mixture([[0.5, 0.2], [-0.5, 0.1]], 0.1)
        self.alone = [Mixture([mean], 0.1) for mean in self.both.means.tolist()]
        self.schedule = self.both.schedule

    def denoise(self, x, a, s, c, w):
        one, two = (teacher.denoise(x, a, s) for teacher in self.alone)
        null = self.both.denoise(x, a, s)
        return null + w[:, None] * (torch.where((c == 0)[:, None], one, two) - null)

    def x0(self, x, t, c=None, guidance=1.0):
        a, s = self.schedule.alpha(t.double())[:, None], self.schedule.sigma(t.double())[:, None]
        return self.denoise(x.double(), a, s, c, guidance).to(x)


def train_points(student, teacher, average, config):
    optimizer = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    generator = torch.Generator().manual_seed(0)
    average.requires_grad_(False)
    for step in range(config.steps):
        boot.training_step(student, teacher, average, optimizer, step, config, generator,
                           contextlib.nullcontext)


def test_a_small_student_learns_the_exact_path_of_each_class_and_scale():
    """One call, told c and w, against Runge-Kutta at that c and w. Measured over three seeds:
    0.0012 to 0.0015; told the middle scale instead, 0.0063 to 0.0065; at t_max, 0.123."""
    torch.manual_seed(0)
    teacher, student = TwoClasses(), Mlp(more=2)
    average = copy.deepcopy(student)
    config = boot.Config(steps=1000, batch=128, lr=3e-3, t_max=0.98, delta=1 / 12, ema=0.99,
                         guidance=(1.0, 3.0))
    train_points(student, teacher, average, config)
    xi, c, w = noise(256, seed=5), torch.arange(256) % 2, torch.linspace(1, 3, 256).double()
    exact = runge_kutta(lambda x, a, s: teacher.denoise(x, a, s, c, w), teacher.schedule, xi, 0.98,
                        0.02)

    def error(t, w):
        return (average(xi, torch.full((256,), t), c, w) - exact).square().mean().item()

    assert error(0.02, w) < 0.003 < 0.0055 < error(0.02, full(2.0, 256)) and error(0.98, w) > 0.1


def test_t_reaches_t_max_and_s_the_last_gap_below_it(monkeypatch):
    """s is uniform in [t_min, t_max), t = min(s + delta, t_max): all times used are learned."""
    times, losses, student = [], boot.losses, Mlp(width=8)
    monkeypatch.setattr(boot, "losses", lambda *args: times.append(args[3:5]) or losses(*args))
    config = boot.Config(steps=400, batch=8, t_max=0.98, guidance=(1.0,))
    train_points(student, Mixture(BLOBS, 0.1), copy.deepcopy(student), config)
    t, s = (torch.cat(part) for part in zip(*times, strict=True))
    torch.testing.assert_close(t, (s + 1 / 16).clamp(max=0.98))
    assert 0.02 <= s.min() < 0.021 and 0.979 < s.max() < 0.98 and t.max() <= 0.98
    assert (torch.histc(s, 8, 0.02, 0.98) == 400).all()  # in each batch one draw in each eighth
    assert (s > 0.98 - 1 / 16).sum().item() == pytest.approx(3200 / 16 / 0.96, abs=4 * 208**0.5)


# ------------------------------------------------------------------------------------------------
# Networks and samplers against the public reference, openai/guided-diffusion and DiT


def fill(net):
    """The same weights everywhere: a sine wave through each tensor, in the order of the names."""
    with torch.no_grad():
        for k, (name, p) in enumerate(sorted(net.named_parameters())):
            wave = torch.sin(0.7 * torch.arange(p.numel(), dtype=torch.float64) + k)
            wave = wave.reshape(p.shape)
            bias = 0.1 * wave + name.endswith("weight")
            p.copy_(wave / math.sqrt(p[0].numel()) if p.ndim > 1 else bias)
    return net.eval()


def small_unet(**options):
    return unet.UNet(**dict(in_channels=3, model_channels=32, out_channels=6, num_res_blocks=1,
                            attention_resolutions=(2,), channel_mult=(1, 2)) | options)


def waves(*shape, scale=1.0):
    return torch.sin(0.37 * torch.arange(math.prod(shape))).reshape(shape) * scale


@pytest.mark.parametrize(("options", "corners", "mean_abs"), [
    (dict(num_heads=4), [0.28123, 0.20371, 0.3658, -0.24063], 0.523157),
    (dict(num_head_channels=16, use_new_attention_order=True),
     [0.45946, 0.11078, 0.28338, -0.17303], 0.510739),
    (dict(num_heads=2, resblock_updown=True), [-1.02028, -0.17391, 0.22028, -0.30987], 0.411238),
    (dict(use_scale_shift_norm=False), [0.80419, -0.28421, 0.02293, 0.18259], 0.583008),
    (dict(num_head_channels=32, num_classes=5),
     [-0.29784, 0.26336, 0.30735, -0.83749], 0.60566),
    (dict(num_res_blocks=2, attention_resolutions=(1, 4), channel_mult=(1, 1, 2), num_classes=7,
          num_head_channels=16, resblock_updown=True, use_scale_shift_norm=False,
          use_new_attention_order=True), [-0.70819, -0.85691, 0.25145, 0.50489], 0.477289),
])
def test_unet_agrees_with_the_reference(options, corners, mean_abs):
    net = fill(small_unet(**options))
    c = torch.tensor([1, 3]) if "num_classes" in options else None
    with torch.no_grad():
        out = net(waves(2, 3, 8, 8), torch.tensor([3, 700]), c)
    got = [out[0, 0, 0, 0], out[0, 5, 4, 3], out[1, 2, 7, 7], out[1, 4, 2, 6]]
    assert torch.stack(got).tolist() == pytest.approx(corners, abs=1e-4)
    assert out.abs().mean().item() == pytest.approx(mean_abs, abs=1e-4)


@pytest.mark.parametrize(("options", "corners", "mean_abs"), [
    (dict(input_size=8, patch_size=2, in_channels=3, hidden_size=48, depth=2, num_heads=3,
          num_classes=5), [0.36297, 0.07161, 0.3336, 0.21405], 0.342661),
    (dict(input_size=12, patch_size=4, in_channels=1, hidden_size=32, depth=1, num_heads=2,
          mlp_ratio=2.0, num_classes=3, learn_sigma=False),
     [0.45841, -0.43909, -0.20479, -0.24373], 0.409205),
])
def test_vit_agrees_with_the_reference(options, corners, mean_abs):
    """The second label is "no class". Positions keep their formula."""
    net = vit.ViT(**options)
    positions, C, H = net.pos_embed.clone(), options["in_channels"], options["input_size"]
    fill(net).pos_embed.data.copy_(positions)
    c = torch.tensor([1, options["num_classes"] - 1])
    with torch.no_grad():
        out = net(waves(2, C, H, H), torch.tensor([3, 700]), c)
    got = [out[0, 0, 0, 0], out[0, -1, 4, 3], out[1, C - 1, 7, 7], out[1, 0, 2, 6]]
    assert torch.stack(got).tolist() == pytest.approx(corners, abs=1e-4)
    assert out.abs().mean().item() == pytest.approx(mean_abs, abs=1e-4)


def test_named_sizes_have_the_published_parameters():
    rows = {"nano": 11, "tiny": 11, "adm-296m": 1000}
    with torch.device("meta"):
        nets = {name: unet.UNet(3, out_channels=6, num_classes=rows.get(name), **size)
                for name, size in unet.SIZES.items()}
        nets |= {name: vit.ViT(32, in_channels=3, num_classes=11, **size)
                 for name, size in vit.SIZES.items()}
        nets["DiT-XL/2"] = vit.ViT(32, in_channels=4, num_classes=1001, **vit.SIZES["vit-xl2"])
    count = {name: sum(p.numel() for p in net.parameters()) for name, net in nets.items()}
    assert count == {
        "nano": 1_194_662, "tiny": 2_858_086, "adm-14m": 14_301_446, "adm-57m": 57_094_662,
        "iddpm-50m": 52_546_438, "iddpm-121m": 121_063_942, "adm-296m": 295_904_454,
        "adm-553m": 552_814_086, "vit-tiny": 2_868_576, "vit-s4": 32_546_400,
        "vit-s2": 32_578_584, "vit-b2": 129_742_872, "vit-l2": 457_076_760,
        "vit-xl2": 673_975_320, "DiT-XL/2": 675_129_632}  # position table included


@pytest.mark.parametrize("kind", ["unet", "vit"])
def test_networks_start_at_zero_and_take_fractional_indices_and_w(kind):
    options = dict(num_classes=3, guided=True)
    net = small_unet(**options) if kind == "unet" else vit.ViT(8, 2, 3, 32, 1, 2, **options)
    x, i, c, w = waves(2, 3, 8, 8), torch.tensor([3, 700]), torch.tensor([0, 2]), torch.ones(2)
    assert net(x, i, c, w).abs().max() == 0
    out, again, between, other = (fill(net)(x, index, c, scale) for index, scale in (
        (i, w), (i.float(), w), (i + 0.5, w), (i, torch.tensor([1.0, 3.0]))))
    assert out.shape == (2, 6, 8, 8) and torch.equal(out, again)
    assert (out - between).abs().max() > 1e-4
    assert torch.equal(out[0], other[0]) and (out[1] - other[1]).abs().max() > 1e-4
    for missing in ((None, w), (c, None)):
        with pytest.raises(ValueError, match="this network wants"):
            net(x, i, *missing)
    source = ast.parse(textwrap.dedent(inspect.getsource(type(net).forward)))
    assigned = {node.id for node in ast.walk(source)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    assert not assigned & {"i", "c", "w"}  # one name, one meaning


@pytest.mark.parametrize("D, N", [(16, 64), (32, 9)])
def test_attention_to_train_on_a_cpu_is_the_fused_one(D, N):
    q, k, v = (noise(6 * N, D, seed).reshape(2, 3, N, D).requires_grad_() for seed in range(3))
    fused, ours = nn.functional.scaled_dot_product_attention(q, k, v), unet.attend(q, k, v)
    torch.testing.assert_close(ours, fused)
    gradients, wanted = (torch.autograd.grad(out.sin().sum(), (q, k, v)) for out in (ours, fused))
    torch.testing.assert_close(gradients, wanted)
    assert max(g.abs().max() for g in wanted) > 0.1


def wavy(x, i, c=None):
    """A stand-in network whose output, noise and variance interpolation, is a formula."""
    shift = i.float().reshape(-1, 1, 1, 1) / 1000
    return torch.cat([torch.sin(2 * x + shift), torch.cos(x - shift)], dim=1)


@pytest.mark.parametrize(("schedule", "sampler", "steps", "wanted"), [
    ("cosine", "ddim", 10,
     [-0.20378, 1.0, 0.97373, -0.57563, -1.0, -0.17056, 1.0, -0.15362]),
    ("cosine", "ddpm", 10,
     [-0.02518, -0.11673, -0.24543, -0.28951, -0.24861, -0.12431, -0.01772, -0.08706]),
    ("linear", "ddim", 40,
     [-0.11978, 1.0, 0.99299, -1.0, -1.0, -0.09661, 1.0, -0.08322]),
    ("linear", "ddpm", 7,
     [-0.34711, -0.55854, -0.70718, -0.14979, -0.36349, 0.13597, -0.16075, -0.5598]),
])
def test_samplers_agree_with_the_reference(schedule, sampler, steps, wanted):
    model = DiffusionModel(wavy, Schedule(schedule), (1, 2, 2), None, "eps", True)
    x_T = torch.sin(torch.arange(8.0) * 1.3).reshape(2, 1, 2, 2) * 1.5
    noises = torch.cos(torch.arange(8.0 * steps)).reshape(steps, 2, 1, 2, 2)
    more = {"noises": noises} if sampler == "ddpm" else {}
    out = getattr(model, sampler)(x_T, steps, **more)
    assert out.flatten().tolist() == pytest.approx(wanted, abs=1e-4)


def test_a_chain_of_4000_steps_agrees_with_the_reference():
    """openai/improved-diffusion: cosine, the index rescaled to 1,000, learned variances."""
    net = fill(small_unet(num_heads=4, index_scale=1000 / 4000)).requires_grad_(False)
    model = DiffusionModel(net, Schedule("cosine", 4000), (3, 8, 8), None, "eps", True)
    x_T, noises = waves(2, 3, 8, 8, scale=1.5), torch.cos(torch.arange(3840.0))
    out = model.ddpm(x_T, 10, noises=noises.reshape(10, 2, 3, 8, 8))
    got = [out[0, 0, 0, 0], out[0, 2, 4, 3], out[1, 1, 7, 7], out[1, 0, 2, 6]]
    wanted = [-0.99728, -0.3584, 0.51861, -0.54274]
    assert torch.stack(got).tolist() == pytest.approx(wanted, abs=1e-4)
    assert out.abs().mean().item() == pytest.approx(0.518380, abs=1e-4)
    assert model.ddim(x_T, 10).abs().mean().item() == pytest.approx(0.932041, abs=1e-4)


def test_all_three_predictions_mean_the_same_image():
    """One denoiser, f(x) = x / 2, asked for as noise, image and v, at indices and times."""
    x, i = 0.4 * noise(5, 48).float().reshape(5, 3, 4, 4), torch.tensor([0, 10, 500, 900, 980])
    schedule = Schedule("cosine")

    def model(predicts):
        def net(x, i, c=None):
            t = (i + 1) / schedule.T
            a, s = (teachers.per_sample(level(t), x) for level in (schedule.alpha, schedule.sigma))
            eps = (x - a * x / 2) / s
            return {"eps": eps, "x0": x / 2, "v": a * eps - s * x / 2}[predicts]
        return DiffusionModel(net, schedule, (3, 4, 4), None, predicts, False)

    for teacher in map(model, ("eps", "x0", "v")):
        out = teacher.eps_form(x, i)
        _, _, x0, _ = schedule.p_mean_variance(out, x, i, clip=False)
        last = teacher.ddim(x, 1, t_max=0.9, t_min=0.1)
        for image in (teacher.x0(x, (i + 1) / 1000), x0, last):
            torch.testing.assert_close(image, x / 2, rtol=0, atol=1e-4)
        assert schedule.p_mean_variance(10 * out, x, i)[2].abs().max() == 1


def test_guidance_follows_its_formula_and_none_is_the_last_label():
    def net(x, i, c):
        return torch.cat([x * c.reshape(-1, 1, 1, 1), x + c.reshape(-1, 1, 1, 1)], dim=1)

    teacher = DiffusionModel(net, Schedule("cosine"), (1, 2, 2), 4, "eps", True)
    x, i, c = torch.ones(2, 1, 2, 2), torch.tensor([5, 5]), torch.tensor([1, 2])
    out = teacher.eps_form(x, i, c, guidance=3.0)
    assert out[:, 0, 0, 0].tolist() == [4 + 3 * (1 - 4), 4 + 3 * (2 - 4)]
    assert out[:, 1, 0, 0].tolist() == [2, 3]  # the variance is the class's own
    assert teacher.eps_form(x, i)[:, 0, 0, 0].tolist() == [4, 4]
    each = teacher.eps_form(x, i, c, guidance=torch.tensor([1.0, 3.0]))  # a scale for each sample
    assert each[:, 0, 0, 0].tolist() == [1, 4 + 3 * (2 - 4)]


def test_ddim_on_the_path_that_boot_learns():
    """Calls from t_max to t_min against a Gaussian's exact path, written as an image."""
    exact, xi, t, s = Mixture([[0.4, -0.3]], 0.25), noise(32), full(0.98, 32), full(0.001, 32)

    def net(x, i, c=None):
        return exact.x0(x.flatten(1), (i + 1) / 1000).reshape(x.shape)

    model = DiffusionModel(net, exact.schedule, (2, 1, 1), None, "x0", False)
    start = xi * (1 - exact.schedule.sigma(t[:1])) / exact.schedule.alpha(t[:1])  # y where x_t = xi
    wanted = gaussian_path(exact, start, xi, t, s)
    images = (model.ddim(xi.reshape(32, 2, 1, 1), n, t_max=0.98, t_min=0.001) for n in (50, 200))
    error = [(image.flatten(1) - wanted).abs().max() for image in images]
    assert error[1] < 0.02 and error[0] / error[1] == pytest.approx(4, rel=0.3)


# ------------------------------------------------------------------------------------------------
# DKDM: losses and pool


def other_wavy(x, i, c=None):
    """A stand-in student that nearly agrees with wavy."""
    shift = i.float().reshape(-1, 1, 1, 1) / 1000
    return torch.cat([torch.sin(2.1 * x + shift), torch.cos(1.2 * x + shift)], dim=1)


@pytest.mark.parametrize(("schedule", "wanted"), [
    ("cosine", [146.8614, 206.218, 0.0002002554, 0.001972829, 712.2076]),
    ("linear", [57.64489, 84.58414, 9.94121e-05, 0.006176383, 0.01438623]),
])
def test_dkdm_loss_agrees_with_the_released_code(schedule, wanted):
    x = torch.sin(torch.arange(20.0) * 1.1).reshape(5, 1, 2, 2) * 1.3
    i = torch.tensor([0, 1, 250, 700, 999])
    simple, vlb = dkdm.dkdm_loss(other_wavy(x, i), wavy(x, i), x, i, Schedule(schedule))
    assert simple.tolist() == pytest.approx(
        [0.002665255, 0.006107469, 0.003010632, 0.004876165, 0.006023907], rel=1e-5)
    assert vlb.tolist() == pytest.approx(wanted, rel=1e-4, abs=3e-8)


@pytest.mark.parametrize("learned", [True, False])
def test_the_kl_is_that_of_two_gaussians(learned):
    schedule, C = Schedule("linear"), 2 if learned else 1
    x, i = noise(6, 4).reshape(6, 1, 2, 2), torch.tensor([0, 1, 10, 400, 900, 999])
    teacher_out, student_out = (f(x, i)[:, :C] for f in (wavy, other_wavy))
    gaussians = []
    for out, clip in ((teacher_out, True), (student_out, False)):
        mean, log_variance, _, _ = schedule.p_mean_variance(out, x, i, clip=clip)
        gaussians.append(torch.distributions.Normal(mean, (log_variance / 2).exp()))
    kl = torch.distributions.kl_divergence(*gaussians)
    _, vlb = dkdm.dkdm_loss(student_out, teacher_out, x, i, schedule)
    torch.testing.assert_close(vlb, kl.flatten(1).mean(1) / math.log(2))
    assert vlb.min() > 0
    assert dkdm.dkdm_loss(teacher_out, teacher_out, x, i, schedule)[0].abs().max() == 0


def test_gradients_go_where_they_should():
    """From L_vlb to the student's variance alone, from L_simple to its mean, to no teacher."""
    x, i = noise(5, 4).reshape(5, 1, 2, 2), torch.tensor([0, 1, 250, 700, 999])
    student_out, teacher_out = other_wavy(x, i).requires_grad_(), wavy(x, i).requires_grad_()
    simple, vlb = dkdm.dkdm_loss(student_out, teacher_out, x, i, Schedule("cosine"))
    of_simple, = torch.autograd.grad(simple.sum(), student_out, retain_graph=True)
    of_vlb, = torch.autograd.grad(vlb.sum(), student_out, retain_graph=True)
    assert of_simple[:, 1:].abs().max() == 0 < of_simple[:, :1].abs().min()
    assert of_vlb[:, :1].abs().max() == 0 < of_vlb[:, 1:].abs().min()
    wanted = 2 * (student_out - teacher_out).detach()[:, :1] / 4
    torch.testing.assert_close(of_simple[:, :1], wanted)
    of_teacher = torch.autograd.grad(simple.sum() + vlb.sum(), teacher_out, allow_unused=True)
    assert of_teacher == (None,)


@pytest.mark.parametrize("predicts", ["eps", "v", "x0"])
def test_the_weight_makes_it_the_error_of_what_the_student_predicts(predicts):
    schedule, x = Schedule("cosine"), noise(5, 4).reshape(5, 1, 2, 2)
    i = torch.tensor([0, 10, 500, 900, 990])
    mine, theirs = (DiffusionModel(lambda x, i, k=k: k * x**2, schedule, (1, 2, 2), None, predicts,
                                   False) for k in (1.0, 1.1))
    simple, _ = dkdm.dkdm_loss(mine.eps_form(x, i), theirs.eps_form(x, i), x, i, schedule)
    weighted = dkdm.simple_weight(predicts, i, x, schedule) * simple
    wanted = (0.1 * x**2).square().flatten(1).mean(1)
    torch.testing.assert_close(weighted, wanted, rtol=1e-3, atol=0)


def new_pool(size, T=1000, num_classes=3, label_dropout=0.25, shape=(1, 2, 2)):
    generator = torch.Generator().manual_seed(0)
    return dkdm.Pool(size, shape, T, num_classes, label_dropout, generator), generator


def test_an_entry_moves_one_index_and_the_others_stay():
    pool, generator = new_pool(300)
    schedule, pool.i = Schedule("cosine"), torch.arange(300) * 3 % 1000
    before, rows = copy.deepcopy(pool.state_dict()), pool.draw(64, generator)
    assert len(rows.unique()) == 64 and pool.draw(300, generator).tolist() == list(range(300))
    rows = torch.cat([rows[rows != 0], torch.tensor([0])])  # entry 0 stands at index 0
    x, i, c = pool.at(rows)
    pool.advance(rows, wavy(x, i), schedule, generator)
    others = torch.ones(300, dtype=torch.bool).index_fill(0, rows, False)
    for name, was in before.items():
        assert torch.equal(pool.state_dict()[name][others], was[others]), name
    moved = i > 0
    assert moved.sum() == len(rows) - 1
    assert torch.equal(pool.i[rows], torch.where(moved, i - 1, 999))
    assert torch.equal(pool.c[rows[moved]], c[moved])
    # where they went: the Gaussian step, its noise standard normal
    mean, log_variance, _, _ = schedule.p_mean_variance(wavy(x, i), x, i)
    z = ((pool.x[rows].float() - mean) / (log_variance / 2).exp())[moved & (i > 100)]
    assert abs(z.mean()) < 4 / z.numel() ** 0.5 and abs(z.std() - 1) < 4 / (2 * z.numel()) ** 0.5


def test_arrivals_restart_as_fresh_noise_with_a_new_label():
    pool, generator = new_pool(4000)
    rows = torch.arange(4000)
    pool.i, pool.c = torch.zeros_like(rows), torch.zeros_like(rows)
    x, i, _ = pool.at(rows)
    pool.advance(rows, wavy(x, i), Schedule("cosine"), generator)
    assert (pool.i == 999).all() and not torch.equal(pool.x.float(), x)
    assert abs(pool.x.float().mean()) < 0.04 and abs(pool.x.float().std() - 1) < 0.03
    share = torch.bincount(pool.c) / 4000  # three classes share what "no class" leaves
    assert (share - torch.tensor([0.25] * 4)).abs().max() < 4 * (0.25 * 0.75 / 4000) ** 0.5
    classless = dkdm.Pool(5, (1, 2, 2), 1000, None, 0.5, generator)
    assert classless.c is None and classless.at(torch.arange(2))[2] is None


def test_indices_stay_uniform_over_many_steps():
    """Chi-squared of 10 bins over 5,000 steps of a chain of 40: its 99.99 % quantile is 33.7."""
    pool, generator = new_pool(800, T=40)
    schedule, pool.i = Schedule("cosine", 40), torch.randint(40, (800,), generator=generator)
    worst = 0
    for step in range(5000):
        rows = pool.draw(8, generator)
        x, i, _ = pool.at(rows)
        pool.advance(rows, wavy(x, i), schedule, generator)
        if step % 1000 == 999:
            counts = torch.bincount(pool.i // 4, minlength=10)
            worst = max(worst, ((counts - 80) ** 2 / 80).sum().item())
    assert 0 < worst < 33.7


class GaussianNet(nn.Module):
    """The exact noise prediction for pixels N(0.2, 0.25^2); notes how many images it is given."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.calls = schedule, 0
        self.anchor = nn.Parameter(torch.zeros(()))  # a model's device is that of its parameters

    def forward(self, x, i, c=None):
        alpha, sigma = self.schedule.levels(i, x)
        self.calls += len(x)
        return sigma * (x - 0.2 * alpha) / (alpha**2 * 0.25**2 + sigma**2)


def gaussian_teacher(name="cosine"):
    schedule = Schedule(name)
    return DiffusionModel(GaussianNet(schedule), schedule, (1, 4, 4), None, "eps", False)


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
@pytest.mark.parametrize("init", ["strided", "shuffle"])
def test_filling_has_the_exact_marginals_and_costs_what_help_says(init, schedule):
    """For Gaussian data x_i is Gaussian too: in units of its law, mean 0 and variance 1."""
    teacher, size = gaussian_teacher(schedule), 12_000 if init == "strided" else 3000
    pool, generator = new_pool(size, num_classes=None, shape=(1, 4, 4))
    if init == "strided":
        dkdm.fill_strided(pool, teacher, generator, contextlib.nullcontext, batch=10, chunk=600)
        assert teacher.net.calls == 2 * size
    else:
        dkdm.fill_shuffle(pool, teacher, generator, contextlib.nullcontext, chunk=size)
        assert teacher.net.calls == pytest.approx(250 * 2 * size, rel=0.04)
    alpha, sigma = teacher.schedule.levels(pool.i, pool.x.double())
    z = (pool.x.double() - 0.2 * alpha) / (alpha**2 * 0.25**2 + sigma**2).sqrt()
    counts = torch.bincount(pool.i // 100, minlength=10)
    assert counts.sub(size / 10).abs().max() < 4.5 * (size / 10 * 0.9) ** 0.5
    for tenth in range(10):
        part = z[pool.i // 100 == tenth]
        n = part.numel() / (2 if init == "strided" else 1)  # a path leaves some two in a tenth
        assert abs(part.mean()) < 4 / n**0.5
        assert abs(part.std() - 1) < 4 / (2 * n) ** 0.5 + 0.01  # 1 % for steps of finite size


def test_a_small_student_learns_its_teacher():
    """Pixels N(0.2, 0.25^2), a student of three layers, 600 steps. Measured over five seeds at the
    worst of ten indices: 0.0041 to 0.0049. The limit leaves twice that."""
    torch.manual_seed(0)
    teacher = gaussian_teacher()

    class Points(Mlp):
        def forward(self, x, i, c=None):
            return super().forward(x.flatten(1), (i + 1) / 1000).reshape(x.shape)

    student = dataclasses.replace(teacher, net=Points(D=16))
    fresh, average = copy.deepcopy(student), copy.deepcopy(student)
    average.net.requires_grad_(False)
    config = dkdm.Config(steps=600, batch=128, rho=0.05, lr=2e-3, lambda_vlb=0.0, ema=0.98)
    pool, generator = new_pool(dkdm.pool_size(config, 1000), num_classes=None, shape=(1, 4, 4))
    dkdm.fill_strided(pool, teacher, generator, contextlib.nullcontext, config.batch)
    optimizer = torch.optim.Adam(student.net.parameters(), betas=(0.9, 0.99))
    for step in range(config.steps):
        dkdm.training_step(student, teacher, pool, average, optimizer, step, config, generator,
                           contextlib.nullcontext)
    error, untrained = (dkdm.compare(model, teacher, config, contextlib.nullcontext)
                        for model in (average, fresh))
    assert len(error) == 10 and max(error.values()) < 0.01 < 0.5 < max(untrained.values())


# ------------------------------------------------------------------------------------------------
# Scores


def spread(x):
    """Mean and covariance of rows."""
    return x.mean(0), np.cov(x, rowvar=False)


def small_features():
    """Features (60, 6) and (50, 6), and logits (40, 7): NumPy keeps these streams for good."""
    rng = np.random.RandomState(3)
    mix = rng.standard_normal((6, 6))
    ref, samples = rng.standard_normal((60, 6)) @ mix, 0.8 * rng.standard_normal((50, 6)) @ mix
    return ref, samples + 0.5, 2 * rng.standard_normal((40, 7))


def test_scores_agree_with_the_reference_implementations():
    """Values of pytorch-fid 0.3.0 and torch-fidelity 0.4.0, which swaps precision and recall."""
    ref, samples, logits = small_features()
    distance = eval_fid.frechet_distance(*spread(samples), *spread(ref))
    assert distance == pytest.approx(3.9509920017796, rel=1e-10)
    ref, samples, logits = (torch.from_numpy(x) for x in (ref, samples, logits))
    score = eval_fid.inception_score(logits.softmax(1), 2)
    assert score == pytest.approx(2.110900693137248, rel=1e-10)
    both = eval_fid.precision_recall(ref, samples, block=7)
    assert both == pytest.approx((0.96, 0.7), abs=1e-6)
    line = torch.arange(10.0)[:, None]  # by hand: balls of radius 3 at the ends, 2 between
    outside = torch.tensor([-3.0, -3.1, 11.9, 12.1])[:, None]
    assert eval_fid.precision_recall(line, outside) == (0.5, 1)
    kid = eval_fid.kernel_distance(ref[:50], samples, 2, 50)
    assert kid == pytest.approx(-1.45110515492865, rel=1e-10)
    for probs, wanted in ((torch.eye(10).repeat(6, 1), 10), (torch.full((60, 10), 0.1), 1)):
        assert eval_fid.inception_score(probs, 3) == pytest.approx(wanted)  # sure, and clueless


def test_the_distance_of_known_gaussians():
    def distance(mu1, s1, mu2, s2):
        return eval_fid.frechet_distance(*(np.array(x, dtype=float) for x in (mu1, s1, mu2, s2)))

    mu, a, b = [1, 2, 3], np.diag([1.0, 4.0, 9.0]), np.diag([4.0, 4.0, 0.25])
    # commuting covariances: squared differences of the means and of the standard deviations
    assert distance(mu, a, [0, 2, 5], b) == pytest.approx(1 + 4 + 1 + 0 + 2.5**2)
    # two rows: tr (AB)^(1/2) = (tr AB + 2 det(AB)^(1/2))^(1/2), for any two covariances
    a, b = np.array([[2, 0.7], [0.7, 1]]), np.array([[1, -0.4], [-0.4, 3]])
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b)))
    assert distance([0, 0], a, [0, 0], b) == pytest.approx(2 + 1 + 1 + 3 - 2 * root)
    assert distance([0, 0], np.diag([1, 0]), [0, 0], np.diag([0, 1])) == pytest.approx(2)
    assert distance([0, 0], np.zeros((2, 2)), [3, 4], np.zeros((2, 2))) == pytest.approx(25)
    mu, sigma = spread(np.random.RandomState(0).standard_normal((20, 300)))  # rank 19
    assert abs(distance(mu, sigma, mu, sigma)) < 1e-4
    assert distance(mu, sigma, mu + 1, sigma) == pytest.approx(300, abs=1e-4)


def random_inception():
    """FIDInception with weights from a stream that NumPy keeps for good."""
    net, rng = eval_fid.FIDInception(), np.random.RandomState(0)
    for name, w in sorted(net.state_dict().items()):
        if w.is_floating_point():
            draw = torch.from_numpy(rng.standard_normal(tuple(w.shape))).float()
            bias = 0.1 * draw + name.endswith("bn.weight")
            wide = draw * math.sqrt(2 / w[0].numel()) if w.ndim > 1 else bias
            w.copy_(0.5 + draw.square() if name.endswith("running_var") else wide)
    return net.eval()


def test_inception_agrees_with_the_reference(tmp_path, capsys):
    """torch-fidelity 0.4.0 from uint8, and pytorch-fid 0.3.0's network at 299: the same values."""
    plain, path = random_inception(), str(tmp_path / "inception.pth")
    torch.save(plain.state_dict(), path)
    rng = np.random.RandomState(7)
    small = torch.from_numpy(rng.randint(0, 256, (2, 3, 32, 32)).astype(np.uint8))
    large = torch.from_numpy(rng.randint(0, 256, (1, 3, 299, 299)).astype(np.uint8))
    config = eval_fid.Config(inception_weights=path)
    folded = eval_fid.load_network(config, torch.device("cpu"))  # as it is used
    assert "not the public Inception file" in capsys.readouterr().err
    for net in (plain, folded):
        with torch.no_grad():
            (pool, spatial, probs), (wide, _, _) = net(small), net(large)
        got = [*pool[0, [0, 5, 100, 2047]], *pool[1, [1, 1000]], pool.mean(),
               *spatial[0, [0, 300, 2022]], spatial.mean(),
               *probs[0, [204, 900, 988]], *probs[1, [204, 900]], probs.square().sum(),
               *wide[0, [0, 5, 100, 2047]], wide.mean()]
        assert torch.stack(got).tolist() == pytest.approx(
            [0.013389, 0.221296, 0.044962, 2.235833, 0.813859, 0.944510, 1.233328,
             1.786553, 1.524881, 0.832989, 1.349519,
             0.180210, 0.140176, 0.105039, 0.188791, 0.138253, 0.148861,
             0.035827, 0.551205, 0.069403, 4.294164, 2.247434], abs=2e-5)
        assert (pool.shape, spatial.shape, probs.shape) == ((2, 2048), (2, 2023), (2, 1008))


def score(samples, **options):
    """Scores of few images with the network that ships, {name without its suffix: value}."""
    config = dict(samples=str(samples), features="cifar10", allow_few=True, device="cpu")
    result = eval_fid.score(eval_fid.Config(**config | options))
    assert all("-cifar10net@" in name for name in result["scores"])
    return {name.split("-")[0]: value for name, value in result["scores"].items()}


def some_images(n=12, size=32):
    """Smooth coloured images, uint8 (n, size, size, 3)."""
    x = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(5))
    x = torch.nn.functional.interpolate(x, size)
    return teachers.to_uint8(x / 2).permute(0, 2, 3, 1).numpy()


def png_folder(path, images, mode="RGB"):
    """Writes uint8 (N, H, W, 3) as PNGs, half of them in a subfolder."""
    path = Path(path)
    (path / "more").mkdir(parents=True)
    for k, image in enumerate(images):
        file = f"more/{k:03d}.png" if k >= len(images) // 2 else f"{k:03d}.png"
        Image.fromarray(image).convert(mode).save(path / file)
    return path


def test_an_npz_and_a_folder_of_the_same_images_score_the_same(tmp_path):
    images, npz = some_images(), tmp_path / "images.npz"
    np.savez(npz, arr_0=images)
    folder = png_folder(tmp_path / "pngs", images)
    scores = score(npz, batch=5)
    assert list(scores) == ["FID", "sFID", "IS", "precision", "recall", "KID"]
    assert scores == score(folder, batch=5) and all(map(math.isfinite, scores.values()))
    assert score(npz, batch=12) == pytest.approx(scores, rel=1e-5)
    np.savez(tmp_path / "first.npz", arr_0=images[:8])
    assert score(npz, n=8) == pytest.approx(score(tmp_path / "first.npz"), rel=1e-6)
    gray = images[..., :1]  # counts as three equal channels
    np.savez(tmp_path / "gray.npz", arr_0=gray)
    folder = png_folder(tmp_path / "gray", gray.repeat(3, axis=3), mode="L")
    assert score(tmp_path / "gray.npz") == score(folder)


def test_images_scored_against_themselves_and_published_statistics(tmp_path, monkeypatch):
    """EDM's and clean-fid's files hold mu and sigma; ADM's also mu_s, sigma_s and some images."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    images, npz, ref = some_images(40), tmp_path / "images.npz", tmp_path / "ref.npz"
    np.savez(npz, arr_0=images)
    own = score(npz, ref=str(png_folder(tmp_path / "pngs", images)))
    assert abs(own["FID"]) < 1e-4 and abs(own["sFID"]) < 1e-3
    assert own["precision"] == own["recall"] == 1
    stored, = (tmp_path / "hub/eval_fid").glob("*.npz")  # the reference's statistics were kept
    again = score(npz, ref=str(stored))
    assert again == pytest.approx(own)
    with np.load(eval_fid.CIFAR10NET_TRAIN) as arrays:
        known = {name: arrays[name] for name in ("mu", "sigma", "mu_s", "sigma_s")}
    mu, sigma, ours = known["mu"], known["sigma"], score(npz)
    np.savez(ref, mu=mu, sigma=sigma)
    edm = score(npz, ref=str(ref))
    assert edm["FID"] == pytest.approx(ours["FID"]) and list(edm) == ["FID", "IS"]
    np.savez(ref, arr_0=some_images(8), **known)
    adm = score(npz, ref=str(ref))
    assert adm["FID"] == pytest.approx(ours["FID"]) and list(adm) == list(ours)
    for wrong in (dict(mu=mu[:64], sigma=sigma[:64, :64]), dict(mu=mu, sigma=sigma * np.nan),
                  dict(mu=mu), dict(mu=mu, sigma=sigma, network=np.array("another"))):
        np.savez(ref, **wrong)
        with pytest.raises(UserError, match="measure it again"):
            score(npz, ref=str(ref))


def test_the_score_line_tells_pictures_from_noise_and_says_what_was_scored(tmp_path, capsys,
                                                                          monkeypatch):
    """From drawing on: one step of the BOOT student against one of its teacher, and noise."""
    monkeypatch.chdir(tmp_path)
    few = "--n 64 --seed 4 --device cpu --out".split()
    run("boot.py", "--sample", "cifar10", *few, "student.npz")
    run("teachers.py", "sample", "cifar10", "--steps", "1", *few, "one.npz")
    pixels = np.random.RandomState(0).randint(0, 256, (64, 32, 32, 3)).astype(np.uint8)
    np.savez("noise.npz", arr_0=pixels)
    fid = {name: score(f"{name}.npz")["FID"] for name in ("student", "one", "noise")}
    assert min(fid["one"], fid["noise"]) > 3 * fid["student"] > 0
    capsys.readouterr()
    options = ("--features", "cifar10", "--allow-few", "--device", "cpu")
    run("eval_fid.py", "student.npz", *options)
    shown = capsys.readouterr()
    digest = eval_fid.sha256(teachers.WEIGHTS / "cifar10_boot.pt")[:8]
    for part in (f"FID-cifar10net@64 {fid['student']:.4g}", "sFID-", "IS-", "precision-",
                 "recall-", "KID-", "count 64", "cifar10 train", "count 50000", "cifar10-boot",
                 digest, "sampler BOOT, steps 1, guidance 2", "seed 4",
                 eval_fid.sha256(eval_fid.CIFAR10NET)[:8], "resize none", torch.__version__):
        assert part in shown.out, part
    assert shown.out.count("\n") == 1
    assert "at the same number" in shown.err and "only among themselves" in shown.err
    run("eval_fid.py", "student.npz", *options, "--json")
    result = json.loads(capsys.readouterr().out)
    assert result["scores"]["FID-cifar10net@64"] == pytest.approx(fid["student"])


# ------------------------------------------------------------------------------------------------
# What ships, what is named, what is written about it

SCRIPTS = {"boot.py": boot, "dkdm.py": dkdm, "teachers.py": teachers, "eval_fid.py": eval_fid}


def run(script, *arguments):
    """Runs a script's command line in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        SCRIPTS[script].main()


@pytest.mark.parametrize(("name", "wanted"), [
    ("cifar10", [0.19699, -0.05158, 0.03497, 0.09576, 0.28449, 0.32397, 0.13557, 0.14462, 0.16631,
                 0.158402]),
    ("cifar10-dkdm-nano", [0.10939, -0.10172, 0.02966, 0.08446, 0.32252, 0.31481, 0.13147, 0.04773,
                           0.06532, 0.147649]),
    ("cifar10-dkdm-vit-tiny", [0.00151, -0.09497, 0.06235, 0.06314, 0.28171, 0.29349, 0.06944,
                               0.03017, 0.05726, 0.151861]),
    ("cifar10-boot", [0.50787, 0.53363, 0.77546, 0.72438, 0.92135, 0.93016, 0.53831, 0.58917,
                      0.72229, 0.478842]),
])
def test_what_ships_draws_what_it_always_drew(name, wanted):
    """Some pixels, and the mean magnitude, of images drawn when it was published."""
    if name == "cifar10-boot":
        student = boot.load_student("cifar10")
        assert student.t_max == 0.99 and student.guidance == (2.0,)
        out = boot.sample(student, student.model.noise(2, 0), torch.arange(2))
    else:
        model = teachers.load_teacher(name)
        assert not model.net.training and not any(p.requires_grad for p in model.net.parameters())
        out = model.ddim(model.noise(2, 0), 3, torch.arange(2))
    got = [*out[0, :, 0, :2].flatten(), *out[1, :, 16, 16], out.abs().mean()]
    assert torch.stack(got).tolist() == pytest.approx(wanted, abs=1e-4)


def test_the_shipped_student_beats_ten_steps_of_its_teacher():
    """The paper's claim in miniature, on 5 noise samples."""
    student, teacher = boot.load_student("cifar10"), teachers.load_teacher("cifar10")
    xi, c, (w,) = teacher.noise(5, 3), torch.arange(5), student.guidance
    ten, many = (teacher.ddim(xi, n, c, w, student.t_max, student.t_min) for n in (10, 50))
    error = (boot.sample(student, xi, c) - many).square().mean()
    assert error < 0.9 * (ten - many).square().mean() and many.std() > 0.3


def test_each_public_teacher_is_described_as_its_network_is_built(capsys):
    run("teachers.py", "list")
    shown, millions = capsys.readouterr().out, {}
    for name, (address, note, about) in teachers.NAMED.items():
        assert f"{name}: {note}" in shown and address in shown and note.startswith(("MIT", "CC"))
        if about is None:
            assert (teachers.WEIGHTS / address).is_file()
            continue
        assert "FID" in note and about.keys() == teachers.DESCRIPTION
        with torch.device("meta"):
            net = teachers.ARCHITECTURES[about["arch"]](**about["arch_args"])
        millions[name] = round(sum(p.numel() for p in net.parameters()) / 1e6)
    assert millions == {
        "iddpm-cifar10": 53, "iddpm-imagenet64": 121, "adm-imagenet64": 296,
        "adm-lsun-bedroom": 553, "ddpm-ip-cifar10": 57, "ddpm-ip-celeba64": 295,
        "ddpm-ip-imagenet32": 57, "dit-xl2": 675}


def test_every_name_in_the_equation_map_exists():
    text = (ROOT / "docs/equations.md").read_text()
    named = re.findall(r"`([\w/]+)\.py: ([\w.]+)`", text)
    rows = [line for line in text.splitlines() if re.match(r"\|(?! section| paper|---)", line)]
    assert text.startswith("# Equations\n") and len(rows) >= 40
    for row in rows:
        assert ".py: " in row or "not here" in row or "are the same, with" in row, row
    for file, name in named:
        thing = importlib.import_module(file.replace("/", "."))
        for part in name.split("."):
            assert hasattr(thing, part), f"{file}.py has no {name}"
            thing = getattr(thing, part)
    # and every loss, step, target and rule of the two methods is in the map
    for module in (boot, dkdm):
        own = {name for name, thing in vars(module).items()
               if callable(thing) and getattr(thing, "__module__", "") == module.__name__}
        pattern = "loss|step|target|weight|noisy|Pool|fill_|descend|tudent$|pool_size|^sample"
        method = {name for name in own if re.search(pattern, name)} - {"load_student"}
        mapped = {name.split(".")[0] for file, name in named if file == module.__name__}
        assert len(method) >= 6 and not method - mapped, method - mapped


def test_every_link_and_file_named_in_the_documents_exists():
    def text(path):  # without blocks of code
        return re.sub(r"^```.*?^```", "", path.read_text(), flags=re.S | re.M)

    def anchors(path):
        seen = []
        for heading in re.findall(r"^#+ (.*?)\s*$", text(path), flags=re.M):
            slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            again = sum(slug == re.sub(r"-\d+$", "", other) for other in seen)
            seen.append(f"{slug}-{again}" if again else slug)
        return seen

    broken, pages = [], [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)", text(page)):
            if "://" in link:
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or anchor and anchor not in anchors(target):
                broken.append(f"{page.name}: {link}")
        for name in re.findall(r"(?:assets|weights)/[\w-]+\.\w+", page.read_text()):
            if not (ROOT / name).is_file():
                broken.append(f"{page.name}: {name}")
    assert len(pages) > 3 and not broken, broken


@pytest.mark.parametrize("command", ["boot.py", "dkdm.py", "eval_fid.py", "teachers.py sample",
                                     "teachers.py convert"])
def test_help_shows_each_option_with_its_range_and_default(command, capsys):
    with pytest.raises(SystemExit) as stop:
        run(*command.split(), "--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert stop.value.code == 0
    for field in dataclasses.fields(OPTIONS[command]):
        low, high = field.metadata["range"]
        name = field.name if field.metadata.get("positional") else field.name.replace("_", "-")
        assert name in shown and (low == -math.inf or teachers.in_words(low, high) in shown)


# ------------------------------------------------------------------------------------------------
# Checkpoints


def tiny(path, net=None, classes=3, predicts="v", shape=(3, 8, 8), schedule="cosine", T=1000,
         learned=True):
    """Saves a small random model: 8 x 8 images, 3 classes and "no class"; returns its path."""
    torch.manual_seed(0)
    rows = None if classes is None else classes + 1
    net = net or small_unet(attention_resolutions=(), channel_mult=(1,), num_classes=rows)
    nn.init.normal_(net.last_layer.weight, std=0.02)
    model = DiffusionModel(net, Schedule(schedule, T), shape, classes, predicts, learned)
    teachers.save(path, model.checkpoint("teacher", {}))
    return str(path)


def tiny_vit(path, C=3, **options):
    net = vit.ViT(8, 4, C, 32, 1, 2, num_classes=4)
    return tiny(path, net, shape=(C, 8, 8), **dict(predicts="eps", schedule="linear") | options)


def test_a_checkpoint_is_all_that_the_model_was(tmp_path):
    for path in (tiny(tmp_path / "unet.pt", schedule="linear", T=50), tiny_vit(tmp_path / "v.pt")):
        one, content = teachers.load(path)
        teachers.save(tmp_path / "again.pt", one.checkpoint("dkdm", {"lr": 0.1}))
        other, copied = teachers.load(tmp_path / "again.pt")
        x, t, c = torch.randn(2, 3, 8, 8), torch.tensor([0.2, 0.7]), torch.tensor([0, 2])
        assert torch.equal(one.x0(x, t, c), other.x0(x, t, c)) and one.x0(x, t, c).std() > 0.01
        assert copied.keys() == content.keys() and copied["config"] == {"lr": 0.1}
        assert all(copied[name] == content[name] for name in content
                   if name not in ("weights", "method", "config"))


def bare(folder, net, **about):
    """Weights of net as its public makers save them, and the JSON that says what they are."""
    torch.save(net.state_dict(), folder / "bare.pt")
    known = dict(arch="unet", arch_args=net.arguments, image_shape=[3, 8, 8], num_classes=None,
                 predicts="eps", learned_sigma=True, schedule="cosine", T=1000)
    (folder / "about.json").write_text(json.dumps(known | about))
    return known | about


@pytest.mark.parametrize("kind", ["unet", "labels", "vit"])
def test_public_weights_become_a_checkpoint(tmp_path, monkeypatch, kind):
    """4,000 steps without labels; labels without "no class", as in ADM; and DiT's format."""
    monkeypatch.chdir(tmp_path)
    if kind == "vit":
        net, more = vit.ViT(8, 4, 3, 32, 2, 2, num_classes=4), dict(arch="vit", num_classes=3)
    else:
        more = dict(num_classes=5) if kind == "labels" else dict(T=4000)
        net = small_unet(num_heads=4, num_classes=more.get("num_classes"), index_scale=0.25)
    net = fill(net).half().float()  # convert writes half precision
    bare(tmp_path, net, **more)
    run("teachers.py", "convert", "bare.pt", "--arch", "about.json", "--out", "own.pt")
    model = teachers.load_teacher("own.pt")
    x, i = waves(2, 3, 8, 8), torch.tensor([30, 900])
    c = torch.tensor([0, 2]) if "num_classes" in more else None
    torch.testing.assert_close(model.eps_form(x, i, c), net(x, i, c))
    assert model.schedule.T == more.get("T", 1000)
    assert model.null_label == {"unet": None, "labels": None, "vit": 3}[kind]
    assert os.path.getsize("own.pt") < 0.6 * os.path.getsize("bare.pt")


def no_network(*args, **kwargs):
    raise OSError("no network")


def test_a_chain_of_100_steps_is_the_same_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("teachers.py", "convert", "cifar10", "--T", "100", "--out", "short.pt")
    long, short = teachers.load_teacher("cifar10"), teachers.load_teacher("short.pt")
    x, c, i = long.noise(4, 0), torch.arange(4), torch.tensor([0, 7, 50, 99])
    wanted = long.eps_form(x, 10 * i, c)
    torch.testing.assert_close(short.eps_form(x, i, c), wanted, rtol=0, atol=1e-6)
    assert wanted.std() > 0.5
    for n, steps in ((2, 10), (1, 50)):
        images = [model.ddim(x[:n], steps, c[:n]) for model in (long, short)]
        torch.testing.assert_close(images[0], images[1], rtol=0, atol=1e-5)


def test_latents_are_not_clipped_and_not_taken_for_images(tmp_path, monkeypatch, short):
    monkeypatch.chdir(tmp_path)
    path = tiny_vit("latents.pt", C=4)
    model, c = teachers.load_teacher(path), torch.tensor([0, 1])
    images = model.ddim(3 * torch.randn(2, 4, 8, 8), 5, c)
    assert not model.schedule.clip and images.abs().max() > 1.5
    run("teachers.py", "sample", path, "--n", "4", "--steps", "2", "--out", "latents.npz")
    assert np.load("latents.npz")["arr_0"].dtype == np.float32
    with pytest.raises(UserError, match="float32"):
        score("latents.npz")
    dkdm.train(tiny_dkdm(tmp_path, teacher=path, steps=2))
    assert teachers.load_teacher("run/student.pt").image_shape == (4, 8, 8)


@pytest.mark.parametrize("options", [{"steps": 3}, {"sampler": "ddpm", "steps": 3},
                                     {"steps": 2, "t_max": 0.9, "t_min": 0.1, "guidance": 2.0}])
def test_image_k_depends_on_the_seed_and_k_alone(tmp_path, options):
    """Not on how many are drawn, nor on how many at a time."""
    teacher, drawn = tiny(tmp_path / "t.pt"), []
    for k, (n, batch) in enumerate(((5, 2), (5, 5), (3, 1))):
        config = teachers.SampleOptions(teacher=teacher, n=n, batch=batch, precision="fp32",
                                        out=str(tmp_path / f"{k}.npz"), **options)
        teachers.sample(config)
        with np.load(config.out) as arrays:
            drawn.append(arrays["arr_0"].astype(int))
            assert arrays["arr_1"].tolist() == [0, 1, 2, 0, 1][:n]
            made_by = json.loads(str(arrays["made_by"]))
    assert made_by["steps"] == options["steps"] and made_by["seed"] == 0
    assert abs(drawn[0] - drawn[1]).max() <= 1 and abs(drawn[0][:3] - drawn[2]).max() <= 1
    assert min(abs(a - b).mean() for k, a in enumerate(drawn[0]) for b in drawn[0][:k]) > 10


# ------------------------------------------------------------------------------------------------
# The student of BOOT


def losses_of(student, teacher, xi, t, s, c, w, t_max=0.9):
    config = SimpleNamespace(t_max=t_max, delta=0.1, solver="heun")
    return boot.losses(student, teacher, xi, t, s, c, w, config)


def test_an_untrained_student_is_the_teacher_at_t_max(tmp_path):
    xi, c, t, w = torch.randn(4, 3, 8, 8), torch.arange(4) % 3, torch.full((4,), 0.5), torch.ones(4)
    t_max = torch.full((4,), 0.98)
    for predicts in ("v", "x0"):
        teacher = teachers.load_teacher(tiny(tmp_path / "t.pt", predicts=predicts))
        student = boot.Student(teacher, 0.02, 0.98).eval()
        torch.testing.assert_close(student(xi, t_max, c, w), teacher.x0(xi, t_max, c))
        torch.testing.assert_close(student(xi, t_max), teacher.x0(xi, t_max))  # "no class"
        bootstrap, boundary = losses_of(student, teacher, xi, t, t - 0.1, c, w, 0.98).tolist()
        assert boundary < 1e-8 < bootstrap
    # one that predicts noise: a student that predicts v, from 0, with its other weights
    teacher = teachers.load_teacher(tiny(tmp_path / "t.pt", predicts="eps"))
    student, alpha = boot.Student(teacher, 0.02, 0.98), teacher.schedule.alpha(t_max[:1])
    torch.testing.assert_close(student(xi, t, c, w), alpha * xi)
    theirs, start = teacher.net.state_dict(), student.net.state_dict()
    assert student.model.predicts == "v" and teacher.x0(xi, t_max, c).abs().max() == 1
    changed = [name for name, w in start.items() if not torch.equal(w, theirs[name])]
    assert changed == ["out.2.weight"]
    random = boot.Student(teacher, 0.02, 0.98, init="random").net.state_dict()
    for name in ("time_embed.0.weight", "input_blocks.0.0.weight", "label_emb.weight"):
        assert not torch.equal(random[name], theirs[name])


@pytest.mark.parametrize("make", [tiny, tiny_vit])
def test_a_student_for_a_range_of_scales_starts_as_its_teacher_and_learns_w(tmp_path, make):
    teacher = teachers.load_teacher(make(tmp_path / "t.pt", predicts="v"))
    fill(teacher.net)  # no block is the identity any more
    student, fixed = (boot.Student(teacher, 0.02, 0.9, w) for w in ((1.0, 5.0), (3.0,)))
    xi, c, t = torch.randn(4, 3, 8, 8), torch.arange(4) % 3, torch.full((4,), 0.5)
    w = torch.tensor([1.0, 2.0, 3.0, 5.0])
    assert torch.equal(student(xi, t, c, w), fixed(xi, t, c, w))  # the layer of w starts at 0
    losses_of(student, teacher, xi, t, t - 0.1, c, w).sum().backward()
    layers = {name: p for name, p in student.net.named_parameters() if "guidance" in name}
    last = list(layers.values())[-2]
    assert last.grad.abs().max() > 0 and len(layers) == 4
    nn.init.normal_(last, std=0.1)
    assert (student(xi, t, c, w) - student(xi, t, c, w.flip(0))).abs().max() > 1e-4
    assert torch.equal(boot.sample(student, xi, c), boot.sample(student, xi, c, 3.0))
    mixed = boot.sample(student, xi, c, w)
    torch.testing.assert_close(mixed[3:], boot.sample(student, xi[3:], c[3:], 5.0))
    for model, scale in ((student, 5.5), (student, 0.5), (student, math.nan), (fixed, 2.0)):
        with pytest.raises(UserError, match="was distilled with guidance"):
            boot.sample(model, xi, c, scale)


# ------------------------------------------------------------------------------------------------
# Runs


def shorten(patch):
    """Makes runs quick: 2 DDIM steps instead of 50, small networks, 4 saves instead of 24."""
    ddim = DiffusionModel.ddim
    patch.setattr(DiffusionModel, "ddim", lambda self, x, steps, *more, **named:
                  ddim(self, x, min(steps, 2), *more, **named))
    patch.setitem(unet.SIZES, "nano", dict(model_channels=32, num_res_blocks=1, channel_mult=(1,),
                                           attention_resolutions=(), dropout=0.3))
    patch.setitem(vit.SIZES, "vit-tiny",
                  dict(patch_size=4, hidden_size=32, depth=1, num_heads=2))
    for script in (boot, dkdm):
        patch.setattr(script, "SAVES", 4)


@pytest.fixture
def short(monkeypatch):
    shorten(monkeypatch)


def tiny_boot(tmp_path, **options):
    return boot.Config(**dict(teacher=str(tmp_path / "t.pt"), steps=12, batch=4, compare=10,
                              device="cpu", out=str(tmp_path / "run")) | options)


def tiny_dkdm(tmp_path, **options):
    return dkdm.Config(**dict(teacher=str(tmp_path / "t.pt"), steps=12, batch=4, rho=0.01,
                              compare=4, device="cpu", out=str(tmp_path / "run")) | options)


TINY = {boot: tiny_boot, dkdm: tiny_dkdm}


def check_folder(folder, columns, steps):
    names = {"config.json", "log.csv", "samples", "student.pt", "last.pt", "summary.png"}
    assert {p.name for p in folder.iterdir()} == names
    assert {p.name for p in (folder / "samples").iterdir()} == {f"step_{k:06d}.png" for k in steps}
    log = (folder / "log.csv").read_text().splitlines()
    assert log[0] == f"step,{columns},images_per_s" and log[-1].startswith("12,")
    assert all(0 <= float(value) < 1e6 for line in log[1:] for value in line.split(","))


@pytest.mark.parametrize(("name", "T", "predicts", "options", "t_max"), [
    ("cosine", 1000, "v", {}, 0.99), ("cosine", 1000, "v", {"guidance": (1.0, 4.0)}, 0.99),
    ("cosine", 4000, "eps", {"init": "random", "guidance": (3.0,)}, 0.95),
    ("linear", 1000, "eps", {"solver": "ddim", "t_max": 0.6}, 0.6),
])
def test_a_tiny_boot_run_leaves_what_it_promises(tmp_path, short, name, T, predicts, options,
                                                 t_max):
    tiny(tmp_path / "t.pt", schedule=name, T=T, predicts=predicts)
    config, folder = tiny_boot(tmp_path, **options), tmp_path / "run"
    distance = boot.train(config)
    check_folder(folder, "bootstrap,boundary", (0, 3, 6, 9, 12))
    who = [f"teacher, {k} steps" for k in (2, 5, 10, 20, 50)]
    assert list(distance) == ["teacher, 1 step", *who, "student, 1 step"]
    assert all(0 <= d < 10 for d in distance.values())
    said, settled = json.loads((folder / "config.json").read_text()), config.guidance or (1.0,)
    assert said == dataclasses.asdict(config) | {"guidance": list(settled), "t_max": t_max}
    student = boot.load_student(folder / "student.pt")
    assert student.t_max == t_max and student.guidance == settled
    xi, c = torch.randn(4, 3, 8, 8), torch.arange(4) % 3
    w, t_min = torch.full((4,), sum(settled) / len(settled)), torch.full((4,), 0.02)
    images = boot.sample(student, xi, c)
    assert torch.equal(images, student(xi, t_min, c, w)) and images.std() > 0.01


@pytest.mark.parametrize(("teacher", "student", "options"), [
    ("unet", "vit-tiny", {}), ("vit", "nano", {"init": "shuffle"}),
    ("unet", "nano", {"mode": "shuffled"}),
    ("vit", "vit-tiny", {"mode": "iterative", "predicts": "v"}),
    ("unet", "nano", {"lambda_vlb": 0.0, "predicts": "x0"}),
])
def test_a_tiny_dkdm_run_leaves_an_ordinary_checkpoint(tmp_path, short, teacher, student, options):
    T = 40 if "init" in options else 1000
    (tiny_vit if teacher == "vit" else tiny)(tmp_path / "t.pt", T=T)
    errors = dkdm.train(tiny_dkdm(tmp_path, student=student, **dict(rho=10 / T) | options))
    check_folder(tmp_path / "run", "simple,vlb", (0, 12))
    assert len(errors) == 10 and all(0 < error < 1e4 for error in errors.values())
    model = teachers.load_teacher(tmp_path / "run/student.pt")
    assert type(model.net) is (vit.ViT if student == "vit-tiny" else unet.UNet)
    assert model.predicts == options.get("predicts", "eps" if teacher == "vit" else "v")
    assert model.learned_sigma == (options.get("lambda_vlb") != 0) and model.num_classes == 3
    image = model.ddpm(torch.randn(2, 3, 8, 8), 4, torch.tensor([0, 3]))
    assert image.isfinite().all() and image.std() > 1e-3
    more = dict(teacher=str(tmp_path / "run/student.pt"), out=str(tmp_path / "one-step"))
    boot.train(tiny_boot(tmp_path, steps=1, t_min=0.05, **more))  # the methods chain
    assert boot.load_student(tmp_path / "one-step/student.pt").t_max > 0.5


def test_iterative_mode_visits_the_chain_from_its_end(tmp_path, monkeypatch, short):
    tiny(tmp_path / "t.pt", classes=None, T=50)
    loss, visited = dkdm.dkdm_loss, []
    monkeypatch.setattr(dkdm, "dkdm_loss",
                        lambda *args: visited.append(args[3].tolist()) or loss(*args))
    dkdm.train(tiny_dkdm(tmp_path, mode="iterative", steps=53))
    assert visited == [[i % 50] * 4 for i in range(49, -4, -1)]


def test_teachers_without_no_class_are_not_asked_for_it(tmp_path, short):
    """ADM's 64 x 64 network: a label table of one row a class."""
    net = fill(small_unet(attention_resolutions=(), channel_mult=(1,), num_classes=4))
    teacher = teachers.load_teacher(tiny(tmp_path / "t.pt", net, classes=4))
    x, i, c = torch.randn(2, 3, 8, 8), torch.tensor([5, 5]), torch.tensor([0, 3])
    for question in (dict(), dict(c=c, guidance=2.0)):
        with pytest.raises(UserError, match='has no "no class"'):
            teacher.eps_form(x, i, **question)
    boot.train(tiny_boot(tmp_path, steps=2, out=str(tmp_path / "boot")))
    assert boot.sample(boot.load_student(tmp_path / "boot/student.pt"), x, c).std() > 0.01
    dkdm.train(tiny_dkdm(tmp_path, steps=2, student="vit-tiny"))
    assert teachers.load_teacher(tmp_path / "run/student.pt").null_label is None


def weights(folder):
    return teachers.read(Path(folder) / "student.pt")["weights"]


def logged(folder):
    """Step and losses of each row in log.csv."""
    return np.loadtxt(Path(folder) / "log.csv", delimiter=",", skiprows=1, ndmin=2)[:, :3]


def check_equal_runs(one, other):
    """Weights, log and pools of two runs are the same to the last bit."""
    torch.testing.assert_close(weights(one), weights(other), rtol=0, atol=0)
    assert np.array_equal(logged(one), logged(other)) and len(logged(one)) == 5
    own = [teachers.read(Path(folder) / "last.pt")["processes"] for folder in (one, other)]
    torch.testing.assert_close(own[0], own[1], rtol=0, atol=0)


def stop(script, config, where):
    """A run that ends in its eighth step, while its third last.pt is written but not in place, or
    while its pool is filled."""
    step, replace, count = script.training_step, os.replace, []

    def stopping(call, number, of_interest=lambda *args: True):
        def wrapped(*args):
            count.append(1) if of_interest(*args) else None
            if len(count) == number:
                raise KeyboardInterrupt
            return call(*args)
        return wrapped

    with pytest.MonkeyPatch.context() as patch:
        if where == "step":
            patch.setattr(script, "training_step", stopping(step, 8))
        elif where == "filling":
            patch.setattr(dkdm, "descend", stopping(dkdm.descend, 1))
        else:
            patch.setattr(os, "replace", stopping(replace, 3, lambda a, b: "last.pt" in str(b)))
        with pytest.raises(KeyboardInterrupt):
            script.train(config)


@pytest.mark.parametrize(("script", "where"), [
    (boot, "step"), (boot, "save"), (dkdm, "step"), (dkdm, "save"), (dkdm, "filling")])
def test_killed_and_resumed_equals_never_stopped(tmp_path, short, script, where):
    tiny(tmp_path / "t.pt")
    more = {} if script is dkdm else dict(guidance=(1.0, 3.0))
    whole = TINY[script](tmp_path, out=str(tmp_path / "whole"), **more)
    script.train(whole)
    stopped = dataclasses.replace(whole, out=str(tmp_path / "stopped"))
    stop(script, stopped, where)
    saved = [row["step"] for row in teachers.read_run(stopped.out)["log"]]
    assert saved[-1:] == {"step": [6], "save": [3], "filling": []}[where]
    torch.manual_seed(99)  # the state of the global generator must not matter
    run(f"{script.__name__}.py", "--resume", "--out", stopped.out)
    check_equal_runs(whole.out, stopped.out)
    script.train(dataclasses.replace(whole, out=str(tmp_path / "other"), seed=1))
    assert any(not torch.equal(w, weights(whole.out)[name])
               for name, w in weights(tmp_path / "other").items())


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_save(
        tmp_path, monkeypatch, short):
    tiny(tmp_path / "t.pt")
    step, calls = boot.training_step, []

    def broken(*args):
        calls.append(1)
        losses = step(*args)
        return losses * math.nan if len(calls) == 5 else losses

    monkeypatch.setattr(boot, "training_step", broken)
    with pytest.raises(UserError, match="not finite at step 6"):
        boot.train(tiny_boot(tmp_path))
    assert teachers.read_run(tmp_path / "run")["log"][-1]["step"] == 3
    assert all(w.isfinite().all() for w in weights(tmp_path / "run").values())


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.pt"
    teachers.save(path, {"step": 1})

    def full_disk(content, aside):
        Path(aside).write_bytes(b"half")
        raise RuntimeError("unexpected pos 64 vs 0")  # what PyTorch says

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(UserError, match="make room"):
        teachers.save(path, {"step": 2})
    assert teachers.read(path) == {"step": 1} and [p.name for p in tmp_path.iterdir()] == ["a.pt"]


# Two processes


def watch(patch, script, replay=()):
    """Notes what each step draws, its boundary, its gradients; draws what replay has instead."""
    notes = {"drawn": [], "boundary": [], "gradients": []}
    losses, draw, target, step = (boot.losses, dkdm.Pool.draw, boot.boundary_target,
                                  script.training_step)

    def losses_of_drawn(student, teacher, *drawn):  # xi, t, s, c, w; then the configuration
        drawn, config = list(drawn[:-1]), drawn[-1]
        notes["drawn"].append(replay[len(notes["drawn"])] if replay else drawn)
        return losses(student, teacher, *notes["drawn"][-1], config)

    def draw_and_note(pool, n, generator):
        drawn = [pool.x.clone(), pool.i.clone(), pool.c.clone(), draw(pool, n, generator)]
        notes["drawn"].append(replay[len(notes["drawn"])] if replay else drawn)
        *state, rows = notes["drawn"][-1]
        pool.load_state_dict(dict(zip("xic", state, strict=True)))
        return rows

    def step_and_note(*args):
        optimizer, = (x for x in args if isinstance(x, torch.optim.Optimizer))
        parameters = [p for p in optimizer.param_groups[0]["params"] if p.requires_grad]
        notes.setdefault("start", [p.detach().clone() for p in parameters])
        both = step(*args)
        notes["gradients"].append([p.grad.clone() for p in parameters])
        notes["end"] = [p.detach().clone() for p in parameters]
        return both

    patch.setattr(boot, "losses", losses_of_drawn)
    patch.setattr(dkdm.Pool, "draw", draw_and_note)
    patch.setattr(script, "training_step", step_and_note)
    patch.setattr(boot, "boundary_target",
                  lambda *args: notes["boundary"].append(args[1].clone()) or target(*args))
    return notes


def one_of_two(rank, port, jobs):
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
                       MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        for name, few, whole, stopped in jobs:
            script = SCRIPTS[name]
            with pytest.MonkeyPatch.context() as watching:
                notes = watch(watching, script)
                script.train(few)
            torch.save(notes, f"{few.out}-{rank}.pt")
            script.train(whole)
            stop(script, stopped, "step")
            script.train(dataclasses.replace(stopped, resume=True))
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A folder with what both scripts did in two processes that were joined as torchrun does."""
    folder = tmp_path_factory.mktemp("two")
    tiny(folder / "t.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    jobs = []
    for script in (boot, dkdm):
        name = f"{script.__name__}.py"
        options = dict(student="vit-tiny") if script is dkdm else dict(guidance=(1.0, 3.0))
        configs = [TINY[script](folder, precision="fp32", batch=8, steps=steps, lr=0.1,
                                out=str(folder / f"{name}-{what}"), **options)
                   for what, steps in (("two", 3), ("whole", 12), ("stopped", 12))]
        jobs.append((name, *configs))
    torch.multiprocessing.spawn(one_of_two, (port, jobs), nprocs=2)
    return folder


def joined(script, halves):
    """What two processes drew in a step, as one draw; rows of the second pool come after."""
    first, second = halves
    if script is dkdm:
        second = [*second[:-1], second[-1] + len(first[0])]
    return [torch.cat(pair) for pair in zip(first, second, strict=True)]


@pytest.mark.parametrize("script", [boot, dkdm])
def test_two_processes_take_the_step_of_one_with_both_halves(two_processes, monkeypatch, short,
                                                             script):
    name = f"{script.__name__}.py"
    halves = [torch.load(two_processes / f"{name}-two-{rank}.pt") for rank in (0, 1)]
    drawn = [joined(script, pair) for pair in zip(*(h["drawn"] for h in halves), strict=True)]
    noise_of = [half["drawn"][0][0] for half in halves]
    assert not torch.equal(*noise_of)  # each process has noise of its own
    saved = teachers.read(two_processes / f"{name}-two/last.pt")["config"]
    config = script.Config(**saved | dict(batch=16, out=str(two_processes / f"{name}-one")))
    one = watch(monkeypatch, script, drawn)
    script.train(config)
    assert len(one["gradients"]) == 3
    for half in halves:
        torch.testing.assert_close(half["start"], one["start"], rtol=0, atol=0)
        torch.testing.assert_close(half["gradients"], one["gradients"], rtol=1e-2, atol=1e-4)
        moved, apart = (sum((a - b).abs().sum() for a, b in zip(one["end"], other, strict=True))
                        for other in (one["start"], half["end"]))
        assert apart < 0.01 * moved
    for k, boundary in enumerate(one["boundary"]):  # each eighth noise sample: the same ones
        assert torch.equal(boundary, torch.cat([half["boundary"][k] for half in halves]))
        assert torch.equal(boundary, drawn[k][0][::8])
    logs = [logged(two_processes / f"{name}-{what}") for what in ("two", "one")]
    np.testing.assert_allclose(*logs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("script", [boot, dkdm])
def test_two_processes_resume_exactly_and_only_as_two(two_processes, capsys, script):
    name = f"{script.__name__}.py"
    whole, stopped = (two_processes / f"{name}-{what}" for what in ("whole", "stopped"))
    check_equal_runs(whole, stopped)
    line = refused(capsys, name, "--resume", "--out", stopped)
    assert "cannot be resumed like this: processes was 2 and is 1" in line


# From the command line


def command(folder, script, *arguments):
    done = subprocess.run([sys.executable, ROOT / script, *arguments], cwd=folder, text=True,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "peak of memory" in done.stderr
    return done.stdout


def test_the_commands_work_as_written(tmp_path):
    """In processes of their own: both methods, then images and a converted teacher."""
    few = "--dataset cifar10 --steps 2 --batch 4".split()
    shown = command(tmp_path, "boot.py", *few, "--compare", "10")
    assert "student, 1 step" in shown and "--sample runs/boot-cifar10/student.pt" in shown
    assert boot.load_student(tmp_path / "runs/boot-cifar10/student.pt").guidance == (1.0,)
    tiny(tmp_path / "teacher.pt")
    shown = command(tmp_path, "dkdm.py", "--teacher", "teacher.pt", *few[2:], "--rho", "0.005",
                    "--compare", "2")
    student = re.search(r"teachers\.py sample (\S+);", shown).group(1)
    assert "mean" in shown and "runs/dkdm-" in student
    shown = command(tmp_path, "teachers.py", "sample", student, "--sampler", "ddpm", "--steps",
                    "3", "--n", "5", "--label", "2")
    assert "5 images in samples.npz" in shown
    with np.load(tmp_path / "samples.npz") as arrays:
        assert arrays["arr_0"].shape == (5, 8, 8, 3) and arrays["arr_0"].dtype == np.uint8
        assert arrays["arr_0"].std() > 20 and arrays["arr_1"].tolist() == [2] * 5
    command(tmp_path, "teachers.py", "convert", "teacher.pt", "--out", "half.pt")
    assert teachers.load_teacher(tmp_path / "half.pt").predicts == "v"


# ------------------------------------------------------------------------------------------------
# Bad input: one line, exit status 2, nothing written

OPTIONS = {"boot.py": boot.Config, "dkdm.py": dkdm.Config, "eval_fid.py": eval_fid.Config,
           "teachers.py sample": teachers.SampleOptions,
           "teachers.py convert": teachers.ConvertOptions}

# Values that lie outside their option's range; the line is "--OPTION is VALUE, and must be ..."
OUTSIDE = {
    "boot.py --teacher t.pt": """
        steps=0 steps=-5 batch=0 lr=0 lr=nan lr=inf delta=0 delta=1.1 delta=nan beta=-1 beta=nan
        t-min=0 t-min=nan t-max=0 t-max=1.5 t-max=nan guidance=0.5 guidance=inf guidance=nan ema=1
        ema=-0.1 ema=nan seed=-1 compare=9 n=0 label=-1""",
    "dkdm.py --teacher t.pt": """
        rho=0 rho=nan rho=inf label-dropout=2 label-dropout=-0.1 label-dropout=nan lambda-vlb=-1
        lambda-vlb=nan steps=0 batch=0 lr=0 lr=nan ema=1 ema=nan seed=-1 compare=0""",
    "eval_fid.py images.npz --features cifar10": "n=0 n=-1 batch=0",
    "teachers.py sample t.pt": """
        steps=0 t-max=0 t-max=1.5 t-max=nan t-min=0 t-min=nan n=0 label=-1 guidance=0.5 guidance=inf
        guidance=nan seed=-1 batch=0""",
    "teachers.py convert t.pt --out x.pt": "T=0 T=-4",
}

# The rest: what follows the command, and a part of the line
BAD = {
    "boot.py": """
        --steps many | argument --steps: invalid int value: 'many'
        --speed 9 | unrecognized arguments: --speed 9
        --init warm | argument --init: invalid choice
        --solver rk4 | argument --solver: invalid choice: 'rk4'
        --precision fp8 | argument --precision: invalid choice
        --device abacus --teacher t.pt | no device 'abacus' here
        --dataset mnist | no checkpoint at mnist
        --teacher nowhere.pt | no checkpoint at nowhere.pt: give a path, or one of cifar10,
        --teacher cut.pt | cut.pt is no PyTorch checkpoint of plain tensors, or is cut short
        --teacher text.pt | text.pt is no PyTorch checkpoint
        --teacher code.pt | code.pt is no PyTorch checkpoint of plain tensors
        --teacher bare.pt | bare.pt is no checkpoint of this project: if it holds public weights
        --teacher list.pt | list.pt is no checkpoint of this project
        --teacher narrow.pt | narrow.pt: weights do not fit what it says of them (unet)
        --teacher huge.pt | huge.pt: weights do not fit
        --teacher rows.pt | and 4 labels do not go with image_shape, learned_sigma and
        --teacher fixed.pt | an output of (6, 8, 8) and 4 labels do not go with
        --teacher noise.pt | predicts is 'noise', not eps, x0 or v
        --teacher steps.pt | needs at least one step
        --teacher nan.pt | not finite
        --teacher student.pt | student.pt is a one-step student of BOOT, which takes noise alone
        --teacher t.pt --delta 0.98 | --t-min 0.02 plus --delta 0.98 is more than --t-max
        --teacher t.pt --t-min 0.0002 | --t-min 0.0002 is before the chain's first, 1/1000
        --teacher t.pt --guidance 5 1 | give one, or the lowest and highest
        --teacher t.pt --guidance 2 nan | --guidance is nan
        --teacher plain.pt --guidance 2 | needs a teacher with classes and "no class"
        --teacher t.pt --out taken | taken exists: go on with it by --resume, or change --out
        --teacher t.pt --out /proc/run | /proc/run
        --resume --out nothing | no run to resume in nothing: leave --resume out
        --resume --out broken-run | is no PyTorch checkpoint
        --resume --out other-run | is no run of this version
        --resume --out boot-run --lr 0.5 | lr was 0.0007 and is 0.5
        --resume --out boot-run --steps 3 --beta 1 | steps was 1 and is 3; beta was 64.0 and is 1.0
        --sample t.pt | t.pt is no student of BOOT: draw it with python teachers.py sample
        --sample student.pt --guidance 6 | distilled with guidance 1: choose that
        --sample student.pt --guidance 1 2 | --sample takes one --guidance
        --sample student.pt --label 3 | no class 3: this model has 3 classes
        --sample student.pt --out grid.jpg | --out grid.jpg: give a .png or an .npz""",
    "dkdm.py": """
        --predicts noise | argument --predicts: invalid choice
        --student huge | argument --student: invalid choice: 'huge'
        --mode random | argument --mode: invalid choice
        --init half | argument --init: invalid choice
        --precision fp8 | argument --precision: invalid choice
        --device abacus --teacher t.pt | no device 'abacus' here
        --dataset mnist | no checkpoint at mnist
        --teacher code.pt | code.pt is no PyTorch checkpoint
        --teacher student.pt | student.pt is a one-step student of BOOT
        --teacher t.pt --rho 0.0001 | --rho 0.0001 leaves the pool empty: give at least 0.001
        --teacher rowless.pt --label-dropout 0.1 | --label-dropout needs a teacher with "no class"
        --teacher plain.pt --lambda-vlb 0.1 | --lambda-vlb needs a teacher with learned variances
        --teacher odd.pt --student adm-14m | adm-14m does not fit images of 3 x 9 x 9
        --teacher odd.pt --student vit-s4 | vit-s4 does not fit images of 3 x 9 x 9
        --resume --out nothing | no run to resume in nothing
        --resume --out dkdm-run --rho 0.5 --ema 0.9 | rho was 0.005 and is 0.5; ema was 0.995 and
        --resume --out moved-run | moved-run/last.pt does not fit what it is given""",
    "teachers.py": """
        | the first argument must be one of list, sample, convert
        sample | the following arguments are required: teacher
        sample student.pt | draw it with python boot.py --sample
        sample iddpm-cifar10 | no network): try again, or put the file at
        sample ddpm-ip-cifar10 | download ddpm-ip-cifar10 in a browser, from https://drive
        sample t.pt --steps 600 | no whole stride takes 600 DDIM steps out of a chain of 1000
        sample t.pt --sampler heun | argument --sampler: invalid choice
        sample t.pt --sampler ddpm --steps 2000 | do not fit a chain of 1000: choose 1 to 1000
        sample t.pt --t-max 0.9 | --t-max and --t-min go together, and with --sampler ddim
        sample t.pt --label 3 | no class 3: this model has 3 classes
        sample plain.pt --label 0 | no class 0: this model has no classes
        sample plain.pt --guidance 2 | this model has no classes: leave labels and guidance out
        sample t.pt --precision half | argument --precision: invalid choice
        sample t.pt --device abacus | no device 'abacus' here
        sample t.pt --out x.gif | --out x.gif: give a .png or an .npz, in a folder that exists
        sample large.pt --n 2 --steps 2 | the images of large.pt are not finite
        convert t.pt | the following arguments are required: --out
        convert bare.pt --out x.pt | bare.pt is no checkpoint of this project
        convert code.pt --arch about.json --out x.pt | code.pt is no PyTorch checkpoint
        convert t.pt --out taken | --out taken: give a new file, in a folder that exists
        convert bare.pt --arch no.json --out x.pt | --arch no.json: give a public model of
        convert bare.pt --arch short.json --out x.pt | with the keys T, arch,
        convert bare.pt --arch cifar10 --out x.pt | --arch cifar10: give a public model
        convert bare.pt --arch wrong.json --out x.pt | unexpected keyword argument 'num_channels'
        convert nested.pt --arch about.json --out x.pt | nested.pt: weights do not fit
        convert nan-bare.pt --arch about.json --out x.pt | not finite
        convert t.pt --T 300 --out x.pt | its chain of 1000 steps be a multiple
        convert vit.pt --T 100 --out x.pt | (arch unet; this is vit)""",
    "eval_fid.py": """
        nowhere.npz | nowhere.npz is not a readable .npz file (
        cut.npz | cut.npz is not a readable .npz file
        pickled.npz | pickled.npz is not a readable .npz file
        t.pt | t.pt has no images to score
        nothing.npz | nothing.npz has no images to score: give arr_0, uint8 (N, H, W, 3)
        float.npz | float.npz has no images to score
        rgba.npz | or 1 for gray (here: uint8 (12, 32, 32, 4))
        none.npz | none.npz has 0 images, and 1 are asked for
        large.npz | large.npz has images of 64 x 64, and --features cifar10 takes 32 x 32
        images.npz --n 13 | images.npz has 12 images, and 13 are asked for
        images.npz --ref large.npz | images of 32 x 32, the reference of 64 x 64
        images.npz --features resnet | argument --features: invalid choice
        images.npz --dataset mnist | argument --dataset: invalid choice
        images.npz --device abacus | no device 'abacus' here
        images.npz --data folder --features inception --inception-weights bare.pt | does not hold
        images.npz --features inception | cannot download https://github.com/mseitzer/pytorch-fid
        folder | no .png images in folder (JPEG would change the scores)
        text | cannot identify image file
        rgba | rgba/000.png is not 8-bit RGB or gray of 32 x 32
        mixed | mixed/b.png is not 8-bit RGB or gray of 32 x 32""",
}


class Code:
    def __reduce__(self):
        return os.system, ("touch code-was-run",)


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    """A folder of broken and hostile files, and of some that are good."""
    folder = tmp_path_factory.mktemp("bad")
    before = os.getcwd()
    os.chdir(folder)
    content = teachers.read(tiny("t.pt"))
    arguments, bare_weights, whole = content["arch_args"], content["weights"], Path("t.pt")
    Path("cut.pt").write_bytes(whole.read_bytes()[:whole.stat().st_size // 2])
    Path("text.pt").write_text("not a checkpoint\n")
    nan = bare_weights | {"out.2.bias": torch.full((6,), math.nan)}
    large = bare_weights | {"input_blocks.0.0.weight": torch.full((32, 3, 3, 3), 3e38)}
    made = dataclasses.asdict(boot.Config(t_max=0.99, guidance=(1.0,)))
    things = {"code": Code(), "list": [1, 2], "bare": bare_weights, "nan-bare": nan,
              "nested": {"ema": bare_weights}, "nan": content | {"weights": nan},
              "large": content | {"weights": large},
              "student": content | {"method": "boot", "config": made}}
    for name, thing in things.items():
        torch.save(thing, f"{name}.pt")
    for name, wrong in dict(narrow=dict(arch_args=arguments | {"model_channels": 64}),
                            huge=dict(arch_args=arguments | {"model_channels": 32 * 10**6}),
                            rows=dict(num_classes=7),
                            fixed=dict(learned_sigma=False), steps=dict(T=0),
                            noise=dict(predicts="noise")).items():
        torch.save(content | wrong, f"{name}.pt")
    plain = small_unet(attention_resolutions=(), channel_mult=(1,), out_channels=3)
    tiny("plain.pt", plain, classes=None, learned=False)
    rowless = small_unet(attention_resolutions=(), channel_mult=(1,), num_classes=3)
    tiny("rowless.pt", rowless)
    tiny("odd.pt", shape=(3, 9, 9))
    tiny_vit("vit.pt")
    about = {name: content[name] for name in teachers.DESCRIPTION}
    wrong = about | {"arch_args": arguments | {"num_channels": 32}}
    for name, thing in dict(about=about, wrong=wrong, short={"arch": "unet"}).items():
        Path(f"{name}.json").write_text(json.dumps(thing))

    for name in ("taken", "folder", "text", "mixed", "broken-run", "other-run"):
        Path(name).mkdir()
    Path("broken-run/last.pt").write_bytes(b"half")
    torch.save({"step": 3}, "other-run/last.pt")
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        boot.train(boot.Config("t.pt", steps=1, batch=2, compare=10, device="cpu", out="boot-run"))
        few = dict(steps=1, batch=2, compare=1, device="cpu", rho=0.005, student="vit-tiny")
        dkdm.train(dkdm.Config("t.pt", out="dkdm-run", **few))
        dkdm.train(dkdm.Config(tiny("moved.pt"), out="moved-run", **few))
    tiny("moved.pt", classes=5)  # another teacher in its place

    images = some_images()
    arrays = dict(images=images, large=some_images(size=64), rgba=images[..., [0, 1, 2, 0]],
                  float=images / np.float32(255), none=images[:0],
                  pickled=np.array([Code()], dtype=object))
    for name, array in arrays.items():
        np.savez(f"{name}.npz", arr_0=array)
    np.savez("nothing.npz", images=images)
    Path("cut.npz").write_bytes(Path("images.npz").read_bytes()[:-2000])
    Path("text/a.png").write_text("no")
    png_folder("rgba", images, mode="RGBA")
    Image.fromarray(images[0]).save("mixed/a.png")
    Image.fromarray(images[0, :, :16]).save("mixed/b.png")
    os.chdir(before)
    return folder


def refused(capsys, script, *arguments):
    """The one line with which a script refuses, in this process."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        teachers.run_script(SCRIPTS[script].main)
    *bars, line, end = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert stop.value.code == 2 and ": error: " in line and not end
    assert all("|" in bar or not bar.strip() for bar in bars), bars  # progress bars
    return line


def check_refusals(capsys, rows):
    """Each row a command line and a part of its answer; shows all that fail at once."""
    def seen():
        return {path: (path.stat().st_size, path.stat().st_mtime_ns)
                for path in Path().rglob("*") if not path.is_dir()}

    before, wrong = seen(), []
    for options, says in rows:
        try:
            line = refused(capsys, *options.split())
        except BaseException as error:  # whatever it is, it is no refusal
            line = repr(error)
        if says not in line or len(line) > 600 or seen() != before:
            wrong.append(f"{options}: {line.strip()}")
            before = seen()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("script", BAD)
def test_bad_input_is_refused_in_one_line(bad_files, monkeypatch, capsys, script):
    monkeypatch.chdir(bad_files)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(bad_files / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    rows = [row.strip().split("| ", 1) for row in BAD[script].strip().splitlines()]
    few = "--allow-few --features cifar10" if script == "eval_fid.py" else ""
    check_refusals(capsys, [(f"{script} {few} {options}", says) for options, says in rows])
    assert not Path("code-was-run").exists()


@pytest.mark.parametrize("command", OUTSIDE)
def test_values_outside_their_range_are_refused(bad_files, monkeypatch, capsys, command):
    monkeypatch.chdir(bad_files)
    pairs = [pair.split("=") for pair in OUTSIDE[command].split()]
    check_refusals(capsys, [(f"{command} --{name} {value}", f"--{name} is ")
                            for name, value in pairs])
    options, = (fields for name, fields in OPTIONS.items() if command.startswith(name))
    rows = BAD[command.split()[0]]
    for field in dataclasses.fields(options):
        name = field.name.replace("_", "-")
        if field.type in (int, float) or field.type is tuple:
            assert field.metadata["range"][0] > -math.inf and [name] in [p[:1] for p in pairs]
            assert field.type is int or [name, "nan"] in pairs
        elif field.type is not bool and not field.metadata.get("positional"):
            assert f"--{name} " in rows or name == "prompts"  # which is in extras


def test_a_configuration_in_python_is_held_to_the_same_ranges():
    for wrong in (dict(t_max=0.0), dict(steps=0), dict(guidance=(0.5, 2.0)), dict(lr=math.nan)):
        with pytest.raises(UserError, match="and must be"):
            boot.Config(**wrong)
