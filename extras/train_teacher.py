"""Trains a teacher from data: improved DDPM, with the choice of what the network predicts.

    python -m extras.train_teacher --data my-pictures --size 32     a class in each subfolder
    python -m extras.train_teacher --data images.npz
    python -m extras.train_teacher --dataset cifar10                downloaded by torchvision
    python boot.py --teacher runs/teacher-cifar10/teacher.pt

Neither method opens a data set; this script does. It takes its optimizer step from dkdm.py, so a
network trained here is the data-based baseline of a DKDM student of that size.

The images are read once and stay in memory as 8 bits, so a step waits for no file, and a resumed
run repeats its batches exactly.
"""

import copy
import dataclasses
import math
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
import torch
import torchvision
from torch.distributions import Normal, kl_divergence
from torchvision.transforms import v2
from tqdm import tqdm

import eval_fid
import teachers
import unet
import vit
from dkdm import LOSSES, PICTURE, SAVES, new_network, rates, update
from teachers import UserError, one_line, opt, per_sample

# ------------------------------------------------------------------------------------------------
# Data

DATASETS = {"cifar10": torchvision.datasets.CIFAR10, "mnist": torchvision.datasets.MNIST,
            "fashion-mnist": torchvision.datasets.FashionMNIST,
            "celeba": torchvision.datasets.CelebA}
SPLITS = {"test", "testing", "train", "training", "val", "valid", "validation"}
LABELS = {"arr_1", "label", "labels", "targets", "y"}  # what they may be called in an .npz


def read_images(config):
    """The images, uint8 (N, C, H, W), and labels, int64 (N,) or None, that config asks for.

    UserError, which says why, if there are none or they do not go together.
    """
    transform = v2.ToImage()
    if config.size:
        transform = v2.Compose([v2.Resize(config.size, v2.InterpolationMode.BICUBIC),
                                v2.CenterCrop(config.size), v2.ToImage()])
    if not config.data and not config.dataset:
        raise UserError("no data to train on: give --data or --dataset, see --help")
    path = Path(config.data or "data")
    try:
        if config.dataset:
            items = DATASETS[config.dataset](path, download=True)
            labels = getattr(items, "targets", None)  # CelebA has attributes instead of classes
        else:
            items = eval_fid.list_files(path) if path.is_dir() else [path]
            if not path.is_dir() or any(file.suffix.lower() == ".npz" for file in items):
                return read_npz(path, items, transform)
            labels = labels_of(items, path)

        def read(k):
            picture, _ = items[k] if config.dataset else eval_fid.open_picture(items[k])
            return transform(picture)

        with ThreadPool() as pool:  # several pictures are decoded at once
            progress = tqdm(pool.imap(read, range(len(items))), f"reading {path}", len(items))
            images = torch.stack(list(progress))
        return images, labels if labels is None else torch.as_tensor(labels)
    except UserError:
        raise
    except Exception as error:  # broken data can fail in any way
        raise UserError(f"no usable images in {path} ({one_line(error)}): see --data in --help; "
                        "pictures of several sizes need --size") from None


def labels_of(files, folder):
    """Labels of picture files, a list: those of the folder's subfolders in order of name, or all 0.

    UserError for files beside subfolders, and for classes that may lie deeper.
    """
    places = [file.relative_to(folder).parent.parts for file in files]
    classes = sorted({place[:1] for place in places})
    if len(classes) > 1 and () in classes:
        raise UserError(f"{files[places.index(())]} lies beside subfolders, which are classes: put "
                        "it into one, or all pictures into one folder")
    if len(classes) == 1 and len(set(places)) > 1:
        raise UserError(f"{folder} has one subfolder, {classes[0][0]}, which has others: give that "
                        "as --data if they are the classes, or put all pictures into one folder")
    if len(classes) > 1 and {name.lower() for name, in classes} <= SPLITS:
        raise UserError(f"{folder} has the subfolders {' and '.join(name for name, in classes)}, "
                        "which are no classes: give one of them as --data")
    inside = [{place[1:2] for place in places if place[:1] == name} for name in classes]
    alike = len(classes) > 1 and all(names == inside[0] for names in inside)
    if alike and () not in inside[0] and len(inside[0]) > 1:
        raise UserError(f"{folder} has the same subfolders in each of its subfolders: give one of "
                        "these as --data if they are the classes, or put all pictures of a class "
                        "into one folder")
    if len(classes) > 1:
        tqdm.write("classes: " + one_line(", ".join(name for name, in classes)))
    return [classes.index(place[:1]) for place in places]


def read_npz(path, files, transform):
    """Images and labels, as read_images() returns them, of path's .npz files, joined.

    Of a folder's, test* are left out. UserError for what is neither images nor labels, and for
    labels that are not 0, 1, 2, ... without gaps.
    """
    if path.is_dir():
        for file in files:
            if file.suffix.lower() != ".npz" or file.parent != path:
                raise UserError(f"{file} is there beside .npz files: take it or them away")
    test = [file for file in files if file != path and file.name.startswith("test")]
    train = [file for file in files if file not in test]
    if not train:
        raise UserError(f"{path} has no .npz files but test*.npz: give others, or one by its name")
    if test:
        names = one_line(", ".join(file.name for file in test))
        eval_fid.warn(f"{len(test)} left out of {path}, test images: {names}")
    images, labels = [], []
    for file in train:
        arrays = eval_fid.read_arrays(file)
        pixels = torch.from_numpy(eval_fid.find_pixels(arrays, file)).permute(0, 3, 1, 2)
        images.append(torch.cat([transform(part) for part in pixels.split(1000)]))
        others = [name for name, x in arrays.items() if x.ndim]  # made_by is a single text
        if len(others) > 1 or not LABELS.issuperset(others):
            raise UserError(f"{file} also has {', '.join(others)}: call labels arr_1, and take "
                            "other arrays away")
        labels += [arrays[name] for name in others]
        if images[-1].shape[1:] != images[0].shape[1:] or len(labels) not in (0, len(images)):
            raise UserError(f"{train[0]} and {file} differ in size, in colour or in having labels")
        if others and (labels[-1].shape != (len(pixels),) or labels[-1].dtype.kind not in "biuf"):
            raise UserError(f"{others[0]} of {file} is {labels[-1].dtype} {labels[-1].shape}: give "
                            f"a whole number for each of {len(pixels)} images")
    images = torch.cat(images).contiguous()
    if not labels:
        return images, None
    classes, numbers = np.unique(np.concatenate(labels), return_inverse=True)
    if not np.array_equal(classes, range(len(classes))):
        raise UserError(f"the labels in {path} are {one_line(classes.tolist())}: number them 0, 1, "
                        "2, ... without gaps, or leave them out")
    return images, torch.from_numpy(numbers)


# ------------------------------------------------------------------------------------------------
# Losses and the training step


def hybrid_loss(out, image, x, noise, i, schedule, predicts):
    """L_simple and L_vlb of each sample (improved DDPM, eq. 16): (B,), (B,).

    out (B, 2C, H, W) is the network's output for x = alpha image + sigma noise at chain indices
    i (B,) int64. L_simple is the squared error of what the network predicts. L_vlb is the one term
    of index i, averaged over dimensions, in bits: the KL between the true and the learned step, and
    at i = 0 the negative log-likelihood of the 8-bit image. No gradient flows from it into the
    mean.
    """
    C = image.shape[1]
    alpha, sigma = schedule.levels(i, x)
    target = {"eps": noise, "x0": image, "v": alpha * noise - sigma * image}[predicts]
    simple = (out[:, :C] - target).square().flatten(1).mean(1)

    x0 = teachers.to_x0(predicts, out[:, :C].detach(), x, alpha.flatten(), sigma.flatten())
    frozen = torch.cat([(x - alpha * x0) / sigma, out[:, C:]], dim=1)
    mean, log_variance, _, _ = schedule.p_mean_variance(frozen, x, i, clip=False)
    step = Normal(mean, (0.5 * log_variance).exp(), validate_args=False)  # NaN is met later
    true_mean, true_log_variance = schedule.posterior(image, x, i)
    true_step = Normal(true_mean, (0.5 * true_log_variance).exp(), validate_args=False)
    kl = kl_divergence(true_step, step)
    # The chance of the 8-bit value is the mass in its bin of width 2 / 255, open-ended at -1 and 1.
    upper = torch.where(image > 0.999, 1.0, step.cdf(image + 1 / 255))
    lower = torch.where(image < -0.999, 0.0, step.cdf(image - 1 / 255))
    nll = -(upper - lower).clamp(min=1e-12).log()
    vlb = torch.where(per_sample(i == 0, x).bool(), nll, kl)
    return simple, vlb.flatten(1).mean(1) / math.log(2)


def training_step(model, ema, images, labels, optimizer, rate, share, config, generator):
    """One step on random images: changes model, ema and optimizer; returns both losses (2,)."""
    B, device, schedule = config.batch, generator.device, model.schedule
    rows = torch.randint(len(images), (B,), generator=generator, device=device)
    image = images[rows].float() / 127.5 - 1
    mirrored = torch.rand(B, 1, 1, 1, generator=generator, device=device) < config.flip
    image = torch.where(mirrored, image.flip(3), image)
    c = None
    if labels is not None:
        dropped = torch.rand(B, generator=generator, device=device) < config.label_dropout
        c = torch.where(dropped, model.num_classes, labels[rows])
    i = torch.randint(schedule.T, (B,), generator=generator, device=device)
    noise = torch.randn(image.shape, generator=generator, device=device)
    alpha, sigma = schedule.levels(i, image)
    x = alpha * image + sigma * noise
    out = model.call(x, i, c)
    simple, vlb = hybrid_loss(out, image, x, noise, i, schedule, model.predicts)
    simple, vlb = simple.mean(), vlb.mean()
    loss = simple + 0.001 * schedule.T * vlb  # the sum over T indices
    logged = torch.stack([simple, vlb]).detach()
    update(model, ema, optimizer, loss, logged, rate, share)
    return logged


# ------------------------------------------------------------------------------------------------
# Configuration


@dataclass
class Config(teachers.RunOptions):
    """Trains a teacher from data, in a folder of its own."""

    data: str = opt("", "a folder of pictures, its subfolders, if any, the classes, in "
                        "alphabetical order; or an .npz with arr_0 uint8 (N, H, W, C) and, for "
                        "classes, arr_1 (N,), 0, 1, 2, ...; or a folder of such files, of which "
                        "test*.npz are left out. What is transparent is laid on white. With "
                        "--dataset, where its files are (default: data)")
    dataset: str = opt("", "one of torchvision's, downloaded if it is not in --data",
                       choices=tuple(DATASETS))
    size: int = opt(None, "pixels of a side: images are resized, and the middle square is kept "
                          "(default: as they are; 64 for celeba)", 1, 4096)
    flip: float = opt(0.0, "share of images that are mirrored", 0, 1)
    network: str = opt("tiny", "named size of the network, a U-Net or a ViT",
                       choices=(*unet.SIZES, *vit.SIZES))
    predicts: str = opt("v", "what the network predicts: v, eps or x0",
                        choices=("v", "eps", "x0"))
    schedule: str = opt("cosine", "noise schedule", choices=("cosine", "linear"))
    steps: int = opt(16_000, "training steps", 1)
    batch: int = opt(64, "images a step, of each process", 1)
    lr: float = opt(1e-3, "peak learning rate of Adam; a warm-up, then half a cosine", 1e-9, 10)
    label_dropout: float = opt(0.1, 'share of labels replaced by "no class", for guidance', 0, 1)
    ema: float = opt(0.9995, "decay of the averaged weights that are the teacher", 0, 0.99999)
    seed: int = opt(0, "seed of every random draw", 0, 2**32 - 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "fp32, bf16 (autocast), or auto: bf16 where it pays",
                         choices=("auto", "fp32", "bf16"))
    graph: bool = opt(False, "on a GPU: launch each step as one CUDA graph (untried)")
    out: str = opt("", "run folder (default: runs/teacher-NAME, of the data)")
    resume: bool = opt(False, "go on with the run in --out, with its options")

    def __post_init__(self):
        super().__post_init__()
        if self.dataset == "celeba":
            self.size = self.size or 64
        self.out = self.out or f"runs/teacher-{self.dataset or Path(self.data).resolve().stem}"


# ------------------------------------------------------------------------------------------------
# The run


def train(config):
    """Trains a teacher; returns the path of its checkpoint. Leaves in config.out:

    config.json, log.csv, samples/step_XXXXXX.png, teacher.pt (averaged weights) and last.pt (for
    --resume). Raises UserError for bad input and for a loss that is not finite.
    """
    device = teachers.pick_device(config.device)
    images, labels = (x if x is None else x.to(device) for x in read_images(config))
    classes = None if labels is None else labels.max().item() + 1
    if classes == 1:  # as good as none
        classes = labels = None
    if classes is None and config.label_dropout != Config.label_dropout:
        raise UserError("--label-dropout needs images of several classes: leave it out")
    # A network that never sees "no class" has no label for it, and so cannot be guided.
    rows = None if classes is None else classes + (config.label_dropout > 0)
    shape = tuple(images.shape[1:])
    tqdm.write(f"{len(images):,} images {shape}, {classes or 'no'} classes")
    torch.manual_seed(config.seed)  # initial weights
    net = new_network(config.network, shape, rows, learned_sigma=True).to(device).train()
    model = teachers.DiffusionModel(net, teachers.Schedule(config.schedule), shape, classes,
                                    config.predicts, learned_sigma=True)
    model = model.in_precision(config.precision)
    ema = copy.deepcopy(model)
    ema.net.requires_grad_(False).eval()
    optimizer = torch.optim.Adam(net.parameters(), config.lr, betas=(0.9, 0.99), fused=True,
                                 capturable=config.graph)
    generator = model.generator(config.seed)
    take_step = partial(training_step, model, ema, images, labels, optimizer, config=config,
                        generator=generator)
    if config.graph:
        take_step = model.captured(take_step, generator)
    parts = {"net": net, "ema": ema.net, "optimizer": optimizer}
    given = {"the data": [images, labels], "precision": model.precision}
    folder, log, save_run = teachers.open_run(config, generator, given, parts)
    xi, c = model.noise(64, config.seed), model.labels(64)

    def save():  # last.pt last: if the run stops before it, --resume makes the rest again
        checkpoint = ema.checkpoint("teacher", dataclasses.asdict(config))
        teachers.save(folder / "teacher.pt", checkpoint)
        save_run()

    def picture(step):
        drawn = ema.in_parts(lambda xi, c: ema.ddim(xi, 50, c), xi, c)
        teachers.save_grid(folder / f"samples/step_{step:06d}.png", drawn)

    save()
    take_steps(config, folder, log, lambda step: take_step(*rates(step, config)), picture, save)
    return folder / "teacher.pt"


def take_steps(config, folder, log, one_step, picture, save):
    """Takes the steps that log does not have yet, and fills it.

    one_step(step) returns the losses (2,); picture(taken) and save() are called in between.
    """
    start = log[-1]["step"] if log else 0
    recent, since, save_every = [], time.monotonic(), math.ceil(config.steps / SAVES)
    progress = tqdm(range(start, config.steps), initial=start, total=config.steps, desc="teacher")
    for step in progress:
        recent.append(one_step(step))
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


def main():
    path = train(Config.parse())
    print(f"Draw it: python teachers.py sample {path}; distil it, unless it predicts noise: python "
          f"boot.py --teacher {path}")


if __name__ == "__main__":
    teachers.run_script(main)
