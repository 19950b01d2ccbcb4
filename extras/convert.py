"""The command convert of teachers.py: what is not yet a checkpoint of this project becomes one.

    python teachers.py convert downloaded.pt --arch iddpm-cifar10 --out teacher.pt
    python teachers.py convert mine.pt --arch mine.json --out teacher.pt
    python teachers.py convert diffusers:google/ddpm-cifar10-32 --out ddpm.pt

docs/teachers.md says what mine.json holds, and which files are taken. extras/foreign.py finds the
weights in a file, extras/diffusers_teacher.py reads pipelines.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

import teachers
from extras.foreign import JOIN, some
from teachers import ARCHITECTURES, DESCRIPTION, NAMED, UserError, one_line, opt


@dataclass
class Config(teachers.Options):
    """Public weights, a pipeline or a checkpoint, written as a checkpoint in half precision."""

    source: str = opt("", "a file of any training script, a name of teachers.py list, or diffusers:"
                          "NAME, where NAME is a folder or on the hub", positional=True)
    out: str = opt("", "path of the new checkpoint", required=True)
    arch: str = opt("", "what the weights in a file are: a name of teachers.py list whose format "
                        "they have, or a JSON file, see docs/teachers.md")
    prompts: str = opt("", "text file, one prompt a line: the classes of a text-to-image model")
    null_class: bool = opt(False, "the last row of a pipeline's label table is \"no class\"")


def convert(config):
    """Writes config.source as a checkpoint with weights in half precision to config.out."""
    teachers.one_process()
    source, out, prompts = config.source, Path(config.out), config.prompts
    if out.exists() or not teachers.can_write(out.parent):
        raise UserError(f"--out {out}: give a new file, in a folder that exists and can be written "
                        "to")
    if config.null_class and not source.startswith("diffusers:"):
        raise UserError("--null-class is for pipelines: of bare weights, the outer num_classes of "
                        "--arch says whether the label table has one row more")
    if config.arch and (prompts or source.startswith("diffusers:") or source in NAMED):
        raise UserError("--arch is for bare weights in a file: leave it out for "
                        f"{'--prompts' if prompts else source}")
    if Path(source, ".metadata").is_file():
        raise UserError(f"{source} is a folder {JOIN}")
    if Path(source).is_dir() and source not in NAMED:
        raise UserError(f"{source} is a folder: give a file in it, or, if it is a pipeline of "
                        f"diffusers, diffusers:{source}")
    about = describe(config.arch) if config.arch else None
    if source.startswith("diffusers:") or prompts:
        from extras import diffusers_teacher
        content = diffusers_teacher.convert(source, prompts, config.null_class)
        model = teachers.build(content, source)  # refuses what does not fit
    else:
        model, content = teachers.load(source, about=about)
    weights = in_half(content["weights"])
    content = model.checkpoint(content["method"], content["config"]) | {"weights": weights}
    teachers.build(content, source)  # what is saved is what was checked
    teachers.save(out, content)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


def in_half(weights):
    """{name: tensor} in half precision; what that cannot hold stays in single precision."""
    found, kept = {}, []
    for name, w in weights.items():
        found[name] = half = w.half() if w.is_floating_point() else w
        exact = w.float()  # of eight bits, too, with which PyTorch does not compute
        lost = (half.float() - exact).abs()  # infinite above 65,504; all of it below 2**-25
        if (lost > 2**-10 * exact.abs().max()).any():
            found[name] = exact.clone()  # else a view takes the whole tensor to the file
            kept.append(name)
    if kept:
        print(f"in single precision, as half precision cannot hold them: {some(kept)}")
    return found


# ------------------------------------------------------------------------------------------------
# The description, --arch


def whole(x):
    return type(x) is int and x > 0


def numbers(x, count=None):
    return (type(x) is list and (count is None or len(x) == count)
            and all(type(value) in (int, float) for value in x))


# {key: (whether a value is right, what is)}; all but the last three are in DESCRIPTION
KEYS = {
    "arch": (lambda x: x in list(ARCHITECTURES), '"unet" or "vit"'),
    "arch_args": (lambda x: type(x) is dict, "the arguments of UNet or ViT, {...}"),
    "image_shape": (lambda x: numbers(x, 3) and all(map(whole, x)),
                    "whole numbers [channels, height, width]"),
    "num_classes": (lambda x: x is None or whole(x), "a whole number, or null"),
    "predicts": (lambda x: x in ["eps", "x0", "v"], '"eps", "x0" or "v"'),
    "learned_sigma": (lambda x: type(x) is bool, "true or false"),
    "schedule": (lambda x: x in ["cosine", "linear"] or type(x) is dict,
                 '"cosine", "linear", {"betas": [...]}, or arguments of diffusers\' DDPMScheduler '
                 'such as {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": '
                 "0.012}"),
    "T": (lambda x: whole(x) and x <= 10**6, "a whole number up to 10^6, the steps of the chain"),
    "latents": (lambda x: type(x) is bool, "true or false"),
    "clip": (lambda x: x is False or numbers([x]) and x > 0
             or numbers(x, 2) and 0 < x[0] <= 1 <= x[1],
             "false, the largest |x0|, or Imagen's [quantile, largest]"),
    "variance": (lambda x: x in ["fixed_large", "fixed_small"], '"fixed_large" or "fixed_small"'),
}


def once(pairs):
    """A JSON object as a dict. ValueError for a key that is there twice."""
    for key, _ in pairs:
        if [other for other, _ in pairs].count(key) > 1:
            raise ValueError(f"{key!r} is there twice")
    return dict(pairs)


def describe(arch):
    """What bare weights are, by the name of a public model or a JSON file. UserError."""
    if arch in NAMED and NAMED[arch][-1]:
        return NAMED[arch][-1]
    try:
        about = json.loads(Path(arch).read_text(encoding="utf-8-sig"), object_pairs_hook=once)
        if not isinstance(about, dict):
            raise ValueError("JSON, but not {...}")
    except (OSError, ValueError, RecursionError) as error:
        names = ", ".join(name for name in NAMED if NAMED[name][-1])
        raise UserError(f"--arch {arch} is no description ({one_line(error)}): give one of {names},"
                        f" or a JSON file with the keys {', '.join(sorted(DESCRIPTION))}") from None
    missing, unknown = DESCRIPTION - about.keys(), about.keys() - KEYS.keys()
    if missing or unknown:
        raise UserError(f"--arch {arch}: missing are {some(sorted(missing), 8) or 'none'}, unknown "
                        f"are {some(sorted(unknown)) or 'none'} of the keys {', '.join(KEYS)}; see "
                        "docs/teachers.md")
    for key, value in about.items():
        right, what = KEYS[key]
        if not right(value):
            raise UserError(f'--arch {arch}: "{key}" is {json.dumps(value)[:60]}, and must be '
                            f"{what}")
    if about["learned_sigma"] and "variance" in about:
        raise UserError(f'--arch {arch}: "variance" is that of steps whose variance is not learned:'
                        ' leave it out, or "learned_sigma" is false')
    return about | {"schedule": levels(about["schedule"], about["T"])}


def levels(schedule, T):
    """A description's schedule as Schedule takes it: a name, or alphas_cumprod (T,). UserError."""
    if schedule == "linear" and T != 1000:
        print(f"schedule: linear is DDPM's betas times 1000 / {T}")
    if isinstance(schedule, str):
        return schedule
    try:
        if "betas" in schedule:
            abar = listed_levels(**schedule)
        else:
            abar = diffusers_levels(T, **schedule)
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(f'--arch: "schedule" makes no noise levels ({one_line(error)[:150]}); it '
                        f"may be {KEYS['schedule'][1]}") from None
    if abar[-1] == 0 and abar[:-1].all():
        abar[-1] = min([2**-24, *(abar[-2:-1] / 2).tolist()])  # below the level before it
        print(f"schedule: the last level, exactly 0, becomes {abar[-1]:.3g}")
    return abar


def listed_levels(*, betas):
    """alphas_cumprod (T,) of a list of betas. ValueError if it is none."""
    if not numbers(betas) or not betas:
        raise ValueError('"betas" must be a list of numbers')
    return (1 - torch.tensor(betas, dtype=torch.float64)).cumprod(0)


def diffusers_levels(T, *, beta_schedule, beta_start=1e-4, beta_end=0.02,
                     rescale_betas_zero_snr=False):
    """alphas_cumprod (T,) of a schedule as the diffusers library makes it. UserError without it."""
    try:
        from diffusers import DDPMScheduler
    except ImportError:
        raise UserError('this "schedule" is made by the diffusers library: pip install diffusers, '
                        'or give {"betas": [...]}') from None
    scheduler = DDPMScheduler(num_train_timesteps=T, beta_schedule=beta_schedule,
                              beta_start=beta_start, beta_end=beta_end,
                              rescale_betas_zero_snr=rescale_betas_zero_snr)
    return scheduler.alphas_cumprod.double()
