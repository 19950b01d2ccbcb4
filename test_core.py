"""Tests of the mathematics against closed forms and reference values, and of the scripts as users
meet them. Reference values without another source come from the papers' public code, run once on
inputs and weights that are made here by formulas."""

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
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import boot
import dkdm
import eval_fid
import teachers
import unet
import vit
from teachers import DiffusionModel, Schedule, UserError

ROOT = Path(__file__).resolve().parent
SCRIPTS = {"boot.py": boot, "dkdm.py": dkdm, "teachers.py": teachers, "eval_fid.py": eval_fid}
teachers.keep_freed_memory()
torch.set_num_threads(1)  # the networks here are small, and the machine may be busy


def run(script, *arguments):
    """Runs a script's command line in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *map(str, arguments)])
        teachers.run_script(SCRIPTS[script].main)


def noise(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def full(t, B=64):
    return torch.full((B,), t, dtype=torch.float64)


def close(actual, wanted, hint, **tolerances):
    """assert_close with a hint: tests named test_labN are the checks of the labs, docs/labs."""
    torch.testing.assert_close(actual, wanted, msg=lambda how: f"{hint}\n{how}", **tolerances)


def refuses(hint, function, *arguments):
    """Asserts that function(*arguments) raises UserError."""
    try:
        function(*arguments)
        did = "it raised nothing"
    except UserError:
        return
    except Exception as error:
        did = f"it raised {error!r}"
    raise AssertionError(f"{hint}: {did}")


# ------------------------------------------------------------------------------------------------
# A teacher whose paths have a closed form


class Gaussian:
    """The perfect teacher for points N(m, variance I), in two classes, each with a mean m.

    "No class" is a third such Gaussian. Because all have one variance, guidance with scale w gives
    the perfect teacher for the mean m_null + w (m_c - m_null).
    """

    image_shape, num_classes = (2,), 2

    def __init__(self, variance=0.3):
        self.schedule, self.variance = Schedule("cosine"), variance
        self.means = torch.tensor([[0.5, 0.2], [-0.5, 0.1], [0.3, -0.2]], dtype=torch.float64)

    def law(self, t, c, w):
        """Mean and standard deviation of x_t, and its levels alpha and sigma, each (B, 2)."""
        m = self.means[2].expand(len(t), 2)
        if c is not None:
            m = m + (1 if w is None else w[:, None]) * (self.means[c] - m)
        a, s = (level(t.double())[:, None] for level in (self.schedule.alpha, self.schedule.sigma))
        return a * m, (a**2 * self.variance + s**2).sqrt(), a, s

    def x0(self, x, t, c=None, guidance=None):
        mean, std, a, _ = self.law(t, c, guidance)
        return (mean / a + a * self.variance / std**2 * (x - mean)).to(x)

    def path(self, y_t, xi, t, s, c=None, w=None):
        """Exact y_s: on the path of a Gaussian, (x - mean) / std keeps its value."""
        mean_t, std_t, a_t, sigma_t = self.law(t, c, w)
        mean_s, std_s, a_s, sigma_s = self.law(s, c, w)
        x_s = mean_s + std_s / std_t * (a_t * y_t + sigma_t * xi - mean_t)
        return (x_s - sigma_s * xi) / a_s


GAUSSIAN = Gaussian()


# ------------------------------------------------------------------------------------------------
# Schedule


@pytest.mark.parametrize(("name", "index", "abar", "end"), [
    ("cosine", 499, math.cos(0.508 / 1.008 * math.pi / 2) ** 2
     / math.cos(0.008 / 1.008 * math.pi / 2) ** 2, 20291), ("linear", 0, 1 - 1e-4, 157)])
def test_schedules_have_the_published_values_and_keep_their_identities(name, index, abar, end):
    s = Schedule(name)
    assert s.alphas_cumprod[index].item() == pytest.approx(abar, rel=1e-9)
    assert s.alphas_cumprod[-1].item() ** -0.5 == pytest.approx(end, rel=5e-3)  # 1 / alpha
    assert Schedule("linear", 4000).alphas_cumprod[0].item() == pytest.approx(1 - 2.5e-5, rel=1e-9)
    t = torch.linspace(0.00123, 0.9987, 777, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(s.alpha(t) ** 2 + s.sigma(t) ** 2, torch.ones_like(t))
    torch.testing.assert_close(s.lam(t), -torch.log(s.alpha(t) / s.sigma(t)))
    derivative, = torch.autograd.grad(s.lam(t).sum(), t)
    torch.testing.assert_close(s.slope(t.detach()), derivative)
    assert s.slope(torch.tensor([0.0004, 0.0011]).double()).sign().tolist() == [0, 1]  # from 1/T on
    with pytest.raises(UserError, match="1000 levels"):
        Schedule(s.alphas_cumprod, 500)
    at = torch.arange(1, 1001, dtype=torch.float64) / 1000
    torch.testing.assert_close(s.alpha(at) ** 2, s.alphas_cumprod, rtol=1e-9, atol=0)
    between = (s.lam(at[:-1]) + s.lam(at[1:])) / 2  # linear between the indices
    torch.testing.assert_close(s.lam((at[:-1] + at[1:]) / 2), between)


# ------------------------------------------------------------------------------------------------
# BOOT against exact paths

ORDERS = {"euler": 1, "ddim": 1, "heun": 2, "midpoint": 2}


def test_lab1_the_path_starts_at_the_teachers_first_guess():
    """For points N(m, v I) that is E[x | alpha x + sigma noise = xi], by Bayes' rule."""
    xi, c, w = noise(64, 2), torch.arange(64) % 2, torch.linspace(1, 3, 64).double()
    teacher, t_max = Gaussian(), full(0.9)
    a, s = (level(t_max)[:, None] for level in (teacher.schedule.alpha, teacher.schedule.sigma))
    m = teacher.means[2] + w[:, None] * (teacher.means[c] - teacher.means[2])
    wanted = (m / teacher.variance + a / s**2 * xi) / (1 / teacher.variance + a**2 / s**2)
    teacher.means.requires_grad_(True)
    target = boot.boundary_target(teacher, xi, t_max, c, w)
    close(target, wanted, "the target is f(xi, t_max): the image that the teacher sees in the pure "
                          "noise xi at t_max, for class c and scale w")
    assert not target.requires_grad, "the target is a constant: no gradient goes into the teacher"


def test_lab2_a_step_moves_towards_the_teachers_image():
    """Where that image is constant DDIM's step is exact; from t to t there is nothing to do."""
    teacher, xi, y = Gaussian(variance=0.0), noise(64, 2), noise(64, 2, seed=1)
    for solver in boot.SOLVERS:
        still = boot.signal_ode_step(y, xi, full(0.5), full(0.5), teacher, solver)
        close(still, y, f"{solver}: at t = s the step must return y_t")
        step = boot.signal_ode_step(y, xi, full(0.5), full(0.49), teacher, solver)
        towards = ((step - y) * (teacher.means[2] - y)).sum()
        assert towards > 0, (
            f"{solver}: y moves away from f. lambda rises with t, and sampling runs t down: check "
            "the sign of lambda', and which of t and s comes first")
    for solver in ("ddim", "heun", "midpoint"):
        step = boot.signal_ode_step(y, xi, full(0.9), full(0.1), teacher, solver)
        close(step, teacher.path(y, xi, full(0.9), full(0.1)), f"{solver}: y_s = (1 - r) f + r y_t "
              "with r = exp(lambda_s - lambda_t) is exact for a constant f; so is its average with "
              "f at another time")
    refuses("an unknown solver raises UserError", boot.signal_ode_step, y, xi, full(0.9), full(0.1),
            teacher, "rk4")


class Asked:
    """A teacher whose image is t^2 everywhere, so that each step is known; notes its questions."""

    def __init__(self):
        self.schedule, self.questions = Schedule("cosine"), []

    def x0(self, x, t, c=None, guidance=None):
        self.questions.append((x, t, c, guidance))
        return teachers.per_sample(t**2, x).expand_as(x)


def solver_error(steps, solver):
    """The error of so many steps from t = 0.9 to 0.2 on a Gaussian's path, root mean square."""
    xi, y = noise(64, 2), GAUSSIAN.x0(noise(64, 2), full(0.9))
    exact = GAUSSIAN.path(y, xi, full(0.9), full(0.2))
    times = torch.linspace(0.9, 0.2, steps + 1, dtype=torch.float64)
    for t, s in zip(times[:-1], times[1:], strict=True):
        y = boot.signal_ode_step(y, xi, t.expand(64), s.expand(64), GAUSSIAN, solver)
    return (y - exact).square().mean().sqrt().item()


def test_lab2_where_each_solver_asks_and_what_it_makes_of_the_answer():
    y, xi, t, s = noise(64, 2), noise(64, 2, seed=1), full(0.8), full(0.6)
    c, w, schedule = torch.arange(64) % 2, torch.linspace(1, 3, 64).double(), Schedule("cosine")

    def ddim(image, end):
        r = (schedule.lam(end) - schedule.lam(t)).exp()[:, None]
        return image + r * (y - image)

    ends = {"euler": [], "ddim": [], "heun": [s], "midpoint": [full(0.7)]}  # of second questions
    answers = {"ddim": 0.64, "heun": (0.64 + 0.36) / 2, "midpoint": 0.49}
    for solver in boot.SOLVERS:
        teacher = Asked()
        step = boot.signal_ode_step(y, xi, t, s, teacher, solver, c, w)
        (x, at, _, _), *more = teacher.questions
        close(at, t, f"{solver}: at which time is the teacher asked first? At t")
        close(x, boot.noisy(y, xi, t, schedule), f"{solver}: the teacher is shown the noisy x_t = "
              "alpha_t y_t + sigma_t xi, not y_t")
        assert all(of is c and scale is w for _, _, of, scale in teacher.questions), (
            f"{solver}: each question to the teacher is for class c and scale w")
        if solver not in ends:  # one of your own
            continue
        assert len(more) == len(ends[solver]), (
            f"{solver}: euler and ddim ask the teacher once, the others twice")
        for (x, at, _, _), end in zip(more, ends[solver], strict=True):
            close(at, end, f"{solver}: at which time is the teacher asked again? heun asks at s, "
                  "midpoint at (t + s) / 2")
            close(x, boot.noisy(ddim(0.64, end), xi, end, schedule), f"{solver}: at which y is the "
                  "teacher asked again? At the one that ddim's step reaches there, noised with the "
                  "levels of that time")
        if solver in answers:
            close(step, ddim(answers[solver], s), f"{solver}: the last step starts at y_t, goes to "
                  "s and uses f of t (ddim), of both ends, averaged (heun), or of the middle")
    slope = math.pi / 1.008 / math.sin(0.808 / 1.008 * math.pi)  # of log tan, the cosine schedule
    step = boot.signal_ode_step(y, xi, t, s, Asked(), "euler")
    close(step, y + 0.2 * slope * (0.64 - y), "euler: y_s = y_t + (t - s) lambda'_t (f - y_t), "
          "with lambda' at t", rtol=0, atol=0.02)


def test_lab2_solvers_converge_at_their_order():
    """Half the step divides the error by 2^order."""
    for solver in boot.SOLVERS:
        assert solver in ORDERS, f"add the order of {solver} to ORDERS in test_core.py"
        ratio = solver_error(40, solver) / solver_error(80, solver)
        wanted = 2 ** ORDERS[solver]
        assert ratio == pytest.approx(wanted, rel=0.15), (
            f"{solver}: half the step divides the error by {ratio:.2f}, and should by {wanted}. At "
            "which time, at which y, and noised to which level, is the teacher asked?")


def test_lab3_a_student_on_the_exact_path_is_its_own_target():
    xi, c, w = noise(64, 2), torch.arange(64) % 2, torch.linspace(1, 3, 64).double()
    start = GAUSSIAN.x0(xi, full(0.98), c, w)

    def exact(xi, t, c=None, w=None):
        return GAUSSIAN.path(start, xi, full(0.98), t, c, w)

    t = torch.linspace(0.3, 0.9, 64, dtype=torch.float64)
    target = boot.bootstrap_target(exact, GAUSSIAN, xi, t, t - 0.02, "heun", c, w)
    close(target, exact(xi, t - 0.02, c, w), "the target starts at the student's y(xi, t) and "
          "takes one step of the signal-ODE to s, for class c and scale w", rtol=0, atol=2e-4)
    for solver, calls in (("ddim", 1), ("midpoint", 2)):
        teacher = Asked()
        boot.bootstrap_target(exact, teacher, xi, t, t - 0.02, solver, c, w)
        assert len(teacher.questions) == calls, "the step is that of the solver that was asked for"


def losses_of(student, teacher, xi, t, delta, c=None, w=1.0, t_max=0.98, solver="heun"):
    """boot.losses of a step from t to t - delta."""
    config = SimpleNamespace(t_max=t_max, delta=delta, solver=solver)
    return boot.losses(student, teacher, xi, t, t - delta, c, w, config)


class Mlp(nn.Module):
    """A student for points (B, D): three layers over xi, sinusoids of t and `more` numbers."""

    def __init__(self, D=2, more=0, width=128):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(D + 8 + more, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, D))

    def forward(self, xi, t, c=None, w=None):
        waves = t[:, None] * torch.pi * torch.arange(1, 5)
        known = [xi, waves.sin(), waves.cos()]
        if c is not None:
            known.append(torch.stack([c, w], dim=1))
        return self.net(torch.cat(known, dim=1).to(self.net[0].weight))


def test_lab3_gradient_flows_through_the_student_at_s_alone():
    torch.manual_seed(0)
    student, xi, teacher = Mlp(), noise(64, 2).float(), Gaussian(variance=0.0)  # steps are exact
    teacher.means.requires_grad_(True)
    t = torch.linspace(0.2, 0.9, 64)
    step = teacher.path(student(xi, t), xi, t, t - 0.1).float()
    by_hand = (student(xi, t - 0.1) - step.detach()).square().mean() / 0.1**2
    wanted = torch.autograd.grad(by_hand, list(student.parameters()))
    loss = losses_of(student, teacher, xi, t, 0.1)[0]
    close(loss, by_hand, "L^BS is wrong: the target starts at y(xi, t) and is one step further")
    loss.backward()
    close([p.grad for p in student.parameters()], list(wanted),
          "the target is a constant (SG): no gradient flows through y(xi, t)")
    assert teacher.means.grad is None, "no gradient flows into the teacher"


def test_every_weight_learns_in_bfloat16(tmp_path):
    """Autocast's cache loses gradients in torch 2.6, see DiffusionModel.call."""
    teacher = teachers.load_teacher(tiny(tmp_path / "t.pt")).in_precision("bf16")
    student, xi = boot.new_student(teacher, 0.02, 0.98), torch.randn(4, 3, 8, 8)
    sum(losses_of(student, teacher, xi, torch.full((4,), 0.5), 0.1, torch.arange(4) % 3)).backward()
    assert all(p.grad is not None for p in student.parameters())
    exact = dataclasses.replace(teacher, bf16=False).x0(xi, torch.full((4,), 0.5))
    error = (teacher.x0(xi, torch.full((4,), 0.5)) - exact).abs().max()
    assert 0 < error < 0.05  # it does compute in bfloat16


def test_one_hop_may_take_the_whole_path(tmp_path):
    """Though 0.9 - 0.8 is below 0.1 in floating point."""
    teacher = teachers.load_teacher(tiny(tmp_path / "t.pt"))
    for t_max, t_min, delta in ((0.9, 0.1, 0.8), (1.0, 0.1, 0.9), (0.99, 0.02, 0.97)):
        assert boot.hops(boot.Config(t_max=t_max, t_min=t_min, delta=delta).fitted(teacher)) == 1


@pytest.mark.parametrize(("which", "steps"), [("hops", 1000), ("all", 20)])
def test_a_small_student_learns_the_exact_path_of_each_class_and_scale(which, steps):
    """Measured over three seeds: 0.0004 at t_min, where it is 0.08 if told the middle scale, and
    0.0001 at t_max, where it is 0.0004 without the boundary loss (one seed). Of --times all, which
    differs in s alone, just that is tested."""
    times = []

    def losses(*args):
        times.append(args[3:5])
        return boot.losses(*args)

    torch.manual_seed(0)
    student, generator = Mlp(more=2), torch.Generator().manual_seed(0)
    average = copy.deepcopy(student).requires_grad_(False)
    config = boot.Config(steps=steps, batch=128, lr=3e-3, t_max=0.98, delta=1 / 12, ema=0.99,
                         guidance=(1.0, 3.0), times=which)
    optimizer = torch.optim.Adam(student.parameters(), betas=(0.9, 0.99))
    for step in range(config.steps):
        boot.training_step(student, GAUSSIAN, average, optimizer, *boot.rates(step, config), config,
                           generator, losses)
    # t = min(s + delta, t_max), and s is uniform in [t_min, t_max) or over the ends of hops
    t, s = (torch.cat(part) for part in zip(*times, strict=True))
    torch.testing.assert_close(t, (s + 1 / 12).clamp(max=0.98))
    assert s.min() >= 0.02 and s.max() < 0.98
    if which == "all":
        assert (torch.histc(s, 8, 0.02, 0.98) == 16 * steps).all()
        return
    ends, counts = s.unique(return_counts=True)
    torch.testing.assert_close(ends, 0.02 + torch.arange(12) / 12)
    assert counts.min() > 0.98 * counts.max()
    xi, c, w = noise(256, 2, seed=5), torch.arange(256) % 2, torch.linspace(1, 3, 256).double()
    start, end = full(0.98, 256), full(0.02, 256)

    def error(t, told):
        exact = GAUSSIAN.path(GAUSSIAN.x0(xi, start, c, w), xi, start, t, c, w)
        return (average(xi, t, c, told) - exact).square().mean().item()

    assert error(start, w) < 2e-4 and error(end, w) < 0.001 < 0.05 < error(end, full(2.0, 256))


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


def waves(*shape):
    return torch.sin(0.37 * torch.arange(math.prod(shape))).reshape(shape)


@pytest.mark.parametrize(("make", "options", "labels", "wanted"), [
    (small_unet, dict(num_heads=2, resblock_updown=True), None,
     [-1.02028, -0.17391, 0.22028, 0.411238]),
    (small_unet, dict(num_head_channels=32, num_classes=5), (1, 3),
     [-0.29784, 0.26336, 0.30735, 0.60566]),
    (small_unet, dict(num_res_blocks=2, attention_resolutions=(1, 4), channel_mult=(1, 1, 2),
                      num_classes=7, num_head_channels=16, resblock_updown=True,
                      use_scale_shift_norm=False, use_new_attention_order=True), (1, 3),
     [-0.70819, -0.85691, 0.25145, 0.477289]),
    (vit.ViT, dict(input_size=8, patch_size=2, in_channels=3, hidden_size=48, depth=2,
                   num_heads=3, num_classes=5), (1, 4), [0.36297, 0.07161, 0.3336, 0.342661]),
    (vit.ViT, dict(input_size=12, patch_size=4, in_channels=1, hidden_size=32, depth=1,
                   num_heads=2, mlp_ratio=2.0, num_classes=3, learn_sigma=False), (1, 2),
     [0.45841, -0.43909, -0.20479, 0.409205]),
])
def test_networks_agree_with_the_reference(make, options, labels, wanted):
    net, C, H = make(**options), options.get("in_channels", 3), options.get("input_size", 8)
    x, i, c = waves(2, C, H, H), torch.tensor([3, 700]), labels and torch.tensor(labels)
    assert net(x, i, c).abs().max() == 0  # so it starts
    fixed = {name: p.clone() for name, p in net.named_parameters() if name == "pos_embed"}
    fill(net).load_state_dict(fixed, strict=False)  # a ViT's positions keep their formula
    out, between = net(x, i, c), net(x, i + 0.5, c)  # with gradients: attention by the formula
    assert (out - between).abs().max() > 1e-4  # fractional indices differ
    got = [out[0, 0, 0, 0], out[0, -1, 4, 3], out[1, C - 1, 7, 7], out.abs().mean()]
    assert torch.stack(got).tolist() == pytest.approx(wanted, abs=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(net(x, i, c), out)  # by PyTorch's fused attention


def test_named_networks_have_the_published_number_of_parameters(capsys):
    """In millions: of improved DDPM, ADM, DiT (position table included), and of our small ones."""
    run("teachers.py", "list")
    shown = capsys.readouterr().out
    with torch.device("meta"):
        nets = {name: unet.UNet(3, out_channels=6, **size) for name, size in unet.SIZES.items()}
        nets |= {name: vit.ViT(32, in_channels=3, num_classes=11, **size)
                 for name, size in vit.SIZES.items()}
        for name, (_, note, about) in teachers.NAMED.items():
            assert f"{name}: {note}" in shown and note.startswith(("MIT", "CC"))
            if about is not None:
                nets[name] = teachers.ARCHITECTURES[about["arch"]](**about["arch_args"])
    millions = {name: round(sum(p.numel() for p in net.parameters()) / 1e6, 1)
                for name, net in nets.items()}
    assert millions == {
        "nano": 1.2, "tiny": 2.9, "adm-14m": 14.3, "adm-57m": 57.1, "iddpm-50m": 52.5,
        "iddpm-121m": 121.1, "adm-296m": 295.1, "adm-553m": 552.8, "vit-tiny": 2.9, "vit-s4": 32.5,
        "vit-s2": 32.6, "vit-b2": 129.7, "vit-l2": 457.1, "vit-xl2": 674.0, "iddpm-cifar10": 52.5,
        "iddpm-imagenet64": 121.1, "adm-imagenet64": 295.9, "adm-lsun-bedroom": 552.8,
        "ddpm-ip-cifar10": 57.1, "ddpm-ip-celeba64": 295.1, "ddpm-ip-imagenet32": 57.1,
        "dit-xl2": 675.1}


def wavy(x, i, c=None):
    """A stand-in network whose output, noise and variance interpolation, is a formula."""
    shift = i.float().reshape(-1, 1, 1, 1) / 1000
    return torch.cat([torch.sin(2 * x + shift), torch.cos(x - shift)], dim=1)


def sampled(schedule, sampler, steps, **options):
    """Two images (8,) that a sampler makes of noise that is a formula."""
    model = DiffusionModel(wavy, Schedule(schedule), (1, 2, 2), None, "eps", True)
    x_T = torch.sin(torch.arange(8.0) * 1.3).reshape(2, 1, 2, 2) * 1.5
    return getattr(model, sampler)(x_T, steps, **options).flatten()


def test_lab8_ddim_agrees_with_the_reference():
    wanted = [-0.20378, 1.0, 0.97373, -0.57563, -1.0, -0.17056, 1.0, -0.15362]
    close(sampled("cosine", "ddim", 10), torch.tensor(wanted), "ddim at ADM's indices: x0 is "
          "clipped, and eps is what the clipped x0 implies; p_mean_variance returns both", rtol=0,
          atol=1e-4)
    refuses("UserError where no stride gives as many indices", sampled, "cosine", "ddim", 300)
    model = DiffusionModel(lambda x, i: torch.full_like(x, 1.5), Schedule("cosine"), (1, 2, 2),
                           None, "x0", False)  # sees an image brighter than white in everything
    for times, wanted in (({}, 1.0), (dict(t_max=0.98, t_min=0.02), 1.5)):
        images = model.ddim(noise(2, 1, 2, 2), 4, **times)
        close(images, torch.full_like(images, wanted), "x0 is clipped at ADM's indices, whatever "
              "the model predicts, and from t_max to t_min where x0() clips it")


@pytest.mark.parametrize(("schedule", "steps", "wanted"), [
    ("cosine", 10, [-0.02518, -0.11673, -0.24543, -0.28951, -0.24861, -0.12431, -0.01772,
                    -0.08706]),
    ("linear", 7, [-0.34711, -0.55854, -0.70718, -0.14979, -0.36349, 0.13597, -0.16075, -0.5598]),
])
def test_ancestral_sampling_agrees_with_the_reference(schedule, steps, wanted):
    noises = torch.cos(torch.arange(8.0 * steps)).reshape(steps, 2, 1, 2, 2)
    images = sampled(schedule, "ddpm", steps, noises=noises)
    torch.testing.assert_close(images, torch.tensor(wanted), rtol=0, atol=1e-4)


def test_all_three_predictions_mean_the_same_image():
    """One denoiser, f(x) = x / 2, asked for as noise, image and v, at indices and times."""
    x, i = 0.4 * noise(5, 3, 4, 4).float(), torch.tensor([0, 10, 500, 900, 980])
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
    guided = [4 + 3 * (1 - 4), 4 + 3 * (2 - 4)]
    assert out[:, 0, 0, 0].tolist() == guided, "f = f(x, null) + w (f(x, c) - f(x, null))"
    assert out[:, 1, 0, 0].tolist() == [2, 3], "the variance is the class's own, not guided"
    assert teacher.eps_form(x, i)[:, 0, 0, 0].tolist() == [4, 4]
    each = teacher.eps_form(x, i, c, guidance=torch.tensor([1.0, 3.0]))  # a scale for each sample
    assert each[:, 0, 0, 0].tolist() == [1, 4 + 3 * (2 - 4)]


def test_lab8_ddim_makes_each_class_at_its_scale():
    """A network that sees one gray in all noise of a class; "no class" is label 2."""
    asked, at, (c, w) = [], [], (torch.tensor([0, 1]), torch.tensor([1.5, 2.0]))

    def net(x, i, c):
        asked.append(c.tolist())
        at.append((i[0].item() + 1) / 1000)
        return (0.2 * c - 0.1).reshape(-1, 1, 1, 1).expand_as(x)

    model = DiffusionModel(net, Schedule("cosine"), (1, 2, 2), 2, "x0", False)
    path = dict(t_max=0.98, t_min=0.02)
    for times, steps, wanted in (
            ({}, 4, [0.751, 0.501, 0.251, 0.001]), ({}, 3, [0.669, 0.335, 0.001]),
            (path, 4, [0.98, 0.66, 0.34, 0.02])):
        images = model.ddim(noise(2, 1, 2, 2).float(), steps, c, w, **times)
        assert len(asked) == steps, "as many calls of the teacher as steps"
        assert asked == steps * [[0, 1, 2, 2]], "each call is for class c and scale w"
        assert at == pytest.approx(wanted), (
            "at ADM's indices the last call is at index 0 and they are the smallest k apart that "
            "gives as many; with t_max and t_min, the first call is at t_max, the last at t_min")
        close(images[:, 0, 0, 0], torch.tensor([-0.3, -0.1]), "the image is the last call's x0",
              rtol=0, atol=1e-4)
        asked.clear()
        at.clear()


@pytest.mark.parametrize(("t_max",), [(0.98,), (0.6,)])
def test_lab8_ddim_on_the_path_that_boot_learns(t_max):
    """Calls from t_max to t_min against the last x0 on a Gaussian's exact path from x = xi."""
    xi, t, s, teacher = noise(32, 2), full(t_max, 32), full(0.02, 32), GAUSSIAN

    def net(x, i, c=None):
        return teacher.x0(x.flatten(1), (i + 1) / 1000).reshape(x.shape)

    model = DiffusionModel(net, teacher.schedule, (2, 1, 1), None, "x0", False)
    start = xi * (1 - teacher.schedule.sigma(t[:1])) / teacher.schedule.alpha(t[:1])  # x_t is xi
    wanted = teacher.x0(boot.noisy(teacher.path(start, xi, t, s), xi, s, teacher.schedule), s)
    for sampler, order, worst in ((model.ddim, 1, 0.02), (model.dpm_solver, 2, 0.001)):
        images = (sampler(xi.reshape(32, 2, 1, 1), n, t_max=t_max, t_min=0.02) for n in (50, 200))
        error = [(image.flatten(1) - wanted).abs().max() for image in images]
        assert error[1] < worst, (
            f"order {order}: x = alpha x0 + sigma eps at the next time, from x_T as it is")
        assert error[0] / error[1] == pytest.approx(4**order, rel=0.2), f"not of order {order}"


# ------------------------------------------------------------------------------------------------
# DKDM: losses and pool


def other_wavy(x, i, c=None):
    """A stand-in student that nearly agrees with wavy."""
    shift = i.float().reshape(-1, 1, 1, 1) / 1000
    return torch.cat([torch.sin(2.1 * x + shift), torch.cos(1.2 * x + shift)], dim=1)


def known(x0, variance, x, i, schedule):
    """An output in eps form for x at i: of an image x0, and a variance interpolation or None."""
    alpha, sigma = schedule.levels(i, x)
    eps = (x - alpha * x0) / sigma
    return eps if variance is None else torch.cat([eps, torch.full_like(x, variance)], dim=1)


def test_lab5_l_vlb_is_a_kl_of_gaussians():
    """Values of torch.distributions.kl_divergence, in bits, for teacher's and student's x0."""
    x, i, schedule = noise(3, 1, 2, 2), torch.tensor([1, 5, 20]), Schedule("cosine")
    means = [58.78918, 5.044043, 0.2891236]
    for teacher, student, wanted, hint in (
            ((0.5, 0.2), (0.5, 0.2), [0, 0, 0], "of two equal Gaussians the KL is 0"),
            ((0.5, 0.2), (0.4, 0.2), means, "of equal variances the KL is the mean of (mean_T - "
             "mean_S)^2 / (2 variance), where variance = exp(log_variance)"),
            ((0.5, None), (0.4, None), [43.54704, 4.60287, 0.2804504],
             "without a learned variance an output has C channels"),
            ((0.5, 0.2), (0.5, -0.4), [0.01972502, 0.001739156, 0.0001896401],
             "of equal means: KL(p_T || p_S), the teacher first"),
            ((1.5, 0.2), (0.8, 0.2), [235.1567, 20.17617, 1.156494], "the teacher's x0 is clipped"),
            ((0.8, 0.2), (1.5, 0.2), [2880.67, 247.1581, 14.16706], "the student's x0 is free")):
        outputs = (known(*what, x, i, schedule) for what in (student, teacher))
        simple, vlb = dkdm.dkdm_loss(*outputs, x, i, schedule)
        assert simple.shape == vlb.shape == (3,), "one number for each sample"
        in_nats = torch.allclose(vlb, math.log(2) * torch.tensor(means).double())
        assert not in_nats, "this is the KL in nats: give it in bits"
        close(vlb, torch.tensor(wanted).double(), hint, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(("schedule", "wanted", "fixed"), [
    ("cosine", [146.8614, 206.218, 0.0002002554, 0.001972829, 712.2076],
     [214.7692, 144.5042, 0.0001992351, 0.001970118, 712.2063]),
    ("linear", [57.64489, 84.58414, 9.94121e-05, 0.006176383, 0.01438623],
     [82.65548, 58.21632, 9.896533e-05, 0.006175958, 0.01438626]),
])
def test_lab5_the_loss_agrees_with_the_released_code(schedule, wanted, fixed):
    """And without a learned variance, fixed, with torch.distributions.kl_divergence."""
    x = torch.sin(torch.arange(20.0) * 1.1).reshape(5, 1, 2, 2) * 1.3
    i, schedule = torch.tensor([0, 1, 250, 700, 999]), Schedule(schedule)
    simple, vlb = dkdm.dkdm_loss(other_wavy(x, i), wavy(x, i), x, i, schedule)
    squares = [0.002665255, 0.006107469, 0.003010632, 0.004876165, 0.006023907]
    close(simple, torch.tensor(squares), "L_simple is || eps_T - eps_S ||^2, a mean over each "
          "sample; eps is the first C channels", rtol=1e-5, atol=0)
    close(vlb, torch.tensor(wanted), "L_vlb, where means, variances and clipping all differ: mend "
          "what the check above finds first", rtol=1e-4, atol=3e-8)
    x = x.double()
    outputs = (network(x, i)[:, :1] for network in (other_wavy, wavy))
    _, vlb = dkdm.dkdm_loss(*outputs, x, i, schedule)
    close(vlb, torch.tensor(fixed).double(), "L_vlb, with C channels of output", rtol=1e-6, atol=0)


def test_lab5_gradients_go_where_they_should():
    """From L_vlb to the student's variance alone, from L_simple to its mean, to no teacher."""
    x, i = noise(5, 1, 2, 2), torch.tensor([0, 1, 250, 700, 999])
    student_out, teacher_out = other_wavy(x, i).requires_grad_(), wavy(x, i).requires_grad_()
    simple, vlb = dkdm.dkdm_loss(student_out, teacher_out, x, i, Schedule("cosine"))
    assert simple.requires_grad and vlb.requires_grad, (
        "all is detached: L_simple must reach the student's eps, and L_vlb its variance")
    of_simple, = torch.autograd.grad(simple.sum(), student_out, retain_graph=True)
    of_vlb, = torch.autograd.grad(vlb.sum(), student_out, retain_graph=True)
    assert of_simple[:, 1:].abs().max() == 0 < of_simple[:, :1].abs().min(), "L_simple: eps alone"
    assert of_vlb[:, :1].abs().max() == 0, "L_vlb teaches the variance: detach the student's mean"
    assert of_vlb[:, 1:].abs().min() > 0, "L_vlb must reach the student's variance"
    of_teacher = torch.autograd.grad(simple.sum() + vlb.sum(), teacher_out, allow_unused=True)
    assert of_teacher == (None,), "no gradient goes into the teacher"


@pytest.mark.parametrize("predicts", ["eps", "v", "x0"])
def test_the_weight_makes_it_the_error_of_what_the_student_predicts(predicts):
    schedule, x = Schedule("cosine"), noise(5, 1, 2, 2)
    i = torch.tensor([0, 10, 500, 900, 990])
    mine, theirs = (DiffusionModel(lambda x, i, k=k: k * x**2, schedule, (1, 2, 2), None, predicts,
                                   False) for k in (1.0, 1.1))
    simple, _ = dkdm.dkdm_loss(mine.eps_form(x, i), theirs.eps_form(x, i), x, i, schedule)
    weighted = dkdm.simple_weight(predicts, i, x, schedule) * simple
    wanted = (0.1 * x**2).square().flatten(1).mean(1)
    torch.testing.assert_close(weighted, wanted, rtol=1e-3, atol=0)


@pytest.mark.parametrize("predicts", ["v", "x0"])
def test_a_student_of_a_noise_teacher_learns_its_clipped_image(monkeypatch, predicts):
    """Near pure noise 1 / alpha is 20,000: unclipped, the error there would be all of the loss."""
    schedule, i = Schedule("cosine"), torch.tensor([999, 990, 500])
    image = torch.full((3, 1, 2, 2), 5.0).double()
    alpha, sigma = schedule.levels(i, image)
    x = alpha * image + sigma * noise(3, 1, 2, 2)

    def model(predicts, out):
        return DiffusionModel(lambda x, i: out, schedule, (1, 2, 2), None, predicts, False)

    teacher = model("eps", (x - alpha * image) / sigma)
    student = model(predicts, torch.zeros_like(x))
    pool = SimpleNamespace(draw=lambda *_: None, at=lambda _: (x, i, None), advance=lambda *_: None)
    monkeypatch.setattr(dkdm, "update", lambda *_: None)  # nothing here can learn
    config = dkdm.Config(lambda_vlb=0.0)
    simple, _ = dkdm.training_step(student, teacher, pool, None, None, 1e-4, 0.9, config, None)
    right = {"x0": torch.ones_like(x), "v": (alpha * x - 1) / sigma}[predicts]  # x0 is 1, clipped
    full = {"x0": (sigma / alpha)**2, "v": alpha**-2}[predicts]  # weight; where it is above 6^2:
    error = (36 / full).clamp(max=1) * right.square()
    assert simple.item() == pytest.approx(error.mean().item(), rel=1e-3)


def new_pool(size, num_classes=3, shape=(1, 2, 2), T=1000):
    generator = torch.Generator().manual_seed(0)
    return dkdm.Pool(size, shape, T, num_classes, 0.25, generator), generator


def test_lab4_an_entry_moves_one_index_arrivals_restart_and_the_others_stay():
    pool, generator = new_pool(8000)
    pool.i, pool.c = torch.arange(8000) % 4 * 250, torch.zeros(8000).long()  # at 0 they arrive
    schedule = Schedule("cosine")
    before, rows = copy.deepcopy(pool.state_dict()), pool.draw(4000, generator)
    assert len(rows.unique()) == 4000 and not torch.equal(rows, pool.draw(4000, generator))
    assert pool.draw(8000, generator).tolist() == list(range(8000))
    x, i, _ = pool.at(rows)
    out = known(3.0, 0.2, x, i, schedule)  # an image far outside [-1, 1]
    again, state = copy.deepcopy(pool), generator.get_state()
    pool.advance(rows, out, schedule, generator)
    again.advance(rows, out, schedule, generator.set_state(state))
    assert all(torch.equal(part, again.state_dict()[name]) for name, part in
               pool.state_dict().items()), "noise and labels are drawn from the generator"
    others = torch.ones(8000, dtype=torch.bool).index_fill(0, rows, False)
    for name, was in before.items():
        assert torch.equal(pool.state_dict()[name][others], was[others]), f"{name} of other entries"
    now, now_i, now_c = pool.at(rows)
    moved = i > 0
    close(now_i, torch.where(moved, i - 1, 999), "i falls by 1; from 0 it restarts at T - 1")
    assert (now_c[moved] == 0).all(), "an entry keeps its label on its way"
    # where they went: the Gaussian step, its noise standard normal; or fresh noise
    mean, log_variance, _, _ = schedule.p_mean_variance(out, x, i)
    for z, hint in ((((now - mean) / (log_variance / 2).exp())[moved], "mean plus std times noise; "
                     "the std is exp(log_variance / 2), and x0 is clipped"),
                    (now[~moved], "arrivals restart from noise N(0, I)")):
        n = z.numel()
        assert abs(z.mean()) < 4 / n**0.5 and abs(z.std() - 1) < 4 / (2 * n) ** 0.5, hint
    assert not torch.equal(now[~moved], x[~moved]), "arrivals restart from new noise"
    share = torch.bincount(now_c[~moved]) / (~moved).sum()  # three classes and "no class", 25 %
    assert (share - 0.25).abs().max() < 4 * (0.25 * 0.75 / 1000) ** 0.5, "arrivals: a new label"
    pool.c = pool.num_classes = None
    pool.i.zero_()
    try:
        pool.advance(rows, out, schedule, generator)
    except TypeError:
        raise AssertionError("without classes arrivals have no labels, either") from None
    assert pool.c is None and (pool.i[rows] == 999).all(), "without classes there are no labels"


class GaussianNet(nn.Module):
    """The exact noise prediction for pixels N(0.2, 0.25^2); notes how many images it is given."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.calls = schedule, 0
        self.anchor = nn.Parameter(torch.zeros(()))  # a model's device is that of its parameters

    def forward(self, x, i, c=None):
        assert len(x) > 0  # other networks take no empty batch
        alpha, sigma = self.schedule.levels(i, x)
        self.calls += len(x)
        return sigma * (x - 0.2 * alpha) / (alpha**2 * 0.25**2 + sigma**2)


def gaussian_teacher():
    schedule = Schedule("cosine")
    return DiffusionModel(GaussianNet(schedule), schedule, (1, 4, 4), None, "eps", False)


@pytest.mark.parametrize("fill", ["paper", "strided"])
def test_filling_has_the_exact_marginals(fill, monkeypatch):
    """For Gaussian data x_i is Gaussian too: in units of its law, mean 0 and variance 1.

    Strided, 20 entries share a path, and the same mean: that many entries count as one.
    """
    size, alike = 3000, 20 if fill == "strided" else 1
    monkeypatch.setattr(DiffusionModel, "at_once", 1000)  # the images are small
    teacher = gaussian_teacher().respaced(500)
    pool, generator = new_pool(size, num_classes=None, shape=(1, 4, 4), T=500)
    dkdm.FILL[fill](pool, teacher, generator)
    calls = size / 20 * 249 if fill == "strided" else size * 499 / 2  # T - 1 - i for each entry
    assert teacher.net.calls == pytest.approx(calls, rel=0.04)
    alpha, sigma = teacher.schedule.levels(pool.i, pool.x.double())
    z = (pool.x.double() - 0.2 * alpha) / (alpha**2 * 0.25**2 + sigma**2).sqrt()
    counts = torch.bincount(pool.i // 50, minlength=10)
    assert counts.sub(size / 10).abs().max() < 4.5 * (size / 10 * 0.9) ** 0.5
    for tenth in range(10):
        part = z[pool.i // 50 == tenth]
        n = part.numel() / alike
        assert abs(part.mean()) < 4 / n**0.5
        assert abs(part.std() - 1) < 4 / (2 * n) ** 0.5 + 0.01  # 1 % for steps of finite size


@pytest.mark.parametrize("T", [2, 4])
def test_strided_filling_of_a_short_chain_is_noise_at_its_end_alone(T):
    """At T - 2 alpha is 0.70 and 0.38, and so much of the data's mean is there."""
    teacher = gaussian_teacher().respaced(T)
    pool, generator = new_pool(3000, num_classes=None, shape=(1, 4, 4), T=T)
    dkdm.strided_denoise(pool, teacher, generator)
    for i in (T - 1, T - 2):
        x = pool.x[pool.i == i].double()
        alpha, _ = teacher.schedule.levels(torch.tensor([i]), x)
        assert abs(x.mean() - 0.2 * alpha) < 4 / x.numel() ** 0.5


@pytest.mark.parametrize(("size", "T"), [(37, 100), (7, 5), (3, 1)])
def test_strided_filling_of_any_size_and_chain(size, T):
    """An entry's label and the place it stands at are those of its path: pixels tell which."""
    teacher = dataclasses.replace(gaussian_teacher().respaced(T), num_classes=3)
    pool, generator = new_pool(size, shape=(1, 4, 4), T=T)
    pool.i.fill_(-1)
    dkdm.strided_denoise(pool, teacher, generator)
    each = min(20, (T + 1) // 2)
    assert pool.i.min() >= 0 and pool.i.max() < T and pool.x.isfinite().all()
    for path in range(0, size, each):
        i, c = pool.i[path:path + each], pool.c[path:path + each]
        assert len(i.unique()) == len(i) and len(c.unique()) == 1


def test_a_small_student_learns_its_teacher(monkeypatch):
    """Pixels N(0.2, 0.25^2), a student of three layers, 600 steps. Measured over five seeds at the
    worst of ten indices: 0.0041 to 0.0049. The limit leaves twice that."""
    torch.manual_seed(0)
    monkeypatch.setattr(DiffusionModel, "at_once", 1000)  # the images are small
    teacher = gaussian_teacher().respaced(100)

    class Points(Mlp):
        def forward(self, x, i, c=None):
            return super().forward(x.flatten(1), (i + 1) / 100).reshape(x.shape)

    student = dataclasses.replace(teacher, net=Points(D=16), stride=1)
    fresh, average = copy.deepcopy(student), copy.deepcopy(student)
    average.net.requires_grad_(False)
    config = dkdm.Config(steps=600, batch=128, lr=2e-3, lambda_vlb=0.0, ema=0.98)
    pool, generator = new_pool(dkdm.pool_size(config, 100), None, (1, 4, 4), T=100)
    dkdm.shuffle_denoise(pool, teacher, generator)
    optimizer = torch.optim.Adam(student.net.parameters(), betas=(0.9, 0.99))
    for step in range(config.steps):
        dkdm.training_step(student, teacher, pool, average, optimizer, *dkdm.rates(step, config),
                           config, generator)
    error, untrained = (dkdm.compare(model, teacher, config)
                        for model in (average, fresh))
    assert len(error) == 10 and max(error.values()) < 0.01 < 0.5 < max(untrained.values())


# ------------------------------------------------------------------------------------------------
# Scores


def spread(x):
    """Mean and covariance of rows."""
    return x.mean(0), np.cov(x, rowvar=False)


def test_scores_agree_with_the_reference_implementations():
    """Values of pytorch-fid 0.3.0 and torch-fidelity 0.4.0, which swaps precision and recall."""
    rng = np.random.RandomState(3)  # NumPy keeps this stream for good
    mix = rng.standard_normal((6, 6))
    ref, samples = rng.standard_normal((60, 6)) @ mix, 0.8 * rng.standard_normal((50, 6)) @ mix
    samples, logits = samples + 0.5, torch.from_numpy(2 * rng.standard_normal((40, 7)))
    distance = eval_fid.frechet_distance(*spread(samples), *spread(ref))
    assert distance == pytest.approx(3.9509920017796, rel=1e-10)
    score = eval_fid.inception_score(logits.softmax(1), 2)
    assert score == pytest.approx(2.110900693137248, rel=1e-10)
    ref, samples = torch.from_numpy(ref), torch.from_numpy(samples)
    both = eval_fid.precision_recall(ref, samples, block=7)
    assert both == pytest.approx((0.96, 0.7), abs=1e-6)
    kid = eval_fid.kernel_distance(ref[:50], samples, 2, 50)
    assert kid == pytest.approx(-1.45110515492865, rel=1e-10)


def test_lab6_frechet_distances_by_hand():
    def distance(mu1, s1, mu2, s2):
        moments = (torch.tensor(np.array(x, dtype=float)) for x in (mu1, s1, mu2, s2))
        try:
            found = eval_fid.frechet_distance(*moments)
        except torch.linalg.LinAlgError:
            raise AssertionError("it takes the root of an eigenvalue that rounding made negative: "
                                 "those count as 0, of sigma1 and of the product") from None
        assert type(found) is float, "the distance is a float"
        return found

    one, four = [[1, 0], [0, 1]], [[4, 0], [0, 4]]
    assert distance([0, 0], one, [0, 0], four) == pytest.approx(2), "tr(S1 + S2 - 2 (S1 S2)^(1/2))"
    assert distance([0, 0], one, [3, 4], one) == pytest.approx(25), "|| mu1 - mu2 ||^2"
    # two rows: tr (AB)^(1/2) = (tr AB + 2 det(AB)^(1/2))^(1/2), for any two covariances
    a, b = np.array([[2, 0.7], [0.7, 1]]), np.array([[1, -0.4], [-0.4, 3]])
    root = math.sqrt(np.trace(a @ b) + 2 * math.sqrt(np.linalg.det(a @ b)))
    assert distance([0, 0], a, [0, 0], b) == pytest.approx(2 + 1 + 1 + 3 - 2 * root), (
        "the root is that of a matrix, not of each of its entries")
    mu, sigma = spread(np.random.RandomState(0).standard_normal((20, 300)))  # rank 19
    assert distance(mu, sigma, mu + 1, sigma) == pytest.approx(300, abs=1e-4), (
        "a covariance of less than full rank, as from fewer images than features")


def test_scores_of_simple_cases_by_hand():
    line = torch.arange(10.0)[:, None]  # balls of radius 3 at the ends, 2 between
    outside = torch.tensor([-3.0, -3.1, 11.9, 12.1])[:, None]
    assert eval_fid.precision_recall(line, outside) == (0.5, 1)
    for probs, wanted in ((torch.eye(10).repeat(6, 1), 10), (torch.full((60, 10), 0.1), 1)):
        assert eval_fid.inception_score(probs, 3) == pytest.approx(wanted)  # sure, and clueless


def test_inception_agrees_with_the_reference(tmp_path, capsys):
    """torch-fidelity 0.4.0 from uint8, and pytorch-fid 0.3.0's network at 299: the same values."""
    plain, path, rng = eval_fid.FIDInception(), tmp_path / "net.pth", np.random.RandomState(0)
    for name, w in sorted(plain.state_dict().items()):
        if w.is_floating_point():
            draw = torch.from_numpy(rng.standard_normal(tuple(w.shape))).float()
            bias = 0.1 * draw + name.endswith("bn.weight")
            wide = draw * math.sqrt(2 / w[0].numel()) if w.ndim > 1 else bias
            w.copy_(0.5 + draw.square() if name.endswith("running_var") else wide)
    torch.save(plain.eval().state_dict(), path)
    rng = np.random.RandomState(7)
    small = torch.from_numpy(rng.randint(0, 256, (2, 3, 32, 32)).astype(np.uint8))
    large = torch.from_numpy(rng.randint(0, 256, (1, 3, 299, 299)).astype(np.uint8))
    config = eval_fid.Config(inception_weights=str(path))
    folded = eval_fid.load_network(config, torch.device("cpu"))  # as it is used
    assert "not the public Inception file" in capsys.readouterr().err
    for net in (plain, folded):
        with torch.no_grad():
            (pool, spatial, probs), (wide, _, _) = net(small), net(large)
        got = [*pool[0, [0, 5, 100, 2047]], pool.mean(), *spatial[0, [0, 2022]], spatial.mean(),
               *probs[0, [204, 900]], probs.square().sum(), *wide[0, [0, 2047]], wide.mean()]
        assert torch.stack(got).tolist() == pytest.approx(
            [0.013389, 0.221296, 0.044962, 2.235833, 1.233328, 1.786553, 0.832989, 1.349519,
             0.180210, 0.140176, 0.148861, 0.035827, 4.294164, 2.247434], abs=2e-5)


def score(samples, **options):
    """Scores of few images with the network that ships, {name without its suffix: value}."""
    config = dict(samples=str(samples), features="cifar10", allow_few=True, device="cpu")
    result = eval_fid.score(eval_fid.Config(**config | options))
    return {name.split("-")[0]: value for name, value in result["scores"].items()}


def some_images(n=12, size=32):
    """Smooth coloured images, uint8 (n, size, size, 3)."""
    x = nn.functional.interpolate(noise(n, 3, 4, 4, seed=5), size)
    return teachers.to_uint8(x / 2).permute(0, 2, 3, 1).numpy()


def test_the_same_images_score_the_same_in_whatever_file(tmp_path, monkeypatch, capsys):
    """Also as statistics: EDM's and clean-fid's files hold mu and sigma; ADM's also mu_s, sigma_s
    and some images."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    images, npz, ref = some_images(), tmp_path / "images.npz", tmp_path / "ref.npz"
    np.savez(npz, arr_0=images)
    scores, folder = score(npz), tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for k, image in enumerate(images):
        name = f"{k:03d}.{('png', 'PNG', 'bmp', 'tga')[k % 4]}"
        Image.fromarray(image).save(folder / ("more" if k > 5 else "") / name)
    assert list(scores) == ["FID", "sFID", "IS", "precision", "recall", "KID"]
    assert score(folder, batch=5) == pytest.approx(scores, rel=1e-5)
    np.save(tmp_path / "images.npy", images)
    assert score(tmp_path / "images.npy") == scores
    np.savez(ref, samples=np.pad(images[:8], [(0, 0)] * 3 + [(0, 1)], constant_values=255),
             made_by="me")  # as score_sde calls them, and with alpha
    assert score(npz, n=8) == pytest.approx(score(ref), rel=1e-6)
    own = score(npz, ref=str(folder))
    assert abs(own["FID"]) < 1e-4 and abs(own["sFID"]) < 1e-3
    assert own["precision"] == own["recall"] == 1
    stored, = (tmp_path / "hub/eval_fid").glob("*.npz")  # the reference's statistics were kept
    assert score(npz, ref=str(stored)) == pytest.approx(own)
    (tmp_path / "file").touch()
    with monkeypatch.context() as patch:  # a place where nothing can be kept
        patch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "file"))
        assert score(npz, ref=str(folder)) == pytest.approx(own)
    assert "cannot be kept" in capsys.readouterr().err
    with np.load(stored) as arrays:
        covariance = np.cov(arrays["features"].astype(float), rowvar=False)
        np.testing.assert_allclose(arrays["sigma"], covariance, rtol=1e-6, atol=1e-9)
    with np.load(eval_fid.CIFAR10NET_TRAIN) as arrays:
        known = {name: arrays[name] for name in ("mu", "sigma", "mu_s", "sigma_s")}
    np.savez(ref, mu=known["mu"].astype(">f8"), sigma=known["sigma"], count=[50_000])
    edm = score(npz, ref=str(ref))
    assert edm["FID"] == pytest.approx(scores["FID"]) and list(edm) == ["FID", "IS"]
    assert "does not say how images were resized" in capsys.readouterr().err
    np.savez(ref, arr_0=some_images(8), **known)
    adm = score(npz, ref=str(ref))
    assert adm["FID"] == pytest.approx(scores["FID"]) and list(adm) == list(scores)
    assert "does not say" not in capsys.readouterr().err
    np.savez(ref, **known, network=np.array("another"))
    with pytest.raises(UserError, match="ref.npz"):
        score(npz, ref=str(ref))


def test_transparent_pictures_lie_on_white_and_no_file_is_skipped(tmp_path, capsys, monkeypatch):
    """Red at half alpha has 255 - 128 of green and blue; a palette's and an RGB file's alpha."""
    clear, solid, exif = (255, 0, 0, 128), (255, 0, 0, 255), Image.Exif()
    pixels = np.array([[clear, solid], [(9, 9, 9, 0), (0, 0, 9, 255)]], np.uint8)
    wanted = [[[255, 127, 127], [255, 0, 0]], [[255, 255, 255], [0, 0, 9]]]
    assert eval_fid.on_white(pixels).tolist() == wanted
    exif[274] = 6  # to be turned by 90 degrees to the right
    Image.fromarray(pixels).rotate(90).save(tmp_path / "a.png", exif=exif)
    palette = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8)).convert("P")
    palette.putpalette([255, 0, 0, 255, 0, 0, 9, 9, 9, 0, 0, 9])
    palette.save(tmp_path / "b.PNG", transparency=bytes([128, 255, 0, 255]))
    opaque = Image.fromarray(pixels[..., :3])
    opaque.save(tmp_path / "c.png", transparency=(9, 9, 9))
    for name in ("notes.txt", ".DS_Store"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "empty").mkdir()
    images, about = eval_fid.open_images(tmp_path)
    assert images[:2].permute(0, 2, 3, 1).tolist() == [wanted] * 2 and about["format"] == "PNG"
    assert images[2, :, 1, 0].tolist() == [255] * 3 and images[2, :, 0, 0].tolist() == [255, 0, 0]
    assert ": .DS_Store, empty, notes.txt\n" in capsys.readouterr().err
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / ".hub"))
    for k, image in enumerate(some_images()):
        Image.fromarray(image).save(tmp_path / f"empty/{k}.jpg")
    folder = str(tmp_path / "empty")
    run("eval_fid.py", folder, *f"--ref {folder} --features cifar10 --allow-few".split())
    shown = capsys.readouterr()
    assert shown.out.count("format JPEG") == 2 and "lossy" in shown.err


def test_a_score_tells_pictures_from_noise_and_says_of_what_it_is(tmp_path, capsys, monkeypatch):
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
    run("eval_fid.py", "student.npz", *"--features cifar10 --allow-few --device cpu".split())
    shown = capsys.readouterr()
    for part in (f"FID-cifar10net@64 {fid['student']:.4g}", "KID-", "count 64", "cifar10 train",
                 "count 50000", "cifar10-boot", "sampler BOOT, steps 1, guidance 2", "seed 4",
                 eval_fid.sha256(teachers.WEIGHTS / "cifar10_boot.pt")[:8],
                 eval_fid.sha256(eval_fid.CIFAR10NET)[:8], "resize none", torch.__version__):
        assert part in shown.out, part
    assert shown.out.count("\n") == 1 and "only with each other" in shown.err


# ------------------------------------------------------------------------------------------------
# What ships, and what is written about it


@pytest.mark.parametrize(("name", "wanted"), [
    ("cifar10", [0.19699, -0.05158, 0.03497, 0.09576, 0.28449, 0.32397, 0.158402]),
    ("cifar10-dkdm-nano", [0.14723, -0.05743, 0.04845, 0.08278, 0.28704, 0.27812, 0.152387]),
    ("cifar10-dkdm-vit-tiny", [0.11288, -0.08326, 0.04913, 0.05839, 0.34820, 0.32441, 0.151980]),
    ("cifar10-boot", [0.53382, 0.54438, 0.76575, 0.71641, 0.94637, 0.92223, 0.482843]),
])
def test_what_ships_draws_what_it_always_drew(name, wanted):
    """Some pixels, and the mean magnitude, of images drawn when it was published."""
    if name == "cifar10-boot":
        student = boot.load_student("cifar10")
        out = boot.sample(student, student.model.noise(2, 0), torch.arange(2))
    else:
        model = teachers.load_teacher(name)
        out = model.ddim(model.noise(2, 0), 3, torch.arange(2))
    got = [*out[0, :, 0, :2].flatten(), out.abs().mean()]
    assert torch.stack(got).tolist() == pytest.approx(wanted, abs=1e-4)


def test_every_name_in_the_equation_map_exists():
    text = (ROOT / "docs/equations.md").read_text()
    named = re.findall(r"`([\w/]+)\.py: ([\w.]+)`", text)
    assert len(named) >= 40
    for file, name in named:
        thing = importlib.import_module(file.replace("/", "."))
        for part in name.split("."):
            assert hasattr(thing, part), f"{file}.py has no {name}"
            thing = getattr(thing, part)


def test_every_link_and_file_named_in_the_documents_exists():
    def anchors(path):
        headings = re.findall(r"^#+ (.*?)\s*$", path.read_text(), flags=re.M)
        return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in headings}

    broken, pages = [], [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        text = page.read_text()
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)", text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or anchor and anchor not in anchors(target):
                broken.append(f"{page.name}: {link}")
        broken += [f"{page.name}: {name}" for name in
                   re.findall(r"(?:assets|weights)/[\w-]+\.\w+", text)
                   if not (ROOT / name).is_file()]
    assert len(pages) > 3 and not broken, broken


# ------------------------------------------------------------------------------------------------
# Checkpoints


def tiny(path, net=None, classes=3, predicts="v", shape=(3, 8, 8), schedule="cosine", T=1000,
         learned=True):
    """Saves a small random model: 8 x 8 images, 3 classes and "no class"; returns its path."""
    torch.manual_seed(0)
    rows = None if classes is None else classes + 1
    net = net or small_unet(attention_resolutions=(), channel_mult=(1,), num_classes=rows)
    last = net.final_layer.linear if isinstance(net, vit.ViT) else net.out[2]  # starts at 0
    nn.init.normal_(last.weight, std=0.02)
    model = DiffusionModel(net, Schedule(schedule, T), shape, classes, predicts, learned)
    teachers.save(path, model.checkpoint("teacher", {}))
    return str(path)


def tiny_vit(path, predicts="eps", **options):
    net = vit.ViT(8, 4, 3, 32, 1, 2, num_classes=4)
    return tiny(path, net, predicts=predicts, schedule="linear", **options)


@pytest.mark.parametrize(("net", "classes", "T"), [
    (small_unet(num_heads=4, index_scale=0.25), None, 4000),
    (vit.ViT(8, 4, 3, 32, 2, 2, num_classes=4), 3, 1000)])
def test_public_weights_become_a_checkpoint(tmp_path, monkeypatch, net, classes, T):
    """Improved DDPM's format, a chain of 4,000 steps without labels; and DiT's."""
    monkeypatch.chdir(tmp_path)
    net = fill(net).half().float()  # convert writes half precision
    torch.save(net.state_dict(), "bare.pt")
    arch, = (name for name, kind in teachers.ARCHITECTURES.items() if type(net) is kind)
    about = dict(arch=arch, arch_args=net.arguments, image_shape=[3, 8, 8], num_classes=classes,
                 predicts="eps", learned_sigma=True, schedule="cosine", T=T)
    Path("about.json").write_text(json.dumps(about))
    run("teachers.py", "convert", "bare.pt", "--arch", "about.json", "--out", "own.pt")
    model, x, i = teachers.load_teacher("own.pt"), waves(2, 3, 8, 8), torch.tensor([30, 900])
    c = None if classes is None else torch.tensor([0, 2])
    torch.testing.assert_close(model.eps_form(x, i, c), net(x, i, c))
    assert model.schedule.T == T and model.null_label == classes
    assert os.path.getsize("own.pt") < 0.6 * os.path.getsize("bare.pt")


def test_a_chain_of_100_steps_is_the_same_model():
    long = teachers.load_teacher("cifar10")
    short = long.respaced(200).respaced(100)
    x, c, i = long.noise(4, 0), torch.arange(4), torch.tensor([0, 7, 50, 99])
    torch.testing.assert_close(short.eps_form(x, i, c), long.eps_form(x, 10 * i + 9, c), rtol=0,
                               atol=1e-6)
    t = torch.tensor([0.1, 0.333, 0.5, 0.99])  # the continuous view is that of the long chain, too
    torch.testing.assert_close(short.x0(x, t, c), long.x0(x, t, c), rtol=0, atol=0.01)
    again = teachers.build(short.checkpoint("teacher", {}), "t.pt")
    assert torch.equal(again.eps_form(x, i, c), short.eps_form(x, i, c))
    student, t_max = boot.new_student(again, 0.02, 0.9), torch.full((4,), 0.9)
    torch.testing.assert_close(student(x, t_max, c), short.x0(x, t_max, c))


@pytest.mark.parametrize("options", [{"steps": 3}, {"sampler": "ddpm", "steps": 3},
                                     {"steps": 2, "t_max": 0.9, "t_min": 0.1, "guidance": 2.0}])
def test_image_k_depends_on_the_seed_and_k_alone(tmp_path, options):
    """Not on how many are drawn, nor on how many at a time."""
    teacher, out, drawn = tiny(tmp_path / "t.pt"), tmp_path / "images.npz", []
    for n, batch in ((5, 2), (5, 5), (3, 1)):
        teachers.sample(teachers.SampleOptions(teacher=teacher, n=n, batch=batch, out=str(out),
                                               precision="fp32", **options))
        with np.load(out) as arrays:
            drawn.append(arrays["arr_0"].astype(int))
            assert arrays["arr_1"].tolist() == [0, 1, 2, 0, 1][:n]
    assert abs(drawn[0] - drawn[1]).max() <= 1 and abs(drawn[0][:3] - drawn[2]).max() <= 1
    assert min(abs(a - b).mean() for k, a in enumerate(drawn[0]) for b in drawn[0][:k]) > 10


# ------------------------------------------------------------------------------------------------
# The student of BOOT


class Noting(nn.Module):
    """A network that sees x / 2, with a variance as if it had learned one; notes its questions."""

    def __init__(self):
        super().__init__()
        self.share, self.questions = nn.Parameter(torch.tensor(0.5)), []

    def forward(self, x, i, c=None, w=None):
        self.questions.append((x, i, c, w))
        return torch.cat([self.share * x, x], dim=1)


def test_lab7_what_the_student_asks_its_network():
    xi, c, t, w = torch.randn(4, 3, 8, 8), torch.arange(4) % 3, torch.full((4,), 0.5), torch.ones(4)
    for guidance in ((2.0,), (1.0, 4.0)):
        model = DiffusionModel(Noting(), Schedule("cosine"), (3, 8, 8), 3, "x0", True)
        model.stride, model.net.guided = 2, len(guidance) == 2  # either may be asked about w
        y = boot.Student(model, 0.02, 0.98, guidance)(xi, t, c, 2 * w)
        assert [len(x) for x, *_ in model.net.questions] == [4], (
            "one call of the network for each image: the student learned guidance, so it needs no "
            "guidance as x0() gives it")
        (x, i, of, scale), = model.net.questions
        assert torch.equal(x, xi), "the input is the pure noise xi, whatever t is"
        close(i, torch.full((4,), 999.0), "the network is asked at index t T - 1 of its own chain, "
              "stride times as long as the schedule's")
        assert of is c, "the network is told the class c"
        if len(guidance) == 1:
            assert scale is None, "a network for a single scale is not told w"
        else:
            assert torch.is_tensor(scale) and torch.equal(scale, 2 * w), (
                "for a range of scales, the network is told w")
        assert y.shape == xi.shape, "cut off the channels after C, which are of the variance"
        close(y, xi / 2, "a network that predicts the image has predicted y")
        assert y.requires_grad, (
            "forward passes on a gradient, or the student learns nothing: no no_grad, which "
            "DiffusionModel.x0 has")


def test_lab7_an_untrained_student_is_the_teacher_at_t_max(tmp_path):
    xi, c, t, w = torch.randn(4, 3, 8, 8), torch.arange(4) % 3, torch.full((4,), 0.5), torch.ones(4)
    t_max = torch.full((4,), 0.98)
    for predicts in ("v", "x0"):
        teacher = teachers.load_teacher(tiny(tmp_path / "t.pt", predicts=predicts))
        fill(teacher.net)
        student = boot.new_student(teacher, 0.02, 0.98).eval()
        close(student(xi, t_max, c, 2 * w), teacher.x0(xi, t_max, c), "at t_max the student is the "
              "teacher: asked at index t T - 1, and turned into an image by the levels of t_max")
        image = student.model.x0(xi, t, c)
        if predicts == "v":  # then this took the levels of t: back to v, and on with t_max
            a, s = (teachers.per_sample(level(t), xi)
                    for level in (teacher.schedule.alpha, teacher.schedule.sigma))
            v = (a * xi - image) / s
            a, s = (teachers.per_sample(level(t_max), xi)
                    for level in (teacher.schedule.alpha, teacher.schedule.sigma))
            image = a * xi - s * v
        close(student(xi, t, c, 2 * w), image, "at any t, the prediction becomes an image by the "
              "levels of t_max, not of t: the input is pure noise")
        bootstrap, boundary = losses_of(student, teacher, xi, t, 0.1, c)
        assert boundary < 1e-8 < bootstrap


def test_a_run_from_before_an_option_is_not_resumed(tmp_path):
    saved, argv = dataclasses.asdict(boot.Config(steps=7)), ["--resume", "--out", str(tmp_path)]
    last = {"config": saved, "given": {}, "log": [], "processes": []}
    torch.save(last, tmp_path / "last.pt")
    assert boot.Config.parse(argv).steps == 7
    del saved["times"]
    torch.save(last, tmp_path / "last.pt")
    with pytest.raises(UserError, match="script and version"):
        boot.Config.parse(argv)


@pytest.mark.parametrize("make", [tiny, tiny_vit])
def test_a_student_starts_near_the_time_embedding_of_t_max_and_is_read_as_it_was(tmp_path, make):
    teacher = teachers.load_teacher(make(tmp_path / "t.pt", predicts="v"))
    fill(teacher.net)
    student, i = boot.new_student(teacher, 0.02, 0.9), torch.tensor([899.0, 20.0, 500.5])
    e = teacher.net.embed_time(i)
    torch.testing.assert_close(student.net.embed_time(i), e[:1] + boot.START * (e - e[:1]))
    config = dataclasses.asdict(boot.Config(t_max=0.9, guidance=(1.0,)))
    teachers.save(tmp_path / "s.pt", student.model.checkpoint("boot", config))
    xi, c = torch.randn(4, 3, 8, 8), torch.arange(4) % 3
    again = boot.load_student(tmp_path / "s.pt")
    assert torch.equal(boot.sample(again, xi, c), boot.sample(student, xi, c))


@pytest.mark.parametrize("make", [tiny, tiny_vit])
def test_a_student_for_a_range_of_scales_starts_as_its_teacher_and_learns_w(tmp_path, make):
    teacher = teachers.load_teacher(make(tmp_path / "t.pt", predicts="v"))
    fill(teacher.net)  # no block is the identity any more
    student, fixed = (boot.new_student(teacher, 0.02, 0.9, w) for w in ((1.0, 5.0), (3.0,)))
    xi, c, t = torch.randn(4, 3, 8, 8), torch.arange(4) % 3, torch.full((4,), 0.5)
    w = torch.tensor([1.0, 2.0, 3.0, 5.0])
    assert torch.equal(student(xi, t, c, w), fixed(xi, t, c, w))  # the layer of w starts at 0
    sum(losses_of(student, teacher, xi, t, 0.1, c, w, t_max=0.9)).backward()
    last = [p for name, p in student.net.named_parameters() if "guidance" in name][-2]
    assert last.grad.abs().max() > 0
    nn.init.normal_(last, std=0.1)
    assert (student(xi, t, c, w) - student(xi, t, c, w.flip(0))).abs().max() > 1e-4
    assert torch.equal(boot.sample(student, xi, c), boot.sample(student, xi, c, 3.0))
    mixed = boot.sample(student, xi, c, w)
    torch.testing.assert_close(mixed[3:], boot.sample(student, xi[3:], c[3:], 5.0))
    for model, scale in ((student, 5.5), (student, 0.5), (student, math.nan), (fixed, 2.0)):
        with pytest.raises(UserError, match="guidance"):
            boot.sample(model, xi, c, scale)
    with pytest.raises(UserError, match="give it labels"):  # BOOT never trains "no class"
        boot.sample(student, xi)


# ------------------------------------------------------------------------------------------------
# Runs


@pytest.mark.parametrize(("shape", "size"), [
    ((2, 8, 8), (200, 68)), ((3, 8, 32), (776, 68)), ((3, 40, 50), (308, 84)),
    ((3, 100, 80), (248, 104))])
def test_a_grid_has_room_for_its_labels_and_shows_no_channel_as_opacity(tmp_path, shape, size):
    images = torch.zeros(3, *shape)
    images[:, 0] = 1
    teachers.save_grid(tmp_path / "grid.png", images, 3)
    with Image.open(tmp_path / "grid.png") as picture:
        assert (picture.mode, picture.size) == ("RGB", size)
        other = 255 if shape[0] == 2 else 128  # of two channels the first, as gray
        assert picture.getpixel((3, 3)) == (255, other, other)


def test_both_scripts_have_one_loop_and_one_update():
    """Then diff boot.py dkdm.py shows the methods."""
    for function in ("update", "rates", "learning_rate"):
        one, other = (inspect.getsource(getattr(script, function)) for script in (boot, dkdm))
        assert one == other
    one, other = (inspect.getsource(script.train).partition("recent, since")[2].partition("ret")[0]
                  for script in (boot, dkdm))
    assert "take_step" in one and one.replace("BOOT", "DKDM") == other


@pytest.mark.parametrize("script", [boot, dkdm])
def test_a_step_has_a_clipped_gradient_and_the_average_follows(script):
    student = SimpleNamespace(net=nn.Linear(4, 1, bias=False))
    ema, before = copy.deepcopy(student), student.net.weight.detach().clone()
    ema.net.requires_grad_(False)
    optimizer, config = torch.optim.SGD(student.net.parameters()), script.Config(lr=0.5, ema=0.9)
    loss = 100 * student.net.weight.sum()  # its gradient has norm 200
    script.update(student, ema, optimizer, loss, loss.detach(),
                  *script.rates(config.steps // 2, config))
    moved = torch.full_like(before, 0.25 / 2)  # half of the peak rate, norm 1
    torch.testing.assert_close(student.net.weight.detach(), before - moved)
    torch.testing.assert_close(ema.net.weight.detach(), before - 0.1 * moved)


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


def tiny_config(script, folder, **options):
    few = dict(teacher=str(folder / "t.pt"), steps=12, batch=4, compare=10, device="cpu",
               out=str(folder / "run"))
    if script is dkdm:
        few |= dict(T=20, rho=0.05, student="vit-tiny")
    few |= options
    if "mode" in options:  # other modes than dynamic have no rho
        few.pop("rho")
    return script.Config(**few)


class Waits(TorchDispatchMode):
    """Refuses what makes a GPU wait: reading a number back, and shapes that depend on values."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function.overloadpacket not in (
            torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("script", "options"), [
    (boot, {}), (boot, {"guidance": (1.0, 4.0), "times": "all"}), (dkdm, {})])
def test_no_step_waits_for_a_gpu(tmp_path, short, monkeypatch, script, options):
    tiny(tmp_path / "t.pt")
    step = script.training_step

    def watched(*args, **named):
        with Waits():
            return step(*args, **named)

    with pytest.raises(AssertionError), Waits():
        torch.ones(2).sum().item()
    monkeypatch.setattr(script, "training_step", watched)
    script.train(tiny_config(script, tmp_path, steps=2, **options))


class Recorder(TorchDispatchMode):
    """A CUDA graph's stand-in on a CPU: it keeps each operation and its tensors, and repeats them.

    Recording computes, which a graph's does not, so the first replay has nothing to do.
    """

    def __init__(self):
        super().__init__()
        self.steps, self.replays = [], 0

    def register_generator_state(self, generator):
        """What torch < 2.14 asks for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        self.steps.append((function, args, kwargs or {}, out))
        return out

    @torch.no_grad()
    def replay(self):
        self.replays += 1
        for function, args, kwargs, kept in self.steps if self.replays > 1 else ():
            for old, new in zip(tree_leaves(kept), tree_leaves(function(*args, **kwargs)),
                                strict=True):
                if torch.is_tensor(old) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


def stand_in(monkeypatch):
    """Puts Recorders in the place of CUDA graphs; the list to which each new one is added."""
    graphs = []
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: graphs.append(Recorder()) or graphs[-1])
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: graph)
    monkeypatch.setattr(torch.cuda, "Stream", Mock)
    monkeypatch.setattr(torch.cuda, "current_stream", Mock)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    return graphs


def check_replays(folder, monkeypatch, script, config):
    """A run of config whose step is recorded and replayed is, to the last bit, one that is not.

    The step gets its rates as tensors in both.
    """
    graphs, config = stand_in(monkeypatch), dataclasses.replace(config, graph=True)

    def left(name, captured, **more):
        monkeypatch.setattr(DiffusionModel, "captured", captured)
        script.train(dataclasses.replace(config, out=str(folder / name), **more))
        saved = teachers.read(folder / name / "last.pt")
        for row in saved["log"]:
            row.pop("images_per_s")
        return teachers.sha256([saved[part] for part in sorted(saved.keys() - {"config", "given"})])

    def replayed(model, step, generator):
        return teachers.CapturedStep(step, generator)

    plain = left("plain", lambda _, step, generator: lambda *rates: step(*map(torch.tensor, rates)))
    assert not graphs and plain == left("replayed", replayed)
    assert [graph.replays for graph in graphs] == [config.steps - 3]
    stop(script, dataclasses.replace(config, out=str(folder / "stopped")), "third save")
    assert plain == left("stopped", replayed, resume=True)


@pytest.mark.parametrize(("script", "options"), [
    (boot, {}), (boot, {"guidance": (1.0, 4.0), "times": "all"}), (dkdm, {"student": "nano"})])
def test_a_step_that_is_recorded_and_replayed_is_the_step_itself(
        tmp_path, short, monkeypatch, script, options):
    """Noise, labels, dropout and rates are new in each."""
    tiny(tmp_path / "t.pt")
    check_replays(tmp_path, monkeypatch, script, tiny_config(script, tmp_path, **options))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("script", [boot, dkdm])
def test_on_a_gpu_no_step_waits_and_a_graph_gives_the_same_losses(
        tmp_path, short, monkeypatch, script):
    tiny(tmp_path / "t.pt")
    step, calls = script.training_step, []

    def watched(*args, **named):
        calls.append(args)  # the first copies tables to the GPU
        torch.cuda.set_sync_debug_mode("default" if len(calls) == 1 else "error")
        try:
            return step(*args, **named)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(script, "training_step", watched)
    config, logs = tiny_config(script, tmp_path, device="cuda"), []
    for graph in (False, True):
        out = str(tmp_path / f"{graph}")
        script.train(dataclasses.replace(config, graph=graph, out=out))
        logs.append(logged(out))
        calls.clear()
    np.testing.assert_allclose(*logs, rtol=0.01, atol=1e-4)


def test_a_step_that_cannot_be_recorded_is_said_to_be_so(monkeypatch):
    stand_in(monkeypatch)
    calls = []

    def step(rate):
        calls.append(rate)
        if len(calls) == 4:
            raise RuntimeError("not permitted\nwhen stream is capturing")
        return rate

    captured = teachers.CapturedStep(step, torch.Generator())
    assert [captured(k).item() for k in range(3)] == [0, 1, 2]
    with pytest.raises(UserError, match="cannot record .*not permitted when stream"):
        captured(3)


@pytest.mark.parametrize(("made", "options", "t_max"), [
    (dict(), {"guidance": (1.0, 4.0)}, 0.99),
    (dict(predicts="x0", T=4000), {"init": "random", "guidance": (3.0,), "t_max": 0.6}, 0.6),
    (dict(schedule="linear"), {"solver": "ddim"}, 0.91),
    (dict(T=20), {"t_min": 0.05}, 0.97),  # by hand: 65 lies between the last two levels, at 0.973
])
def test_a_boot_run_leaves_a_student_of_the_options_it_had(tmp_path, short, made, options, t_max):
    tiny(tmp_path / "t.pt", **made)
    config, folder = tiny_config(boot, tmp_path, **options), tmp_path / "run"
    distance = boot.train(config)
    assert len(distance) == 7 and all(0 <= d < 10 for d in distance.values())
    said, w = json.loads((folder / "config.json").read_text()), config.guidance or (1.0,)
    assert said == dataclasses.asdict(config) | {"guidance": list(w), "t_max": t_max}
    student = boot.load_student(folder / "student.pt")
    assert student.t_max == t_max and student.guidance == w
    images = boot.sample(student, torch.randn(4, 3, 8, 8), torch.arange(4) % 3)
    assert images.isfinite().all() and images.std() > 1e-3


@pytest.mark.parametrize(("teacher", "student", "options"), [
    (tiny, "vit-tiny", {"T": 40}), (tiny_vit, "nano", {"mode": "shuffled", "predicts": "v"}),
    (tiny, "nano", {"lambda_vlb": 0.0, "predicts": "x0"})])
def test_a_dkdm_run_leaves_an_ordinary_checkpoint(tmp_path, short, teacher, student, options):
    teacher(tmp_path / "t.pt", T=40)
    errors = dkdm.train(tiny_config(dkdm, tmp_path, student=student, rho=0.25, **options))
    assert len(errors) == 10 and all(0 < error < 1e4 for error in errors.values())
    model = teachers.load_teacher(tmp_path / "run/student.pt")
    assert model.predicts == options.get("predicts", "v") and model.num_classes == 3
    said = json.loads((tmp_path / "run/config.json").read_text())
    assert model.schedule.T == said["T"] == options.get("T", 20)
    assert model.learned_sigma == ("lambda_vlb" not in options)
    pool = teachers.read_run(tmp_path / "run")["processes"][0]["pool"]
    size = 4 if "mode" in options else 0.25 * model.schedule.T * 4  # B, or rho T B
    assert len(pool["i"]) == size
    image = model.ddpm(torch.randn(2, 3, 8, 8), 4, torch.tensor([0, 3]))
    assert image.isfinite().all() and image.std() > 1e-3
    more = dict(teacher=str(tmp_path / "run/student.pt"), out=str(tmp_path / "one-step"))
    boot.train(tiny_config(boot, tmp_path, steps=1, t_min=0.05, **more))  # the methods chain
    assert boot.load_student(tmp_path / "one-step/student.pt").t_max > 0.5


@pytest.mark.parametrize("make", [tiny, tiny_vit])
def test_a_copy_of_the_teacher_predicts_v_on_the_whole_chain(tmp_path, short, make):
    """From weights that predict noise, which v nearly is where there is little of it."""
    net = teachers.load_teacher(make(tmp_path / "t.pt", predicts="eps", T=40)).net
    options = dict(student="same", predicts="v", rho=0.25, steps=1, lr=1e-6, ema=0.0)
    dkdm.train(tiny_config(dkdm, tmp_path, **options))
    model = teachers.load_teacher(tmp_path / "run/student.pt")
    assert (model.predicts, model.schedule.T, model.stride, model.learned_sigma) == ("v", 40, 1, 1)
    for name, weight in net.state_dict().items():
        fixed = name == "pos_embed"  # a ViT's positions are no weights
        torch.testing.assert_close(model.net.state_dict()[name], weight, rtol=0,
                                   atol=0 if fixed else 2e-6)


def test_iterative_mode_visits_the_chain_from_its_end(tmp_path, short):
    tiny(tmp_path / "t.pt", classes=None, T=40)
    visited = []

    def losses(*args):
        visited.append(args[3].tolist())
        return dkdm.dkdm_loss(*args)

    dkdm.train(tiny_config(dkdm, tmp_path, mode="iterative", steps=23), losses)
    assert visited == [[i % 20] * 4 for i in range(19, -4, -1)]


def test_teachers_without_no_class_are_not_asked_for_it(tmp_path, short):
    """ADM's 64 x 64 network: a label table of one row a class."""
    net = fill(small_unet(attention_resolutions=(), channel_mult=(1,), num_classes=4))
    teacher = teachers.load_teacher(tiny(tmp_path / "t.pt", net, classes=4))
    x, i, c = torch.randn(2, 3, 8, 8), torch.tensor([5, 5]), torch.tensor([0, 3])
    for question in (dict(), dict(c=c, guidance=2.0)):
        with pytest.raises(UserError, match="no class"):
            teacher.eps_form(x, i, **question)
    for script in (boot, dkdm):
        script.train(tiny_config(script, tmp_path, steps=2, out=f"{tmp_path}/{script.__name__}"))
    assert teachers.load_teacher(tmp_path / "dkdm/student.pt").null_label is None
    tiny(tmp_path / "t.pt")  # this one knows it, but the student never sees it
    dkdm.train(tiny_config(dkdm, tmp_path, steps=2, label_dropout=0.0))
    assert teachers.load_teacher(tmp_path / "run/student.pt").null_label is None


def logged(folder):
    """Step and losses of each row in log.csv."""
    return np.loadtxt(Path(folder) / "log.csv", delimiter=",", skiprows=1)[:, :3]


def check_equal_runs(one, other):
    """Weights, log and pools of two runs are the same to the last bit."""
    for file, part in (("student.pt", "weights"), ("last.pt", "processes")):
        parts = [teachers.read(Path(folder) / file)[part] for folder in (one, other)]
        torch.testing.assert_close(*parts, rtol=0, atol=0)
    assert np.array_equal(logged(one), logged(other))


def stop(script, config, where):
    """A run that ends in its eighth step, while its third or its fifth and final last.pt is written
    but not yet in place, or while its pool is filled."""
    module, name, number = {"step": (script, "training_step", 8), "third save": (os, "replace", 3),
                            "save": (os, "replace", 5), "filling": (dkdm.Pool, "advance", 1)}[where]
    call, calls = getattr(module, name), []

    def stopping(*args, **named):
        if module is not os or Path(args[1]).name == "last.pt":
            calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return call(*args, **named)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, name, stopping)
        script.train(config)


@pytest.mark.parametrize(("script", "stops"), [
    (boot, {"step": 6, "save": 9}), (dkdm, {"step": 6, "save": 9, "filling": 0})])
def test_killed_and_resumed_equals_never_stopped(tmp_path, short, script, stops):
    tiny(tmp_path / "t.pt")
    more = dict(guidance=(1.0, 3.0)) if script is boot else dict(student="nano")  # with dropout
    whole = tiny_config(script, tmp_path, out=str(tmp_path / "whole"), **more)
    script.train(whole)
    for where, kept in stops.items():
        stopped = dataclasses.replace(whole, out=str(tmp_path / where))
        stop(script, stopped, where)
        assert not list(Path(stopped.out).glob("*.part"))
        assert max([0, *(row["step"] for row in teachers.read_run(stopped.out)["log"])]) == kept
        torch.manual_seed(99)  # the state of the global generator must not matter
        run(f"{script.__name__}.py", "--resume", "--out", stopped.out)
        check_equal_runs(whole.out, stopped.out)
        names = {path.name for path in Path(stopped.out).iterdir()}
        assert names == {"config.json", "log.csv", "samples", "student.pt", "last.pt",
                         "summary.png"}
        pictures = len(list((tmp_path / where / "samples").iterdir()))
        assert pictures == (5 if script is boot else 2)  # DKDM draws at each fourth save
        log = logged(stopped.out)
        assert log[:, 0].tolist() == [3, 6, 9, 10, 12] and ((log >= 0) & (log < 1e6)).all()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU"))])
def test_a_resumed_run_draws_what_it_would_have_drawn(tmp_path, device):
    draws, config = [], boot.Config(out=str(tmp_path / "run"))
    for resume in (False, True):
        generator = torch.Generator(device).manual_seed(7 + resume)
        config = dataclasses.replace(config, resume=resume)
        save_run = teachers.open_run(config, generator, {}, {})[2]
        if not resume:
            torch.rand(3, device=device)
            save_run()
        draws.append(torch.cat([torch.rand(3, device=device, generator=own)
                                for own in (None, generator)]))
    assert torch.equal(*draws) and len(draws[0].unique()) == 6


@pytest.mark.parametrize("script", [boot, dkdm])
def test_a_run_resumes_with_its_own_teacher_and_loss_alone_and_makes_a_lost_student_again(
        tmp_path, short, script):
    tiny(tmp_path / "t.pt")
    config = tiny_config(script, tmp_path, steps=2)
    script.train(config)
    before = teachers.read(tmp_path / "run/student.pt")["weights"]
    (tmp_path / "run/student.pt").unlink()
    (tmp_path / "run/config.json").unlink()
    again = dataclasses.replace(config, resume=True)
    script.train(again)
    after = teachers.read(tmp_path / "run/student.pt")["weights"]
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert json.loads((tmp_path / "run/config.json").read_text())["steps"] == 2
    with pytest.raises(UserError, match="the loss was"):
        script.train(again, lambda *args: None)
    (tmp_path / "t.pt").rename(tmp_path / "moved.pt")
    again = dataclasses.replace(again, teacher=str(tmp_path / "moved.pt"))
    script.train(again)
    tiny(tmp_path / "moved.pt", schedule="linear")  # the same weights, another chain
    with pytest.raises(UserError, match="the teacher was SHA-256"):
        script.train(again)


def test_a_run_resumes_in_its_own_precision_alone(tmp_path, short, monkeypatch, capsys):
    """Where auto means another one, it must be asked for."""
    tiny(tmp_path / "t.pt")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True},
                        raising=False)  # torch 2.6 has no such function
    stop(boot, tiny_config(boot, tmp_path), "step")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    resume = "--resume", "--out", tmp_path / "run"
    assert "like this: precision was bf16 and is fp32" in refused(capsys, "boot.py", *resume)
    run("boot.py", *resume, "--precision", "bf16")
    assert logged(tmp_path / "run")[-1, 0] == 12


def test_last_pt_alone_resumes_a_run(tmp_path, short, monkeypatch):
    """Also elsewhere, where auto may be another device: then that of the run is asked for."""
    tiny(tmp_path / "t.pt")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)  # auto is the CPU
    stop(boot, tiny_config(boot, tmp_path, device="auto"), "step")
    (tmp_path / "moved").mkdir()
    (tmp_path / "run/last.pt").rename(tmp_path / "moved/last.pt")
    run("boot.py", "--resume", "--out", tmp_path / "moved", "--device", "cpu")
    assert logged(tmp_path / "moved")[-1, 0] == 12 and (tmp_path / "moved/summary.png").is_file()


def test_a_loss_that_is_not_finite_leaves_the_last_good_save(tmp_path, monkeypatch, short):
    tiny(tmp_path / "t.pt")
    rates = [1e-4] * 4 + [math.inf] * 8  # so the loss of the sixth step is not finite
    monkeypatch.setattr(boot, "learning_rate", lambda step, config: rates[step])
    with pytest.raises(UserError, match="not finite at step 6"):
        boot.train(tiny_config(boot, tmp_path))
    assert teachers.read_run(tmp_path / "run")["log"][-1]["step"] == 3
    boot.load_student(tmp_path / "run/student.pt")  # refuses weights that are not finite


def test_a_loss_that_is_not_finite_is_blamed_on_the_rate_only_once_something_was_learned():
    fine, broken = torch.ones(2), torch.tensor([1.0, math.inf])
    assert teachers.finite_mean([fine, 3 * fine], 10, "run") == [2, 2]
    for recent, taken, says in (([fine, broken], 20, "step 20: lower --lr"),
                                ([broken, fine], 2, "step 1: before anything was learned")):
        with pytest.raises(UserError, match=says):
            teachers.finite_mean(recent, taken, "run")


# Two processes

FEW = dict(precision="fp32", batch=8, steps=3, lr=0.1)


def watch(patch, replay=None):
    """Notes what each step draws and its gradients; with replay, steps take those draws instead.

    What BOOT draws are the arguments of its losses; what DKDM draws, entries of the pool. Returns
    both notes, and the losses for boot.train.
    """
    drawn, gradients = [], []
    at, average = dkdm.Pool.at, teachers.average_gradients

    def note(fresh):
        drawn.append(fresh if replay is None else replay[len(drawn)])
        return drawn[-1]

    def average_and_note(parameters, losses):
        parameters = [p for p in parameters if p.grad is not None]
        average(parameters, losses)
        gradients.append([p.grad.clone() for p in parameters])

    def losses(student, teacher, xi, t, s, c, w, config):
        return boot.losses(student, teacher, *note((xi, t, s, c)), w, config)

    patch.setitem(dkdm.FILL, "paper", lambda *_: None)  # it uses Pool.at, too
    patch.setattr(dkdm.Pool, "at", lambda pool, rows: note(at(pool, rows)))
    patch.setattr(teachers, "average_gradients", average_and_note)
    return drawn, gradients, losses


def train_watched(script, config, losses):
    script.train(config, losses) if script is boot else script.train(config)


def one_of_two(rank, port, folder):
    os.environ |= dict(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
                       MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        for script in (boot, dkdm):
            whole, stopped, few = (
                tiny_config(script, folder, out=f"{folder}/{script.__name__}-{what}", **options)
                for what, options in (("whole", {}), ("stopped", {}), ("two", FEW)))
            script.train(whole)
            stop(script, stopped, "step")
            script.train(dataclasses.replace(stopped, resume=True))
            with pytest.MonkeyPatch.context() as watching:
                *notes, losses = watch(watching)
                train_watched(script, few, losses)
            torch.save(notes, folder / f"{script.__name__}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """A folder with what both scripts did in two processes that were joined as torchrun does."""
    folder = tmp_path_factory.mktemp("two")
    tiny(folder / "t.pt")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(one_of_two, (port, folder), nprocs=2)
    return folder


@pytest.mark.parametrize("script", [boot, dkdm])
def test_two_processes_take_the_steps_of_one_with_both_halves_and_resume_exactly(
        two_processes, monkeypatch, short, capsys, script):
    folder, name = two_processes, script.__name__
    (drawn, gradients), (others, same) = (torch.load(folder / f"{name}-{rank}.pt")
                                          for rank in (0, 1))
    assert not torch.equal(drawn[0][0], others[0][0])  # each process has noise of its own
    torch.testing.assert_close(gradients, same, rtol=0, atol=0)
    joined = [[torch.cat(pair) for pair in zip(*halves, strict=True)]
              for halves in zip(drawn, others, strict=True)]
    _, wanted, losses = watch(monkeypatch, joined)
    config = tiny_config(script, folder, out=f"{folder}/{name}-one", **FEW | {"batch": 16})
    train_watched(script, config, losses)
    assert len(wanted) == 3 and len(wanted[0]) > 10
    torch.testing.assert_close(gradients, wanted, rtol=1e-2, atol=1e-4)
    np.testing.assert_allclose(logged(folder / f"{name}-two"), logged(folder / f"{name}-one"),
                               rtol=1e-3, atol=1e-6)
    check_equal_runs(folder / f"{name}-whole", folder / f"{name}-stopped")
    line = refused(capsys, f"{name}.py", "--resume", "--out", folder / f"{name}-stopped")
    assert "processes was 2 and is 1" in line


@pytest.mark.parametrize("line", [
    "boot.py --sample cifar10", "teachers.py sample cifar10", "teachers.py convert cifar10 --out x",
    "eval_fid.py x.npz"])
def test_what_is_not_training_takes_one_process(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(teachers, "processes", lambda: (0, 2))
    assert "not by torchrun" in refused(capsys, *line.split(), *["--device", "cpu"]
                                        * ("convert" not in line))
    assert not list(tmp_path.iterdir())


def test_the_commands_work_as_written(tmp_path):
    """In processes of their own."""
    def start(script, *arguments):
        return subprocess.Popen([sys.executable, ROOT / script, *arguments], cwd=tmp_path,
                                text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def shown(process):
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        return out

    tiny(tmp_path / "small.pt")
    few = "--dataset small.pt --steps 2 --batch 4 --compare 10".split()
    both = start("boot.py", *few), start("dkdm.py", *few, "--rho", "0.05")
    by_boot, by_dkdm = map(shown, both)
    assert "student, 1 step" in by_boot and "--sample runs/boot-small/student.pt" in by_boot
    assert boot.load_student(tmp_path / "runs/boot-small/student.pt").guidance == (1.0,)
    student = re.search(r"teachers\.py sample (\S+);", by_dkdm).group(1)
    shown(start("teachers.py", "sample", student, "--steps", "4", "--n", "5", "--label", "2"))
    with np.load(tmp_path / "samples.npz") as arrays:
        assert arrays["arr_0"].shape == (5, 8, 8, 3) and arrays["arr_0"].dtype == np.uint8
        assert arrays["arr_0"].std() > 20 and arrays["arr_1"].tolist() == [2] * 5


# ------------------------------------------------------------------------------------------------
# Bad input: one line that names what is wrong, exit status 2, nothing written

# What follows the command, and a part of the line
BAD = {
    "boot.py": """
        --steps 0 | --steps is 0, and must be
        --teacher t.pt --dataset cifar10 | not allowed with argument --teacher
        --solver rk4 | invalid choice: 'rk4'
        --device abacus --teacher t.pt | abacus
        --teacher nowhere.pt | no checkpoint at nowhere.pt
        --teacher cut.pt | cut.pt
        --teacher code.pt | code.pt
        --teacher bare.pt | teachers.py convert
        --teacher narrow.pt | narrow.pt does not fit what is said of it
        --teacher rows.pt | 4 labels
        --teacher T.pt | no chain of T = 10
        --teacher nan.pt | not finite
        --teacher student.pt | boot.py --sample
        --teacher eps.pt | dkdm.py --teacher eps.pt --student same --predicts v
        --teacher t.pt --delta 0.98 | --t-min is 0.02, and must be from 1/1000 to --t-max 0.99 minus
        --teacher t.pt --t-min 0.0005 --delta 0.1 | from 1/1000
        --teacher plain.pt --guidance 2 | --guidance
        --teacher t.pt --graph --device cpu | --graph needs a GPU
        --teacher t.pt --out run | --resume
        --teacher t.pt --out folder | delete it if
        --resume --out nothing | no run to resume
        --resume --out run --lr 0.5 | lr was 0.0007 and is 0.5
        --resume --out run | the teacher was SHA-256
        --resume --out lost | no last save of a run
        --sample t.pt | teachers.py sample
        --sample student.pt --guidance 6 | guidance 1
        --sample student.pt --label 3 | has 3 classes
        --sample student.pt --out grid.jpg | .png or an .npz
        --sample student.pt --steps 7 | --steps is for training
        --teacher t.pt --label 1 | --label is for --sample""",
    "dkdm.py": """
        --resume --out run | not a run of this script
        --teacher t.pt --rho 0.001 | give at least 0.01
        --teacher t.pt --T 300 | has no 300
        --teacher plain.pt --lambda-vlb 0.1 | --lambda-vlb
        --teacher plain.pt --label-dropout 0.3 | --label-dropout
        --teacher t.pt --student same | which predicts v: give another
        --teacher t.pt --student same --predicts eps --lambda-vlb 0 | keeps the learned variance
        --teacher t.pt --student same --predicts eps --label-dropout 0 | keeps "no class"
        --teacher t.pt --graph --device cpu | --graph needs a GPU
        --teacher t.pt --mode shuffled --rho 0.9 | no --rho
        --teacher t.pt --mode iterative --fill strided | leave --fill out
        --teacher t.pt --mode shuffled --fill strided | one image's
        --teacher odd.pt --student adm-14m | 3 x 9 x 9""",
    "teachers.py": """
        | list, sample, convert
        sample iddpm-cifar10 | no network
        sample ddpm-ip-cifar10 | in a browser
        sample https://example.org/model.pt | give a path, or one of
        sample t.pt --out /proc/x.png | in a folder that exists and can be written to
        sample t.pt --out nowhere/x.png | in a folder that exists
        sample t.pt --out x.jpg | give a .png or an .npz
        sample t.pt --sampler ddpm --steps 2000 | 2000 DDPM steps
        sample t.pt --t-max 0.9 | go together
        sample t.pt --t-max 0.02 --t-min 0.9 | must be above
        sample t.pt --t-max 0.5 --t-min 0.0005 | at least 1/1000
        convert t.pt --out t.pt | give a new file
        convert bare.pt --arch cifar10 --out x.pt | with the keys""",
    "eval_fid.py --features cifar10": """
        cut.npz | cut.npz
        float.npz | arr_0 float32 (12, 32, 32, 3)
        first.npz | images uint8 (12, 3, 32, 32)
        none.npz | arr_0 uint8 (0, 32, 32, 3)
        objects.npz | objects.npz is no folder, and no .npz or .npy that can be read (Object
        t.pt | t.pt has no arrays
        folder | no pictures in folder
        mixed | mixed/b.png
        deep | deep/a.png is not one picture with 8 bits a channel (mode I
        deeper | deeper/a.png is not one picture with 8 bits a channel (mode RGB, stored as RGB;16
        ppm | ppm/a.ppm is not one picture with 8 bits a channel (mode RGB, stored as ('RGB', 65535)
        clear | clear/a.png is not one picture with 8 bits a channel (mode L
        loop | loop/again is the same folder as another in loop: take the link away
        moving | moving/a.gif is not one picture with 8 bits a channel (12 frames)
        large.npz | 64 x 64
        images.npz --n 13 | 12 images
        images.npz | --allow-few
        images.npz --data elsewhere | do without
        images.npz --inception-weights x.pt | takes no --inception-weights
        images.npz --allow-few --ref nan.npz | nan.npz has statistics that are not finite
        images.npz --allow-few --ref wide.npz | not of cifar10net's 128 features
        images.npz --allow-few --ref words.npz | not of cifar10net's 128 features
        images.npz --allow-few --ref large.npz | 64 x 64
        images.npz --features inception | cannot download""",
}


class Code:
    def __reduce__(self):
        return os.system, ("touch code-was-run",)


@pytest.fixture
def bad_files(tmp_path, monkeypatch, short):
    """Works in a folder of broken and hostile files, and of some that are good; no network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", Mock(side_effect=OSError("no network")))
    content = teachers.read(tiny("t.pt"))
    bare, wide = content["weights"], content["arch_args"] | {"model_channels": 64}
    nan = bare | {"out.2.bias": torch.full((6,), math.nan)}
    made_by = dataclasses.asdict(boot.Config(t_max=0.9, guidance=(1.0,)))
    student = {"method": "boot", "config": made_by}
    for name, thing in {"code": Code(), "bare": bare, "nan": content | {"weights": nan},
                        "student": content | student, "narrow": content | {"arch_args": wide},
                        "rows": content | {"num_classes": 7},
                        "T": content | {"schedule": Schedule("cosine").alphas_cumprod, "T": 10},
                        }.items():
        torch.save(thing, f"{name}.pt")
    Path("cut.pt").write_bytes(Path("t.pt").read_bytes()[:100_000])
    plain = small_unet(attention_resolutions=(), channel_mult=(1,), out_channels=3)
    tiny("plain.pt", plain, classes=None, learned=False)
    tiny("odd.pt", shape=(3, 9, 9))
    tiny("eps.pt", predicts="eps")
    boot.train(tiny_config(boot, tmp_path, teacher=tiny("moved.pt"), steps=1))
    tiny("moved.pt", classes=5)  # another teacher in its place
    Path("lost").mkdir()
    Path("lost/last.pt").write_bytes(Path("run/student.pt").read_bytes())

    images = some_images()
    np.savez("images.npz", arr_0=images)
    np.savez("large.npz", arr_0=some_images(size=64))
    np.savez("float.npz", arr_0=images / np.float32(255))
    Path("cut.npz").write_bytes(Path("images.npz").read_bytes()[:-2000])
    np.savez("first.npz", images=images.transpose(0, 3, 1, 2))
    np.savez("none.npz", arr_0=images[:0])
    np.savez("objects.npz", arr_0=images, files=np.array(["a.png", None]))
    statistics = dict(mu=np.zeros(128), sigma=np.eye(128), features=np.zeros((9, 64)))
    np.savez("wide.npz", **statistics)
    np.savez("nan.npz", mu=np.zeros(128), sigma=np.eye(128), count=np.nan)
    np.savez("words.npz", **statistics | {"mu": np.array(["0"] * 128)})
    for name in ("folder/empty", "mixed", "deep", "deeper", "ppm", "clear", "loop", "moving"):
        Path(name).mkdir(parents=True)
    Image.fromarray(np.zeros((32, 32), np.uint16)).save("deep/a.png")
    write_png("deeper/a.png", bits=16, colour=2, row=24)
    Path("ppm/a.ppm").write_bytes(b"P6 4 4 65535 " + bytes(96))
    write_png("clear/a.png", bits=2, colour=0, row=1, transparent=bytes(2))
    Image.fromarray(images[0]).save("loop/a.png")
    Path("loop/again").symlink_to("../loop")
    frames = [Image.fromarray(image) for image in images]
    frames[0].save("moving/a.gif", save_all=True, append_images=frames[1:])
    Image.fromarray(images[0]).save("mixed/a.png")
    Image.fromarray(images[0, :, :16]).save("mixed/b.png")


def write_png(path, bits, colour, row, transparent=b""):
    """A black PNG of 4 x 4 pixels, `row` bytes each row, of a kind that Pillow does not write."""
    header = struct.pack(">IIBBBBB", 4, 4, bits, colour, 0, 0, 0)
    chunks = {b"IHDR": header, b"tRNS": transparent, b"IDAT": zlib.compress(bytes(4 * (1 + row))),
              b"IEND": b""}
    file = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks.items():
        if data or kind != b"tRNS":
            file += struct.pack(">I", len(data)) + kind + data
            file += struct.pack(">I", zlib.crc32(kind + data))
    Path(path).write_bytes(file)


def refused(capsys, script, *arguments):
    """The one line with which a script refuses, in this process."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        run(script, *arguments)
    *bars, line, end = capsys.readouterr().err.replace("\r", "\n").split("\n")
    assert stop.value.code == 2 and ": error: " in line and len(line) < 600 and not end
    assert all("|" in bar or not bar.strip() for bar in bars), bars  # progress bars
    return line


def test_bad_input_is_refused_in_one_line(bad_files, capsys):
    """Shows all rows that fail at once."""
    def files():
        return {path: path.stat().st_mtime_ns for path in Path().rglob("*") if path.is_file()}

    before, wrong = files(), []
    for script, table in BAD.items():
        for row in table.strip().splitlines():
            arguments, says = row.strip().rsplit("| ", 1)
            try:
                line = refused(capsys, *f"{script} {arguments}".split())
            except BaseException as error:  # whatever it is, it is no refusal
                line = repr(error)
            if says not in line or files() != before:
                wrong.append(f"{script} {arguments}: {line.strip()}")
                before = files()
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("options", [boot.Config, dkdm.Config, eval_fid.Config,
                                     teachers.SampleOptions])
def test_every_number_has_a_range_and_help_is_shown(options, capsys):
    for field in dataclasses.fields(options):
        for wrong in (-1, math.nan, math.inf) if field.type in (int, float, tuple) else ():
            with pytest.raises(UserError, match=f"--{field.name.replace('_', '-')} is"):
                options(**{field.name: (wrong,) if field.type is tuple else wrong})
    with pytest.raises(SystemExit) as stop:
        options.parse(["--help"])
    assert stop.value.code == 0 and options.__doc__.split()[0] in capsys.readouterr().out
