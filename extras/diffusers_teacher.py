"""Teachers from the diffusers library: its pipelines as checkpoints of this project.

    pip install "diffusers>=0.35" transformers
    python teachers.py convert diffusers:google/ddpm-cifar10-32 --out ddpm.pt
    python teachers.py convert diffusers:NAME --prompts prompts.txt --out sd.pt
    python boot.py --teacher sd.pt --guidance 4

NAME is a folder, or a name on the Hugging Face hub. Supported are U-Nets for images or latents,
unconditional, with class labels or with one text encoder, trained on a chain of noise levels: DDPM,
latent diffusion, Stable Diffusion 1 and 2, the first stage of DeepFloyd IF and the like.

A text-to-image model gets a fixed list of prompts, one on each line of a file. They are its classes
0, 1, ..., and the empty prompt is "no class". The checkpoint holds their embeddings; the text
encoder and the autoencoder are read from the pipeline. Other prompts for a teacher or a student of
BOOT (one of DKDM learns a label table of its own, so it keeps the prompts it was trained with):

    python teachers.py convert sd.pt --prompts others.txt --out sd-others.pt
"""

import contextlib
import functools
import importlib
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

import teachers
import unet
from teachers import UserError, one_line

LARGE = 200_000_000  # above this many parameters the backward pass recomputes activations


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
        module.utils.logging.set_verbosity_error()
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
            self.net = its_class.from_config(config | {"time_cond_proj_dim": 256})
            torch.nn.init.zeros_(self.net.time_embedding.cond_proj.weight)
        else:
            self.net = its_class.from_config(config)
        if sum(p.numel() for p in self.net.parameters()) > LARGE:
            self.net.enable_gradient_checkpointing()

    @property
    def last_layer(self):
        return self.net.conv_out

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

    @torch.no_grad()
    def decode(self, x):
        """Images (B, 3, H, W) in about [-1, 1] of latents x (B, C, h, w); of images, x itself."""
        if not self.latents:
            return x
        vae = autoencoder(self.name).to(x.device)
        # one at a time: an image of 512 x 512 takes about 1 GB
        return torch.cat([vae.decode(part.float() / vae.config.scaling_factor).sample
                          for part in x.split(1)])


# ------------------------------------------------------------------------------------------------
# The parts of a pipeline


@functools.cache
def pipeline_parts(name):
    """{part: (library, class)} of a pipeline. UserError if there is none."""
    with loading(f"diffusers:{name}, a folder with a model_index.json or a name on the hub,"):
        index = library().DiffusionPipeline.load_config(name)
    return {part: tuple(value) for part, value in index.items()
            if isinstance(value, (list, tuple)) and value[0]}


def pipeline_part(name, part):
    """A pipeline's scheduler, unet, text_encoder, vae or vqvae. UserError if it does not load."""
    module, kind = pipeline_parts(name)[part]
    with loading(f"the {part} of {name}, a {kind},"):
        if module not in ("diffusers", "transformers"):
            raise ValueError(f"{module} is code of its own, which is not run")
        its_class = getattr(importlib.import_module(module), kind)
        if part == "scheduler":
            return its_class.from_pretrained(name, subfolder=part)
        found, info = its_class.from_pretrained(name, subfolder=part, output_loading_info=True)
        if missing := [*info["missing_keys"], *info["mismatched_keys"]]:  # else drawn at random
            raise ValueError(f"weights are missing or do not fit: {', '.join(map(str, missing))}")
    return found.float().eval().requires_grad_(False)


@functools.cache
def autoencoder(name):
    """The autoencoder of a pipeline."""
    return pipeline_part(name, "vqvae" if "vqvae" in pipeline_parts(name) else "vae")


@torch.no_grad()
def embeddings(name, prompts):
    """The text encoder's output for prompts, then for the empty one: (N + 1, tokens, width)."""
    parts = dict.fromkeys(pipeline_parts(name).keys() - {"tokenizer"})  # None: not loaded
    parts["text_encoder"] = pipeline_part(name, "text_encoder")
    with loading(f"the tokenizer of {name}"):
        pipeline = library().DiffusionPipeline.from_pretrained(name, **parts)
    found = []
    for prompt in tqdm([*prompts, ""], desc="reading the prompts", leave=False):
        found.append(pipeline.encode_prompt(prompt, device="cpu", num_images_per_prompt=1,
                                            do_classifier_free_guidance=False)[0])
        tokens, most = len(pipeline.tokenizer(prompt).input_ids), found[-1].shape[1]
        if tokens > most:
            tqdm.write(f"warning: cut after {most} of {tokens} tokens: {prompt[:60]}...")
    return torch.cat(found).float()


# ------------------------------------------------------------------------------------------------
# Conversion


def convert(source, prompts=""):
    """The checkpoint dict (see DiffusionModel.checkpoint) of a pipeline, "diffusers:NAME".

    prompts: a text file, one a line. Or source is a checkpoint of ours, whose prompts are replaced.
    UserError for what is not supported.
    """
    texts = read_prompts(prompts) if prompts else []
    if source.startswith("diffusers:"):
        content = from_pipeline(source.removeprefix("diffusers:"), texts)
    else:
        _, content = teachers.load(source)
        if content["arch"] != "diffusers" or content["pipeline"]["prompts"] is None:
            raise UserError(f"{source} takes no prompts, or was trained on a fixed list of them: "
                            "leave --prompts out")
    if texts:
        features, arguments = embeddings(content["pipeline"]["name"], texts), content["arch_args"]
        content["weights"]["features"] = features
        arguments["num_classes"], arguments["text"] = len(features), list(features.shape[1:])
        content["num_classes"], content["pipeline"]["prompts"] = len(texts), texts
    return content


def from_pipeline(name, prompts):
    """The checkpoint dict of a pipeline, still without the prompts that are given."""
    parts = pipeline_parts(name)

    def demand(fine, what):
        if not fine:
            raise UserError(f"{name} is not supported: {what}; see extras/diffusers_teacher.py for "
                            "what is")

    kind = parts.get("unet", ("", ""))[1]
    demand(kind in ("UNet2DModel", "UNet2DConditionModel"),
           "its network is no UNet2DModel or UNet2DConditionModel")
    demand("text_encoder_2" not in parts, "it has two text encoders, like Stable Diffusion XL")
    demand(kind == "UNet2DModel" or "text_encoder" in parts, "it has no text_encoder")
    if kind == "UNet2DModel" and prompts:
        raise UserError(f"{name} takes no prompts: leave --prompts out")
    if kind == "UNet2DConditionModel" and not prompts:
        raise UserError(f"{name} makes images of prompts: give it --prompts FILE, one a line")
    scheduler = pipeline_part(name, "scheduler")
    predicts = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}.get(
        scheduler.config.get("prediction_type"))
    demand(predicts and hasattr(scheduler, "alphas_cumprod"), f"its {type(scheduler).__name__} has "
           "no chain of noise levels, or its network predicts something else than eps, v or x0")
    net, latents = pipeline_part(name, "unet"), not parts.keys().isdisjoint(("vae", "vqvae"))
    config = {key: value for key, value in net.config.items() if not key.startswith("_")}
    C, size = config["in_channels"], config["sample_size"]
    demand(C == (autoencoder(name).config.latent_channels if latents else C)
           and config["out_channels"] in (C, 2 * C) and config.get("class_embed_type") is None
           and config.get("addition_embed_type") in (None, "text") and size,
           "its network takes more than a noisy image, the index, and a class or text, or does not "
           "say the images' size")
    classes = config.get("num_class_embeds")
    return {
        "arch": "diffusers", "arch_args": {"kind": kind, "config": config, "num_classes": classes},
        "weights": {f"net.{key}": value for key, value in net.state_dict().items()},
        "schedule": scheduler.alphas_cumprod.double().clamp(min=2**-24),  # some end at 0
        "T": len(scheduler.alphas_cumprod), "predicts": predicts, "num_classes": classes,
        "learned_sigma": config["out_channels"] == 2 * C, "method": "teacher", "config": {},
        "image_shape": [C, *(size if isinstance(size, (list, tuple)) else (size, size))],
        "pipeline": {"name": str(Path(name).resolve()) if Path(name).is_dir() else name,
                     "latents": latents, "prompts": None}}


def read_prompts(path):
    """The lines of a text file that are not empty. UserError if there are none."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # drops an editor's byte-order mark
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--prompts {path} cannot be read ({one_line(error)}): give a text file "
                        "in UTF-8, one prompt a line") from None
    prompts = [line.strip() for line in text.splitlines() if line.strip()]
    if not prompts:
        raise UserError(f"--prompts {path} is empty: give a text file, one prompt a line")
    return prompts
