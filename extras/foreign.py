"""Weights in the files of other projects: what is taken of them, and what a refused file is.

teachers.read and teachers.load come here with what is no checkpoint of this project. Weights are
found by the names that the network gives them, in any dict of a file and behind any prefix, so a
training script's way of wrapping them need not be known. docs/teachers.md has a table of examples.
"""

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch

from teachers import ARCHITECTURES, DESCRIPTION, Schedule, UserError, one_line

AVERAGE = {"ema", "average", "averaged", "avg", "shadow", "swa"}  # words in an average's name
COUNTERS = {"decay", "num_updates", "n_averaged", "initted", "step"}  # that averages keep
# What torch.compile, FSDP and checkpointed activations put into names, also in the middle
INSERTED = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# {keys of a dict: what it is}
STATES = {
    ("state", "param_groups"): "an optimizer's state",
    ("last_epoch", "_step_count"): "a learning-rate schedule's state",
    ("growth_factor", "growth_interval"): "a gradient scaler's state",
    ("shadow_params",): "an average without names (shadow_params): copy it into the model, and "
                        "save model.state_dict()",
    ("processes", "given"): "a training run's state for --resume: the checkpoint is student.pt or "
                            "teacher.pt beside it",
}
# {part of a weight's name: the arguments of a network that decide whether it has such weights}
DECIDE = {"label_emb": "num_classes", "y_embedder": "num_classes", "attn": "depth",
          "proj_out": "attention_resolutions", ".op.": "resblock_updown", "guidance": "guided",
          "put_blocks": "num_res_blocks, channel_mult"}


def described(content, about, path):
    """The checkpoint dict of bare weights in a file's content, which about describes.

    Prints what was taken, if the file holds more. UserError without about, and for a file without
    these weights, with several that may be meant, or with other noise levels than about says.
    """
    if isinstance(content, dict) and "weights" in content and len(DESCRIPTION & content.keys()) > 2:
        lacks = (DESCRIPTION | {"method", "config"}) - content.keys()
        raise UserError(f"{path} is a checkpoint of this project" + (
            f", but lacks {some(sorted(lacks))}" if lacks else ": leave --arch out"))
    if not about:
        raise UserError(f"{path} is no checkpoint of this project, it holds {summary(content)}; "
                        "weights become one by python teachers.py convert FILE --arch NAME_OR_JSON "
                        "--out NEW, see docs/teachers.md")
    try:
        with torch.device("meta"):  # names alone
            net = ARCHITECTURES[about["arch"]](**about["arch_args"])
    except Exception as error:  # wrong arguments can fail in any way
        raise UserError(f'--arch: "arch_args" make no {about["arch"]}: {one_line(error)}') from None
    compare_levels(content, Schedule(about["schedule"], about["T"]), path)
    bare = {"weights": pick(content, net, path), "latents": False, "method": "teacher",
            "config": {}}
    return bare | about


def some(names, most=4):
    """The first of some names, in quotes, and how many there are if these are not all."""
    names = [repr(name)[:80] for name in names]
    return ", ".join(names[:most]) + f", ... ({len(names)} in all)" * (len(names) > most)


def summary(content):
    """What a file holds, in words."""
    if not isinstance(content, dict):
        return f"a value of the type {type(content).__name__}"
    for keys, what in STATES.items():
        if content.keys() >= set(keys):
            return what
    if "conv_in.weight" in content:
        return "weights of the diffusers library: convert their pipeline, diffusers:FOLDER"
    clip = "cond_stage_model.transformer.text_model.", "cond_stage_model.model."  # SD 1, SD 2
    if any(name.startswith(clip) for _, tensors in tables(content) for name in tensors):
        return ("Stable Diffusion in one file: from_single_file and save_pretrained of diffusers "
                "make a pipeline of it, to convert as diffusers:FOLDER")
    return some(content) or "nothing"


# ------------------------------------------------------------------------------------------------
# Weights among other things


@dataclass(eq=False)
class Part:
    """Tensors in a file whose names end like those of a network."""

    where: tuple   # the keys that lead to their dict
    prefix: str    # of their names in it
    tensors: dict  # that dict, {name: tensor}
    names: dict    # {the network's name: the name in it}

    def __str__(self):
        names = [f"{self.prefix}*"] if self.prefix or not self.where else []
        return repr(" / ".join(map(str, [*self.where, *names])))

    @property
    def average(self):
        """Whether it is called an average of the weights.

        ema-pytorch's "ema" holds the "online" model as well; "exp_avg" is Adam's, of gradients.
        """
        said = words(*self.where, self.prefix)
        count = self.tensors.get(self.prefix.removesuffix("module.") + "n_averaged")
        if count is not None:  # 0: it still is what training began with
            return bool((count > 0).any())
        return bool(said & AVERAGE) and not said & {"online", "exp"}


def words(*names):
    """The words in names, in lower case: model_ema, modelEma and EMAModel have "ema"."""
    found = re.findall("[A-Z]+(?![a-z])|[A-Z]?[a-z]+", " ".join(map(str, names)))
    return {word.lower() for word in found}


def tables(thing, where=(), above=()):
    """Yields (keys that lead to it, {name: tensor}) for each dict and list in a file."""
    if len(above) > 20 or any(thing is other for other in above):  # it may even contain itself
        return
    entries = thing if isinstance(thing, dict) else (
        dict(enumerate(thing)) if isinstance(thing, (list, tuple)) else {})
    if entries:
        yield where, {str(name): x for name, x in entries.items() if torch.is_tensor(x)}
    for name, part in entries.items():
        yield from tables(part, (*where, name), (*above, thing))


def parts_of(content, wanted):
    """The Parts of a file's content that have most of the wanted names. UserError for doubles."""
    endings = {w.replace(".", ""): w for w in wanted}  # CompVis' average has lost its dots
    endings |= {w: w for w in wanted}
    found = {}
    for where, tensors in tables(content):
        for name in tensors:
            plain = INSERTED.sub("", name)
            for k in range(len(plain)):
                w = endings.get(plain[k:])
                if not w:
                    continue
                part = found.setdefault((where, plain[:k]), Part(where, plain[:k], tensors, {}))
                if part.names.setdefault(w, name) != name:
                    raise UserError(f"{name!r} and {part.names[w]!r} of one file are the same "
                                    "weight: save the one that is meant")
    most = max([4, *(len(part.names) for part in found.values())])  # fewer names are a chance
    return [part for part in found.values() if len(part.names) > most / 2]


def pick(content, net, path):
    """{name: tensor} of the weights of net in a file's content, see described()."""
    wanted = net.state_dict()
    parts = parts_of(content, wanted)
    chosen = choose(parts, content, wanted, path)
    weights = {w: chosen.tensors[name].detach() for w, name in chosen.names.items()}
    others, beside = [part for part in parts if part is not chosen], ""
    if len(others) == 1:  # what is not trained, such as a ViT's positions, is not averaged
        fixed = {w for w, p in net.named_parameters() if not p.requires_grad} - weights.keys()
        for w in fixed & others[0].names.keys():
            weights[w], beside = others[0].tensors[others[0].names[w]], f" and {w} of {others[0]}"
    refuse_misfit(chosen, [w for w in wanted if w not in weights], others, path)
    for w, x in weights.items():
        if not x.is_floating_point():
            raise UserError(f"{path} has {w} in {x.dtype}: give weights that are not quantized")
    left = left_of(content, chosen)
    if left or chosen.where or chosen.prefix:
        average = "the average " if chosen.average else ""
        print(f"weights: {average}{chosen}{beside}" + f" (also here: {some(left, 8)})" * bool(left))
    return weights


def choose(parts, content, wanted, path):
    """The Part to take: the average, or else the only one. UserError without any, or a choice."""
    if not parts:
        raise UserError(f"{path} has no weights of this network, such as {next(iter(wanted))!r}; "
                        f"it holds {summary(content)}")
    averages = [part for part in parts if part.average]
    for where, tensors in tables(content):
        strange = len(tensors) > len(wanted) / 2 and where not in [part.where for part in parts]
        if strange and words(*where) & AVERAGE and not averages:
            raise UserError(f"{path} holds {parts[0]}, and an average without its names in "
                            f"{some(where)}: copy that into the model, and save model.state_dict()")
    chosen, *more = averages or parts
    if more:
        raise UserError(f"{path} holds {', '.join(map(str, [chosen, *more]))}: save the one that "
                        "is meant alone, by torch.save")
    return chosen


def refuse_misfit(chosen, missing, others, path):
    """UserError if names of the network are missing, or if a Part has some besides."""
    used = {name for part in (chosen, *others) for name in part.names.values()}
    extra = [name for name in chosen.tensors if name not in used
             and name.startswith(chosen.prefix) and name.split(".")[-1] not in COUNTERS]
    if missing or extra:
        shard = " is one of several files, and" * bool(re.search(r"-\d+-of-\d+", str(path)))
        decide = [arguments for sign, arguments in DECIDE.items()
                  if any(sign in name for name in missing + extra)]
        raise UserError(f"{path}{shard} does not fit arch_args: missing are "
                        f"{some(missing) or 'none'}; unexpected are {some(extra) or 'none'}"
                        + "; look at " * bool(decide) + ", ".join(decide))


def left_of(content, part):
    """The keys of a file's content beside a part of it, names in the part's dict cut at a dot."""
    left = []
    for key in part.where:
        entries = content if isinstance(content, dict) else dict(enumerate(content))
        left += [other for other in entries if other != key]
        content = entries[key]
    taken = set(part.names.values())
    return list(dict.fromkeys([*left, *(str(name).split(".")[0] for name in content
                                        if str(name) not in taken)]))


def compare_levels(content, schedule, path):
    """UserError if a file says its noise levels, as samplers' buffers do, and they are others."""
    for where, tensors in tables(content):
        for name, x in tensors.items():
            kind = name.split(".")[-1]
            if kind not in ("betas", "alphas_cumprod") or x.ndim != 1 or not len(x):
                continue
            ours, theirs = schedule.alphas_cumprod, x.double()
            if kind == "betas":
                theirs = (1 - theirs).cumprod(0)
            if len(x) != len(ours) or not torch.allclose(theirs, ours, rtol=0.02, atol=1e-6):
                said = [f"{len(abar)} with alpha^2 from {abar[0]:.6g} to {abar[-1]:.3g}"
                        for abar in (theirs, ours)]
                raise UserError(f"{path} says other noise levels than its description: in "
                                f"{'.'.join(map(str, [*where, name]))!r} are {said[0]}, where "
                                f"schedule and T say {said[1]}")


# ------------------------------------------------------------------------------------------------
# Files that PyTorch does not read

COPY = "replace it by a good copy"
JOIN = ("that torch.distributed.checkpoint wrote: join its files, by python -m "
        "torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER joined.pt")
# {how a file begins: what it is}
BEGINNINGS = {
    (b"<",): "is a web page instead of the file: download the file itself",
    (b"version https://git-lfs",): "is a pointer of Git LFS instead of the file: run git lfs pull",
    (b"{",): "is JSON, such as the index of a file in parts: give weights, in one file",
    (b"GGUF",): "is a GGUF file, whose weights are quantized",
    (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf", b"Rar!"):
        "is compressed (gzip, bzip2, xz, Zstandard, 7-Zip or RAR): unpack it",
}


def other_file(path, error):
    """The content of a .safetensors file, which torch.load refused with this error.

    UserError for any other file: what it is, and what to do.
    """
    if isinstance(error, MemoryError):
        raise error
    with open(path, "rb") as file:
        start = file.read(512)
    if start[8:9] != b"{" or int.from_bytes(start[:8], "little") > 1e8:
        raise UserError(f"{path} {what_it_is(path, start, error)}")
    try:
        from safetensors.torch import load_file
        return load_file(path)
    except ImportError:
        raise UserError(f"{path} is a .safetensors file: pip install safetensors") from None
    except Exception as why:  # it may declare anything
        cut = re.search("incomplete|length", str(why))
        raise UserError(f"{path} is a .safetensors file that is "
                        + (f"cut short: {COPY}" if cut else f"damaged ({one_line(why)})")) from None


def what_it_is(path, start, error):
    """What a file is that begins so, and that torch.load refused, in words."""
    if not start:
        return f"is empty: {COPY}"
    if Path(path).with_name(".metadata").is_file():
        return f"is part of a folder {JOIN}"
    for signs, what in BEGINNINGS.items():
        if start.lstrip().startswith(signs):
            return what
    reason = str(error).split("WeightsUnpickler error: ")[-1]
    if code := re.search(r"GLOBAL (\S+)", reason):
        return (f"holds {code[1]}, which only code can make, and code of files is not run: if you "
                "trust the file, torch.load it with weights_only=False, and save the weights alone "
                "(a state_dict) by torch.save")
    reason = one_line(reason).split(" Check")[0][:100]
    if start.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            return f"is cut short: {COPY}"
        names = zipfile.ZipFile(path).namelist()
        if any("/code/" in name for name in names):
            return ("is a TorchScript program: if you trust it, save "
                    "torch.jit.load(FILE).state_dict()")
        if any(name.endswith("data.pkl") for name in names):
            return f"is a PyTorch file, but damaged ({reason})"
        if names and all(name.endswith(".npy") for name in names):
            return "holds arrays of NumPy: save them as tensors, by torch.save"
        return f"is a zip archive of {some(names) or 'nothing'}: unpack it"
    if start.startswith(b"\x80"):  # a pickle, as torch.save wrote it until 2020
        if re.search("EOF|truncated|requires a buffer", repr(error)):
            return f"is cut short: {COPY}"
        return (f"is a pickle that torch.save did not write ({reason}): if you trust it, unpickle "
                "it, and save the weights alone by torch.save")
    if start.isascii() and b"\0" not in start:
        return f"is text, not weights: {one_line(start.decode())[:60]!r}"
    return f"is no file of PyTorch ({reason})"
