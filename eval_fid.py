"""Scores of generated images, as the papers compute them: FID, sFID, IS, precision, recall, KID.

    python eval_fid.py samples.npz                       against CIFAR-10's training images
    python eval_fid.py samples.npz --ref other.npz       against other images, or statistics
    python eval_fid.py samples.npz --features cifar10    offline, with a small network of ours

boot.py --sample and teachers.py sample draw such files; a folder of pictures will do, too. A score
compares features of n images with those of a reference. Scores are comparable only where network,
resizing, n and reference agree, so they are printed. FID falls as n grows; papers use 50,000.

    --features   network                                                     images it sees
    inception    TensorFlow's Inception of 2015-12-05, as in the papers      resized to 299 x 299
    cifar10      weights/cifar10net.pt; its FID is called FID-cifar10net     32 x 32, as they are

    score        what it is                                                        source (arXiv)
    FID          Frechet distance of two Gaussians fitted to pooled features       1706.08500
    sFID         the same for spatial features                                     2103.03841
    IS           exp of the mutual information of image and class                  1606.03498
    precision    share of samples near a reference image, see precision_recall     1904.06991
    recall       share of reference images near a sample                           1904.06991
    KID          squared MMD with a cubic kernel, unbiased                         1801.01401
"""

import contextlib
import hashlib
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image, ImageOps
from torch import nn
from torchvision.models import inception
from torchvision.ops import Conv2dNormActivation
from tqdm import tqdm

import teachers
from teachers import UserError, one_line, opt

# ------------------------------------------------------------------------------------------------
# Scores

FULL = 50_000                # fewer images than this and the score's name says so
REFERENCE_FEATURES = 10_000  # reference images for precision, recall and KID, as in ADM's suite


def frechet_distance(mu1, sigma1, mu2, sigma2):
    """|mu1 - mu2|^2 + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2)), a float (eq. 6).

    Tensors mu (d,), sigma (d, d) symmetric. sigma1 sigma2 has the eigenvalues of the symmetric
    matrix sigma1^(1/2) sigma2 sigma1^(1/2), never complex; those that rounding makes negative, also
    of sigma1, count as 0.
    """
    mu1, sigma1, mu2, sigma2 = (torch.as_tensor(x, dtype=torch.float64)
                                for x in (mu1, sigma1, mu2, sigma2))
    values, vectors = torch.linalg.eigh(sigma1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    roots = torch.linalg.eigvalsh(root @ sigma2 @ root).clamp(min=0).sqrt()
    return ((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * roots.sum()).item()


def inception_score(probs, splits=10):
    """exp(mean KL(p(y | x) || p(y))), mean over `splits` parts of probs (N, classes): a float."""
    scores = []
    for part in torch.as_tensor(probs).double().tensor_split(splits):
        kl = torch.xlogy(part, part) - torch.xlogy(part, part.mean(0))  # probability 0 adds 0
        scores.append(kl.sum(1).mean().exp())
    return torch.stack(scores).mean().item()


def precision_recall(ref, samples, k=3, block=1000):
    """Improved precision and recall, two floats (eq. 1 and 2).

    ref (M, d), samples (N, d): features. A set's manifold is the union of balls around its points,
    each as large as the distance to the k-th nearest other point. precision: share of samples in
    the reference's; recall: the reverse. UserError if a set has no more than k points.
    """
    if min(len(ref), len(samples)) <= k:
        raise UserError(f"precision and recall need more than k = {k} images on both sides")
    centre = ref.mean(0)  # distances stay as they are, and their rounding shrinks
    ref, samples = ref - centre, samples - centre

    def radii(points):  # the nearest point is the point itself
        return torch.cat([torch.cdist(part, points).topk(k + 1, largest=False).values[:, k]
                          for part in points.split(block)])

    def covered(points, centres):  # share of points that lie in a ball
        reach = radii(centres)
        inside = [(torch.cdist(part, centres) <= reach).any(1) for part in points.split(block)]
        return torch.cat(inside).float().mean().item()  # MPS has no float64

    return covered(samples, ref), covered(ref, samples)


def kernel_distance(ref, samples, subsets=100, size=1000):
    """KID: the unbiased squared MMD with the kernel (x . y / d + 1)^3, a float.

    ref (M, d), samples (N, d): features. Mean over `subsets` draws of up to `size` points of each.
    """
    rng, d, total = np.random.default_rng(0), ref.shape[1], 0.0
    m = min(size, len(ref), len(samples))
    for _ in range(subsets):
        x = ref[rng.choice(len(ref), m, replace=False)].double()
        y = samples[rng.choice(len(samples), m, replace=False)].double()
        xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (m * (m - 1))
        total += (within - 2 * xy.mean()).item()
    return total / subsets


# ------------------------------------------------------------------------------------------------
# Feature networks: images uint8 (B, 3, H, W) -> pooled and spatial features, class probabilities

SPATIAL_CHANNELS = 7  # as in ADM's evaluation suite
INCEPTION = ("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
             "pt_inception-2015-12-05-6726825d.pth")
INCEPTION_SHA256 = "6726825d"  # the first eight digits
CIFAR10NET = teachers.WEIGHTS / "cifar10net.pt"
CIFAR10NET_TRAIN = teachers.WEIGHTS / "cifar10net_train.npz"  # statistics of CIFAR-10's 50,000


def tf1_resize(x, size):
    """x (B, C, H, W) float to (B, C, size, size) as TensorFlow 1 does.

    Bilinear, output pixel i looking at i * H / size: aligned corners, with one more row and column.
    """
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    x = F.interpolate(x, (size + 1, size + 1), mode="bilinear", align_corners=True)
    return x[:, :, :-1, :-1]


def with_tensorflow_pool(block):
    """One of torchvision's blocks; the last branch pools as in TensorFlow, without the padding."""

    class Block(block):
        def pool(self, x):
            return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)

        def _forward(self, x):
            *branches, _ = super()._forward(x)
            return [*branches, self.branch_pool(self.pool(x))]

    return Block


class FIDInception(inception.Inception3):
    """TensorFlow's Inception of 2015-12-05 with its quirks; keys are the public file's.

    Images uint8 (B, 3, H, W) -> pool (B, 2048), spatial (B, 2023), class probabilities (B, 1008).
    """

    name, suffix, resize = "Inception 2015-12-05", "", "TF1 bilinear to 299"
    dimensions = 2048, 2023

    def __init__(self):
        A, C, E = map(with_tensorflow_pool, (
            inception.InceptionA, inception.InceptionC, inception.InceptionE))
        super().__init__(1008, aux_logits=False, init_weights=False, inception_blocks=[
            inception.BasicConv2d, A, inception.InceptionB, C, inception.InceptionD, E, None])
        self.Mixed_7c.pool = lambda x: F.max_pool2d(x, 3, stride=1, padding=1)  # so in the graph

    def forward(self, images):
        x = (tf1_resize(images.float(), 299) - 128) / 128                  # (B, 3, 299, 299)
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (B, 64, 147, 147)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))       # (B, 192, 71, 71)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))  # (B, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))                 # (B, 768, 17, 17)
        spatial = self.Mixed_6d.branch1x1(x)[:, :SPATIAL_CHANNELS]         # ADM's "mixed_6/conv"
        x = self.Mixed_6e(self.Mixed_6d(x))                                # (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))                 # (B, 2048, 8, 8)
        pool = x.mean((2, 3))                                              # (B, 2048)
        return pool, spatial.flatten(1), (pool @ self.fc.weight.T).softmax(1)  # no bias, as in ADM


class Residual(nn.Sequential):
    def __init__(self, channels):
        super().__init__(*[Conv2dNormActivation(channels, channels, 3) for _ in range(2)])

    def forward(self, x):
        return x + super().forward(x)


class Cifar10Net(nn.Module):
    """A small residual classifier for CIFAR-10, 0.76 M parameters, see extras/train_features.py.

    Images uint8 (B, 3, 32, 32) -> pool (B, 128), spatial (B, 448), class probabilities (B, 10).
    """

    name, suffix, resize, dimensions = "cifar10net", "-cifar10net", "none", (128, 448)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            Conv2dNormActivation(3, 32, 3), Conv2dNormActivation(32, 64, 3, stride=2),
            Residual(64), Conv2dNormActivation(64, 128, 3, stride=2), Residual(128), Residual(128))
        self.fc = nn.Linear(128, 10)

    def forward(self, images):
        x = images.float() / 127.5 - 1
        x = self.body(x.contiguous(memory_format=torch.channels_last))       # (B, 128, 8, 8)
        pool = x.mean((2, 3))                                                # (B, 128)
        return pool, x[:, :SPATIAL_CHANNELS].flatten(1), self.fc(pool).softmax(1)


def ready(net):
    """net in eval mode, without gradients, each batch norm folded into its convolution."""
    net.requires_grad_(False).eval()
    for block in net.modules():
        if isinstance(block, inception.BasicConv2d):
            block.conv = nn.utils.fuse_conv_bn_eval(block.conv, block.bn)
            block.bn = nn.Identity()
        elif isinstance(block, Conv2dNormActivation):
            block[0] = nn.utils.fuse_conv_bn_eval(block[0], block[1])
            block[1] = nn.Identity()
    return net


def load_network(config, device):
    """The feature network of config.features, ready, with .sha256 of its file. UserError."""
    if config.features == "cifar10":
        path, net = CIFAR10NET, Cifar10Net()
    else:
        path, net = config.inception_weights, FIDInception()
        path = path or teachers.download(INCEPTION, "take --features cifar10", INCEPTION_SHA256)
    weights = teachers.read(path)
    try:
        net.load_state_dict(weights.get("weights", weights))
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold {net.name}: {one_line(error)}") from None
    net.sha256 = sha256(path)
    if config.features == "inception" and not net.sha256.startswith(INCEPTION_SHA256):
        warn(f"{path} is not the public Inception file (its SHA-256 begins with {net.sha256[:8]}, "
             f"not {INCEPTION_SHA256}): these scores are comparable with no others")
    torch.backends.cudnn.allow_tf32 = False  # its 10-bit products would show in the scores
    return ready(net).to(device, memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------------
# Images


NOTES = {".csv", ".db", ".html", ".ini", ".json", ".jsonl", ".md", ".tsv", ".txt", ".xml", ".yaml"}
LOSSY = {"AVIF", "GIF", "JPEG", "JPEG2000", "MPO", "WEBP"}


def open_images(path):
    """Images uint8 (N, 3, H, W) of a folder, .npz or .npy, and {what: value} of what they are.

    Gray images get three equal channels. UserError if there are none that can be used.
    """
    if Path(path).is_dir():
        pixels, about = read_folder(path)
    else:
        arrays = read_arrays(path)
        pixels = find_pixels(arrays, path)
        about = {"images": str(path)}
        with contextlib.suppress(KeyError, TypeError, ValueError):  # none, or another's
            about = dict(json.loads(str(arrays["made_by"]))) or about
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).expand(-1, 3, -1, -1), about


def read_arrays(path):
    """{name: array} of an .npz; an .npy is its arr_0. UserError if it cannot be read."""
    try:
        content = np.load(path)
        content = {"arr_0": content} if isinstance(content, np.ndarray) else dict(content)
        return {name: x for name, x in content.items() if isinstance(x, np.ndarray)}
    except Exception as error:  # a broken file can fail in any way
        advice = "save it without them" if "Object arrays" in str(error) else "check the path"
        raise UserError(f"{path} is no folder, and no .npz or .npy that can be read "
                        f"({one_line(error).split('. ')[0]}): {advice}") from None


def find_pixels(arrays, path):
    """Takes pixels out of arrays: arr_0 or the only one of four axes, uint8 (N, H, W, 1 or 3).

    RGBA is laid on white. UserError, which says what is there, if it is of another kind.
    """
    found = one_line(", ".join(f"{name} {x.dtype} {x.shape}" for name, x in arrays.items()))
    four = [name for name, x in arrays.items() if x.ndim == 4]
    pixels = arrays.pop("arr_0" if "arr_0" in arrays or len(four) != 1 else four[0], np.empty(0))
    if pixels.dtype != np.uint8 or pixels.size == 0 or pixels.shape[3:] not in {(1,), (3,), (4,)}:
        raise UserError(f"{path} has {found or 'no arrays'}: give images as arr_0, uint8 "
                        "(N, H, W, C) with C = 1 (gray), 3 (RGB) or 4 (RGBA); a checkpoint's are "
                        "drawn by boot.py --sample or teachers.py sample")
    return on_white(pixels) if pixels.shape[3] == 4 else pixels


def on_white(rgba):
    """Pixels uint8 (..., 3): rgba (..., 4) as it looks on a white page."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)  # rounded


def read_folder(path):
    """Pixels uint8 (N, H, W, 3) of a folder's pictures, and {what: value} of what they are."""
    files, formats = list_files(path), set()
    W, H = open_picture(files[0])[0].size
    pixels = np.empty((len(files), H, W, 3), np.uint8)
    for k, file in enumerate(files):
        picture, format = open_picture(file)
        if picture.size != (W, H):
            raise UserError(f"{file} is not as large as {files[0]}: bring all to one size")
        pixels[k] = picture
        formats.add(format)
    if formats & LOSSY:
        warn(f"{path} has {' and '.join(formats & LOSSY)} pictures: lossy formats change scores")
    return pixels, {"images": str(path), "format": " and ".join(sorted(formats))}


def list_files(folder):
    """Files in a folder and its subfolders, in order of name: all of them, to be read or refused.

    Hidden files, empty folders and NOTES are left out, with a warning. UserError if no other is.
    """
    files, left_out, folders, seen = [], [], [Path(folder)], set()
    for place in folders:  # grows meanwhile
        if place.resolve() in seen:
            raise UserError(f"{place} is the same folder as another in {folder}: take the link "
                            "away")
        seen.add(place.resolve())
        inside = list(place.iterdir())
        left_out += [] if inside else [place]
        for path in inside:
            aside = path.name.startswith(".") or path.suffix.lower() in NOTES
            (left_out if aside else folders if path.is_dir() else files).append(path)
    if not files:
        raise UserError(f"no pictures in {folder}: check the path")
    if left_out:
        names = one_line(", ".join(sorted(str(path.relative_to(folder)) for path in left_out)))
        warn(f"{len(left_out)} left out of {folder}, hidden, empty or no picture: {names}")
    return sorted(files)


def open_picture(path):
    """The picture in a file, RGB, as its camera was held, on white; and the name of its format.

    UserError if it cannot be read, is animated, or has more than 8 bits a channel.
    """
    try:
        with Image.open(path) as file:
            frames = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)  # MPO: a preview
            # Pillow would clip I and F, cut 16 bits to 8, and not find the transparent value of a
            # gray picture of 2 or 4 bits
            stored = str(file.tile).replace("BGR;16", "")  # 16 bits for all three channels
            clear = "transparency" in file.info
            deep = file.tile and file.tile[0][0].startswith("ppm") and file.tile[0][3][1] > 255
            if (file.mode[0] in "IF" or ";16" in stored or deep or frames > 1
                    or "L;" in stored and clear):
                raise ValueError(f"{frames} frames" if frames > 1 else
                                 f"mode {file.mode}, stored as {file.tile[0][3]}")
            picture = ImageOps.exif_transpose(file)
            if picture.has_transparency_data:
                picture = Image.fromarray(on_white(np.asarray(picture.convert("RGBA"))))
            return picture.convert("RGB"), file.format
    except Exception as error:  # a broken file can fail in any way
        raise UserError(f"{path} is not one picture with 8 bits a channel ({one_line(error)}): "
                        "convert it, or take it away") from None


def cifar10(folder, split="train"):
    """CIFAR-10's "train" or "test" images, uint8 (N, 3, 32, 32), and their labels, int64 (N,).

    From folder's .npz files (arr_0, arr_1) called train* or test*, or else from torchvision, which
    downloads them there. UserError if neither works.
    """
    try:
        if files := sorted(Path(folder).glob(f"{split}*.npz")):
            images, labels = (np.concatenate([np.load(file)[name] for file in files])
                              for name in ("arr_0", "arr_1"))
        else:
            data = torchvision.datasets.CIFAR10(folder, train=split == "train", download=True)
            images, labels = data.data, np.array(data.targets)
        if images.dtype != np.uint8 or images.shape != (len(labels) or 1, 32, 32, 3):
            raise ValueError(f"arr_0 is {images.dtype} {images.shape}")
    except Exception as error:  # a broken file or download can fail in any way
        raise UserError(f"no CIFAR-10 {split} images in {folder} ({one_line(error)}): name their "
                        "folder with --data") from None
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels.astype(np.int64))


def pixel_hash(images):
    """SHA-256, hexadecimal, of images uint8 (N, 3, H, W) and their shape."""
    digest = hashlib.sha256(f"{len(images)} {tuple(images.shape[2:])}".encode())
    for part in images.split(1000):
        digest.update(part.contiguous().numpy())
    return digest.hexdigest()


def sha256(path):
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


# ------------------------------------------------------------------------------------------------
# Measuring a set of images, and reading what was measured

STATISTICS = "mu", "sigma", "mu_s", "sigma_s", "features"


@torch.no_grad()
def measure(network, images, batch, device, title, keep=None):
    """What scoring needs of images uint8 (N, 3, H, W): the STATISTICS and probs, a dict of tensors.

    mu (d,), sigma (d, d) of pooled and mu_s, sigma_s of spatial features, float64; features (N, d),
    pooled, or only `keep` evenly spread rows of them, if given; probs (N, classes).
    """
    seen, N = [], len(images)
    for part in tqdm(images.split(batch), title, unit="batch"):
        seen.append([x.cpu() for x in network(part.to(device))])
    pool, spatial, probs = (torch.cat(parts) for parts in zip(*seen, strict=True))
    keep = min(keep or N, N)
    measured = {"features": pool[torch.arange(N) * keep % N < keep], "probs": probs}
    for end, rows in (("", pool), ("_s", spatial)):
        measured["mu" + end] = rows.double().mean(0)
        measured["sigma" + end] = torch.cov(rows.double().T, correction=min(1, N - 1))
    return measured


def save_statistics(path, measured, network, count):
    """Writes an .npz for --ref: STATISTICS, count, and the network's hash; whole or not at all."""
    arrays = {name: measured[name].numpy() for name in STATISTICS}
    aside = Path(path).with_suffix(f".{os.getpid()}.part.npz")
    try:
        np.savez(aside, **arrays, count=count, network=network.sha256)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read_statistics(arrays, path, network):
    """Those STATISTICS that are among the arrays of path, as tensors.

    Files of ADM, EDM and clean-fid hold some, too. UserError for those of another network.
    """
    d, d_s = network.dimensions
    found = {name: arrays[name] for name in STATISTICS if name in arrays}
    count = np.asarray(arrays.get("count", 0))
    rows = np.shape(found.get("features", [0]))[:1]
    shapes = {"mu": (d,), "sigma": (d, d), "mu_s": (d_s,), "sigma_s": (d_s, d_s),
              "features": (*rows, d)}
    fits = str(arrays.get("network", network.sha256)) == network.sha256
    fits &= len(found.keys() - {"features"}) in (2, 4)
    fits &= count.size == 1 and count.dtype.kind in "iuf" and bool(np.isfinite(count).all())
    if not fits or any(x.shape != shapes[name] or x.dtype.kind != "f" or not np.isfinite(x).all()
                       for name, x in found.items()):
        raise UserError(f"{path} has statistics that are not finite, or not of {network.name}'s "
                        f"{d} features: measure it again")
    return {name: torch.from_numpy(x.astype(np.float32 if name == "features" else np.float64))
            for name, x in found.items()}


def reference(config, network, device, size):
    """What samples of size (H, W) are compared with: (STATISTICS or some of them, what it is).

    UserError if there is no such reference, or its images have another size.
    """
    path = config.ref or (CIFAR10NET_TRAIN if config.features == "cifar10" else "")
    about = {"reference": config.ref or f"{config.dataset} train"}
    arrays = read_arrays(path) if path and not Path(path).is_dir() else {}
    if "mu" not in arrays:  # images
        images, what = open_images(path) if path else (cifar10(config.data)[0], {})
        refuse_few(len(images), "the reference", network, config)
        statistics, pixels = measure_once(images, config, network, device, size)
        about |= {"count": len(images), "sha256": pixels[:8]}
        about |= {"format": what["format"]} if "format" in what else {}
        return statistics, about

    statistics = read_statistics(arrays, path, network)
    if not arrays.keys() & {"network", "mu_s"}:  # neither ours nor ADM's
        warn(f"{path} does not say how images were resized: the score is right only if they were "
             f"as here ({network.resize}); pytorch-fid and clean-fid resize in other ways")
    about |= {"count": int(arrays["count"].item())} if "count" in arrays else {}
    about |= {"sha256": sha256(path)[:8]} if config.ref else {}
    if any(x.ndim == 4 for x in arrays.values()):
        images, _ = open_images(path)  # in ADM's files 10,000, and the statistics of many more
        statistics = measure_once(images, config, network, device, size)[0] | statistics
    return statistics, about


def measure_once(images, config, network, device, size):
    """STATISTICS of a reference's images (N, 3, H, W), and the hash of their pixels.

    Kept in torch.hub's cache, under this and the network's. UserError if size is not (H, W).
    """
    if images.shape[2:] != size:
        raise UserError(f"{config.samples} has images of {size[1]} x {size[0]}, the reference of "
                        f"{images.shape[3]} x {images.shape[2]}: make them equal")
    pixels = pixel_hash(images)
    cached = Path(torch.hub.get_dir(), "eval_fid", f"{pixels[:16]}-{network.sha256[:16]}.npz")
    if not cached.is_file():
        measured = measure(network, images, config.batch, device, "reference", REFERENCE_FEATURES)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            save_statistics(cached, measured, network, len(images))
        except OSError as error:
            warn(f"the reference was measured, but cannot be kept ({one_line(error)}): next time "
                 "it is measured again, unless TORCH_HOME names a folder to write to")
            return {name: measured[name] for name in STATISTICS}, pixels
    return read_statistics(read_arrays(cached), cached, network), pixels


def refuse_few(count, who, network, config):
    """UserError for too few images to estimate a covariance, unless --allow-few is given."""
    if count < max(network.dimensions) and not config.allow_few:
        raise UserError(f"{who} has {count} images, and {max(network.dimensions)} features need as "
                        "many, or the distance is far off: make more, or give --allow-few")


def warn(text):
    print(f"warning: {text}", file=sys.stderr)


# ------------------------------------------------------------------------------------------------
# Configuration, and a score


@dataclass
class Config(teachers.Options):
    """Scores a set of images against a reference: FID, sFID, IS, precision, recall, KID."""

    samples: str = opt("", "what to score: a folder of pictures, or an .npz with arr_0, uint8 "
                           "(N, H, W, C); transparent ones are laid on white", positional=True)
    dataset: str = opt("cifar10", "reference: the training images of this dataset",
                       choices=("cifar10",))
    data: str = opt("data", "its folder: torchvision's, downloaded if need be, or with train*.npz")
    ref: str = opt("", "another reference: images as above, or an .npz of statistics")
    features: str = opt("inception", "feature network", choices=("inception", "cifar10"))
    inception_weights: str = opt("", "path of the Inception weights (default: downloaded once)")
    n: int = opt(None, "score only the first N images", 1)
    batch: int = opt(100, "images at a time; changes nothing but speed and memory", 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    allow_few: bool = opt(False, "score fewer images than the features have dimensions")

    def __post_init__(self):
        super().__post_init__()
        if self.inception_weights and self.features != "inception":
            raise UserError(f"--features {self.features} takes no --inception-weights: leave them "
                            "out")
        if self.data != Config.data and (self.ref or self.features == "cifar10"):
            raise UserError("--data is for the training images of --dataset, which --ref and "
                            "--features cifar10 do without: leave it out")


def score(config):
    """{"scores": {name: value}, "samples", "reference", "features": {what: how}}.

    Raises UserError for bad input. Shows progress bars and warnings on stderr.
    """
    teachers.one_process()
    device = teachers.pick_device(config.device)
    network, (images, about) = load_network(config, device), open_images(config.samples)
    found, _, H, W = images.shape
    n = config.n or found
    if n > found:
        raise UserError(f"{config.samples} has {found} images, and {n} are asked for")
    if config.features == "cifar10" and (H, W) != (32, 32):
        raise UserError(f"{config.samples} has images of {W} x {H}, and --features cifar10 takes "
                        "32 x 32: use --features inception")
    refuse_few(n, config.samples, network, config)
    images = images[:n]
    if "images" in about:  # a file that says only where it is
        about["sha256"] = pixel_hash(images)[:8]
    ref, about_ref = reference(config, network, device, (H, W))
    measured = measure(network, images, config.batch, device, "samples")

    scores = {"FID": frechet_distance(ref["mu"], ref["sigma"], measured["mu"], measured["sigma"])}
    if "mu_s" in ref:
        scores["sFID"] = frechet_distance(ref["mu_s"], ref["sigma_s"],
                                          measured["mu_s"], measured["sigma_s"])
    scores["IS"] = inception_score(measured["probs"], max(1, round(n / 5000)))
    if "features" in ref:
        scores["precision"], scores["recall"] = precision_recall(
            ref["features"].to(device), measured["features"].to(device))
        scores["KID"] = kernel_distance(ref["features"], measured["features"])
        about_ref["used for precision, recall and KID"] = len(ref["features"])
    name = network.suffix + (f"@{n}" if n < FULL else "")
    if name:
        warn(f"scores called {name} are comparable only with each other, for as many images")
    return {"scores": {what + name: value for what, value in scores.items()},
            "samples": about | {"count": n}, "reference": about_ref,
            "features": {"features": network.name, "sha256": network.sha256[:8],
                         "resize": network.resize, "torch": torch.__version__,
                         "device": str(device)}}


def main():
    config = Config.parse()
    result = score(config)
    result["scores"] = {name: f"{value:.4g}" for name, value in result["scores"].items()}
    print("; ".join(", ".join(f"{what} {how}" for what, how in part.items())
                    for part in result.values()))  # one line, to paste


if __name__ == "__main__":
    teachers.run_script(main)
