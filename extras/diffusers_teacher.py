"""Teachers from the diffusers library: its pipelines as checkpoints of this project.

    pip install "diffusers>=0.35" transformers
    python teachers.py convert diffusers:google/ddpm-cifar10-32 --out ddpm.pt
    python teachers.py convert diffusers:NAME --prompts prompts.txt --out sd.pt
    python dkdm.py --teacher sd.pt --student same --predicts v --fill strided
    python boot.py --teacher runs/dkdm-sd-same/student.pt --guidance 4

NAME is a folder, or a name on the Hugging Face hub. Supported are U-Nets for images or latents,
unconditional, with class labels or with one text encoder, trained on a chain of noise levels: DDPM,
latent diffusion, Stable Diffusion 1 and 2, the first stage of DeepFloyd IF and the like. What a
pipeline says of variance, clipping, noise levels and decoder is used or refused; what it leaves
open is decided here, and printed.

A text-to-image model gets a fixed list of prompts, one on each line of a file. They are its classes
0, 1, ..., and the empty prompt is "no class". The checkpoint holds their embeddings; the text
encoder and the autoencoder are read from the pipeline. Other prompts for a teacher, its copy, or a
student of BOOT of either (what DKDM trains of another size has a label table of its own):

    python teachers.py convert sd.pt --prompts others.txt --out sd-others.pt
"""

import contextlib
import functools
import importlib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

import teachers
import unet
from extras.diffusers_settings import UNET_FITS, check_decoder, demand, noise_schedule, settings
from teachers import UserError, one_line

LARGE = 200_000_000  # above this many parameters the backward pass recomputes activations

# Parts of a pipeline that are used, and those that act on finished images or come with add-ons.
USED = {"unet", "scheduler", "vae", "vqvae", "text_encoder", "tokenizer"}
LEFT_OUT = {"safety_checker", "feature_extractor", "image_encoder", "watermarker"}
# How files of weights end, and how those begin that the libraries read for a part
WEIGHTS = ".safetensors", ".bin", ".ckpt", ".pt", ".pth"
READ = "diffusion_pytorch_model", "pytorch_model", "model.", "model-0"
MERGE = "to use them, fuse_lora and unload_lora_weights in diffusers before save_pretrained"


@functools.cache
def library():
    """The module diffusers. UserError if it is missing or too old, or if transformers is."""
    try:
        import diffusers
        import transformers
        diffusers.utils.check_min_version("0.35.0")
    except ImportError as error:
        raise UserError(f"pipelines of diffusers need more packages ({one_line(error)}): "
                        "pip install -U 'diffusers>=0.35' transformers") from None
    for module in (diffusers, transformers):
        module.utils.logging.set_verbosity(logging.CRITICAL)  # errors are raised as well
        module.utils.logging.disable_progress_bar()
    return diffusers


@contextlib.contextmanager
def loading(what):
    """Turns any error, of the network, the hub or a file, into a UserError on one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} cannot be loaded ({one_line(error)}): check the name and the "
                        "network, and install what it asks for") from None


# ------------------------------------------------------------------------------------------------
# What teachers.build() makes of a checkpoint


class DiffusersNet(torch.nn.Module):
    """A network of diffusers, called like ours: net(x, i, c=None, w=None), see unet.py.

    kind         its class there;  config: the arguments of that class
    num_classes  rows of the label table, with the empty prompt; None: no labels
    text         (tokens, width) of a prompt's embedding; None: no prompts
    guided       whether forward takes w, embedded like the index and added through weights that
                 start at 0; only with prompts
    """

    arch = "diffusers"  # its name in checkpoints

    def __init__(self, kind, config, num_classes=None, text=None, guided=False):
        super().__init__()
        self.arguments = {"kind": kind, "config": config, "num_classes": num_classes,
                          "text": text, "guided": guided}
        self.num_classes, self.guided, its_class = num_classes, guided, getattr(library(), kind)
        if text is not None:
            self.register_buffer("features", torch.zeros(num_classes, *text))
        if guided:
            if text is None:
                raise UserError("a pipeline without prompts takes no range of --guidance: give "
                                "one scale")
            self.net = its_class.from_config(config | {"time_cond_proj_dim": 256})
            torch.nn.init.zeros_(self.net.time_embedding.cond_proj.weight)
        else:
            self.net = its_class.from_config(config)
        if sum(p.numel() for p in self.net.parameters()) > LARGE:
            self.net.enable_gradient_checkpointing()

    @property
    def last_of_time(self):
        return self.net.time_embedding.linear_2

    def embed_time(self, i):
        """The embedding of indices i (B,), of which last_of_time is the last layer: (B, D)."""
        layers = self.net.time_embedding  # which may act once more on what last_of_time says
        return layers.linear_2(layers.act(layers.linear_1(self.net.time_proj(i))))

    def forward(self, x, i, c=None, w=None):
        condition = {}
        if self.arguments["text"] is not None:
            condition["encoder_hidden_states"] = self.features[c]             # (B, tokens, width)
        elif c is not None:
            condition["class_labels"] = c
        if w is not None:
            condition["timestep_cond"] = unet.timestep_embedding(w, 256)
        return self.net(x, i, return_dict=False, **condition)[0]              # (B, C or 2C, H, W)


@dataclass
class Pipeline:
    """What a model in a pipeline's space keeps of the pipeline."""

    name: str             # on the hub, or a folder
    latents: bool         # whether an autoencoder makes the images
    prompts: list = None  # what labels 0, 1, ... mean; None: the model takes no prompts
    decoder: str = None   # fingerprint() of its autoencoder; None: none, or it was not noted

    def demand_decoder(self):
        """UserError if latents will have to be decoded, and their autoencoder is gone or another.
        """
        if self.latents and Path(self.name).is_absolute() and not Path(self.name).is_dir():
            raise UserError(f"the autoencoder of this model was in {self.name}, which is gone: put "
                            "the pipeline back there, or a link to it")
        if self.decoder is not None and self.decoder != fingerprint(self.name):
            raise UserError(f"the autoencoder of {self.name} is no longer the one that this model "
                            "was converted with: put that back, or convert the pipeline again")

    @torch.no_grad()
    def decode(self, x):
        """Images (B, 3, H, W) in about [-1, 1] of latents x (B, C, h, w)."""
        vae = autoencoder(self.name).to(x.device)
        # one at a time: an image of 512 x 512 takes about 1 GB
        return torch.cat([vae.decode(part.float() / vae.config.scaling_factor).sample
                          for part in x.split(1)])


# ------------------------------------------------------------------------------------------------
# The parts of a pipeline


@functools.cache
def pipeline_index(name):
    """The model_index.json of a pipeline. UserError if there is none."""
    if Path(name).is_file():
        raise UserError(f"{name} is a file: give the pipeline's folder")
    with loading(f"diffusers:{name}, a folder with a model_index.json or a name on the hub,"):
        index = library().DiffusionPipeline.load_config(name)
        if not isinstance(index, dict) or "_class_name" not in index:
            raise ValueError("its model_index.json names no class")
        return index


def pipeline_parts(name):
    """{part: (library, class)} of a pipeline. UserError if there is none."""
    return {part: tuple(value) for part, value in pipeline_index(name).items()
            if isinstance(value, (list, tuple)) and len(value) == 2 and value[0]
            and not part.startswith("_")}


def pipeline_part(name, part):
    """A part of a pipeline, of its own class. UserError if it does not load."""
    parts = pipeline_parts(name)
    if part not in parts:
        raise UserError(f"the pipeline {name} has no {part}: save it whole")
    module, kind = parts[part]
    with loading(f"the {part} of {name}, a {kind},"):
        if module not in ("diffusers", "transformers"):
            raise ValueError(f"{module} is code of its own, which is not run")
        its_class = getattr(importlib.import_module(module), kind)
        if part in ("scheduler", "tokenizer"):
            found = from_folder(its_class, name, part)
            # transformers 5 makes one without words if the file with them is missing
            if part == "tokenizer" and len({*found.get_vocab()} - {*found.all_special_tokens}) < 2:
                raise UserError(f"the tokenizer of {name} has no words: put its vocabulary there, "
                                "vocab.json with merges.txt, spiece.model or tokenizer.json")
            return found
        adapters = Path(name, part, "adapter_config.json").is_file()
        if not adapters:  # transformers would look for what they belong to on the hub
            found, info = with_weights(its_class, name, part)
            adapters = any(".lora_" in key for key in info["unexpected_keys"])
        if adapters:
            raise UserError(f"the {part} of {name} has LoRA adapters: {MERGE}")
        if missing := [*info["missing_keys"], *info["mismatched_keys"]]:  # else drawn at random
            raise ValueError(f"weights are missing or do not fit: {', '.join(map(str, missing))}")
        if unused := sorted(info["unexpected_keys"]):
            if part != "text_encoder":
                raise ValueError(f"it does not use all of its weights: {', '.join(unused)}")
            print(f"{part}: left out are {len(unused)} weights that a {kind} does not use")
        if not all(w.isfinite().all() for w in found.parameters()):
            raise ValueError("some weights are not finite")
    return found.float().eval().requires_grad_(False)


def from_folder(its_class, name, part, **options):
    """its_class.from_pretrained(name, ...) of the part's folder, or of the pipeline's root.

    In the root lie the network and the scheduler of google/ddpm-*. On disk the library looks there
    by itself, on the hub it does not. Raises what the folder's own loading raised.
    """
    try:
        return its_class.from_pretrained(name, subfolder=part, **options)
    except Exception:
        if part in ("unet", "scheduler"):
            with contextlib.suppress(Exception):
                return its_class.from_pretrained(name, **options)
        raise


def with_weights(its_class, name, part):
    """(part, info on its loading): of its plain weights, or, if there are none, of a variant."""
    try:
        return from_folder(its_class, name, part, output_loading_info=True)
    except Exception as error:  # for a missing file, the libraries' versions raise different ones
        for variant in ("fp16", "bf16"):
            with contextlib.suppress(Exception):
                found = from_folder(its_class, name, part, variant=variant,
                                    output_loading_info=True)
                print(f"{part}: weights of the variant {variant}, since no plain ones load")
                return found
        raise error


@functools.cache
def autoencoder(name):
    """The autoencoder of a pipeline."""
    return pipeline_part(name, "vqvae" if "vqvae" in pipeline_parts(name) else "vae")


@functools.cache
def fingerprint(name):
    """A hash of what a pipeline's autoencoder does: its weights, and the scale of its latents."""
    vae = autoencoder(name)
    return teachers.sha256([vae.config.scaling_factor, vae.state_dict()])


@torch.no_grad()
def embeddings(name, prompts):
    """The text encoder's output for prompts, then for the empty one: (N + 1, tokens, width)."""
    index, found = pipeline_index(name), []
    parts = {key: None if isinstance(value, (list, tuple)) else value
             for key, value in index.items() if not key.startswith("_")}
    parts |= {part: pipeline_part(name, part) for part in ("text_encoder", "tokenizer")}
    with loading(f"what {name} makes of prompts"):
        pipeline = getattr(library(), index["_class_name"])(**parts)
        for prompt in tqdm([*prompts, ""], desc="reading the prompts", leave=False):
            found.append(pipeline.encode_prompt(prompt, device="cpu", num_images_per_prompt=1,
                                                do_classifier_free_guidance=False)[0])
            tokens, most = len(pipeline.tokenizer(prompt).input_ids), found[-1].shape[1]
            if tokens > most:
                tqdm.write(f"warning: cut after {most} of {tokens} tokens: {prompt[:60]}...")
    return torch.cat(found).float()


# ------------------------------------------------------------------------------------------------
# Conversion


def convert(source, prompts="", null_class=False):
    """The checkpoint dict (see DiffusionModel.checkpoint) of a pipeline, "diffusers:NAME".

    prompts: a text file, one a line. Or source is a checkpoint of ours, whose prompts are replaced.
    null_class: whether the last row of a pipeline's label table is "no class".
    Prints what had to be decided. UserError for what is not supported.
    """
    texts = read_prompts(prompts) if prompts else []
    if source.startswith("diffusers:"):
        content = from_pipeline(source.removeprefix("diffusers:"), texts, null_class)
    else:
        _, content = teachers.load(source)
        if content["arch"] != "diffusers" or content["pipeline"]["prompts"] is None:
            raise UserError(f"{source} takes no prompts, or was trained on a fixed list of them: "
                            "leave --prompts out")
    if texts:
        features, arguments = embeddings(content["pipeline"]["name"], texts), content["arch_args"]
        before = content["weights"].get("features", features)[-1].float()  # of the empty prompt
        if before.shape != features[-1].shape or (
                (features[-1] - before).abs().max() > 0.01 * before.abs().max()):
            raise UserError(f"the text encoder in {content['pipeline']['name']} is no longer the "
                            f"one that {source} was made with: put that back")
        content["weights"]["features"] = features
        arguments["num_classes"], arguments["text"] = len(features), list(features.shape[1:])
        content["num_classes"], content["pipeline"]["prompts"] = len(texts), texts
    return content


def from_pipeline(name, prompts, null_class):
    """The checkpoint dict of a pipeline, still without the prompts that are given."""
    parts, its_class = pipeline_parts(name), pipeline_index(name)["_class_name"]
    kind, latents = parts.get("unet", ("", ""))[1], not parts.keys().isdisjoint(("vae", "vqvae"))
    demand(isinstance(its_class, str) and hasattr(library(), its_class),
           f"its class {its_class} is code of its own, or of another version of diffusers")
    demand(kind in ("UNet2DModel", "UNet2DConditionModel"),
           "its network is no UNet2DModel or UNet2DConditionModel")
    demand(latents or not pipeline_index(name).keys() & {"vae", "vqvae"},
           "its autoencoder is missing")
    unknown, left_out = parts.keys() - USED - LEFT_OUT, parts.keys() & LEFT_OUT
    demand(not unknown, f"there is no place for its {' and '.join(sorted(unknown))}")
    demand(kind == "UNet2DModel" or {"text_encoder", "tokenizer"} <= parts.keys(),
           "it has no text_encoder, or no tokenizer")
    if kind == "UNet2DModel" and prompts:
        raise UserError(f"{name} takes no prompts: leave --prompts out")
    if kind == "UNet2DConditionModel" and not prompts:
        raise UserError(f"{name} makes images of prompts: give it --prompts FILE, one a line")
    if left_out:
        print(f"left out: {', '.join(sorted(left_out))}, which the network does not need")
    files = Path(name).rglob("*.*") if Path(name).is_dir() else ()
    if beside := sorted(str(path.relative_to(name)) for path in files if path.suffix in WEIGHTS
                        and not path.name.startswith(READ)):
        print(f"left out: {one_line(', '.join(beside))}, weights of no part; of LoRA: {MERGE}")

    net = pipeline_part(name, "unet")
    config = settings(net, UNET_FITS)
    C, made, size = config["in_channels"], config["out_channels"], config["sample_size"]
    demand(made in (C, 2 * C), f"its network takes {C} channels and makes {made}")
    demand(size, "its network does not say the images' size (sample_size)")
    early = re.match(r"0\.[0-8]\b", net.config.get("_diffusers_version", ""))
    if its_class.startswith("StableDiffusion") and early and size in range(64):
        print(f"sample_size: 64, as diffusers reads {size} in a Stable Diffusion saved before 0.9")
        size = 64
    colours = check_decoder(autoencoder(name), C) if latents else C
    demand(colours in (1, 3) or colours == 4 and not latents,
           f"its images have {colours} channels, which is not gray, RGB or, undecoded, RGBA")

    rows = config.get("num_class_embeds")
    demand(rows is None or kind == "UNet2DModel", "num_class_embeds asks for labels with prompts")
    if null_class and (rows or 0) < 2:
        raise UserError(f"{name} has no label table whose last row could be \"no class\" (of "
                        "prompts, the empty one is): leave --null-class out")
    if rows and not null_class:
        print(f"labels: {rows} classes; if the last row is \"no class\", add --null-class")
    scheduler = pipeline_part(name, "scheduler")
    return noise_schedule(scheduler, its_class, learned=made == 2 * C) | {
        "arch": "diffusers", "arch_args": {"kind": kind, "config": config, "num_classes": rows},
        "weights": {f"net.{key}": value for key, value in net.state_dict().items()},
        "num_classes": rows - null_class if rows else None, "learned_sigma": made == 2 * C,
        "latents": latents, "method": "teacher", "config": {},
        "image_shape": [C, *(size if isinstance(size, (list, tuple)) else (size, size))],
        "pipeline": {"name": str(Path(name).resolve()) if Path(name).is_dir() else name,
                     "latents": latents, "prompts": None,
                     "decoder": fingerprint(name) if latents else None}}


def read_prompts(path):
    """The lines of a text file that are not empty, white space joined. UserError if none are."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # drops an editor's byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {path} cannot be read ({one_line(error)}): give a text file "
                        "in UTF-8, one prompt a line") from None
    prompts = [" ".join(line.split()) for line in text.split("\n") if line.strip()]
    if not prompts:
        raise UserError(f"--prompts {path} is empty: give a text file, one prompt a line")
    return prompts
