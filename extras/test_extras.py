"""Tests of the extras: training from data, and pipelines of diffusers against the library."""

import argparse
import copy
import csv
import dataclasses
import functools
import inspect
import io
import json
import math
import pickle
import re
import shutil
import string
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint
from PIL import Image
from torch import nn
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save

import boot
import dkdm
import eval_fid
import teachers
import test_core
import vit
from extras import (
    convert,
    demo,
    diffusers_teacher,
    direct,
    grade,
    handout,
    measure,
    plane,
    plot,
    speed,
    train_features,
    train_prompts,
    train_teacher,
)
from teachers import UserError

short = test_core.short  # a fixture: small networks and cheap pictures

# ------------------------------------------------------------------------------------------------
# train_teacher.py and train_features.py


def some_images(n, size):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


SHORT = dict(steps=6, batch=4, lr=2e-3, ema=0.3, device="cpu", precision="fp32")


def a_run(tmp_path):
    """The configuration of a short run on 20 images of 3 classes."""
    np.savez(tmp_path / "images.npz", arr_0=some_images(20, 8), arr_1=np.arange(20) % 3)
    return train_teacher.Config(str(tmp_path / "images.npz"), network="nano",
                                out=str(tmp_path / "run"), **SHORT)


def test_hybrid_loss_agrees_with_the_reference():
    """At i = 0, 1, 500, 999; the reference approximates the normal CDF, hence 0.2 % at i = 0."""
    image = (torch.sin(torch.arange(16.0)).reshape(4, 1, 2, 2) * 127.5).round() / 127.5
    image[0, 0, 0, 0], image[3, 0, 0, 0] = 1, -1
    noise = torch.cos(1.7 * torch.arange(16.0)).reshape(4, 1, 2, 2)
    i, schedule = torch.tensor([0, 1, 500, 999]), teachers.Schedule("cosine")
    alpha, sigma = schedule.levels(i, image)
    x, shift = alpha * image + sigma * noise, i.reshape(-1, 1, 1, 1) / 1000
    out = torch.cat([torch.sin(2 * x + shift), torch.cos(x - shift)], dim=1)
    simple, vlb = train_teacher.hybrid_loss(out, image, x, noise, i, schedule, "eps")
    torch.testing.assert_close(simple, torch.tensor([1.2598947, 0.9145311, 0.2105719, 0.4367506]))
    torch.testing.assert_close(vlb, torch.tensor([1.7884880, 0.5135935, 0.0009500709, 314.73395]),
                               rtol=2e-3, atol=0)
    broken = train_teacher.hybrid_loss(out * math.nan, image, x, noise, i, schedule, "eps")
    assert torch.cat(broken).isnan().all()  # for the training to refuse, in one line


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_hybrid_loss_of_a_perfect_prediction_is_that_of_its_variance(predicts):
    """The KL of two Gaussians with one mean; at i = 0 the mass of a Gaussian in its middle bin."""
    image, noise = torch.linspace(-0.5, 0.5, 24).double().reshape(2, 3, 1, 2, 2)
    i, schedule = torch.tensor([0, 1, 500]), teachers.Schedule("cosine")
    alpha, sigma = schedule.levels(i, image)
    p = {"eps": noise, "x0": image, "v": alpha * noise - sigma * image}[predicts]
    out = torch.cat([p, torch.ones_like(p)], dim=1).requires_grad_()  # the largest variance, beta
    simple, vlb = train_teacher.hybrid_loss(out, image, alpha * image + sigma * noise, noise, i,
                                            schedule, predicts)
    abar, before = schedule.alphas_cumprod[i], schedule.alphas_cumprod[i - 1]
    ratio = (1 - before) / (1 - abar)  # of the true step's variance to beta
    wanted = 0.5 * (ratio - 1 - ratio.log()) / math.log(2)
    wanted[0] = -torch.erf(1 / 255 / (2 * (1 - abar[0])).sqrt()).log2()
    torch.testing.assert_close(vlb, wanted)
    assert simple.abs().max() == 0
    gradient, = torch.autograd.grad(vlb.sum(), out)
    assert gradient[:, :1].abs().max() == 0 and gradient[:, 1:].abs().max() > 0


def picture_folder(path, *names, **how):
    """The same picture under each name: 40 x 30, a quarter red at its left, the rest blue."""
    picture = Image.new("RGB", (40, 30), "blue")
    picture.paste((255, 0, 0), (0, 0, 10, 30))
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(path / name, **how)
    return str(path)


def read(**options):
    return train_teacher.read_images(train_teacher.Config(**options))


def test_subfolders_are_classes_and_pictures_become_squares_that_stand_upright(tmp_path):
    folder = picture_folder(tmp_path / "pets", "dogs/a.png", "cats/b.png", "cats/c.jpg", ".x/d.png")
    images, labels = read(data=folder, size=16)
    picture_folder(tmp_path / "pets", "cats/more/d.GIF", "cats/e.tga", "dogs/f", format="PNG")
    assert read(data=folder, size=16)[1].tolist() == [0, 0, 0, 0, 1, 1]
    nested = picture_folder(tmp_path / "tiny-imagenet", "n1/images/a.png", "n2/images/b.png")
    assert read(data=nested, size=16)[1].tolist() == [0, 1]
    assert images.shape == (3, 3, 16, 16) and labels.tolist() == [0, 0, 1]  # cats come first
    assert images[:, 0, :, 0].min() > 200 and images[:, 0, :, 4:].max() < 50  # red: a sixth
    exif = Image.Exif()
    exif[274] = 6  # the camera was held upright: left is above
    images, labels = read(data=picture_folder(tmp_path / "flat", "a.jpg", "b.jpg", exif=exif))
    assert images.shape == (2, 3, 40, 30) and labels.tolist() == [0, 0]
    assert images[:, 0, :8].min() > 200 and images[:, 0, 12:].max() < 50


def test_what_is_transparent_is_white_when_a_picture_shrinks(tmp_path):
    """Magenta that alpha has erased, beside green: no magenta at the edge."""
    pixels = np.full((8, 8, 4), (255, 0, 255, 0), np.uint8)
    pixels[:, 4:] = (0, 200, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image, = read(data=str(tmp_path), size=4)[0]
    assert (image[1] > 190).all() and image[:, 0, 0].tolist() == [255] * 3


def test_npz_files_are_joined_without_the_test_images(tmp_path, capsys):
    pixels, labels = some_images(30, 8), np.arange(30) % 4
    for k, name in enumerate(("train-0", "train-1", "test-0")):
        part = slice(10 * k, 10 * k + 10)
        names = ("arr_0", "arr_1") if k else ("images", "labels")
        values = pixels[part], labels[part].astype(int if k else np.float32)
        np.savez(tmp_path / f"{name}.npz", **dict(zip(names, values, strict=True)), made_by="me")
    images, found = read(data=str(tmp_path))
    assert "test images: test-0.npz" in capsys.readouterr().err
    assert np.array_equal(images.permute(0, 2, 3, 1), pixels[:20])
    assert found.tolist() == labels[:20].tolist()
    assert read(data=str(tmp_path / "test-0.npz"), size=4)[0].shape == (10, 3, 4, 4)


def test_mnist_is_read_from_its_own_files(tmp_path):
    raw, pixels = tmp_path / "MNIST/raw", some_images(12, 28)[..., 0]
    raw.mkdir(parents=True)
    count, labels = b"\0\0\0\x0c", bytes(k % 10 for k in range(12))
    for split in ("train", "t10k"):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\x03" + count + b"\0\0\0\x1c\0\0\0\x1c" + pixels.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01" + count + labels)
    images, found = read(dataset="mnist", data=str(tmp_path))
    assert np.array_equal(images[:, 0], pixels) and found.tolist() == list(labels)


def test_a_run_resumed_equals_one_never_stopped_and_leaves_a_teacher(tmp_path, short):
    config, out = a_run(tmp_path), str(tmp_path / "other")
    model = teachers.load_teacher(str(train_teacher.train(config)))
    assert model.num_classes == model.null_label == 3 and model.image_shape == (3, 8, 8)
    never = dataclasses.replace(config, label_dropout=0.0, steps=1, out=str(tmp_path / "never"))
    assert teachers.load_teacher(train_teacher.train(never)).null_label is None
    np.savez(tmp_path / "plain.npz", arr_0=some_images(12, 8))
    plain = dataclasses.replace(never, data=str(tmp_path / "plain.npz"), out=str(tmp_path / "x"))
    with pytest.raises(UserError, match="--label-dropout needs images of several classes"):
        train_teacher.train(plain)
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "run/samples/step_000006.png").is_file()

    test_core.stop(train_teacher, dataclasses.replace(config, out=out), "third save")
    train_teacher.train(train_teacher.Config.parse(["--out", out, "--resume"]))
    np.savez(tmp_path / "images.npz", arr_0=some_images(21, 8), arr_1=np.arange(21) % 3)
    with pytest.raises(UserError, match="the data was SHA-256"):  # one picture more
        train_teacher.train(train_teacher.Config.parse(["--out", out, "--resume"]))
    one, two = (teachers.read(Path(folder) / "last.pt") for folder in (config.out, out))
    assert [row["simple"] for row in one["log"]] == [row["simple"] for row in two["log"]]
    for part in ("net", "ema"):
        assert all(torch.equal(w, two[part][name]) for name, w in one[part].items())


@pytest.mark.parametrize("script", [train_teacher, direct])
def test_its_step_can_be_recorded_and_replayed_too(tmp_path, short, monkeypatch, script):
    config = a_run(tmp_path)
    if script is direct:
        test_core.tiny(tmp_path / "t.pt")
        config = direct.Config(**vars(test_core.tiny_config(boot, tmp_path)))
    test_core.check_replays(tmp_path, monkeypatch, script, config)


def test_a_teacher_is_optimized_exactly_as_a_student_of_dkdm(tmp_path, short, monkeypatch):
    """Adam, its learning rate at each step, clipping: tables compare the two."""
    seen, clip = [], torch.nn.utils.clip_grad_norm_

    class Adam(torch.optim.Adam):
        def __init__(self, parameters, *args, **named):
            seen.append((args, named))
            super().__init__(parameters, *args, **named)

        def step(self):
            seen.append(self.param_groups[0]["lr"])
            super().step()

    monkeypatch.setattr(torch.optim, "Adam", Adam)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_",
                        lambda p, *limit: seen.append(limit) or clip(p, *limit))
    path = train_teacher.train(a_run(tmp_path))
    teacher, seen[:] = list(seen), []
    dkdm.train(dkdm.Config(str(path), mode="shuffled", compare=1, out=str(tmp_path / "s"), **SHORT))
    assert teacher == seen and len(seen) == 1 + 2 * SHORT["steps"]


@pytest.mark.parametrize(("options", "says"), [
    ("", "give --data or --dataset"), ("--dataset imagenet", "--dataset"), ("--steps 0", "--steps"),
    ("--data nowhere", "nowhere"), ("--data nowhere.npz", "nowhere.npz"),
    ("--data empty", "no pictures in empty"), ("--data broken --size 8", "broken/cats/3.png"),
    ("--data deep", "mode I"), ("--data sizes", "several sizes need --size"),
    ("--data cut.npz", "cut.npz"), ("--data float.npz", "arr_0 float64"),
    ("--data none.npz", "arr_0 uint8 (0, 8, 8, 3)"), ("--data two.npz", "masks uint8 (4, 8, 8, 3)"),
    ("--data more.npz", "more.npz also has arr_1, arr_2"), ("--data names.npz", "arr_1 of names"),
    ("--data minus.npz", "[-1, 0, 1, 2]"), ("--data gap.npz", "[1, 3]"),
    ("--data few.npz", "int64 (3,)"), ("--data half", "half/a.npz and half/b.npz differ"),
    ("--data beside", "beside/a.png lies beside subfolders"), ("--data kinds", "kinds/a.png"),
    ("--data below", "has one subfolder, train"),
    ("--data split", "test and train, which are no classes: give one of"),
    ("--data same", "the same subfolders in each of its subfolders: give one of"),
    ("--data text", "text/a.heic"),
    ("--data tests", "no .npz files but test*.npz"),
    ("--data good.npz --size 9", "tiny does not fit images of 3 x 9 x 9"),
    ("--data good.npz --out empty", "delete it if"), ("--out empty --resume", "no run to resume"),
])
def test_bad_input_is_refused_in_one_line(tmp_path, capsys, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    for name in ("empty/nothing", "deep", "half", "text", "tests"):
        Path(name).mkdir(parents=True)
    Image.fromarray(np.zeros((8, 8), np.uint16)).save("deep/a.png")
    picture_folder(Path("sizes"), "a.png")
    Image.new("RGB", (30, 40)).save("sizes/b.png")
    picture_folder(Path(), "broken/cats/2.png", "broken/cats/3.png", "beside/a.png",
                   "beside/cats/b.png", "kinds/a.png", "below/train/cats/a.png",
                   "below/train/dogs/b.png", "split/train/cats/a.png", "split/train/dogs/a.png",
                   "split/test/cats/a.png", "same/a/cats/a.png", "same/a/dogs/a.png",
                   "same/b/cats/a.png", "same/b/dogs/a.png")
    Path("text/a.heic").write_text("what Pillow cannot read")
    Path("broken/cats/3.png").write_bytes(Path("broken/cats/2.png").read_bytes()[:-60])
    images = some_images(4, 8)
    for name, arrays in {
            "float": [images / 255], "good": [images, [0, 1, 2, 0]], "none": [images[:0]],
            "minus": [images, [0, 1, 2, -1]], "gap": [images, [1, 3, 1, 3]],
            "few": [images, [0, 1, 2]], "names": [images, list("abca")],
            "more": [images, [0, 1, 2, 0], [0, 1, 2, 0]], "half/a": [images, [0, 1, 2, 0]],
            "half/b": [images], "kinds/b": [images], "tests/test": [images]}.items():
        np.savez(f"{name}.npz", *arrays)
    np.savez("two.npz", images=images, masks=images)
    Path("cut.npz").write_bytes(Path("good.npz").read_bytes()[:-200])
    before = sorted(Path().rglob("*"))
    monkeypatch.setitem(test_core.SCRIPTS, "train_teacher.py", train_teacher)
    assert says in test_core.refused(capsys, "train_teacher.py", *options.split())
    assert sorted(Path().rglob("*")) == before


def test_the_feature_network_trains_and_its_statistics_fit_it(tmp_path, monkeypatch):
    """Two classes that differ in colour are learned; the files are those that scoring reads."""
    pixels, labels = some_images(600, 32) // 4, torch.arange(600) % 2
    pixels[1::2, ..., 0] += 150
    images, out = torch.from_numpy(pixels).permute(0, 3, 1, 2), tmp_path / "net.pt"
    monkeypatch.setattr(eval_fid, "cifar10", lambda folder, split="train": (images, labels))
    config = train_features.Config(epochs=2, batch=20, lr=0.02, out=str(out), device="cpu")
    assert train_features.train(config) > 0.95
    monkeypatch.setattr(eval_fid, "CIFAR10NET", out)
    monkeypatch.setattr(eval_fid, "CIFAR10NET_TRAIN", tmp_path / "net_train.npz")
    np.savez(tmp_path / "images.npz", arr_0=pixels)
    scores = eval_fid.score(eval_fid.Config(str(tmp_path / "images.npz"), features="cifar10",
                                            device="cpu"))["scores"]
    assert abs(scores["FID-cifar10net@600"]) < 1e-3 and scores["recall-cifar10net@600"] > 0.99
    with pytest.raises(teachers.UserError, match="new file"):
        train_features.train(config)


@pytest.mark.parametrize(("n", "options", "says"), [
    (0, {}, r"uint8 \(0, 32"), (5, {}, "has 5 training images"),
    (24, dict(epochs=1, batch=2, lr=100.0), "not finite: lower --lr, which was 100")])
def test_the_feature_network_needs_images_and_a_rate_that_it_bears(tmp_path, n, options, says):
    for name in ("train", "test"):
        np.savez(tmp_path / f"{name}.npz", some_images(n, 32), np.zeros(n, int))
    with pytest.raises(UserError, match=says):
        train_features.train(train_features.Config(str(tmp_path), out=str(tmp_path / "net.pt"),
                                                   device="cpu", **options))
    assert not (tmp_path / "net.pt").exists()


# ------------------------------------------------------------------------------------------------
# diffusers_teacher.py, on tiny random pipelines

PIPELINES = ("ddpm", "classes", "ldm", "sd", "if")


def build_pipeline(family, predicts, folder):
    """A random pipeline: ddpm (pixels), classes (pixels, labels), ldm (VQ latents), sd (KL latents,
    prompts), if (pixels, prompts, learned variance)."""
    import diffusers
    import tokenizers
    import transformers
    torch.manual_seed(0)
    small = dict(sample_size=8, layers_per_block=1, block_out_channels=(8, 8), norm_num_groups=4,
                 attention_head_dim=4)
    plain = small | dict(down_block_types=["DownBlock2D"] * 2, up_block_types=["UpBlock2D"] * 2)
    cross = small | dict(down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
                         up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], cross_attention_dim=16)
    auto = dict(down_block_types=["DownEncoderBlock2D"] * 2, block_out_channels=(8, 8),
                up_block_types=["UpDecoderBlock2D"] * 2, layers_per_block=1, norm_num_groups=4)
    text = dict(num_hidden_layers=1, num_attention_heads=2, hidden_size=16, intermediate_size=16)
    betas = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                 clip_sample=False, steps_offset=1)
    if family in ("ddpm", "classes"):
        pipeline = diffusers.DDPMPipeline(
            diffusers.UNet2DModel(num_class_embeds=3 if family == "classes" else None, **plain),
            diffusers.DDPMScheduler(prediction_type=predicts))
    elif family == "ldm":
        pipeline = diffusers.LDMPipeline(
            diffusers.VQModel(latent_channels=3, num_vq_embeddings=16, scaling_factor=0.5, **auto),
            diffusers.UNet2DModel(**plain),
            diffusers.DDIMScheduler(prediction_type=predicts, **betas))
    elif family == "if":
        pieces = ["<pad>", "</s>", "<unk>", "\u2581", *string.ascii_lowercase]
        tokenizer = tokenizers.Tokenizer(
            tokenizers.models.Unigram([(piece, -1.0) for piece in pieces], 2))
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="$A </s>", special_tokens=[("</s>", 1)])
        pipeline = diffusers.IFPipeline(
            transformers.T5TokenizerFast(tokenizer_object=tokenizer, extra_ids=0),
            transformers.T5EncoderModel(transformers.T5Config(
                vocab_size=len(pieces), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)),
            diffusers.UNet2DConditionModel(
                in_channels=3, out_channels=6, encoder_hid_dim=16, addition_embed_type="text",
                addition_embed_type_num_heads=2, **cross),
            diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2",
                                    variance_type="learned_range", thresholding=True,
                                    sample_max_value=1.5),
            None, None, None, requires_safety_checker=False)
    else:
        letters = string.ascii_lowercase
        pieces = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
        (folder / "vocab.json").write_text(json.dumps({c: k for k, c in enumerate(pieces)}))
        (folder / "merges.txt").write_text("#version: 0.2\n")
        pipeline = diffusers.StableDiffusionPipeline(
            diffusers.AutoencoderKL(latent_channels=4, **auto),
            transformers.CLIPTextModel(transformers.CLIPTextConfig(
                vocab_size=len(pieces), max_position_embeddings=12, bos_token_id=52,
                eos_token_id=53, **text)),
            transformers.CLIPTokenizer.from_pretrained(folder, model_max_length=12),
            diffusers.UNet2DConditionModel(in_channels=4, out_channels=4, **cross),
            diffusers.DDIMScheduler(prediction_type=predicts, **betas),
            None, None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, nn.Module):
            part.eval()  # T5 has dropout
    return pipeline


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A function that makes a pipeline once: (pipeline, its name for convert, prompts' file)."""
    pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("pipelines")
    prompts = folder / "prompts.txt"
    prompts.write_text("a red cat\n\n  a dog \nThe Sea\n", encoding="utf-8")

    @functools.cache
    def make(family, predicts="epsilon"):
        pipeline, path = build_pipeline(family, predicts, folder), folder / f"{family}-{predicts}"
        pipeline.save_pretrained(path)
        return pipeline, f"diffusers:{path}", str(prompts) if "tokenizer" in dir(pipeline) else ""
    return make


def load(saved, family, predicts="epsilon"):
    """(pipeline, the model that a checkpoint of it holds), in single precision."""
    pipeline, source, prompts = saved(family, predicts)
    torch.manual_seed(0)
    return pipeline, teachers.build(diffusers_teacher.convert(source, prompts), source)


def test_a_pipeline_on_the_hub_whose_parts_are_in_its_root(tmp_path, saved, monkeypatch):
    """As google/ddpm-* are. On disk the library looks there by itself, on the hub it does not."""
    import diffusers
    _, source, _ = saved("ddpm")
    path = Path(source.removeprefix("diffusers:"))
    for file in (path / "model_index.json", *path.glob("unet/*"), *path.glob("scheduler/*")):
        shutil.copy(file, tmp_path)
    for kind in (diffusers.UNet2DModel, diffusers.DDPMScheduler):
        def on_the_hub(name, subfolder="", whole=kind.from_pretrained, **options):
            if not Path(name, subfolder).is_dir():
                raise OSError("there is no such file")
            return whole(name, subfolder=subfolder, **options)

        monkeypatch.setattr(kind, "from_pretrained", on_the_hub)
    one, other = (diffusers_teacher.convert(f"diffusers:{folder}") for folder in (path, tmp_path))
    assert teachers.sha256(one["weights"]) == teachers.sha256(other["weights"])
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match="there is no such file"):
        diffusers_teacher.convert(f"diffusers:{tmp_path}")


@pytest.mark.parametrize(("version", "size", "wanted"), [
    ("0.6.0", 32, 64), ("0.8.1.dev0", 32, 64), ("0.10.2", 32, 32), ("0.6.0", 96, 96)])
def test_early_stable_diffusion_has_the_size_that_the_library_gives_it(
        tmp_path, saved, capsys, version, size, wanted):
    import diffusers
    _, source, prompts = saved("sd")
    shutil.copytree(source.removeprefix("diffusers:"), tmp_path / "sd")
    file = tmp_path / "sd/unet/config.json"
    early = {"_diffusers_version": version, "sample_size": size}
    file.write_text(json.dumps(json.loads(file.read_text()) | early))
    whole = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path / "sd")
    content = diffusers_teacher.convert(f"diffusers:{tmp_path}/sd", prompts)
    assert content["image_shape"] == [4, wanted, wanted]
    assert whole.unet.config.sample_size == wanted
    assert ("sample_size: 64" in capsys.readouterr().out) == (size < wanted)


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("family", ["ddpm", "ldm"])
def test_x0_is_that_of_diffusers_schedulers(saved, family, predicts):
    pipeline, teacher = load(saved, family, predicts)
    assert teacher.schedule.clip == (family == "ddpm")
    pipeline.scheduler.set_timesteps(1000)
    for i in (0, 10, 500, 990):
        x, index = torch.randn(2, 3, 8, 8), torch.full((2,), i)
        with torch.no_grad():
            out = pipeline.unet(x, i).sample
        wanted = pipeline.scheduler.step(out, i, x).pred_original_sample
        _, _, x0, _ = teacher.schedule.p_mean_variance(teacher.eps_form(x, index), x, index)
        torch.testing.assert_close(x0, wanted, rtol=2e-3, atol=1e-4)
        if family == "ldm":
            x0 = teacher.x0(x, (index + 1) / 1000)
            torch.testing.assert_close(x0, wanted, rtol=2e-3, atol=1e-4)


def converted(folder, scheduler, **network):
    """(a network of one block, the model that a checkpoint of it with that scheduler holds)."""
    import diffusers
    torch.manual_seed(0)
    settings = dict(sample_size=8, layers_per_block=1, block_out_channels=[8], norm_num_groups=4,
                    down_block_types=["DownBlock2D"], up_block_types=["UpBlock2D"])
    net = diffusers.UNet2DModel(**settings | network).eval()
    diffusers.DDPMPipeline(net, scheduler).save_pretrained(folder)
    diffusers_teacher.pipeline_index.cache_clear()
    return net, teachers.build(diffusers_teacher.convert(f"diffusers:{folder}"), str(folder))


@pytest.mark.parametrize("settings", [
    {}, {"variance_type": "fixed_large"}, {"variance_type": "learned_range"},
    {"clip_sample": False}, {"clip_sample_range": 3.0}, {"trained_betas": [0.01, 0.1, 0.3, 0.5]},
    {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5},
    {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample"},
    {"beta_schedule": "sigmoid", "prediction_type": "v_prediction"},
    {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}])
def test_an_ancestral_step_is_that_of_diffusers(tmp_path, settings):
    """From one x and one noise: the predicted image, as it is clipped there, and the next x."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(**settings)
    T, learned = len(scheduler.alphas_cumprod), settings.get("variance_type") == "learned_range"
    net, model = converted(tmp_path, scheduler, out_channels=6 if learned else 3)
    assert model.schedule.T == T and model.learned_sigma == learned
    scheduler.set_timesteps(timesteps=list(range(T))[::-1])
    for i in (T - 1, T // 2, 1, 0):
        x, index = torch.randn(2, 3, 8, 8), torch.full((2,), i)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            wanted = scheduler.step(net(x, i).sample, i, x, generator=generator)
        z = torch.randn(x.shape, generator=generator.manual_seed(0)) * (i > 0)
        mean, log_variance, x0, _ = model.schedule.p_mean_variance(
            model.eps_form(x, index), x, index)
        rounding = 3e-7 / model.schedule._alpha[i].item()  # of eps, divided by alpha
        torch.testing.assert_close(x0, wanted.pred_original_sample, rtol=2e-3, atol=rounding + 1e-4)
        if scheduler.alphas_cumprod[i] > 0:  # 0 is replaced, and x then not wholly drawn anew
            torch.testing.assert_close(mean + (log_variance / 2).exp() * z, wanted.prev_sample,
                                       rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("kind", "settings", "clip", "lines"), [
    ("DDPM", {}, 1.0, []),
    ("DDIM", {}, 1.0, ["variance: fixed_small, since DDIMScheduler has none"]),
    ("PNDM", {}, False, ["variance: fixed_small, since PNDMScheduler has none",
                         "clipping: none, since PNDMScheduler has none"]),
    ("DDIM", {"clip_sample_range": 2, "variance_type": "fixed_large"}, 2.0, []),
    ("EulerDiscrete", {"clip_sample": True, "variance_type": "fixed_small"}, 1.0, [
        "clipping: to 1.0, as clip_sample says, though EulerDiscreteScheduler ignores it"]),
    ("DPMSolverMultistep", {"clip_sample": False, "sample_max": 2}, False, [
        "left out: sample_max, which DPMSolverMultistepScheduler does not know",
        "variance: fixed_small, since DPMSolverMultistepScheduler has none"]),
    ("DDPM", {"rescale_betas_zero_snr": True}, 1.0, [
        "noise levels: the last is 2.1e-09 instead of 0.0e+00, above 0 and below the one before"]),
    ("EulerDiscrete", {"rescale_betas_zero_snr": True, "clip_sample": False}, False, [
        "noise levels: the last is 2.1e-09 instead of 6.0e-08, above 0 and below the one before",
        "variance: fixed_small, since EulerDiscreteScheduler has none"]),
    ("DDPM", {"trained_betas": [0.1, 0.2]}, 1.0, ["noise levels: 2, though num_train_timesteps is "
                                                  "1000"])])
def test_what_a_scheduler_leaves_open_is_said(tmp_path, capsys, kind, settings, clip, lines):
    """Settings are used that the class ignores, as those of the one that it took the place of."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = getattr(diffusers, kind + "Scheduler").from_config(settings)
    _, model = converted(tmp_path, scheduler)
    assert capsys.readouterr().out.splitlines() == lines
    schedule, levels = model.schedule, scheduler.alphas_cumprod.double()
    assert schedule.clip == clip and type(schedule.clip) is type(clip)
    assert schedule.variance == settings.get("variance_type", "fixed_small")
    assert torch.equal(schedule.alphas_cumprod[:-1], levels[:-1])
    last = schedule.alphas_cumprod[-1]
    assert last == levels[-1] or 0 < last <= 2**-24 and "rescale_betas_zero_snr" in settings


@pytest.mark.parametrize("family", PIPELINES)
def test_ddim_is_that_of_diffusers_step_by_step(saved, family):
    """From the same noise, guided where there are prompts: the inputs of each call, the image."""
    import diffusers
    pipeline, teacher = load(saved, family)
    options = dict(pipeline.scheduler.config, steps_offset=0, set_alpha_to_one=True)
    scheduler = diffusers.DDIMScheduler.from_config(options)
    scheduler.set_timesteps(5)
    x, C = torch.randn(2, *teacher.image_shape), teacher.image_shape[0]
    c = torch.tensor([2, 0]) if teacher.num_classes else None
    w = 3.0 if teacher.pipeline.prompts else 1.0
    seen = []
    teacher.net.register_forward_pre_hook(lambda net, inputs: seen.append(inputs[0][:2]))
    image = teacher.ddim(x, 5, c, w)
    for k, i in enumerate(scheduler.timesteps):
        torch.testing.assert_close(seen[k], x, rtol=1e-3, atol=1e-4)
        with torch.no_grad():
            if w == 1:
                out = pipeline.unet(x, i, c).sample
            else:
                texts = pipeline.encode_prompt(
                    ["The Sea", "a red cat", "", ""], device="cpu", num_images_per_prompt=1,
                    do_classifier_free_guidance=False)[0]
                both = pipeline.unet(x.repeat(2, 1, 1, 1), i, texts).sample[:, :C]
                with_text, without = both.chunk(2)
                out = without + w * (with_text - without)
        # the clipped output, as in ADM's sampler and ours
        x = scheduler.step(out, i, x, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(image, x, rtol=1e-3, atol=1e-4)
    assert len(seen) == 5 and image.std() > 0.01


def test_images_are_those_of_the_whole_stable_diffusion_pipeline(saved):
    """Prompts, guidance, sampler and decoder, against the pipeline's own call."""
    pipeline, teacher = load(saved, "sd")
    pipeline = copy.copy(pipeline)
    pipeline.scheduler = type(pipeline.scheduler).from_config(
        dict(pipeline.scheduler.config, steps_offset=0))
    x = torch.randn(2, 4, 8, 8)
    wanted = pipeline(["a dog", "a red cat"], latents=x, num_inference_steps=10, guidance_scale=4.0,
                      height=16, width=16, output_type="pt").images
    images = teacher.to_images(teacher.ddim(x, 10, torch.tensor([1, 0]), 4.0))
    assert images.shape == (2, 3, 16, 16)
    torch.testing.assert_close((images / 2 + 0.5).clamp(0, 1), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("family", "settings"), [("ldm", {}), ("sd", {"scaling_factor": 0.36})])
def test_latents_are_scaled_as_the_autoencoder_says(saved, monkeypatch, family, settings):
    pipeline, teacher = load(saved, family)
    vae = copy.deepcopy(pipeline.vqvae if family == "ldm" else pipeline.vae)
    vae.register_to_config(**settings)
    monkeypatch.setattr(diffusers_teacher, "autoencoder", lambda name: vae)
    with torch.no_grad():
        z = vae.encode(torch.rand(5, 3, 16, 16) * 2 - 1)
        z = z.latents if family == "ldm" else z.latent_dist.mean
        wanted = vae.decode(z).sample
    latents = z * vae.config.scaling_factor
    torch.testing.assert_close(teacher.to_images(latents), wanted, rtol=1e-4, atol=1e-5)


def test_weights_in_half_precision_alone_are_taken(tmp_path, saved, capsys):
    """A folder of the variant fp16, its network as .bin, and a decoder of bf16."""
    plain, teacher = load(saved, "sd")
    pipeline, _, prompts = saved("sd")
    folder = tmp_path / "sd"
    shutil.copytree(saved("sd")[1].removeprefix("diffusers:"), folder)
    for part, how in (("unet", {"variant": "fp16", "safe_serialization": False}),
                      ("text_encoder", {"variant": "fp16"}), ("vae", {"variant": "bf16"})):
        for file in [*folder.glob(f"{part}/*.safetensors")]:
            file.unlink()
        getattr(pipeline, part).save_pretrained(folder / part, **how)
    content = diffusers_teacher.convert(f"diffusers:{folder}", prompts)
    said = capsys.readouterr().out
    for part, variant in (("unet", "fp16"), ("text_encoder", "fp16"), ("vae", "bf16")):
        assert f"{part}: weights of the variant {variant}, since no plain ones load" in said
    other = teachers.build(content, "sd")
    x, c = torch.randn(2, 4, 8, 8), torch.tensor([1, 2])
    for model in (teacher, other):
        model.images = model.to_images(model.ddim(x, 2, c))
    torch.testing.assert_close(teacher.images, other.images)


def test_lora_weights_are_named(tmp_path, saved, capsys):
    """Beside a part, which diffusers does not read, either; and, as adapters that are on, in it."""
    path = shutil.copytree(saved("ddpm")[1].removeprefix("diffusers:"), tmp_path / "ddpm")
    weights, names = path / WEIGHTS, ("pytorch_lora_weights.safetensors", "unet/my-style.pt")
    for name in names:
        (path / name).touch()
    diffusers_teacher.convert(f"diffusers:{path}")
    assert (f"left out: {', '.join(names)}, weights of no part; of LoRA: to use them, fuse"
            in capsys.readouterr().out)
    adapter = {"mid_block.to_q.lora_A.default.weight": torch.ones(2, 8)}
    safetensors.torch.save_file(safetensors.torch.load_file(weights) | adapter, weights)
    with pytest.raises(UserError, match="the unet of .* has LoRA adapters: to use them, fuse"):
        diffusers_teacher.convert(f"diffusers:{path}")
    _, source, prompts = saved("sd")
    path = shutil.copytree(source.removeprefix("diffusers:"), tmp_path / "sd")
    (path / "text_encoder" / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="the text_encoder of .* has LoRA adapters: to use them"):
        diffusers_teacher.convert(f"diffusers:{path}", prompts)


def test_the_last_label_is_no_class_if_it_is_said(tmp_path, saved, capsys, monkeypatch):
    """Guided by hand; refused where there is no such label."""
    monkeypatch.chdir(tmp_path)
    pipeline, source, _ = saved("classes")
    test_core.run("teachers.py", "convert", source, "--null-class", "--out", "t.pt")
    teacher = teachers.load_teacher("t.pt")
    assert teacher.num_classes == teacher.null_label == 2
    x, i, c = torch.randn(2, 3, 8, 8), torch.tensor([5, 500]), torch.tensor([0, 1])
    with torch.no_grad():
        eps, null = (pipeline.unet(x, i, labels).sample for labels in (c, torch.full((2,), 2)))
        found = teacher.eps_form(x, i, c, 3.0)
    torch.testing.assert_close(found, null + 3 * (eps - null), rtol=0.02, atol=0.02)  # fp16 weights
    with pytest.raises(UserError, match="no range of --guidance"):
        boot.new_student(teacher, 0.02, 0.9, (1.0, 3.0))

    _, sd, prompts = saved("sd")
    for given, says in (([saved("ddpm")[1]], "has no label table"),
                        ([sd, "--prompts", prompts], "the empty one is"),
                        (["t.pt"], "--null-class is for pipelines"),
                        (["t.pt", "--arch", "iddpm-cifar10"], "--null-class is for pipelines")):
        assert says in test_core.refused(capsys, "teachers.py", "convert", *given, "--null-class",
                                         "--out", "x.pt")


@pytest.mark.parametrize("family", PIPELINES)
def test_boot_and_dkdm_on_pipelines(tmp_path, saved, family, monkeypatch, short):
    """Two steps of each from a converted checkpoint."""
    monkeypatch.chdir(tmp_path)
    _, source, prompts = saved(family)
    convert.convert(convert.Config(source, "noise.pt", prompts=prompts))
    options = dict(teacher="noise.pt", steps=2, batch=4, device="cpu", compare=10)
    copy = dkdm.Config(**options, out="v", rho=0.01, student="same", predicts="v", lr=1e-6)
    dkdm.train(copy)  # BOOT takes no teacher of noise
    teacher = teachers.load_teacher("v/student.pt")
    pixels = 16 if teacher.pipeline.latents else 8
    options["teacher"] = "v/student.pt"
    distances = boot.train(boot.Config(**options, out="boot", guidance=(3.0,) if prompts else None))
    errors = dkdm.train(dkdm.Config(**options, out="dkdm", rho=0.01))
    assert np.isfinite([*distances.values(), *errors.values()]).all()
    student = boot.load_student("boot/student.pt")
    untrained = boot.new_student(teacher, 0.02, student.t_max)
    pairs = zip(student.parameters(), untrained.parameters(), strict=True)
    assert 0 < max((a - b).abs().max() for a, b in pairs) < 0.1  # from the teacher's own weights
    model = teachers.load_teacher("dkdm/student.pt")
    for some, T, x in (
            (student.model, 1000, boot.sample(student, teacher.noise(3, 0), teacher.labels(3))),
            (model, 100, model.ddim(model.noise(3, 0), 2, model.labels(3)))):
        images = some.to_images(x)
        assert images.shape == (3, 3, pixels, pixels) and images.std() > 0.01
        assert some.pipeline == teacher.pipeline and some.latents == (pixels == 16)
        for setting in ("clip", "variance"):
            wanted = getattr(teacher.schedule, setting)
            assert getattr(some.schedule, setting) == wanted
        levels = teacher.respaced(T).schedule.alphas_cumprod
        assert torch.equal(some.schedule.alphas_cumprod, levels)
    if family == "if":
        demo.draw(demo.Config("boot/student.pt", rows=1, out="demo"))
        lines = max(len(textwrap.wrap(prompt, 11)) for prompt in student.model.pipeline.prompts)
        with Image.open("demo/calls.png") as picture:
            assert picture.size == (150 + 8 * 66 + 2, 6 + 16 * lines + 4 * 66 + 2)
            framed = (np.asarray(picture) == (220, 20, 60)).all(2).all(1)  # whole lines
            assert framed[-68] and framed[-1] and not framed[:-68].any()


def test_prompts_can_be_replaced(tmp_path, saved, monkeypatch, short):
    """From the command line. A prompt has the same images under another number."""
    monkeypatch.chdir(tmp_path)
    _, source, prompts = saved("sd")
    Path("new.txt").write_text("a bird\n\nThe  Sea\n")

    def run(script, line):
        test_core.run(f"{script.__name__}.py", *line.split())

    run(teachers, f"convert {source} --prompts {prompts} --out noise.pt")
    run(dkdm, "--teacher noise.pt --student same --predicts v --steps 1 --compare 1 --rho 0.01 "
              "--out v")
    Path("v/student.pt").rename("teacher.pt")
    run(boot, "--teacher teacher.pt --guidance 1 4 --steps 1 --compare 10 --out boot")
    run(dkdm, "--teacher teacher.pt --steps 1 --compare 1 --rho 0.01 --out dkdm")
    run(teachers, "convert teacher.pt --prompts new.txt --out new.pt")
    run(teachers, "convert boot/student.pt --prompts new.txt --out boot.pt")
    xi, sea = torch.randn(2, 4, 8, 8), torch.tensor([2, 2])
    for old, new, load, draw in (
            ("boot/student.pt", "boot.pt", boot.load_student, boot.sample),
            ("teacher.pt", "new.pt", teachers.load_teacher, lambda m, x, c: m.ddim(x, 2, c, 2.0))):
        old, new = load(old), load(new)
        image = draw(new, xi, sea - 1)
        rounding = (draw(old, xi, sea) - image).abs().max()  # of weights, to half precision
        assert 10 * rounding < (image - draw(new, xi, sea - 2)).abs().max()
    assert (new.num_classes, new.pipeline.prompts) == (2, ["a bird", "The Sea"])
    run(teachers, "sample new.pt --steps 2 --n 4 --guidance 2 --out x.npz")
    run(boot, "--sample boot.pt --n 3 --guidance 3 --out y.npz")
    arrays = np.load("x.npz")
    assert arrays["arr_0"].shape == (4, 16, 16, 3) and arrays["arr_1"].tolist() == [0, 1, 0, 1]
    assert np.load("y.npz")["arr_0"].shape == (3, 16, 16, 3)
    Path("three.txt").write_text("as\nmany\nprompts\n")
    run(teachers, "convert boot/student.pt --prompts three.txt --out three.pt")
    with pytest.raises(UserError, match="teacher.pt have other images, classes or prompts"):
        measure.steps(measure.Config("steps", student="three.pt", n=10, out="x.png"))
    for name in ("dkdm/student.pt", "cifar10"):
        with pytest.raises(UserError, match="leave --prompts out"):
            diffusers_teacher.convert(name, "new.txt")


def test_a_drawn_scale_of_guidance_starts_as_nothing(saved):
    _, teacher = load(saved, "sd", "v_prediction")
    student = boot.new_student(teacher, 0.02, 0.9, (1.0, 5.0))
    xi, t, c = torch.randn(3, 4, 8, 8), torch.full((3,), 0.9), torch.arange(3)
    for w in (1.0, 5.0):
        with torch.no_grad():
            image = student(xi, t, c, torch.full((3,), w))
        torch.testing.assert_close(image, teacher.x0(xi, t, c), rtol=1e-4, atol=1e-5)
    student(xi, t, c, torch.full((3,), 2.0)).square().mean().backward()
    assert student.net.net.time_embedding.cond_proj.weight.grad.abs().max() > 0
    more = {"timestep_post_act": "silu"}  # after the last layer of the time embedding
    acts = diffusers_teacher.DiffusersNet(**teacher.net.arguments | {
        "config": teacher.net.arguments["config"] | more})
    acts.load_state_dict(teacher.net.state_dict())
    acts = dataclasses.replace(teacher, net=acts.requires_grad_(False))
    with torch.no_grad():
        image = boot.new_student(acts, 0.02, 0.9)(xi, t, c)
    torch.testing.assert_close(image, acts.x0(xi, t, c), rtol=1e-4, atol=1e-5)
    student = boot.new_student(teacher, 0.02, 0.9, init="random")
    assert torch.equal(student.net.features, teacher.net.features)  # the prompts are no weights


def noisy_copy(net):
    net = copy.deepcopy(net)
    with torch.no_grad():
        next(net.parameters()).add_(0.1)
    return net


def test_a_pipeline_that_is_changed_or_gone_is_missed_at_once(tmp_path, saved, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, source, prompts = saved("sd")
    folder = Path("mine")
    shutil.copytree(source.removeprefix("diffusers:"), folder)
    convert.convert(convert.Config("diffusers:mine", "mine.pt", prompts=prompts))
    again = convert.Config("mine.pt", "again.pt", prompts=prompts)
    convert.convert(again)
    old, new = (teachers.read(name)["weights"]["features"] for name in ("mine.pt", "again.pt"))
    assert torch.equal(old, new)

    weights = folder / "text_encoder/model.safetensors"
    noisy = {name: w + 0.1 * torch.randn(w.shape) if w.is_floating_point() else w
             for name, w in safetensors.torch.load_file(weights).items()}
    safetensors.torch.save_file(noisy, weights, {"format": "pt"})
    with pytest.raises(UserError, match="no longer the one that mine.pt was made with"):
        convert.convert(dataclasses.replace(again, out="other.pt"))
    model = teachers.load_teacher("mine.pt")
    decoder = diffusers_teacher.autoencoder(model.pipeline.name)
    with monkeypatch.context() as patch:
        patch.setattr(diffusers_teacher, "autoencoder", lambda name: noisy_copy(decoder))
        diffusers_teacher.fingerprint.cache_clear()
        with pytest.raises(UserError, match="no longer the one that this model was converted"):
            teachers.load_teacher("mine.pt")
    diffusers_teacher.fingerprint.cache_clear()
    shutil.rmtree(folder)
    with pytest.raises(UserError, match="mine, which is gone"):
        teachers.load_teacher("mine.pt")


def test_large_networks_compute_their_activations_again(saved, monkeypatch):
    """Gradient checkpointing: less memory, the same gradients."""
    gradients = []
    for large in (10**9, 1000):
        monkeypatch.setattr(diffusers_teacher, "LARGE", large)
        _, teacher = load(saved, "sd")
        student = boot.new_student(teacher, 0.02, 0.9).eval()
        assert student.net.net.is_gradient_checkpointing == (large == 1000)
        torch.manual_seed(0)
        nn.init.normal_(student.net.net.conv_out.weight)
        student(torch.randn(3, 4, 8, 8), torch.full((3,), 0.5), torch.arange(3)).sum().backward()
        gradients.append([p.grad for p in student.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


INDEX, UNET = "model_index.json", "unet/config.json"
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
CHAIN, DECODER = "scheduler/scheduler_config.json", "vae/config.json"
REFUSED = [  # pipeline, its file and what is changed there (nothing: all is lost), prompts, message
    ("sd", INDEX, dict(text_encoder_2=["transformers", "CLIPTextModel"]), "good", "text_encoder_2"),
    ("ddpm", INDEX, dict(mel=["diffusers", "Mel"]), "", "no place for its mel"),
    ("sd", INDEX, dict(unet=[None, None]), "good", "its network is no"),
    ("sd", INDEX, dict(text_encoder=[None, None]), "good", "no text_encoder"),
    ("sd", INDEX, dict(vae=[None, None]), "good", "its autoencoder is missing"),
    ("ddpm", INDEX, dict(scheduler=[None, None]), "", "changed has no scheduler"),
    ("ddpm", INDEX, dict(_class_name=None), "", "its class None"),
    ("ddpm", INDEX, dict(_class_name=["mine", "Mine"]), "", "code of its own"),
    ("ddpm", INDEX, dict(_class_name="Mine"), "", "code of its own"),
    ("ddpm", INDEX, dict(scheduler=["mine", "Mine"]), "", "mine is code of its own"),
    *(("ddpm", INDEX, dict(scheduler=["diffusers", f"{kind}Scheduler"]), "",
       f"its {kind}Scheduler has no chain") for kind in ("FlowMatchEulerDiscrete", "EDMEuler",
                                                         "LCM", "TCD")),
    *(("ddpm", CHAIN, dict(variance_type=kind), "", f"variance_type (= '|){kind}")
      for kind in ("fixed_small_log", "fixed_large_log", "learned", "learned_range")),
    ("if", CHAIN, dict(variance_type="fixed_small"), "good", "makes 2 channels for each"),
    ("ddpm", CHAIN, dict(prediction_type="flow"), "", "prediction_type = 'flow'"),
    ("ddpm", CHAIN, dict(predict_epsilon=False), "", "predict_epsilon = False"),
    ("sd", CHAIN, dict(timestep_type="continuous"), "good", "timestep_type = 'continuous'"),
    ("sd", CHAIN, dict(use_flow_sigmas=True), "good", "use_flow_sigmas = True"),
    ("ddpm", CHAIN, dict(clip_sample_range=None), "", "clip_sample_range is None"),
    ("ddpm", CHAIN, dict(thresholding=True, dynamic_thresholding_ratio=2), "",
     "dynamic_thresholding_ratio is 2"),
    ("ddpm", UNET, dict(class_embed_type="identity"), "", "class_embed_type = 'identity'"),
    ("ddpm", UNET, dict(sample_size=None), "", "sample_size"),
    ("ddpm", UNET, dict(layers_per_block=2), "", "weights are missing or do not fit"),
    ("classes", UNET, dict(num_class_embeds=None), "", "not use all .*: class_embedding.weight"),
    ("sd", UNET, dict(attention_type="gated"), "good", "attention_type = 'gated'|weights are miss"),
    ("sd", DECODER, dict(latents_mean=[0.0] * 4), "good", "latents_mean = .*None"),
    ("sd", DECODER, dict(scaling_factor=0), "good", "scaling_factor is 0"),
    ("sd", "text_encoder/config.json", dict(num_hidden_layers=2), "good", "weights are missing"),
    ("ddpm", WEIGHTS, {}, "", "the unet of changed, a UNet2DModel, cannot be loaded"),
    ("ddpm", "", {}, "", "diffusers:changed, a folder"),
    ("ddpm", "README.md", {}, "good", "leave --prompts out"),
    ("sd", "README.md", {}, "", "give it --prompts"),
    ("sd", "", {}, "none", "none.txt cannot be read .*No such file"),
    ("sd", "", {}, "empty", "--prompts empty.txt is empty"),
    ("sd", "", {}, "latin", "UTF-8")]


@pytest.mark.parametrize(("family", "file", "values", "prompts", "says"), REFUSED)
def test_what_is_refused(tmp_path, monkeypatch, saved, family, file, values, prompts, says):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name, text in (("empty", b"\n  \n"), ("latin", b"caf\xe9\n"), ("good", b"a cat\n")):
        Path(f"{name}.txt").write_bytes(text)
    for cached in (diffusers_teacher.pipeline_index, diffusers_teacher.autoencoder):
        cached.cache_clear()  # other tests' folders had the same name
    if file:
        shutil.copytree(saved(family)[1].removeprefix("diffusers:"), "changed")
        path = Path("changed") / file
        old = json.loads(path.read_text()) if values else {}
        path.write_text(json.dumps(old | values))
    with pytest.raises(UserError, match=says) as refusal:
        diffusers_teacher.convert("diffusers:changed", prompts and f"{prompts}.txt")
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 600


@pytest.mark.parametrize("family", ["sd", "if"])
def test_a_tokenizer_without_its_vocabulary_is_refused(tmp_path, monkeypatch, saved, family):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _, name, prompts = saved(family)
    shutil.copytree(name.removeprefix("diffusers:"), tmp_path / "changed")
    with pytest.raises(UserError, match="model_index.json is a file: give the pipeline's folder"):
        diffusers_teacher.convert(f"diffusers:{tmp_path}/changed/model_index.json", prompts)
    for kept in ("tokenizer_config.json", ""):
        for file in (tmp_path / "changed/tokenizer").iterdir():
            if file.name != kept:
                file.unlink()
        with pytest.raises(UserError, match="the tokenizer of .* (has no words|cannot be loaded)"):
            diffusers_teacher.convert(f"diffusers:{tmp_path}/changed", prompts)


@pytest.mark.parametrize("setting", [
    {"in_channels": 2, "out_channels": 2}, {"out_channels": 4}, {"time_embedding_type": "fourier"}])
def test_networks_that_ask_for_more_are_refused_by_name(tmp_path, setting):
    diffusers = pytest.importorskip("diffusers")
    says = setting.get("time_embedding_type", "channels")
    with pytest.raises(UserError, match=says):
        converted(tmp_path, diffusers.DDPMScheduler(), **setting)


def test_a_prompt_that_is_too_long_is_cut_with_a_warning(tmp_path, capsys, saved):
    path = tmp_path / "long.txt"
    path.write_text("short\nabcdefghijklmnop\nabcdefghijxyz\n", encoding="utf-8-sig")
    content = diffusers_teacher.convert(saved("sd")[1], str(path))
    said = capsys.readouterr().out
    assert said.count("warning: cut after 12 of") == 2
    assert "12 of 18 tokens: abcdefghijklmnop" in said
    assert content["pipeline"]["prompts"][0] == "short"  # without the byte-order mark
    short, *long, _ = content["weights"]["features"]
    assert torch.equal(*long) and not torch.equal(short, long[0])


def test_the_library_missing(tmp_path, monkeypatch, capsys):
    diffusers_teacher.library.cache_clear()
    monkeypatch.setitem(sys.modules, "diffusers", None)
    line = test_core.refused(capsys, "teachers.py", "convert", "diffusers:a/b",
                             "--out", tmp_path / "x.pt")
    assert "pip install -U 'diffusers>=0.35' transformers" in line


def test_its_errors_are_one_line_of_the_script_that_calls_it(tmp_path):
    line = f"convert cifar10 --prompts {tmp_path}/none.txt --out {tmp_path}/x.pt"
    script = Path(teachers.__file__)
    done = subprocess.run([sys.executable, script, *line.split()], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("teachers.py: error: --prompts ")


# ------------------------------------------------------------------------------------------------
# convert.py and foreign.py: weights of other projects

NET = test_core.small_unet(attention_resolutions=(), channel_mult=(1,))
ABOUT = {"arch": "unet", "arch_args": NET.arguments, "image_shape": [3, 8, 8], "num_classes": None,
         "predicts": "eps", "learned_sigma": True, "schedule": "cosine", "T": 1000}


def some_weights(seed, net=NET):
    torch.manual_seed(seed)
    return {name: torch.randn_like(w).half().float() for name, w in net.state_dict().items()}


RAW, EMA = some_weights(0), some_weights(1)
OPT = {"state": {0: {"step": torch.tensor(1.), "exp_avg": torch.ones(3)}}, "param_groups": []}


def before(prefix, weights):
    return {prefix + name: w for name, w in weights.items()}


def without_dots(weights):
    """As CompVis' LitEma writes an average."""
    names = {name: name.replace(".", "") for name in weights}
    return {f"model_ema.diffusion_model{names[name]}": w for name, w in weights.items()} | {
        "model_ema.decay": torch.tensor(0.999), "model_ema.num_updates": torch.tensor(3)}


def a_conversion(folder, content, about=ABOUT):
    """convert's options for content (None: a file that is there), saved as folder/mine.pt."""
    if content is not None:
        torch.save(content, folder / "mine.pt")
    (folder / "about.json").write_text(json.dumps(about))
    (folder / "new.pt").unlink(missing_ok=True)
    return ["convert", folder / "mine.pt", "--arch", folder / "about.json",
            "--out", folder / "new.pt"]


ABAR = teachers.Schedule("cosine").alphas_cumprod
BUFFERS = {"betas": 1 - ABAR / torch.cat([torch.ones(1), ABAR[:-1]]), "alphas_cumprod": ABAR}
AVERAGED = {"n_averaged": torch.tensor(5), **before("module.", EMA)}
EMA_PYTORCH = {"initted": torch.tensor(True), "step": torch.tensor(9),
               **before("online_model.model.", RAW), **before("ema_model.model.", EMA)}


@pytest.mark.parametrize(("content", "wanted", "says"), [
    (RAW, RAW, ""), ({"ema": EMA}, EMA, "the average 'ema'\n"),
    ({"model": RAW, "ema": EMA, "opt": OPT, "args": argparse.Namespace(image_size=8)}, EMA,
     "the average 'ema' (also here: 'model', 'opt', 'args')"),  # DiT
    ({"state_dict": before("net.", RAW), "epoch": 3, "optimizer_states": [OPT]}, RAW,
     "'state_dict / net.*' (also here: 'epoch', 'optimizer_states')"),  # Lightning
    ({"state_dict": {**before("model.diffusion_model.", RAW), **without_dots(EMA), **BUFFERS,
                     "first_stage_model.conv_in.weight": torch.ones(3)}, "epoch": 1}, EMA,
     "'state_dict / model_ema.diffusion_model*' (also here: 'epoch', 'model'"),  # CompVis
    (AVERAGED, EMA, "the average 'module.*'"), ({"model": RAW, "swa": AVERAGED}, EMA, "'model'"),
    (before("module._orig_mod.", RAW), RAW, "'module.*'"), (before("_orig_mod.", RAW), RAW, ""),
    ({name.replace("block.1.", "block.1._orig_mod."): w for name, w in RAW.items()}, RAW, ""),
    (EMA_PYTORCH, EMA, "the average 'ema_model.model.*' (also here: 'initted', 'step', 'online_"),
    ({"step": 7, "model": {**before("model.", RAW), **BUFFERS}, "opt": OPT, "ema": EMA_PYTORCH,
      "scaler": None, "version": "2.3.4"}, EMA, "'ema / ema_model.model.*'"),  # lucidrains
    ({"state": {"model": RAW, "algorithms": [("EMA", {"ema_model": {"weights": EMA}})]}}, EMA,
     "'state / algorithms / 0 / 1 / ema_model / weights'"),  # MosaicML
    ({"net_model": RAW, "modelEma": EMA}, EMA, "'modelEma' (also here: 'net_model')"),
    ({name: nn.Parameter(w.half()) for name, w in RAW.items()}, RAW, ""),
])
def test_the_weights_meant_are_found_in_what_trainers_write(tmp_path, capsys, content, wanted,
                                                            says):
    test_core.run("teachers.py", *a_conversion(tmp_path, content))
    assert says in capsys.readouterr().out
    found = teachers.read(tmp_path / "new.pt")["weights"]
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name].half()) for name in wanted)


def test_positions_that_are_not_trained_come_from_the_model(tmp_path, capsys):
    net = vit.ViT(8, 4, 3, 32, 1, 2)
    raw, ema = some_weights(0, net), some_weights(1, net)
    del ema["pos_embed"]
    content = before("model.diffusion_model.", raw) | without_dots(ema)
    about = ABOUT | {"arch": "vit", "arch_args": net.arguments}
    test_core.run("teachers.py", *a_conversion(tmp_path, content, about))
    assert "and pos_embed of 'model.diffusion_model.*'" in capsys.readouterr().out
    model, x, i = teachers.load_teacher(tmp_path / "new.pt"), torch.randn(2, 3, 8, 8), torch.ones(2)
    net.load_state_dict(ema | {"pos_embed": raw["pos_embed"]})
    torch.testing.assert_close(model.net(x, i), net(x, i))


@pytest.mark.parametrize(("content", "says"), [
    (OPT, "an optimizer's state"), ({"scale": 1., "growth_factor": 2., "growth_interval": 9},
                                    "a gradient scaler's state"),
    ({"last_epoch": 3, "_step_count": 4}, "a learning-rate schedule's state"), (3, "type int"),
    ({"decay": 0.9, "shadow_params": list(EMA.values())}, "an average without names"),
    ({"model": RAW, "ema": {"shadow_params": list(EMA.values())}}, "'ema', 'shadow_params'"),
    ({"model": RAW, "net": EMA}, "holds 'model', 'net': save the one that is meant"),
    ({"model": RAW, "swa": AVERAGED | {"n_averaged": torch.tensor(0)}}, "holds 'model', 'swa"),
    ({"model": RAW, "exp_avg": EMA}, "holds 'model', 'exp_avg': save the one that is meant"),
    ([before("module.", RAW), OPT, 3, EMA], "holds '0 / module.*', '3'"),  # DDIM's
    ({"ema_0.99": RAW, "ema_0.999": EMA}, "holds 'ema_0.99', 'ema_0.999'"),
    ({**RAW, "_orig_mod.out.0.weight": RAW["out.0.weight"]}, "are the same weight"),
    ({name: w for name, w in RAW.items() if name != "out.2.bias"} | {"label_emb.weight": EMA[
        "out.2.bias"]}, "missing are 'out.2.bias'; unexpected are 'label_emb.weight'; look at"),
    ({name: w.to(torch.int8) for name, w in RAW.items()}, "torch.int8"),
    ({name: w * math.nan for name, w in RAW.items()}, "not finite"),
    ({"model": {**before("model.", RAW), "betas": torch.linspace(1e-4, 0.02, 1000)}},
     "in 'model.betas' are 1000 with alpha^2 from 0.9999 to 4.04e-05, where"),
    ({"conv_in.weight": torch.ones(1)}, "diffusers:FOLDER"),
    ({"state_dict": {"model.diffusion_model.out.2.bias": torch.ones(4),
                     "cond_stage_model.model.x": torch.ones(1)}}, "from_single_file"),
    ({"model": RAW, "path": Path("x")}, "holds pathlib."),
    ({"model": RAW, "loss": np.float64(1)}, "multiarray.scalar, which only code can make"),
    (NET, "holds unet.UNet, which only code can make"),
    ({"model": RAW, "args": argparse.Namespace(a=test_core.Code())}, ".system, which only code"),
    ({"processes": [], "given": {}}, "student.pt or teacher.pt beside it"),
])
def test_files_without_the_weights_are_refused_by_what_they_hold(tmp_path, capsys, content, says):
    line = test_core.refused(capsys, "teachers.py", *a_conversion(tmp_path, content))
    assert says in line and "good copy" not in line
    line = test_core.refused(capsys, "boot.py", "--teacher", tmp_path / "mine.pt")
    assert "good copy" not in line and not list(tmp_path.glob("**/code-was-run"))


def saved_by(save):
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def a_zip(*names):
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return file.getvalue()


NEW = saved_by(lambda file: torch.save(RAW, file))
OLD = saved_by(lambda file: torch.save(RAW, file, _use_new_zipfile_serialization=False))


@pytest.mark.parametrize(("content", "says"), [
    (b"", "is empty: replace it by a good copy"), (NEW[:100_000], "is cut short: replace it by a"),
    (NEW[:20_000], "is cut short: replace it by a good copy"),
    (OLD[:3000], "is cut short: replace it by a good copy"), (OLD[:-9], "cut short: replace it"),
    (b"\n<!DOCTYPE html><html>", "a web page"), (b"Entry not found", "text, not weights: 'Entry"),
    (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
    (b'{"weight_map": {}}', "the index of a file in parts"), (b"\x1f\x8b\x08", "unpack it"),
    (pickle.dumps(RAW), "a pickle that torch.save did not write"), (bytes(999), "no file of"),
    (a_zip("a.npy"), "arrays of NumPy: save them as tensors, by torch.save"),
    (a_zip("a.pt"), "of 'a.pt': unpack"), (a_zip("a/code/b.py", "a/data.pkl"), "a TorchScript"),
    (a_zip("a/data.pkl"), "but damaged"), (b"\x07\xff" * 99, "is no file of PyTorch"),
])
def test_a_file_that_is_no_checkpoint_is_called_what_it_is(tmp_path, capsys, content, says):
    (tmp_path / "mine.pt").write_bytes(content)
    line = test_core.refused(capsys, "teachers.py", *a_conversion(tmp_path, None))
    assert says in line and ("good copy" in line) == ("good copy" in says or "cut short" in says)
    assert line.split(": ", 2)[2] in test_core.refused(capsys, "boot.py", "--teacher",
                                                       tmp_path / "mine.pt")


@pytest.mark.filterwarnings("ignore:torch.distributed is")
def test_a_folder_of_torch_distributed_is_refused_until_its_files_are_joined(tmp_path, capsys):
    folder, command = tmp_path / "saved", a_conversion(tmp_path, None)
    torch.distributed.checkpoint.save({"model": RAW}, checkpoint_id=folder, no_dist=True)
    for command[1] in (folder, folder / "__0_0.distcp", folder / ".metadata"):
        assert "dcp_to_torch" in test_core.refused(capsys, "teachers.py", *command)
    command[1] = tmp_path / "joined.pt"
    dcp_to_torch_save(folder, command[1])  # what the message says to run
    test_core.run("teachers.py", *command)
    found = teachers.read(tmp_path / "new.pt")["weights"]
    assert all(torch.equal(found[name], RAW[name].half()) for name in RAW)


@pytest.mark.parametrize("name", ["mine.pt", "mine.safetensors"])
def test_safetensors_are_read_by_any_name(tmp_path, capsys, monkeypatch, name):
    command = a_conversion(tmp_path, None)
    command[1] = path = tmp_path / name
    safetensors.torch.save_file(before("module.", RAW), path)
    test_core.run("teachers.py", *command)
    found = teachers.read(tmp_path / "new.pt")["weights"]
    assert all(torch.equal(found[name], RAW[name].half()) for name in RAW)
    a_conversion(tmp_path, None)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "safetensors.torch", None)
        assert "pip install safetensors" in test_core.refused(capsys, "teachers.py", *command)
    path.write_bytes(path.read_bytes()[:-99])
    assert "is cut short: replace it" in test_core.refused(capsys, "teachers.py", *command)
    parts = dict(list(RAW.items())[:9])
    command[1] = tmp_path / "mine-00001-of-00002.safetensors"
    safetensors.torch.save_file(parts, command[1])
    assert "is one of several files" in test_core.refused(capsys, "teachers.py", *command)
    torch.save(RAW, path)  # the other way round
    command[1] = path
    test_core.run("teachers.py", *command)


def test_what_half_precision_cannot_hold_stays_as_it_is(tmp_path, capsys):
    """Too large, also in bfloat16; and all too small."""
    changed = {"time_embed.0.weight": 1e5, "out.2.weight": 1e-9, "time_embed.2.weight": 3e4}
    weights = {name: w * changed.get(name, 1) for name, w in RAW.items()}
    weights["time_embed.2.weight"] = weights["time_embed.2.weight"].bfloat16()
    test_core.run("teachers.py", *a_conversion(tmp_path, weights))
    assert "'time_embed.0.weight', 'time_embed.2.weight', 'out.2.w" in capsys.readouterr().out
    found = teachers.read(tmp_path / "new.pt")["weights"]
    for name, w in weights.items():
        wanted = w.float() if name in changed else w.half()
        assert found[name].dtype == wanted.dtype and torch.equal(found[name], wanted)
    teachers.load_teacher(tmp_path / "new.pt")
    assert convert.in_half({"ids": torch.tensor([70000])})["ids"].item() == 70000
    eight = torch.tensor([0.5, -448.0]).to(torch.float8_e4m3fn)
    assert convert.in_half({"w": eight})["w"].tolist() == [0.5, -448.0]


SCALED = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2


@pytest.mark.parametrize(("schedule", "T", "betas", "says"), [
    ({"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}, 1000, SCALED,
     ""),
    ({"betas": SCALED.tolist()}, 1000, SCALED, ""),
    ({"betas": [0.5, 0.5, 1]}, 3, torch.tensor([0.5, 0.5, 1 - 2**-22]), "becomes 5.96e-08"),
    ("linear", 4000, torch.linspace(1e-4, 0.02, 4000, dtype=torch.float64) / 4, "1000 / 4000"),
])
def test_schedules_of_a_description(tmp_path, capsys, schedule, T, betas, says):
    about = ABOUT | {"schedule": schedule, "T": T, "latents": True, "learned_sigma": True}
    test_core.run("teachers.py", *a_conversion(tmp_path, RAW, about))
    assert says in capsys.readouterr().out
    model = teachers.load_teacher(tmp_path / "new.pt")
    torch.testing.assert_close(model.schedule.alphas_cumprod, (1 - betas.double()).cumprod(0),
                               rtol=1e-4, atol=0)
    assert model.latents and model.schedule.clip is False


@pytest.mark.parametrize(("key", "value", "says"), [
    ("num_classes", "10", "a whole number, or null"), ("T", 0, "a whole number"),
    ("T", 1000.0, "a whole number"), ("image_shape", [8, 8], "[channels, height, width]"),
    ("predicts", "epsilon", '"eps", "x0" or "v"'), ("learned_sigma", "yes", "true or false"),
    ("latents", 1, "true or false"), ("clip", True, "false, the largest"),
    ("clip", [2, 0.9], "[quantile, largest]"), ("variance", "fixed", '"fixed_large"'),
    ("variance", "fixed_small", "variance is not learned"), ("arch", "dit", '"unet" or "vit"'),
    ("arch_args", [], "the arguments of UNet"), ("stride", 2, "unknown are 'stride'"),
    ("arch_args", {"num_channels": 3}, "'num_channels'"), ("num_classes", 10, "no labels c"),
    ("schedule", "scaled_linear", '{"beta_schedule": "scaled_linear", '),
    ("schedule", {"beta_schedule": "slow"}, "slow is not implemented"),
    ("schedule", {"beta_schedule": "linear", "clip_sample": True}, "clip_sample"),
    ("schedule", {"betas": []}, "a list of numbers"), ("schedule", {"betas": [0.1]}, "T = 1000"),
])
def test_a_wrong_description_is_refused_with_what_is_right(tmp_path, capsys, key, value, says):
    command = a_conversion(tmp_path, RAW, ABOUT | {key: value})
    assert says in test_core.refused(capsys, "teachers.py", *command)


def test_descriptions_are_asked_for_where_they_belong(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = a_conversion(tmp_path, RAW, {"T": 5})
    assert "missing are 'arch', " in test_core.refused(capsys, "teachers.py", *command)
    assert convert.describe("dit-xl2")["latents"] is True
    test_core.run("teachers.py", *a_conversion(tmp_path, RAW))
    Path("new.pt").rename("own.pt")
    Path("folder").mkdir()
    Path("twice.json").write_text('{"T": 5, "T": 6}')
    for arguments, says in (
            ("mine.pt --arch twice.json", "'T' is there twice"),
            ("own.pt --arch about.json", "a checkpoint of this project: leave --arch out"),
            ("mine.pt", "it holds 'time_embed.0.weight', "), ("folder", "diffusers:folder"),
            ("cifar10 --arch about.json", "leave it out for cifar10"),
            ("diffusers:x --arch about.json", "leave it out for diffusers:x"),
            ("mine.pt --arch mine.pt", "is no description"),
            ("mine.pt --arch cifar10", "give one of iddpm-cifar10")):
        line = f"convert {arguments} --out x.pt"
        assert says in test_core.refused(capsys, "teachers.py", *line.split())
    with pytest.raises(SystemExit):
        test_core.run("teachers.py", "convert", "--help")
    assert "or a JSON file" in " ".join(capsys.readouterr().out.split())
    monkeypatch.setitem(sys.modules, "diffusers", None)
    command = a_conversion(tmp_path, RAW, ABOUT | {"schedule": {"beta_schedule": "linear"}})
    assert "pip install diffusers, or" in test_core.refused(capsys, "teachers.py", *command)


@pytest.mark.parametrize(("options", "says"), [
    (dict(gpu="steps", peers="."), "give one"), (dict(peers="nowhere"), "is no folder"),
    (dict(only="dkdm", batch=4), "--only, --batch: for --peers"), (dict(device="cuda"), "--device"),
    (dict(peers=".", only="vit tiny"), "the rows are unet-forward tiny")])
def test_speed_drops_no_option(options, says):
    with pytest.raises(UserError, match=says):
        speed.Config(**options)


# ------------------------------------------------------------------------------------------------
# direct.py and demo.py


def test_direct_regression_learns_its_pairs_and_its_student_is_shown(
        tmp_path, short, monkeypatch):
    """16 steps of 8 make 16 x 17 teacher calls, the price of 5 images of 50."""
    train_teacher.train(a_run(tmp_path))
    config = direct.Config(str(tmp_path / "run/teacher.pt"), steps=16, lr=1e-2, compare=10,
                           device="cpu", precision="fp32", out=str(tmp_path / "direct"))
    teacher = teachers.load_teacher(config.teacher)
    xi, c, images = direct.pairs(teacher, config.fitted(teacher))
    assert len(xi) == 5
    torch.testing.assert_close(images, teacher.ddim(xi, 50, c, 1.0, 0.99, 0.02))

    with pytest.raises(UserError, match="no --beta"):
        dataclasses.replace(config, beta=4.0)
    direct.train(config)
    student = boot.load_student(tmp_path / "direct/student.pt")
    untrained = boot.new_student(teacher, config.t_min, 0.99)
    after, before = ((boot.sample(model, xi, c) - images).square().mean()
                     for model in (student, untrained))
    assert after < 0.5 * before

    with monkeypatch.context() as patch:  # what is refused costs no pairs, and no folder
        patch.setattr(direct, "pairs", lambda *_: 1 / 0)
        for options, says in ((dict(guidance=(1.0, 3.0)), "give no range"),
                              (dict(steps=1), "pays for no pair"), (dict(), "direct exists")):
            with pytest.raises(UserError, match=says):
                direct.train(dataclasses.replace(config, **options))

    show = demo.Config(str(tmp_path / "direct/student.pt"), rows=2, out=str(tmp_path / "demo"))
    demo.draw(show)
    pictures = {name: np.array(Image.open(tmp_path / f"demo/{name}.png"))
                for name in ("calls", "interpolation", "classes", "path")}
    assert pictures["calls"].shape == (266, 680, 3)  # teacher thrice, student once, framed
    frame = (pictures["calls"] == (220, 20, 60)).all(2)
    assert frame[-1].all() and frame[198].all() and not frame[:198].any()
    assert pictures["interpolation"].shape == (134, 662, 3)
    assert pictures["path"].shape == (156, 9 * 66 + 2, 3)  # the ends of eight hops, and heads
    assert pictures["classes"].shape == (156, 3 * 66 + 2, 3)  # a column for each class
    for name in ("path", "classes"):  # each column has one, which begins and ends above it
        head = (pictures[name][:22] < 128).any((0, 2)).tolist()
        assert all(any(head[k:k + 66]) and not head[k] for k in range(0, len(head) - 2, 66))
    first, last = pictures["interpolation"][2:66, 2:66], pictures["path"][24:88, -66:-2]
    assert np.array_equal(first, last) and first.std() > 0  # both are y(xi, t_min) of one noise

    ranged = vars(config) | dict(steps=2, guidance=(1.0, 3.0), out=f"{tmp_path}/range")
    boot.train(boot.Config(**ranged))
    student = boot.load_student(tmp_path / "range/student.pt")
    demo.draw(demo.Config(student.path, config.teacher, rows=2, out=str(tmp_path / "more")))
    scales = np.array(Image.open(tmp_path / "more/scales.png"))
    wanted = teachers.to_uint8(boot.sample(student, student.model.noise(2, 0)[1:], c[1:2], 3.0))
    assert scales.shape == (288, 812, 3)  # teacher and student of two noise samples, and labels
    assert np.array_equal(scales[222:286:8, 746:810:8], wanted[0].permute(1, 2, 0))


def test_the_great_circle_between_noise_samples_keeps_their_length():
    a, b = torch.zeros(2, 3, 2, 2)
    a[0], b[1] = 2.0, 2.0  # at right angles, of length 4
    path = demo.great_circle(a, b, 5).flatten(1)
    torch.testing.assert_close(path.norm(dim=1), torch.full((5,), 4.0))
    cosines = (path[1:] * path[:-1]).sum(1) / 16
    torch.testing.assert_close(cosines, torch.full((4,), math.pi / 8).cos())
    torch.testing.assert_close(path[[0, -1]], torch.stack([a, b]).flatten(1))


# ------------------------------------------------------------------------------------------------
# handout.py: what a lab blanks, and that its checks catch the usual mistakes


def test_a_handout_is_blank_and_the_solutions_put_everything_back(tmp_path):
    out = tmp_path / "copy"
    config = handout.Config((*handout.LABS, "boot.learning_rate"), str(out))
    handout.make(config)
    blank = (out / "boot.py").read_text()
    assert blank.count("raise NotImplementedError(") == 5
    assert '"""f_phi(xi, t_max), (B, ...)' in blank and "return teacher.x0(xi, t_max" not in blank
    command = "-m pytest -q -p no:cacheprovider test_core.py -k".split()
    done = subprocess.run([sys.executable, *command, "lab1 or every_link"], cwd=out,
                          capture_output=True, text=True)
    assert "NotImplementedError: write lab 1 first, or ask for its solution" in done.stdout
    assert "1 failed, 1 passed" in done.stdout and done.returncode == 1

    pages = [path.relative_to(out) for path in out.rglob("*.md")]
    answers = (handout.ROOT / "docs/labs/answers.md").read_text()
    outcomes = set(re.findall(r"0\.0[1-9]\d\d", answers))
    shown = {page.name for number in outcomes for page in pages
             if number in (out / page).read_text()}
    assert len(outcomes) > 15 and shown <= {"teachers.md"}  # which has two by chance
    assert not any((out / file).exists() for file in handout.LEFT_OUT)
    assert (out / ".gitignore").is_file()

    (out / "boot.py").write_text(blank.replace(f'("write lab 2 {handout.FIRST}")',
                                               '("my own idea")') + "# mine\n")
    handout.make(dataclasses.replace(config, names=("lab8",), solutions=True))
    assert not (out / "assets/lab_vit.png").exists()  # other functions are still blank
    handout.make(dataclasses.replace(config, solutions=True))
    for file in ("boot.py", "dkdm.py", "eval_fid.py", "teachers.py", *pages, *handout.LEFT_OUT):
        mine = b"# mine\n" if file == "boot.py" else b""
        assert (out / file).read_bytes() == (handout.ROOT / file).read_bytes() + mine
    for names, says in ((("lab9",), "no lab"), (("boot.nothing",), "no function"),
                        (("boot.Student",), "a class: name a function of it, as in boot")):
        with pytest.raises(UserError, match=says):
            handout.make(handout.Config(names, str(tmp_path / "other")))
        assert not (tmp_path / "other").exists()
    with pytest.raises(UserError, match="exists"):
        handout.make(config)


def test_a_handout_has_no_grades_and_mends_what_is_python(tmp_path, monkeypatch):
    whole = handout.Config(("lab2",), str(tmp_path / "copy"))
    handout.make(whole)
    handout.make(dataclasses.replace(whole, solutions=True))
    (tmp_path / "copy/grades.csv").write_text("name,points")
    monkeypatch.setattr(handout, "ROOT", tmp_path / "copy")
    with pytest.raises(UserError, match="in a folder that is copied"):
        handout.make(handout.Config(("lab2",), str(tmp_path / "copy/docs/other")))
    config = handout.Config(("lab2",), str(tmp_path / "other"))
    handout.make(config)
    assert {path.name for path in (tmp_path / "copy").iterdir()} == {
        "grades.csv", *(path.name for path in (tmp_path / "other").iterdir())}
    monkeypatch.undo()

    theirs, solutions = tmp_path / "other/boot.py", dataclasses.replace(config, solutions=True)
    blank = theirs.read_text()
    for broken, says in ((blank + "def broken(:", r"other/boot.py is no Python \(invalid syntax"),
                         (blank + "def signal_ode_step(): pass\n", "behind its def")):
        theirs.write_text(broken)
        with pytest.raises(UserError, match=says):
            handout.make(solutions)
        assert theirs.read_text() == broken
    theirs.write_text("\ufeff" + blank)
    handout.make(solutions)
    assert theirs.read_bytes() == (handout.ROOT / "boot.py").read_bytes()


def test_several_labs_in_one_copy_come_with_their_order(tmp_path, capsys, monkeypatch):
    for names, said in ((["lab2"], False), (["lab1", "lab2", "lab8"], True)):
        out = str(tmp_path / names[-1])
        monkeypatch.setattr(sys, "argv", ["handout.py", *names, "--out", out])
        handout.main()
        assert ("order lab8, lab2, lab1" in capsys.readouterr().out) == said


def owner_of(where):
    """The module of "module.f" or "module.Class.f", what f is an attribute of, and its name."""
    module, *owners, name = where.split(".")
    return sys.modules[module], functools.reduce(getattr, owners, sys.modules[module]), name


def checks_of(lab, tmp_path):
    """The checks of a lab, each with one set of its arguments."""
    for name, check in vars(test_core).items():
        if name.startswith(f"test_{lab}_"):
            cases = [mark.args[1] for mark in getattr(check, "pytestmark", [])] or [[()]]
            given = [tmp_path] if "tmp_path" in inspect.signature(check).parameters else []
            yield from (functools.partial(check, *case, *given) for case in cases[0])


def test_no_check_passes_blank_and_none_needs_a_later_lab(tmp_path):
    def blank(*_, **__):
        raise NotImplementedError

    labs = [f"lab{k}" for k in handout.ORDER]
    assert sorted(labs) == sorted(handout.LABS)
    for k, lab in enumerate(labs):
        with pytest.MonkeyPatch.context() as patch:
            for later in labs[k + 1:]:
                patch.setattr(*owner_of(handout.LABS[later])[1:], blank)
            for check in checks_of(lab, tmp_path):
                check()
            patch.setattr(*owner_of(handout.LABS[lab])[1:], blank)
            for check in checks_of(lab, tmp_path):
                with pytest.raises(NotImplementedError):
                    check()


GUIDED = "guidance_follows"  # of no lab
WHERE = handout.LABS | {GUIDED: "teachers.DiffusionModel._predict"}
HEUN = "return ddim((f_t + f(y_end, s)) / 2, s)"
PAPERS_HEUN = """y_end = y_t + per_sample((t - s) * schedule.slope(t), y_t) * (f_t - y_t)
        slope_s = per_sample((t - s) * schedule.slope(s), y_t) * (f(y_end, s) - y_end)
        return (y_t + y_end + slope_s) / 2"""
CALL = "self.model.call(xi, i, c, w if len(self.guidance) == 2 else None)"
# A line of a lab's function, what a student may write instead, and what its check then says
MISTAKES = [
    ("lab1", "xi, t_max, c, w)\n", "xi, 0.9 * t_max, c, w)\n", "xi at t_max"),
    ("lab1", "t_max, c, w)\n", "torch.ones_like(t_max), c, w)\n", "xi at t_max"),
    ("lab1", "t_max, c, w)\n", "t_max, c, torch.ones_like(w))\n", "class c and scale w"),
    ("lab1", "t_max, c, w)\n", "t_max, c)\n", "class c and scale w"),
    ("lab1", "t_max, c, w)\n", "t_max)\n", "class c and scale w"),
    ("lab1", "return teacher.x0(xi, t_max, c, w)", "return xi", "the image that the teacher sees"),
    ("lab1", "(xi, t_max, c, w)\n", "(per_sample(teacher.schedule.sigma(t_max), xi) * xi, t_max, "
     "c, w)\n", "in the pure noise xi"),
    ("lab1", "@torch.no_grad()\n", "", "no gradient goes into the teacher"),
    ("lab2", "(t - s) *", "(s - t) *", "the sign of lambda'"),
    ("lab2", "schedule.slope(t)", "schedule.slope(s)", "with lambda' at t"),
    ("lab2", "lam(end) - schedule.lam(t)", "lam(t) - schedule.lam(end)", "which of t and s"),
    ("lab2", "(1 - r) * f_constant + r *", "r * f_constant + (1 - r) *", "must return y_t"),
    ("lab2", "f(y_end, s)", "f(y_end, t)", "heun: at which time is the teacher asked again"),
    ("lab2", "f(y_end, s)", "f(y_t, s)", "heun: at which y is the teacher asked again"),
    ("lab2", HEUN, PAPERS_HEUN, "heun: .* is exact for a constant f"),
    ("lab2", "f(y_middle, middle)", "f(y_t, middle)", "midpoint: at which y"),
    ("lab2", "return ddim(f(y_middle, middle), s)", "y_t, t = y_middle, middle\n        "
     "return ddim(f(y_middle, middle), s)", "midpoint: the last step starts at y_t"),
    ("lab2", "at, c, guidance)", "at)", "euler: each question .* class c and scale w"),
    ("lab2", "at, c, guidance)", "at, c)", "euler: each question .* class c and scale w"),
    ("lab2", "noisy(y, xi, at, schedule)", "y", "shown the noisy x_t"),
    ("lab2", "raise UserError", "return y_t  # ", "unknown solver"),
    ("lab3", "@torch.no_grad()\n", "", "no gradient flows through"),
    ("lab3", "xi, t, s, teacher, solver, c, w)\n", "xi, s, t, teacher, solver, c, w)\n",
     "one step of the signal-ODE to s"),
    ("lab3", "student(xi, t,", "student(xi, s,", r"starts at the student's y\(xi, t\)"),
    ("lab3", "student(xi, t, c, w)", "student(xi, t)", "class c and scale w"),
    ("lab3", "solver, c, w)\n", "solver)\n", "class c and scale w"),
    ("lab3", "teacher, solver,", "teacher, 'midpoint',", "of the solver that was asked for"),
    ("lab4", "(i - 1) % self.T", "torch.where(arrived, self.T, i - 1)", "restarts at T - 1"),
    ("lab4", "i - 1) %", "i + 1) %", "i falls by 1"),
    ("lab4", "(teacher_out, x, i)", "(teacher_out, x, i, clip=False)", "x0 is clipped"),
    ("lab4", "(0.5 * log_variance)", "log_variance", "std is exp"),
    ("lab4", "(arrived, labels, c)", "(arrived, c, c)", "a new label"),
    ("lab4", "x.shape, generator=generator,", "x.shape,", "are drawn from the generator"),
    ("lab4", "if c is not None:", "if arrived.any():", "arrivals have no labels"),
    ("lab5", "student_out[:, :C].detach()", "student_out[:, :C]", "detach the student's mean"),
    ("lab5", "student_out[:, C:]]", "student_out[:, C:].detach()]", "L_vlb its variance"),
    ("lab5", "teacher_out.detach()", "teacher_out", "no gradient goes into the teacher"),
    ("lab5", "(log_var_S - log_var_T + (log_var_T - log_var_S)",
     "(log_var_T - log_var_S + (log_var_S - log_var_T)", "the teacher first"),
    ("lab5", "(-log_var_S).exp()", "(-0.5 * log_var_S).exp()", r"variance = exp\(log_variance"),
    ("lab5", " / math.log(2)", "", "give it in bits"),
    ("lab5", ", clip=False", "", "the student's x0 is free"),
    ("lab5", "(teacher_out, x, i)", "(teacher_out, x, i, clip=False)", "teacher's x0 is clipped"),
    ("lab5", ".square().flatten(1).mean(1)", ".square().flatten(1).sum(1)", "a mean over each"),
    ("lab5", "(teacher_out[:, :C] - student_out[:, :C])", "(teacher_out - student_out)",
     "eps is the first C channels"),
    ("lab5", ".square().flatten(1).mean(1)", ".square().mean()", "one number for each sample"),
    ("lab5", "kl.flatten(1).mean(1)", "kl.mean()", "one number for each sample"),
    ("lab6", "root @ sigma2 @ root", "sigma1 @ sigma2", "that of a matrix"),
    ("lab6", "- 2 * roots", "- roots", "tr.S1"),
    ("lab6", "values.clamp(min=0).sqrt()", "values.sqrt()", "of sigma1 and of the product"),
    ("lab6", ".clamp(min=0).sqrt()\n    return", ".sqrt()\n    return", "less than full rank"),
    ("lab6", ".square().sum()", ".sum()", "mu1 - mu2"),
    ("lab7", ".stride - 1", ".stride", "index t T - 1"),
    ("lab7", "i = t * self.model.schedule.T * self.model.stride - 1", "i = t", "index t T - 1"),
    ("lab7", " * self.model.stride", "", "of its own chain"),
    ("lab7", "self.alpha, self.sigma", "self.model.schedule.alpha(t), self.model.schedule.sigma(t)",
     "levels of t_max, not of t"),
    ("lab7", "i = t", "return self.model.x0(xi, t, c)\n    i = t", "which DiffusionModel.x0 has"),
    ("lab7", "teachers.to_x0(self.model.predicts, p, xi, self.alpha, self.sigma)", "p",
     "turned into an image by the levels of t_max"),
    ("lab7", CALL, "self.model.call(xi, i)", "told the class c"),
    ("lab7", CALL, "self.model.call(xi, i, c)", "for a range of scales"),
    ("lab7", CALL, "self.model.call(xi, i, c, w)", "a single scale is not told w"),
    ("lab7", CALL, "self.model._predict(xi, i, c, w)", "learned guidance, so it needs no"),
    ("lab7", "out[:, :xi.shape[1]]", "out", "cut off"),
    ("lab7", "def forward", "@torch.no_grad()\ndef forward", "no no_grad"),
    ("lab8", "sigma[k + 1] * eps", "sigma[k] * eps", "x = alpha x0 \\+ sigma eps at the next time"),
    ("lab8", "_alpha[k - 1]", "_alpha[k]", "ddim at ADM's indices"),
    ("lab8", "linspace(t_max, t_min, steps,", "linspace(t_max, t_min, steps + 1,", "last at t_min"),
    ("lab8", "alpha[k] * x0) / sigma[k]", "alpha[k] * x0) / sigma[k + 1]", "at the next time"),
    ("lab8", "chain.p_mean_variance", "schedule.p_mean_variance", "what the clipped x0 implies"),
    ("lab8", "device=x.device), c, guidance)", "device=x.device))", "class c and scale w"),
    ("lab8", "times[k].expand(B), c, guidance)", "times[k].expand(B), c)", "class c and scale w"),
    ("lab8", "if len(indices) != steps:", "if False:", "UserError where no stride"),
    ("lab8", "range(steps - 1):\n", "range(steps - 1):\n        x = x if k else sigma[0] * x\n",
     "from x_T as it is"),
    ("lab8", "_, _, x0, eps = chain", "x0 = self.x0(x, torch.full((B,), (indices[k] + 1) / 1e3), "
     "c, guidance)\n            _, _, _, eps = chain", "whatever the model predicts"),
    (GUIDED, "with_class[:, C:]", "without[:, C:] + w * (with_class[:, C:] - without[:, C:])",
     "not guided"),
]


@pytest.mark.parametrize(("lab", "right", "wrong", "says"), MISTAKES)
def test_a_check_fails_for_a_mistake(tmp_path, monkeypatch, lab, right, wrong, says):
    module, owner, name = owner_of(WHERE[lab])
    source = textwrap.dedent(inspect.getsource(getattr(owner, name)))
    assert source.count(right) == 1
    names = dict(vars(module))
    exec(source.replace(right, wrong), names)
    monkeypatch.setattr(owner, name, names[name])
    with pytest.raises(AssertionError, match=says):
        for check in checks_of(lab, tmp_path):
            check()


def test_lab7_may_ask_the_network_whether_it_takes_w(tmp_path, monkeypatch):
    source, names = textwrap.dedent(inspect.getsource(boot.Student.forward)), dict(vars(boot))
    exec(source.replace("len(self.guidance) == 2", "self.net.guided"), names)
    monkeypatch.setattr(boot.Student, "forward", names["forward"])
    for check in checks_of("lab7", tmp_path):
        check()


# ------------------------------------------------------------------------------------------------
# grade.py


def test_every_submission_is_a_row_of_grades(tmp_path, monkeypatch, capsys):
    right = (handout.ROOT / "boot.py").read_text()
    line = "    return teacher.x0(xi, t_max, c, w)\n"
    one_line = "def boundary_target(teacher, xi, t_max, c=None, w=1): " + line.strip()
    submissions = {
        "right": "import sys\nsys.exit()  # only the function is taken\n" + right.replace(
            line, "    print('hello')\n" + line),
        "wrong": right.replace(line, "    return teacher.x0(xi, t_max, c)\n"),
        "empty": "", "broken": right.replace(line, "    return teacher.x0(\n"),
        "exits": right.replace(line, "    import os\n    os._exit(0)\n"),
        "interrupts": right.replace(line, "    raise KeyboardInterrupt\n"),
        "twice": right.replace(line, "    pass\n") + "\n\n" + one_line,
        "marked": "\ufeff" + right, "latin": "# coding: latin-1\n# \u00e9\n" + right}
    for name, text in submissions.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "boot.py").write_bytes(
            text.encode("latin-1" if name == "latin" else "utf-8"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["grade.py", "lab1", *submissions, "missing"])
    grade.main()
    with open("grades.csv", newline="") as file:
        rows = {row.pop("submission"): row for row in csv.DictReader(file)}
    assert {name: row["points"] for name, row in rows.items()} == {
        "right": "1", "wrong": "0", "empty": "0", "broken": "0", "exits": "0", "missing": "0",
        "interrupts": "0", "twice": "1", "marked": "1", "latin": "1"}
    for name, says in (("right", ""), ("wrong", "class c and scale w"), ("empty", "no function"),
                       ("broken", "SyntaxError"), ("exits", "ended before its checks"),
                       ("interrupts", "ended before its checks"), ("missing", "No such file")):
        assert says in rows[name]["says"] and rows[name]["checks"] == "1"
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
    with pytest.raises(UserError, match="grades.csv exists"):
        grade.main()
    monkeypatch.setattr(sys, "argv", "grade.py lab1 right --seconds 0.1 --out more.csv".split())
    with pytest.raises(UserError, match=r"own checks here \(not done in 0.1 seconds\)"):
        grade.main()
    (tmp_path / "broken/boot.py").write_text(right.replace(line, "    while True: print(1)\n"))
    with pytest.raises(RuntimeError, match="not done in 1 seconds"):
        grade.run_checks("lab1", grade.submitted("lab1", "broken"), 1)


# ------------------------------------------------------------------------------------------------
# plot


def test_a_plot_counts_minutes_of_training_and_leaves_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"batch": 8, "compare": 12}')
    (run / "log.csv").write_text("step,bootstrap,boundary,mse,images_per_s\n"
                                 "10,9,0.1,nan,4\n12,8,0.1,0.5,0.4\n")
    log = plot.read_log(run)
    assert log["minutes"].tolist() == pytest.approx([20 / 60, 60 / 60])
    plot.plot(plot.Config(runs=(str(run),), out=str(tmp_path / "x.png")))
    assert np.asarray(Image.open(tmp_path / "x.png")).std() > 10
    with pytest.raises(UserError, match="is no run"):
        plot.read_log(tmp_path)

    with pytest.raises(UserError, match="no pictures"):
        plot.film(run, tmp_path / "film.png")
    (run / "samples").mkdir()
    for step in (0, 5, 12):
        grid = torch.full((12, 3, 16, 32), step / 12)
        teachers.save_grid(run / f"samples/step_{step:06d}.png", grid)
    plot.film(run, tmp_path / "film.png")
    film = np.asarray(Image.open(tmp_path / "film.png"))
    assert film.shape == (200, 1192, 3)  # a row of eight for each step, and labels
    assert film[34::66, 160, 0].tolist() == [128, 181, 255]
    assert film[66::66, 160, 0].tolist() == [255, 255, 255]  # the margins between them


# ------------------------------------------------------------------------------------------------
# plane.py


def test_the_teacher_of_the_plane_sees_the_posterior_mean():
    x, gaussian = test_core.noise(16, 2), test_core.GAUSSIAN  # without a class, a single one
    for t in (0.99, 0.5, 0.02):
        time = test_core.full(t, 16)
        one = plane.new_teacher(gaussian.means[2:], gaussian.variance**0.5)
        torch.testing.assert_close(one.x0(x[:, :, None, None], time)[:, :, 0, 0],
                                   gaussian.x0(x, time).float())

        # two: E[x_0 | x_t] by sums over a grid of x_0
        means, std = torch.tensor([[0.5, 0.2], [-0.4, 0.1]]).double(), 0.3
        two = plane.new_teacher(means, std)
        line = torch.linspace(-4, 4, 401).double()
        x0 = torch.cartesian_prod(line, line)
        alpha, sigma = two.schedule.alpha(time[0]), two.schedule.sigma(time[0])
        prior = (-torch.cdist(x0, means) ** 2 / (2 * std**2)).logsumexp(1)
        weight = (prior - torch.cdist(x, alpha * x0) ** 2 / (2 * sigma**2)).softmax(1)
        torch.testing.assert_close(two.x0(x[:, :, None, None], time)[:, :, 0, 0],
                                   (weight @ x0).float())


def test_a_student_of_the_plane_learns_and_its_pictures_are_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    teacher = plane.new_teacher()
    xi, times = teacher.noise(200, 1), torch.linspace(0.99, 0.02, 101)
    exact, hops = plane.path(xi, times, teacher), plane.path(xi, times[::5], teacher)
    torch.testing.assert_close(hops[-1], exact[-1], rtol=0, atol=0.1)  # the map is steep in places
    errors = []
    for steps in (1, 200):
        student = plane.train(teacher, plane.Config(steps=steps))
        errors.append((plane.path(xi, times[-1:], teacher, student)[0] - exact[-1]).square().mean())
    assert errors[1] < 0.25 * errors[0]  # 0.18; 0.02 after 1,500 steps
    plane.draw(plane.Config(steps=2, out=str(tmp_path / "plane")))
    for name in ("paths", "samples", "boundary", "signal", "pool"):
        assert np.asarray(Image.open(tmp_path / f"plane/{name}.png")).std() > 10
    assert "student, 1 call" in capsys.readouterr().out
    with pytest.raises(UserError, match="choose another --out"):
        plane.draw(plane.Config(out=str(tmp_path / "plane")))


def test_without_matplotlib_pictures_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match="pip install matplotlib"):
        plane.draw(plane.Config(out=str(tmp_path / "plane")))
    assert not (tmp_path / "plane").exists()


# ------------------------------------------------------------------------------------------------
# train_prompts.py


def captioned(folder):
    """Six pictures, partly transparent, and a table of them, in folder; a Config of four steps."""
    (folder / "pictures").mkdir()
    rows = ["file,caption,category"]
    for k, colour in enumerate(("red", "green", "blue")):
        for shape in ("square", "disk"):
            pixels = np.zeros((20, 24, 4), np.uint8)
            pixels[4:16, 6 if shape == "disk" else 2:18] = [*(90 * (k == n) for n in range(3)), 255]
            Image.fromarray(pixels).save(folder / f"pictures/{colour}-{shape}.png")
            rows.append(f"{colour}-{shape}.png,{colour.title()}  {shape},{shape}")
    (folder / "table.csv").write_text("\n".join(rows))
    return train_prompts.Config(str(folder / "pictures"), str(folder / "table.csv"), hold=2,
                                size=16, width=16, steps=4, batch=2, device="cpu",
                                out=str(folder / "run"))


def test_a_text_to_image_pipeline_trains_resumes_and_is_converted(tmp_path, monkeypatch):
    diffusers = pytest.importorskip("diffusers")
    monkeypatch.chdir(tmp_path)
    config = captioned(tmp_path)
    train_prompts.train(config)
    trained, held = (Path(f"run/{name}.txt").read_text().splitlines()
                     for name in ("trained", "held-out"))
    pictures = np.load("run/pictures.npz")
    assert len(trained) == 4 and len(held) == 2
    assert sorted(trained + held) == sorted(pictures["captions"])
    assert all(caption.islower() for caption in trained + held)
    assert set(pictures["captions"][pictures["held"]]) == set(held)
    assert [caption.split()[1] for caption in pictures["captions"]] == [*pictures["categories"]]
    assert pictures["arr_0"].shape == (6, 16, 16, 3) and (pictures["arr_0"][:, 0] == 255).all()

    def full(pipeline, folder):
        (folder / "unet").mkdir(parents=True)
        raise RuntimeError("No space left on device")

    test_core.stop(train_prompts, dataclasses.replace(config, out="other"), "third save")
    resume = train_prompts.Config.parse(["--out", "other", "--resume"])
    with monkeypatch.context() as patch:
        patch.setattr(diffusers.IFPipeline, "save_pretrained", full)
        with pytest.raises(UserError, match="No space left .*; an older pipeline is unharmed"):
            train_prompts.train(resume)
    assert Path("other/pipeline/model_index.json").is_file()
    assert not Path("other/pipeline.part").exists()
    shutil.rmtree("other/pipeline")
    train_prompts.train(resume)
    assert Path("other/pipeline/model_index.json").is_file()
    one, two = (teachers.read(Path(folder, "last.pt")) for folder in ("run", "other"))
    for part in ("nets", "ema"):
        assert all(torch.equal(w, two[part][name]) for name, w in one[part].items())

    Path("prompts.txt").write_text("\n".join([*trained, held[0].upper(), held[0]]))
    convert.convert(convert.Config("diffusers:run/pipeline", "t.pt", prompts="prompts.txt"))
    model = teachers.load_teacher("t.pt")
    assert model.predicts == "eps" and model.learned_sigma and model.num_classes == 6
    features = model.net.features  # of 6 prompts and the empty one
    assert torch.equal(features[4], features[5]) and features.unique(dim=0).shape[0] == 6
    levels = teachers.Schedule("cosine").alphas_cumprod
    torch.testing.assert_close(model.schedule.alphas_cumprod.double(), levels, rtol=1e-3, atol=1e-7)


def test_prompts_reach_the_text_encoder_as_captions_did(tmp_path, monkeypatch):
    """Token by token, with the mask; what it saw in training is a part of what it sees later."""
    monkeypatch.chdir(tmp_path)
    transformers = pytest.importorskip("transformers")
    seen, forward = set(), transformers.T5EncoderModel.forward

    def watch(self, tokens, attention_mask, **options):
        seen.update((tuple(row), tuple(mask)) for row, mask in zip(
            tokens.tolist(), attention_mask.tolist(), strict=True))
        return forward(self, tokens, attention_mask, **options)

    monkeypatch.setattr(transformers.T5EncoderModel, "forward", watch)
    monkeypatch.setattr(train_prompts, "NO_CAPTION", 0.5)
    train_prompts.train(dataclasses.replace(captioned(tmp_path), batch=16))
    trained = set(seen)
    seen.clear()
    diffusers_teacher.convert("diffusers:run/pipeline", "run/trained.txt")
    assert len(seen) == 5 and trained >= seen  # and the held-out captions in the picture


def test_errors_of_noise_count_by_what_they_do_to_the_image(tmp_path, monkeypatch):
    """Each is 1 here, so what is logged is the mean of the weights."""
    pytest.importorskip("diffusers")
    seen = []

    def ones(out, image, x, noise, i, schedule, predicts):
        seen.append(i)
        return out.flatten(1).sum(1) * 0 + 1, out.flatten(1).sum(1) * 0

    monkeypatch.setattr(train_prompts, "hybrid_loss", ones)
    config = dataclasses.replace(captioned(tmp_path), batch=16, steps=1)
    train_prompts.train(config)
    abar = teachers.Schedule("cosine").alphas_cumprod[seen[0]]
    snr = (abar / (1 - abar)).tolist()
    wanted = [5 / r if r > 5 else 1 if r > 1 else min(1 / r, 25) for r in snr]
    assert min(snr) < 1 / 25 and max(snr) > 5  # all cases
    assert np.loadtxt(f"{config.out}/log.csv", delimiter=",", skiprows=1)[1] == pytest.approx(
        np.mean(wanted), rel=1e-4)


@pytest.mark.parametrize(("options", "says"), [
    ("--data pictures", "give --data and --table"), ("--size 18", "multiple of 4"),
    ("--table nothing.csv", "nothing.csv cannot be read"), ("--table names.csv", "caption"),
    ("--table empty.csv", "a row without a caption"), ("--hold 6", "6 different captions"),
    ("--table gone.csv", "pictures/gone.png, which is no file (1 of 2"),
    ("--table long.csv", "77 tokens or more"),
    ("--table short.csv", "line 2 has no file"), ("--out pictures", "pictures exists"),
    ("--table commas.csv", "line 3 has no file, or too many cells"),
    ("--table twice.csv", "its columns are ['file', 'caption', 'caption']"),
    ("--table tabs.csv", r"its columns are ['file\tcaption']): give a CSV file in UTF-8"),
    ("--table none.csv", "it has no rows"),
])
def test_tables_that_cannot_be_used_are_refused_in_one_line(tmp_path, capsys, monkeypatch, options,
                                                            says):
    monkeypatch.chdir(tmp_path)
    captioned(tmp_path)
    Path("names.csv").write_text("file,name\nred-disk.png,a\n")
    Path("empty.csv").write_text("file,caption\nred-disk.png,\n")
    Path("short.csv").write_text("caption,file\na\n")
    Path("commas.csv").write_text("file,caption\nred-disk.png,a\nred-disk.png,a red, round disk\n")
    Path("twice.csv").write_text("file,caption,caption\nred-disk.png,a,b\n")
    Path("none.csv").write_text("file,caption\n")
    Path("long.csv").write_text("file,caption\nred-disk.png," + "a b " * 50 + "\n")
    Path("gone.csv").write_text("file,caption\nred-disk.png,a\ngone.png,b\n")
    Path("tabs.csv").write_text("file\tcaption\nred-disk.png\ta\n")
    good = "--data pictures --table table.csv --hold 0" * (not says.startswith("give"))
    before = sorted(Path().rglob("*"))
    monkeypatch.setitem(test_core.SCRIPTS, "train_prompts.py", train_prompts)
    assert says in test_core.refused(capsys, "train_prompts.py", *good.split(), *options.split())
    assert sorted(Path().rglob("*")) == before


def test_a_table_may_have_blanks_after_commas_and_columns_left_out_are_named(tmp_path, capsys):
    config = captioned(tmp_path)
    Path(config.table).write_text('file, caption, split\nred-disk.png, "a red, round disk", test\n')
    pictures, captions, _ = train_prompts.read_pictures(dataclasses.replace(config, hold=0))
    assert len(pictures) == 1 and captions == ("a red, round disk",)
    assert "warning: left out are the columns split of" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------
# measure.py


def some_cifar10(folder):
    """A folder with 30 training and 20 test images; returns its path."""
    for split, n in (("train", 30), ("test", 20)):
        np.savez(folder / f"{split}.npz", arr_0=some_images(n, 32), arr_1=np.arange(n) % 10)
    return str(folder)


@pytest.mark.parametrize("t_min", [0.02, 0.3])
def test_the_floor_is_the_distance_of_the_exact_path_to_ddim(monkeypatch, t_min):
    """Pixels N(0.2, 0.25^2): on a path (x - 0.2 alpha) / std keeps its value, and f is known."""
    def law(t, x):
        alpha, sigma = (teachers.per_sample(level(t), x) for level in (
            teachers.Schedule("cosine").alpha, teachers.Schedule("cosine").sigma))
        return alpha, sigma, (alpha**2 * 0.25**2 + sigma**2).sqrt()

    class Exact(test_core.GaussianNet):
        def forward(self, x, i, c=None):
            alpha, sigma, std = law((i + 1) / 1000, x)
            eps = sigma * (x - 0.2 * alpha) / std**2
            return (eps - sigma * x) / alpha  # v

    teacher = test_core.gaussian_teacher()
    teacher.net, teacher.predicts = Exact(teacher.schedule), "v"
    monkeypatch.setattr(teachers, "load_teacher", lambda *_: teacher)
    found = measure.floor(measure.Config("floor", delta=1 / 256, t_min=t_min))["floor"]

    xi = x = teacher.noise(64, 0).double()
    times = torch.linspace(0.99, t_min, 50, dtype=torch.float64)
    (alpha, sigma, std), (last_alpha, last_sigma, last_std) = law(times[0], x), law(times[-1], x)
    z = alpha * (0.2 + alpha * 0.25**2 / std**2 * (xi - 0.2 * alpha)) + sigma * xi - 0.2 * alpha
    y = 0.2 + (last_std * z / std - last_sigma * xi) / last_alpha
    for t, s in zip(times, [*times[1:], None], strict=True):
        alpha, sigma, std = law(t, x)
        eps = sigma * (x - 0.2 * alpha) / std**2
        x0 = (x - sigma * eps) / alpha
        if s is not None:
            x = law(s, x)[0] * x0 + law(s, x)[1] * eps
    assert found == pytest.approx((y - x0).square().mean().item(), rel=0.01)


@pytest.mark.parametrize("guidance, asked", [
    ((2.0,), None), ((1.0, 3.0), None), ((1.0, 3.0), 2.5)])
def test_students_and_solvers_are_compared_on_one_path(tmp_path, monkeypatch, guidance, asked):
    path = test_core.tiny(tmp_path / "t.pt")
    teacher = teachers.load_teacher(path).in_precision("auto")
    made = {"t_min": 0.1, "t_max": 0.9, "delta": 0.2, "guidance": guidance, "teacher": path}
    student = boot.new_student(teacher, 0.1, 0.9, guidance)
    teachers.save(tmp_path / "s.pt", student.model.checkpoint("boot", made))
    shown, draw = [], teachers.save_grid
    monkeypatch.setattr(teachers, "save_grid", lambda *grid: shown.extend(grid[3]) or draw(*grid))
    config = measure.Config("steps", None, str(tmp_path / "s.pt"), guidance=asked, n=12,
                            out=str(tmp_path / "x.png"))
    with monkeypatch.context() as patch, pytest.raises(UserError, match="distilled with guidance"):
        patch.setattr(boot, "draw_teacher", lambda *_: 1 / 0)  # a wrong scale is refused before it
        measure.steps(dataclasses.replace(config, guidance=7.0))
    mse = measure.steps(config)
    xi, c = teacher.noise(12, 0), teacher.labels(12)
    w = torch.full((12,), asked) if asked else torch.linspace(guidance[0], guidance[-1], 12)
    exact = teacher.ddim(xi, 50, c, w, 0.9, 0.1)
    for who, images in (("student, 1 step", boot.sample(student, xi, c, w)),
                        ("teacher, 10 steps", teacher.ddim(xi, 10, c, w, 0.9, 0.1)),
                        ("DPM-Solver++, 10 steps", teacher.dpm_solver(xi, 10, c, w, 0.9, 0.1))):
        wanted = (images - exact).square().mean().item()
        assert wanted > 0 and mse[who] == pytest.approx(wanted, rel=0.02)
    assert (tmp_path / "x.png").is_file()
    times = [row.split("t = ")[1] for row in shown if "t = " in row]
    assert times == ["0.90", "0.70", "0.50", "0.30", "0.10"]  # where its own hops end


def test_errors_of_a_model_that_predicts_nothing_are_known(tmp_path, short):
    """It says v = 0, so eps = sigma x; in full, on the test images as they are noised here."""
    net = vit.ViT(32, 8, 3, 32, 1, 2, num_classes=11)
    path = test_core.tiny(tmp_path / "t.pt", net, classes=10, shape=(3, 32, 32))
    content = teachers.read(path)
    content["weights"] = {k: torch.zeros_like(w) for k, w in content["weights"].items()}
    teachers.save(tmp_path / "s.pt", content)
    options = dict(data=some_cifar10(tmp_path), n=15, device="cpu")
    found = measure.errors(measure.Config("errors", path, str(tmp_path / "s.pt"), **options))
    image = torch.from_numpy(some_images(20, 32)[:15]).permute(0, 3, 1, 2) / 127.5 - 1
    noise, losses = torch.randn(15, 3, 32, 32, generator=torch.Generator().manual_seed(0)), []
    for index in range(59, 1000, 100):  # t = 0.06, 0.16 ... 0.96
        abar = teachers.Schedule("cosine").alphas_cumprod[index]
        x = abar.sqrt() * image + (1 - abar).sqrt() * noise
        losses.append(((1 - abar).sqrt() * x - noise).square().mean().item())
    assert found["denoising loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    itself = measure.errors(measure.Config("errors", path, path, **options))
    assert itself["error"] == 0 < found["error"]
    ten = teachers.load_teacher(path).respaced(10)
    teachers.save(tmp_path / "ten.pt", ten.checkpoint("dkdm", {}))
    same = measure.errors(measure.Config("errors", path, str(tmp_path / "ten.pt"), **options))
    assert same["error"] < 1e-9
    small = test_core.tiny(tmp_path / "small.pt")
    with pytest.raises(UserError, match="not both models of CIFAR-10"):
        measure.errors(measure.Config("errors", small, path, **options))


def test_a_teacher_of_noise_learns_the_noise_of_its_teacher(tmp_path):
    """Its head said v: as noise that is wrong at first, and the error falls."""
    net = vit.ViT(32, 4, 3, 48, 1, 2, num_classes=11)
    path = test_core.tiny(tmp_path / "t.pt", net, classes=10, shape=(3, 32, 32))
    found = [measure.noise(measure.Config("noise", path, n=n, out=str(tmp_path / f"{n}.pt"),
                                          data=some_cifar10(tmp_path), device="cpu"))["error"]
             for n in (10, 300)]
    made = teachers.load_teacher(tmp_path / "300.pt")
    assert made.predicts == "eps" and made.null_label == 10 and found[1] < 0.5 * found[0]
    small = test_core.tiny(tmp_path / "small.pt")
    with pytest.raises(UserError, match="no model of CIFAR-10's images"):
        measure.noise(measure.Config("noise", small, out=str(tmp_path / "x.pt"), device="cpu"))


def test_a_mixed_set_has_the_share_of_real_images_and_their_labels(tmp_path, capsys, monkeypatch):
    """From the command line, as the first test images; other commands' options are refused."""
    monkeypatch.setitem(test_core.SCRIPTS, "measure", measure)
    data = some_cifar10(tmp_path)
    made = dict(arr_0=255 - some_images(10, 32), arr_1=np.arange(10) + 100)
    np.savez(tmp_path / "made.npz", **made)
    test_core.run("measure", "mix", "--images", tmp_path / "made.npz", "--share", 0.4, "--data",
                  data, "--out", tmp_path / "x.npz")
    mixed, rows = np.load(tmp_path / "x.npz"), np.random.default_rng(0).choice(30, 4, replace=False)
    assert np.array_equal(mixed["arr_0"][:4], some_images(30, 32)[rows])
    assert mixed["arr_1"].tolist() == [*(rows % 10), *range(104, 110)]
    assert np.array_equal(mixed["arr_0"][4:], made["arr_0"][4:])

    np.savez(tmp_path / "short.npz", arr_0=made["arr_0"], arr_1=np.arange(9))
    np.savez(tmp_path / "many.npz", arr_0=some_images(70, 32), arr_1=np.arange(70))
    for name, says in (("short", "with a label each"), ("many", "lower it")):
        assert says in test_core.refused(
            capsys, "measure", "mix", "--images", str(tmp_path / f"{name}.npz"), "--share", "0.9",
            "--data", data, "--out", "z.npz")

    test_core.run("measure", "real", "--n", 15, "--data", data, "--out", tmp_path / "y.npz")
    first = np.load(tmp_path / "y.npz")
    assert np.array_equal(first["arr_0"], some_images(20, 32)[:15])
    assert first["arr_1"].tolist() == [*range(10), *range(5)]
    for line, says in (("real --n 15 --share 0.1 --out z.npz", "takes no --share"),
                       ("real --n 15 --out z.png", "give a .npz, in a folder that exists"),
                       ("real --n 15 --out nowhere/z.npz", "give a .npz, in a folder that exists"),
                       ("mix --out z.npz", "needs --images"), ("spin", "invalid choice")):
        assert says in test_core.refused(capsys, "measure", *line.split())


def test_images_are_compared_with_their_prompts_and_with_the_trained_pictures(tmp_path, capsys,
                                                                              monkeypatch):
    """Six images; one has another's prompt, one is held out, and one prompt is not known."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(test_core.SCRIPTS, "measure", measure)
    images = np.stack([np.full((32, 32, 3), 10 * k, np.uint8) for k in range(24)])
    names = np.array([f"picture {k}" for k in range(24)])
    np.savez("pictures.npz", arr_0=images, captions=names, held=np.arange(24) == 3,
             categories=np.array(["dark"] * 12 + ["light"] * 12))
    Path("prompts.txt").write_text("\n".join([*names, "dark and light"]))
    np.savez("made.npz", arr_0=images[[0, 20, 8, 21, 3, 5]], arr_1=[0, 20, 8, 2, 3, 24])
    line = "prompts --images made.npz --prompts prompts.txt --data pictures.npz --out near.png"
    found = measure.prompts(measure.Config.parse(line.split()))
    assert found == {"category is the prompt's": 0.8, "the same of held-out pictures": 1.0,
                     "nearest picture is the prompt's": 0.5}
    with Image.open("near.png") as picture:
        assert picture.size == (150 + 6 * 66 + 2, 22 + 2 * 66 + 2 + 16)
    Path("few.txt").write_text("one\ntwo\n")
    assert "no lines of few.txt" in test_core.refused(
        capsys, "measure", *line.replace("prompts.txt", "few.txt").split())
    assert "no pictures.npz" in test_core.refused(
        capsys, "measure", *line.replace("pictures.npz", "made.npz").split())
