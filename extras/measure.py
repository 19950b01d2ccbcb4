"""Measures what the pages in docs/ report beside the scripts' own output.

    python -m extras.measure floor --solver heun --delta 0.0625
    python -m extras.measure steps --student cifar10 --out steps.png
    python -m extras.measure errors --student runs/dkdm-cifar10-nano/student.pt
    python -m extras.measure mix --images made.npz --share 0.2 --out mixed.npz
    python -m extras.measure real --n 5000 --out real.npz
    python -m extras.measure noise --out noise.pt
    python -m extras.measure prompts --images a.npz --prompts a.txt --data pictures.npz --out a.png

floor    the MSE of a perfect student of BOOT to the teacher's 50 DDIM steps
steps    the MSE of a student of BOOT, and of its teacher's steps by DDIM and by DPM-Solver++
errors   a diffusion model's error to its teacher, and its denoising loss on CIFAR-10's test images
mix      a data-limited set: generated images, a share replaced by CIFAR-10's training images
real     CIFAR-10's first test images as an .npz, for the floor of the scores
noise    a teacher that predicts noise, as public ones do: a copy of one that predicts v
prompts  how images fit their prompts, and how near pictures are that a model was trained on
"""

import copy
import dataclasses
import math
import statistics
import textwrap
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

import boot
import dkdm
import eval_fid
import teachers
from extras import demo, diffusers_teacher
from teachers import UserError, opt

TAKES = {  # what each command takes besides its name
    "floor": "teacher solver delta t_min t_max guidance n seed device",
    "steps": "teacher student guidance n seed out device",
    "errors": "teacher student data n seed device", "mix": "images share data seed out",
    "real": "data n out", "noise": "teacher data n seed device out",
    "prompts": "images prompts data device out"}
# How the name in --out ends
ENDS = {"steps": ".png", "mix": ".npz", "real": ".npz", "noise": ".pt", "prompts": ".png"}


@dataclass
class Config(teachers.Options):
    """Measures what docs/results.md and docs/experiments.md report."""

    what: str = opt("", "see the top of this file", positional=True, choices=TAKES)
    teacher: str = opt(None, "a name of teachers.py list, or a path (default: the one that the "
                             "student was made from, or else cifar10)")
    student: str = opt("", "steps: of boot.py, a path or cifar10; errors: a diffusion model's path")
    solver: str = opt("midpoint", "floor: of the signal-ODE", choices=boot.SOLVERS)
    delta: float = opt(1 / 8, "floor: length of a hop (delta)", 1e-4, 1)
    t_min: float = opt(0.02, "floor: time at which the path ends (t_min)", 1e-4, 1)
    t_max: float = opt(None, "floor: time at which the path starts (default: as boot.py)", 1e-4, 1)
    guidance: float = opt(None, "scale w of classifier-free guidance (default: for floor 1, for "
                                "steps the student's, all of its range)", 1)
    data: str = opt("data", "CIFAR-10: a folder of .npz files, or torchvision's, downloaded to it; "
                            "prompts: pictures.npz of extras.train_prompts")
    images: str = opt("", "mix, prompts: generated images with labels (.npz)")
    prompts: str = opt("", "prompts: file of the prompts that the labels stand for, one a line")
    share: float = opt(0.2, "mix: share of real images", 0, 1)
    n: int = opt(None, "noise samples, real images or, for noise, steps of training (default: "
                       "floor 64, steps 256, errors 2000, real 5000, noise 10000)", 10, 10_000)
    seed: int = opt(0, "seed of every random draw", 0, 2**32 - 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    out: str = opt("", "steps, prompts: a picture (.png); mix and real: images with labels (.npz); "
                       "noise: a checkpoint")

    def __post_init__(self):
        super().__post_init__()
        for field in dataclasses.fields(self)[1:]:
            given, takes = getattr(self, field.name) != field.default, TAKES[self.what].split()
            if given and field.name not in takes:
                raise UserError(f"{self.what} takes no --{field.name.replace('_', '-')}: leave it "
                                "out")
            if not given and field.name in takes and field.default == "":
                raise UserError(f"{self.what} needs --{field.name}, see --help")
        folder, ending = Path(self.out).parent, ENDS.get(self.what)
        if ending and not (self.out.endswith(ending) and teachers.can_write(folder)):
            raise UserError(f"--out {self.out}: give a {ending}, in a folder that exists and can "
                            "be written to")
        if self.what == "noise" and Path(self.out).exists():
            raise UserError(f"{self.out} exists: choose another --out")
        if self.what in ("floor", "noise"):
            self.teacher = self.teacher or "cifar10"
        self.n = self.n or {"floor": 64, "steps": 256, "errors": 2000, "real": 5000,
                            "noise": 10_000}.get(self.what)


def floor(config):
    """{"floor": MSE} of y that starts at f(xi, t_max) and moves by the student's hops.

    The teacher takes the student's place in them; in single precision.
    """
    teacher = teachers.load_teacher(config.teacher, config.device)
    run = boot.Config(config.teacher, solver=config.solver, delta=config.delta, seed=config.seed,
                      t_min=config.t_min, t_max=config.t_max, guidance=(config.guidance or 1.0,),
                      compare=config.n).fitted(teacher)

    def hops(xi, c, w):  # the student's: from min(s + delta, t_max) to s
        t = torch.full((len(xi),), run.t_max, device=xi.device)
        y = boot.boundary_target(teacher, xi, t, c, w)
        for k in reversed(range(boot.hops(run))):
            s = torch.full_like(t, run.t_min + k * run.delta)
            y, t = boot.signal_ode_step(y, xi, t, s, teacher, run.solver, c, w), s
        return y

    def ddim(xi, c, w):
        return teacher.ddim(xi, 50, c, w, run.t_max, run.t_min)

    ours, theirs = (teacher.in_parts(f, *boot.held_out(teacher, run)) for f in (hops, ddim))
    return {"floor": F.mse_loss(ours, theirs).item()}


def steps(config):
    """{who: MSE}, on the student's path, at config.guidance or its own; draws all but DPM-Solver++.

    UserError for a teacher of other images, classes or prompts, and a scale that the student never
    learned.
    """
    student = boot.load_student(config.student, config.device)
    made = teachers.load(student.path)[1]["config"]
    its = config.teacher or made["teacher"]
    teacher = teachers.load_teacher(its, config.device).in_precision("auto")
    student.model = student.model.in_precision("auto")
    if demo.space(teacher) != demo.space(student.model):
        raise UserError(f"{config.student} and {its} have other images, classes or prompts: name "
                        "its own teacher")
    w = student.guidance if config.guidance is None else [config.guidance] * len(student.guidance)
    run = boot.Config(its, t_min=student.t_min, t_max=student.t_max, delta=made["delta"],
                      seed=config.seed, guidance=tuple(w), compare=config.n)
    ten = boot.held_out(student.model, dataclasses.replace(run, compare=10))
    student.model.in_parts(partial(boot.sample, student), *ten)  # now, not after the teacher
    drawn = boot.draw_teacher(teacher, run)
    mse = boot.compare(student, drawn, run, config.out)
    for k in (5, 10, 20):
        ours = teacher.in_parts(lambda xi, c, w, k=k: teacher.dpm_solver(
            xi, k, c, w, run.t_max, run.t_min), *boot.held_out(teacher, run))
        mse[f"DPM-Solver++, {k} steps"] = F.mse_loss(ours, drawn["teacher, 50 steps"]).item()
    return mse


@torch.no_grad()
def errors(config):
    """{"error": to the teacher's eps, as dkdm.py prints it; "denoising loss": to the noise itself}.

    Means over ten indices of a chain of 100 (or of as many steps as divide 100 and both models'
    chains). UserError if the model does not fit CIFAR-10.
    """
    its = config.teacher or teachers.load(config.student)[1]["config"].get("teacher", "cifar10")
    run = dkdm.Config(its, seed=config.seed)
    both = [teachers.load_teacher(name, config.device) for name in (its, config.student)]
    T = math.gcd(run.T, *(made.schedule.T for made in both))
    teacher, model = (made.respaced(T).in_precision("auto") for made in both)
    fits = {(made.image_shape, made.num_classes) for made in (teacher, model)}
    if fits not in ({((3, 32, 32), 10)}, {((3, 32, 32), None)}):
        raise UserError(f"{its} and {config.student} are not both models of CIFAR-10's "
                        "images, with its classes or without: name such models")
    by_index = dkdm.compare(model, teacher, run)
    images, labels = (part[:config.n] for part in eval_fid.cifar10(config.data, "test"))
    images, c = images / 127.5 - 1, None if model.num_classes is None else labels
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(config.seed))
    losses = []
    for index in by_index:
        i = torch.full((len(images),), index)
        alpha, sigma = model.schedule.levels(i, images)
        eps = model.in_parts(model.eps_form, alpha * images + sigma * noise, i, c)[:, :3]
        losses.append(F.mse_loss(eps, noise).item())
    return {"error": statistics.mean(by_index.values()), "denoising loss": statistics.mean(losses)}


def mix(config):
    """Writes config.out; returns how many images are real. UserError for other images."""
    arrays = eval_fid.read_arrays(config.images)
    images = torch.from_numpy(eval_fid.find_pixels(arrays, config.images)).permute(0, 3, 1, 2)
    labels = arrays.get("arr_1", np.zeros(0))
    if images.shape[1:] != (3, 32, 32) or labels.shape != images.shape[:1] or (
            labels.dtype.kind not in "iu"):
        raise UserError(f"{config.images} has no images of 3 x 32 x 32 with a label each (arr_1)")
    labels = torch.from_numpy(labels)
    real, real_labels = eval_fid.cifar10(config.data)
    n = round(config.share * len(images))
    if n > len(real):
        raise UserError(f"{config.data} has {len(real)} images, and --share {config.share} needs "
                        f"{n}: lower it")
    rows = np.random.default_rng(config.seed).choice(len(real), n, replace=False)
    images[:n], labels[:n] = real[rows], real_labels[rows]
    write(config.out, images, labels)
    return {"real images": n, "of": len(images)}


def real(config):
    """Writes config.out; returns how many images it has."""
    images, labels = (part[:config.n] for part in eval_fid.cifar10(config.data, "test"))
    write(config.out, images, labels)
    return {"test images": len(images)}


def noise(config):
    """Writes config.out, a copy of the teacher that learned its eps in n steps of 16 real images.

    Returns the mean squared error of eps in the last 100 steps. UserError for other images.
    """
    teacher = teachers.load_teacher(config.teacher, config.device).in_precision("auto")
    if (teacher.image_shape, teacher.null_label) != ((3, 32, 32), 10):
        raise UserError(f"{config.teacher} is no model of CIFAR-10's images and classes that knows "
                        '"no class": name another')
    images, labels = (x.to(teacher.device) for x in eval_fid.cifar10(config.data))
    run = dkdm.Config(steps=config.n)  # for its learning rate and average
    student = dkdm.new_student(teacher, "same", "eps", None, None)
    ema = copy.deepcopy(student)
    ema.net.requires_grad_(False)
    optimizer = torch.optim.Adam(student.net.parameters(), betas=(0.9, 0.99), fused=True)
    B, last, draw = 16, [], dict(generator=teacher.generator(config.seed), device=teacher.device)
    for k in tqdm(range(config.n), desc="a teacher of noise"):
        rows = torch.randint(len(images), (B,), **draw)
        x0, no_class = images[rows] / 127.5 - 1, torch.rand(B, **draw) < 0.1
        c = torch.where(no_class, teacher.null_label, labels[rows])
        i = torch.randint(teacher.schedule.T, (B,), **draw)
        alpha, sigma = teacher.schedule.levels(i, x0)
        x = alpha * x0 + sigma * torch.randn(x0.shape, **draw)
        with torch.no_grad():
            target = teacher.eps_form(x, i, c)
        loss = F.mse_loss(student.eps_form(x, i, c), target)
        last = [*last[-99:], loss.detach()]
        dkdm.update(student, ema, optimizer, loss, last[-1], *dkdm.rates(k, run))
    teachers.save(config.out, ema.checkpoint("teacher", {}))
    return {"error": torch.stack(last).mean().item()}


def prompts(config):
    """{what: share} of images; draws the first eight, their prompts and the nearest pictures.

    Ridge regression on features of --features cifar10 learns the categories of the pictures that
    were trained on. Nearest: of those, by squared error of pixels. UserError for other files.
    """
    lines, made, real = (diffusers_teacher.read_prompts(config.prompts),
                         eval_fid.read_arrays(config.images), eval_fid.read_arrays(config.data))
    images, theirs = (torch.from_numpy(eval_fid.find_pixels(arrays, path)).permute(0, 3, 1, 2)
                      for arrays, path in ((made, config.images), (real, config.data)))
    labels = made.get("arr_1", np.zeros(0))
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or (
            not set(labels.tolist()) <= set(range(len(lines)))):
        raise UserError(f"the labels of {config.images} are no lines of {config.prompts}")
    if not real.keys() >= {"captions", "categories", "held"} or not real["held"].any() or (
            {images.shape[1:], theirs.shape[1:]} != {(3, 32, 32)}) or not all(real["categories"]):
        raise UserError(f"{config.data} is no pictures.npz of extras.train_prompts, with a "
                        "category of each picture and some kept out, or its pictures or the images "
                        "are not 32 x 32, which the features are for")
    asked, held = [lines[label] for label in labels], torch.from_numpy(real["held"])
    device = teachers.pick_device(config.device)
    network = eval_fid.load_network(eval_fid.Config(features="cifar10"), device)
    x, y = (eval_fid.measure(network, pixels, 100, device, "features")["features"]
            for pixels in (images, theirs))
    x, y = (F.normalize(part - y[~held].mean(0)) for part in (x, y))
    kinds, kind = np.unique(real["categories"], return_inverse=True)
    learned, is_kind = y[~held], F.one_hot(torch.from_numpy(kind))[~held].float()
    weights = torch.linalg.solve(learned.T @ learned + torch.eye(y.shape[1]), learned.T @ is_kind)
    category = dict(zip(real["captions"], real["categories"], strict=True))
    hits = [kinds[guess] == category[prompt] for guess, prompt in zip(
        (x @ weights).argmax(1), asked, strict=True) if prompt in category]
    right = (y @ weights).argmax(1).numpy() == kind

    seen, captions = theirs[~held], real["captions"][~real["held"]]
    nearest = torch.cdist(images.flatten(1).float(), seen.flatten(1).float()).argmin(1)
    both = torch.cat([images[:8], seen[nearest[:8]]]) / 127.5 - 1
    teachers.save_grid(config.out, both, len(images[:8]), ["made", "nearest"],
                       [textwrap.fill(prompt, 11) for prompt in asked[:8]])
    return {"category is the prompt's": np.mean(hits) if hits else math.nan,
            "the same of held-out pictures": right[real["held"]].mean(),
            "nearest picture is the prompt's": np.mean(captions[nearest] == asked)}


def write(path, images, labels):
    """Images uint8 (N, 3, H, W) and labels (N,) as the .npz that scoring and training read."""
    arrays = {"arr_0": images.permute(0, 2, 3, 1).numpy(), "arr_1": labels.numpy()}
    teachers.write(path, lambda file: np.savez(file, **arrays))


def main():
    config = Config.parse()
    measures = floor, steps, errors, mix, real, noise, prompts
    found = {f.__name__: f for f in measures}[config.what](config)
    for what, value in found.items():
        print(f"  {what:31} {round(float(value), 4)}")


if __name__ == "__main__":
    teachers.run_script(main)
