"""Trains a small text-to-image pipeline of diffusers, from pictures with captions: a teacher.

    pip install "diffusers>=0.35" transformers
    python -m extras.train_prompts --data pictures --table captions.csv
    python teachers.py convert diffusers:runs/prompts-pictures/pipeline --prompts FILE --out a.pt

The parts are those of DeepFloyd IF's first stage, small: a U-Net for pixels that predicts noise and
variances, a T5 encoder, and a tokenizer made from the captions. Both networks are trained together,
here from nothing; IF's T5 was trained on text before, and stayed as it was.
"""

import copy
import csv
import functools
import os
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torchvision.transforms import v2
from tqdm import tqdm

import eval_fid
import teachers
from dkdm import rates, update
from extras import diffusers_teacher
from extras.train_teacher import hybrid_loss, take_steps
from teachers import UserError, one_line, opt

TOKENS = 77       # of a caption: the pipeline of DeepFloyd IF pads and cuts to these
NO_CAPTION = 0.1  # share of captions replaced by the empty one, for guidance


@dataclass
class Config(teachers.RunOptions):
    """Trains a text-to-image pipeline from pictures with captions, in a folder of its own."""

    data: str = opt("", "folder of the pictures; what is transparent becomes white")
    table: str = opt("", "CSV file with columns file, in --data, caption and perhaps category")
    hold: int = opt(20, "captions that are kept out of training", 0)
    size: int = opt(32, "pixels of a side", 16, 256)
    width: int = opt(32, "channels of the U-Net's first level, of three", 16, 512)
    steps: int = opt(10_000, "training steps", 1)
    batch: int = opt(8, "images a step", 1)
    lr: float = opt(2e-3, "peak learning rate of Adam; a warm-up, then half a cosine", 1e-9, 10)
    ema: float = opt(0.999, "decay of the averaged weights that are saved", 0, 0.99999)
    seed: int = opt(0, "seed of every random draw", 0, 2**32 - 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    out: str = opt("", "run folder (default: runs/prompts-NAME, of the data)")
    resume: bool = opt(False, "go on with the run in --out, with its options")

    def __post_init__(self):
        super().__post_init__()
        if self.size % 4 or self.width % 16:
            raise UserError("--size must be a multiple of 4, and --width one of 16")
        self.out = self.out or f"runs/prompts-{Path(self.data).resolve().stem}"


def read_pictures(config):
    """Pictures uint8 (N, 3, size, size), N captions, N categories. UserError for bad input."""
    if not (config.data and config.table):
        raise UserError("no pictures to train on: give --data and --table, see --help")
    path = Path(config.table)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table, rows = csv.DictReader(file, strict=True, skipinitialspace=True), []
            columns = table.fieldnames or []
            if not {"file", "caption"} <= set(columns) or len(set(columns)) < len(columns):
                raise ValueError(f"its columns are {columns}")
            for row in table:
                if None in row or not row["file"]:  # more cells than columns go to None
                    raise ValueError(f"line {table.line_num} has no file, or too many cells: put a "
                                     "caption with commas in quotes")
                rows.append((Path(config.data, row["file"]),
                             " ".join((row["caption"] or "").lower().split()),
                             row.get("category") or ""))
            if not rows:
                raise ValueError("it has no rows")
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"--table {path} cannot be read ({one_line(error)}): give a CSV file in "
                        "UTF-8 with the columns file and caption, separated by commas") from None
    if unused := [name for name in columns if name not in ("file", "caption", "category")]:
        print(f"warning: left out are the columns {', '.join(unused)} of {path}")
    files, captions, categories = zip(*rows, strict=True)
    if missing := [file for file in files if not file.is_file()]:
        raise UserError(f"--table {path} names {missing[0]}, which is no file ({len(missing)} of "
                        f"{len(files)} are none): correct the names, or --data")
    if not all(captions):
        raise UserError(f"--table {path} has a row without a caption: write it, or remove the row")
    if len(set(captions)) <= config.hold:
        raise UserError(f"{path} has {len(set(captions))} different captions: lower --hold")
    scale = v2.Compose([v2.Resize(config.size, v2.InterpolationMode.BICUBIC),
                        v2.CenterCrop(config.size), v2.ToImage()])
    pictures = torch.stack([scale(eval_fid.open_picture(file)[0])
                            for file in tqdm(files, f"reading {config.data}")])
    return pictures, captions, categories


def new_pipeline(captions, config):
    """An IFPipeline with random weights; its tokenizer has the pieces of these captions."""
    diffusers = diffusers_teacher.library()
    import tokenizers
    import transformers

    # BPE, not T5's Unigram, whose training here would give other pieces each time
    pieces = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    pieces.normalizer = tokenizers.normalizers.Lowercase()
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    pieces.train_from_iterator(captions, tokenizers.trainers.BpeTrainer(
        vocab_size=2000, special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False))
    pieces.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(  # T5's class would drop the normalizer
        tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    text = transformers.T5Config(vocab_size=len(tokenizer), d_model=128, d_kv=32, d_ff=256,
                                 num_layers=2, num_heads=4, dropout_rate=0.0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=config.size, in_channels=3, out_channels=6, layers_per_block=1,
        block_out_channels=[config.width, 2 * config.width, 4 * config.width],
        down_block_types=("DownBlock2D", "DownBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"), norm_num_groups=16,
        attention_head_dim=32, resnet_time_scale_shift="scale_shift", cross_attention_dim=128,
        encoder_hid_dim=128, encoder_hid_dim_type="text_proj", addition_embed_type="text",
        addition_embed_type_num_heads=4)
    scheduler = diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2",
                                        variance_type="learned_range")
    return diffusers.IFPipeline(tokenizer, transformers.T5EncoderModel(text), unet, scheduler,
                                None, None, None, requires_safety_checker=False)


def train(config):
    """Trains a pipeline; returns its folder. Leaves in config.out, besides what train_teacher does:

    pipeline (averaged weights), trained.txt and held-out.txt, a caption in lower case each line,
    and pictures.npz: arr_0 uint8 (N, H, W, 3); captions, categories and held, kept out, (N,) each.
    Raises UserError for bad input and for a loss that is not finite.
    """
    teachers.one_process()
    device, draw = teachers.pick_device(config.device), random.Random(config.seed)
    pictures, captions, categories = read_pictures(config)
    held = draw.sample(sorted(set(captions)), config.hold)
    shown = sorted(set(captions).difference(held))
    draw.shuffle(shown)
    row = {caption: k for k, caption in enumerate(shown)}
    seen = torch.tensor([caption in row for caption in captions])
    label = torch.tensor([row[caption] for caption in captions if caption in row]).to(device)
    images = pictures[seen].to(device)

    torch.manual_seed(config.seed)  # initial weights
    pipeline = new_pipeline(shown, config).to(device)
    pipeline.set_progress_bar_config(disable=True)
    ema = nn.ModuleList([pipeline.unet, pipeline.text_encoder]).eval().requires_grad_(False)
    nets = copy.deepcopy(ema).train().requires_grad_(True)
    models = SimpleNamespace(net=nets), SimpleNamespace(net=ema)
    optimizer = torch.optim.Adam(nets.parameters(), config.lr, betas=(0.9, 0.99), fused=True)
    tokens = pipeline.tokenizer([*shown, ""], padding="max_length", max_length=TOKENS,
                                truncation=True, return_tensors="pt").to(device)
    if tokens.attention_mask[:, -1].any():
        raise UserError(f"--table {config.table} has a caption of {TOKENS} tokens or more: cut it")
    schedule = teachers.Schedule(pipeline.scheduler.alphas_cumprod)
    generator = torch.Generator(device).manual_seed(config.seed)
    parts, given = {"nets": nets, "ema": ema, "optimizer": optimizer}, [pictures, *captions]
    folder, log, save_run = teachers.open_run(config, generator, {"the data": given}, parts)
    if not log:
        for name, lines in ("trained", shown), ("held-out", held):
            (folder / f"{name}.txt").write_text("\n".join([*lines, ""]), encoding="utf-8")
        teachers.write(folder / "pictures.npz", functools.partial(
            np.savez_compressed, arr_0=pictures.permute(0, 2, 3, 1).numpy(),
            captions=np.array(captions), categories=np.array(categories), held=~seen.numpy()))

    def one_step(step):
        B, options = config.batch, dict(generator=generator, device=device)
        rows = torch.randint(len(images), (B,), **options)
        c = torch.where(torch.rand(B, **options) < NO_CAPTION, len(shown), label[rows])
        i = torch.randint(schedule.T, (B,), **options)
        image = images[rows].float() / 127.5 - 1
        noise = torch.randn(image.shape, **options)
        alpha, sigma = schedule.levels(i, image)
        x, (unet, text_encoder) = alpha * image + sigma * noise, nets
        with torch.autocast(device.type, torch.bfloat16):
            text = text_encoder(tokens.input_ids[c], tokens.attention_mask[c])[0]
            out = unet(x, i, text, return_dict=False)[0]                      # (B, 6, H, W)
        simple, vlb = hybrid_loss(out.float(), image, x, noise, i, schedule, "eps")
        # image errors count by snr, cut to [1, 5]: captions decide most where there is much noise
        snr = alpha**2 / sigma**2
        weight = (snr.clamp(1, 5) / snr).clamp(max=25).flatten()  # of noise; no limit otherwise
        simple, vlb = (weight * simple).mean(), vlb.mean()
        loss, logged = simple + 0.001 * schedule.T * vlb, torch.stack([simple, vlb]).detach()
        update(*models, optimizer, loss, logged, *rates(step, config))
        return logged

    def picture(step):
        prompts = [name for part in (shown, held) for name in part[:24]]
        made = pipeline(prompts, num_inference_steps=25, guidance_scale=4.0, output_type="pt",
                        generator=torch.Generator(device).manual_seed(config.seed)).images
        teachers.save_grid(folder / f"samples/step_{step:06d}.png", made)

    def save():  # last.pt last: if the run stops before it, --resume makes the rest again
        aside, place = folder / "pipeline.part", folder / "pipeline"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            pipeline.save_pretrained(aside)
        except Exception as error:  # safetensors has an error of its own for a full disk
            shutil.rmtree(aside, ignore_errors=True)  # it takes the room that is asked for
            raise UserError(f"cannot write {aside} ({one_line(error)}): make room; an older "
                            "pipeline is unharmed") from None
        shutil.rmtree(place, ignore_errors=True)
        os.replace(aside, place)
        save_run()

    if log:
        save()  # the pipeline may have been deleted
    take_steps(config, folder, log, one_step, picture, save)
    return folder / "pipeline"


def main():
    path = train(Config.parse())
    print(f"Next: python teachers.py convert diffusers:{path} --prompts FILE --out prompts.pt")


if __name__ == "__main__":
    teachers.run_script(main)
