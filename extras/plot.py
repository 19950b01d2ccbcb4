"""Plots runs: their losses by step, what BOOT reaches by minutes of training, and its pictures.

    pip install matplotlib
    python -m extras.plot runs/boot-cifar10 --out run.png
    python -m extras.plot runs/short runs/boot-cifar10 runs/long --out compute.png
    python -m extras.plot --film runs/boot-cifar10 --out film.png

Left: each loss in log.csv. Right, for runs of boot.py: the MSE to the teacher's 50-step images at
each save. Minutes are the images learned from, divided by the speed in log.csv: training alone.
--film stacks the pictures of one run of boot.py.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import teachers
from teachers import UserError, one_line, opt


@dataclass
class Config(teachers.Options):
    """Plots the losses of runs, and the MSE of BOOT's."""

    runs: tuple = opt((), "run folders of boot.py, dkdm.py or extras.train_teacher", type=str,
                      nargs="*", positional=True)
    film: str = opt("", "run folder of boot.py, whose pictures to stack instead")
    out: str = opt("plot.png", "the picture to write")


def read_log(folder):
    """{column: float array (rows,)} of a run's log.csv, with a column "minutes". UserError."""
    try:
        log = np.genfromtxt(Path(folder) / "log.csv", delimiter=",", names=True, ndmin=1)
        batch = json.loads((Path(folder) / "config.json").read_text())["batch"]
        images = np.diff(log["step"], prepend=0) * batch
        minutes = np.cumsum(images / log["images_per_s"]) / 60
    except (OSError, ValueError, LookupError) as error:
        raise UserError(f"{folder} is no run with a log ({one_line(error)}): name the --out of a "
                        "run") from None
    return {name: log[name] for name in log.dtype.names} | {"minutes": minutes}


def pyplot():
    """The module matplotlib.pyplot. UserError if it is not installed."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise UserError("plots need matplotlib: pip install matplotlib") from None
    return pyplot


def strip(path, about, colours, panels, limit=None):
    """A PNG of square panels of points in the plane, four a row; about: a line above them.

    A panel is a title, points (N, 2, 1, 1), a value in [0, 1] of each (N,), whose colour is of the
    map named `colours`, and None or trails (M, n, 2, 1, 1) that lead to the first n points. Its
    axes go from -limit to limit; None: 1.3 or 3.5, whichever nearly all of it needs.
    """
    plt, columns = pyplot(), min(len(panels), 4)
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 3.6 * rows + 0.4),
                                layout="constrained", squeeze=False)
    for ax, (title, points, values, trails) in zip(axes.flat, panels, strict=True):
        shades, reach = plt.colormaps[colours](values.numpy()), points.abs().quantile(0.99)
        ax.scatter(*points.flatten(1).T, 7, shades, lw=0)
        if trails is not None:
            n, reach = trails.shape[1], max(reach, trails.nan_to_num().abs().max())
            for k in range(n):
                ax.plot(*trails[:, k].flatten(1).T, lw=1.3, color=shades[k])
            ax.scatter(*points[:n].flatten(1).T, 30, shades[:n], edgecolors="black", zorder=3)
        edge = limit or (1.3 if reach < 1.3 else 3.5)
        ticks = (-int(edge), 0, int(edge))
        ax.set(xlim=(-edge, edge), ylim=(-edge, edge), xticks=ticks, yticks=ticks, aspect="equal",
               title=title)
    figure.suptitle(about)
    teachers.write(path, lambda file: figure.savefig(file, dpi=100, format="png"))
    plt.close(figure)


def film(folder, out):
    """Writes a picture of eight noise samples, a column each, as training went on, a row each."""
    paths = sorted(Path(folder).glob("samples/step_*.png"))
    if not str(out).endswith(".png"):
        raise UserError(f"--out {out}: a film is a .png")
    if len(paths) < 2 or "mse" not in read_log(folder):
        raise UserError(f"{folder} has no pictures of a run of boot.py: name the --out of one")
    kept = [paths[round(k)] for k in np.unique(np.geomspace(1, len(paths), 8).round()) - 1]
    rows, shown = [], json.loads((Path(folder) / "config.json").read_text())["compare"]
    for path in kept:  # each image has 2 pixels of margin at the left and above
        pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)
        height = (pixels.shape[1] - 2) // math.ceil(min(shown, 64) / 8)
        width = (pixels.shape[2] - 2) // 8
        rows.append(pixels[:, 2:height, 2:].unfold(2, width - 2, width).permute(2, 0, 1, 3))
    steps = [f"step {int(path.stem[5:]):,}" for path in kept]
    teachers.save_grid(out, torch.cat(rows) / 127.5 - 1, 8, steps)


def plot(config):
    """Writes config.out. UserError for a folder without a log, or an --out of unknown format."""
    plt = pyplot()
    logs = {folder: read_log(folder) for folder in config.runs}
    boots = {name: log for name, log in logs.items() if "mse" in log}
    figure, axes = plt.subplots(1, 2 if boots else 1, figsize=(11 if boots else 6, 4),
                                layout="constrained", squeeze=False)
    left, right = axes[0, 0], axes[0, -1]
    for name, log in logs.items():
        for column, values in log.items():
            if column not in ("step", "minutes", "mse", "images_per_s"):
                left.plot(log["step"], values, lw=0.8, label=f"{name}: {column}")
    left.set(xlabel="step", ylabel="loss", yscale="log")
    for name, log in boots.items():
        saved = np.isfinite(log["mse"])
        right.plot(log["minutes"][saved], log["mse"][saved], ".-", label=name)
    if boots:
        right.set(xlabel="minutes of training", ylabel="MSE to the teacher's 50-step images",
                  yscale="log")
    for ax in axes.flat:
        ax.grid(alpha=0.3, which="both")
        ax.legend()
    kind, known = Path(config.out).suffix[1:] or "png", figure.canvas.get_supported_filetypes()
    if kind not in known:
        raise UserError(f"--out {config.out}: the formats are {', '.join(known)}")
    teachers.write(config.out, lambda file: figure.savefig(file, dpi=120, format=kind))
    plt.close(figure)


def main():
    config = Config.parse()
    if bool(config.runs) == bool(config.film):
        raise UserError("name run folders, or --film")
    if config.film:
        film(config.film, config.out)
    else:
        plot(config)
    print(f"Wrote {config.out}")


if __name__ == "__main__":
    teachers.run_script(main)
