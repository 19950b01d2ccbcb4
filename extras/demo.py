"""Pictures for a lecture, from a one-step student: each image is one network call.

    python -m extras.demo --out demo                                        the shipped student
    python -m extras.demo --student runs/guided/student.pt --out demo       one for a range of w

calls.png           the teacher in few and many calls, and the student in one, framed; of prompts,
                    the first eight
interpolation.png   from one noise sample to another along the great circle between them
classes.png         one noise sample per row, as each class
path.png            what the student says of y_t at the ends of its hops, from t_max to t_min
scales.png          a student for a range only: rising w, below the teacher's 50 steps
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageDraw

import boot
import teachers
from teachers import UserError, opt

COLUMNS = 10
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass
class Config(teachers.Options):
    """Draws what a one-step student does with its noise, class, time and scale of guidance."""

    student: str = opt("cifar10", "of boot.py, a path or cifar10")
    teacher: str = opt("", "its teacher (default: the one it was distilled from)")
    rows: int = opt(4, "noise samples in each picture", 1, 1000)
    seed: int = opt(0, "seed of the noise", 0, 2**32 - 1)
    out: str = opt("demo", "folder for the pictures")


def great_circle(a, b, n):
    """n points (n, ...) from a to b, noise samples of one shape.

    x = (sin((1 - k) phi) a + sin(k phi) b) / sin(phi) for k from 0 to 1 and the angle phi between a
    and b. On the straight line between them the points in the middle would be too short for noise.
    """
    phi = torch.acos(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0))
    k = torch.linspace(0, 1, n).reshape(n, *[1] * a.ndim)
    return (torch.sin((1 - k) * phi) * a + torch.sin(k * phi) * b) / torch.sin(phi)


def prompts_of(model):
    """The prompts that a model's labels stand for; [] for one without prompts."""
    return model.pipeline.prompts or [] if model.pipeline else []


def space(model):
    """What a student and its teacher have in common: images, classes and prompts."""
    return model.image_shape, model.num_classes, prompts_of(model)


def draw_calls(student, teacher, seed, path):
    """Eight noise samples: rows of the teacher's 1, 10 and 50 steps, and the student's, framed."""
    model, w = student.model, sum(student.guidance) / len(student.guidance)
    samples, rows = (model.noise(8, seed), model.labels(8)), {}
    for k in (1, 10, 50):
        calls = k if w == 1 else 2 * k
        rows[f"teacher,\n{calls} call{'s' * (calls > 1)}"] = teacher.in_parts(
            lambda xi, c, k=k: teacher.ddim(xi, k, c, w, student.t_max, student.t_min), *samples)
    rows["student,\n1 call"] = model.in_parts(
        lambda xi, c: boot.sample(student, xi, c, w), *samples)
    prompts = [textwrap.fill(prompt, 11) for prompt in prompts_of(model)[:8]]
    heads = [prompts[k % len(prompts)] for k in range(8)] if prompts else ()
    images = model.to_images(torch.cat(list(rows.values())))
    teachers.save_grid(path, images, 8, list(rows), heads)
    row = images.shape[-2] * teachers.enlargement(images)
    with Image.open(path) as picture:
        box = 0, picture.height - row - 4, picture.width - 1, picture.height - 1
        ImageDraw.Draw(picture).rectangle(box, outline="crimson", width=3)
        teachers.write(path, lambda file: picture.save(file, "PNG"))


def draw(config):
    """Writes the pictures to the folder config.out. UserError if it exists."""
    student, n, out = boot.load_student(config.student), config.rows, Path(config.out)
    model = student.model
    if out.exists():
        raise UserError(f"{out} exists: choose another --out")
    made = teachers.load(student.path)[1]["config"]
    made_from = made["teacher"]
    teacher = teachers.load_teacher(config.teacher or made_from)
    if space(teacher) != space(model):
        raise UserError(f"{config.teacher or made_from} has other images, classes or prompts than "
                        f"{config.student}: name its own --teacher")
    out.mkdir(parents=True)
    draw_calls(student, teacher, config.seed, out / "calls.png")
    xi, c = model.noise(n + 1, config.seed), model.labels(n)
    each = xi[:n].repeat_interleave(COLUMNS, 0)  # a row of it
    c_each = None if c is None else c.repeat_interleave(COLUMNS)

    def picture(name, x, columns=COLUMNS, **texts):
        teachers.save_grid(out / f"{name}.png", model.to_images(x), columns, **texts)

    between = torch.cat([great_circle(a, b, COLUMNS) for a, b in zip(xi[:n], xi[1:], strict=True)])
    picture("interpolation", boot.sample(student, between, c_each))

    hops = boot.hops(boot.Config(t_min=made["t_min"], t_max=made["t_max"], delta=made["delta"]))
    some = torch.linspace(hops, 0, min(COLUMNS, hops + 1)).round()  # it learned no other times
    times = (student.t_min + some * made["delta"]).clamp(max=student.t_max)
    w = torch.full((n * len(times),), sum(student.guidance) / len(student.guidance))
    with torch.no_grad():
        y = student(xi[:n].repeat_interleave(len(times), 0), times.repeat(n),
                    None if c is None else c.repeat_interleave(len(times)), w)
    picture("path", y, len(times), heads=[f"t = {t:.2f}" for t in times])

    if c is not None:
        classes = (torch.arange(COLUMNS) * model.num_classes // COLUMNS).unique()
        of_cifar10 = made_from in teachers.NAMED and made_from.startswith("cifar10")
        named = prompts_of(model) or (CIFAR10 if of_cifar10 else [])
        x = boot.sample(student, xi[:n].repeat_interleave(len(classes), 0), classes.repeat(n))
        picture("classes", x, len(classes), heads=[
            textwrap.fill(named[k], 11) if named else f"class {k}" for k in classes])

    if len(student.guidance) == 2:
        scales = torch.linspace(*student.guidance, COLUMNS)
        w = scales.repeat(n)
        theirs = teacher.in_parts(lambda xi, c, w: teacher.ddim(
            xi, 50, c, w, student.t_max, student.t_min), each, c_each, w, desc="the teacher")
        ours = boot.sample(student, each, c_each, w)
        both = torch.stack([x.unflatten(0, (n, COLUMNS)) for x in (theirs, ours)], 1).flatten(0, 2)
        picture("scales", both, labels=["teacher, 100 calls", "student, one call"] * n,
                heads=[f"w = {scale:.1f}" for scale in scales])


def main():
    config = Config.parse()
    draw(config)
    print(f"Drew {config.out}")


if __name__ == "__main__":
    teachers.run_script(main)
