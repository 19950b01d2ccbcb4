"""Scores of generated images: FID, sFID, Inception Score, precision, recall and KID, computed as the papers do.

    python eval_fid.py samples.npz --dataset cifar10                an .npz of images, or a folder of PNGs
    python eval_fid.py student.pt --steps 50 --sampler ddpm         a checkpoint of ours: draws the images itself
    python eval_fid.py samples.npz --ref other.npz                  against other images, or published statistics
    python eval_fid.py samples.npz --features cifar10               offline, with our own small network
    python eval_fid.py train-features                               how that network was made

What a number means. All scores compare features of n generated images with those of a reference, here by default
CIFAR-10's 50,000 training images. Two numbers compare only where feature network, resizing, n and reference agree, so
each is printed with them. FID falls as n grows; the papers use 50,000.

    --features    network                                       images it sees                       names
    inception     Inception of 2015-12-05, TensorFlow's, as     uint8, resized to 299 x 299 by       FID, sFID, IS, ...
                  in all papers; a public file of 95 MB         TensorFlow 1's bilinear rule
    cifar10       weights/cifar10net.pt, a CIFAR-10             uint8 32 x 32 as they are            FID-cifar10net, ...
                  classifier of ours: offline, fast

    score        what it is                                                                        source
    FID          Frechet distance of two Gaussians fitted to the pooled features                   arXiv 1706.08500
    sFID         the same for features that still know where in the image they are                 arXiv 2103.03841
    IS           exp of the mutual information of image and class, mean over parts of 5,000        arXiv 1606.03498
    precision    share of samples within the reference's k-nearest-neighbour balls, k = 3          arXiv 1904.06991
    recall       share of reference images within the samples' balls                               arXiv 1904.06991
    KID          squared MMD with a cubic kernel, unbiased, mean over 100 subsets of 1,000          arXiv 1801.01401

As in ADM's evaluation suite, the class probabilities of IS leave out the last layer's bias, sFID takes the first 7
channels of one branch in the middle of the network, and precision and recall use 10,000 reference images.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models import inception
from torchvision.ops import Conv2dNormActivation
from tqdm import tqdm

import teachers
from teachers import UserError, opt, sha256

INCEPTION = ("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
             "6726825d")  # the address, and how the file's SHA-256 begins
CIFAR10NET = teachers.WEIGHTS / "cifar10net.pt"
CIFAR10NET_TRAIN = teachers.WEIGHTS / "cifar10net_train.npz"  # statistics of the 50,000 training images
FULL = 50_000                # fewer images than this and the score's name says so
REFERENCE_FEATURES = 10_000  # reference images that precision, recall and KID use
SPATIAL_CHANNELS = 7


@dataclasses.dataclass
class Config:
    """One evaluation."""

    samples: str  # what to score: an .npz with arr_0 uint8 (N, H, W, C), a folder of PNGs, or a checkpoint
    dataset: str = opt("cifar10", "reference: this dataset's training images", choices=("cifar10",))
    data: str = opt("data", "where they are, a folder of .npz files or torchvision's; it downloads them if it must")
    ref: str = opt("", "another reference: an .npz of images, a folder of PNGs, or an .npz of statistics (mu, sigma)")
    features: str = opt("inception", "feature network", choices=("inception", "cifar10"))
    inception_weights: str = opt("", "path of the Inception weights (default: downloaded once, to torch.hub's cache)")
    n: int = opt(None, "images to score (default: all of a file or folder, 50000 of a checkpoint)")
    steps: int = opt(None, "network calls an image, for a checkpoint (default: 50; a BOOT student needs 1)")
    sampler: str = opt("", "for a checkpoint: ddim or ddpm (default: ddim)", choices=("ddim", "ddpm"))
    arch: str = opt("", teachers.ARCH_HELP)
    prompts: str = opt("", teachers.PROMPTS_HELP, metavar="FILE")
    guidance: float = opt(1.0, "classifier-free guidance of a checkpoint; 1 is none")
    seed: int = opt(0, "seed of a checkpoint's noise: image k has a stream of its own, made of seed and k")
    batch: int = opt(100, "images at a time; changes nothing but speed and memory")
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "of a checkpoint's network; features are always fp32", choices=teachers.PRECISIONS)
    compile: bool = opt(False, "compile a checkpoint's network first: a minute, then about 1.4 times as fast on a CPU")
    out: str = opt("", "keep a checkpoint's images in this .npz, and the first 64 in a .png beside it")
    allow_few: bool = opt(False, "score fewer images than the features have dimensions")
    json: bool = opt(False, "print one JSON object instead of a line")


# ---------------------------------------------------------------------------------------------------------------------
# Scores


class Moments:
    """Mean and covariance of rows that come in batches, in float64; what it holds does not grow with them."""

    def __init__(self):
        self.n, self.mean, self.scatter = 0, 0.0, 0.0

    def update(self, rows):
        """Adds rows (B, d): the pairwise update of Chan, Golub and LeVeque, which does not cancel."""
        rows = rows.to("cpu" if rows.device.type == "mps" else rows.device).double()  # MPS has no float64
        mean, B = rows.mean(0), len(rows)
        centred, shift = rows - mean, mean - self.mean
        self.scatter = self.scatter + centred.T @ centred + shift.outer(shift) * (self.n * B / (self.n + B))
        self.mean = self.mean + shift * (B / (self.n + B))
        self.n += B

    def covariance(self):
        """(d, d), divided by n - 1."""
        return self.scatter / max(self.n - 1, 1)


def frechet_distance(mu1, sigma1, mu2, sigma2):
    """|mu1 - mu2|^2 + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2)), a float (arXiv 1706.08500, eq. 6).

    mu (d,), sigma (d, d) symmetric, tensors or arrays. sigma1 sigma2 has the eigenvalues of the symmetric matrix
    sigma1^(1/2) sigma2 sigma1^(1/2), which are never complex; those that rounding makes negative count as 0.
    """
    mu1, sigma1, mu2, sigma2 = (torch.as_tensor(x, dtype=torch.float64) for x in (mu1, sigma1, mu2, sigma2))
    values, vectors = torch.linalg.eigh(sigma1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    roots = torch.linalg.eigvalsh(root @ sigma2 @ root).clamp(min=0).sqrt()
    return ((mu1 - mu2).square().sum() + sigma1.trace() + sigma2.trace() - 2 * roots.sum()).item()


def inception_score(probs, splits=10):
    """exp(mean KL(p(y | x) || p(y))), mean over `splits` parts of the rows of probs (N, classes): a float.

    arXiv 1606.03498, section 4. From 1, where all images have the same p(y | x), to the number of classes.
    """
    scores = []
    for part in torch.as_tensor(probs).double().tensor_split(splits):
        # xlogy: a class of probability 0 adds 0
        kl = torch.xlogy(part, part) - torch.xlogy(part, part.mean(0))
        scores.append(kl.sum(1).mean().exp())
    return torch.stack(scores).mean().item()


def squared_distances(a, b):
    """(len(a), len(b)), from rows a and b."""
    return torch.addmm(a.square().sum(1)[:, None] + b.square().sum(1), a, b.T, alpha=-2).clamp_(min=0)


def precision_recall(ref, samples, k=3, block=1000):
    """Improved precision and recall, two floats (arXiv 1904.06991, eq. 1 and 2).

    ref (M, d), samples (N, d): features. A set's manifold is the union of balls around its points, each as large as the
    distance to the k-th nearest other point. precision: share of samples in the reference's; recall: the reverse.
    Holds block x max(M, N) distances at a time. UserError if a set has no more than k points.
    """
    if min(len(ref), len(samples)) <= k:
        raise UserError(f"precision and recall with k = {k} need more than {k} images on both sides")
    centre = ref.mean(0)  # distances stay as they are, and their rounding shrinks
    ref, samples = ref - centre, samples - centre

    def radii(points):  # squared; the nearest point is the point itself
        return torch.cat([squared_distances(part, points).topk(k + 1, largest=False).values[:, k]
                          for part in points.split(block)])

    ref_radii, covered, inside = radii(ref), torch.zeros(len(ref), dtype=torch.bool, device=ref.device), 0
    for part, part_radii in zip(samples.split(block), radii(samples).split(block), strict=True):
        distances = squared_distances(part, ref)
        inside += (distances <= ref_radii).any(1).sum().item()
        covered |= (distances <= part_radii[:, None]).any(0)
    return inside / len(samples), covered.double().mean().item()


def kernel_distance(ref, samples, subsets=100, size=1000, seed=0):
    """KID: the unbiased squared MMD with the kernel (x . y / d + 1)^3 (arXiv 1801.01401), a float.

    ref (M, d), samples (N, d): features. Mean over `subsets` draws of `size` points of each, fewer if there are fewer.
    """
    rng, d = np.random.default_rng(seed), ref.shape[1]
    m = min(size, len(ref), len(samples))
    total = 0.0
    for _ in range(subsets):
        x = ref[rng.choice(len(ref), m, replace=False)].double()
        y = samples[rng.choice(len(samples), m, replace=False)].double()
        xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - xx.trace() + yy.sum() - yy.trace()) / (m * (m - 1))
        total += (within - 2 * xy.mean()).item()
    return total / subsets


# ---------------------------------------------------------------------------------------------------------------------
# Feature networks: uint8 images (B, 3, H, W) -> pooled features, spatial features, class probabilities


def tf1_resize(x, size):
    """x (B, C, H, W) float to (B, C, size, size) as TensorFlow 1 did: output pixel i looks at i * H / size.

    Bilinear without the half-pixel shift and without smoothing, so not what F.interpolate does.
    """
    for dim in (2, 3):
        length = x.shape[dim]
        position = torch.arange(size, dtype=torch.float32, device=x.device) * (length / size)
        low = position.long()
        weight = (position - low).reshape(-1, *[1] * (3 - dim))
        x = torch.lerp(x.index_select(dim, low), x.index_select(dim, (low + 1).clamp(max=length - 1)), weight)
    return x


def average_pool(x):
    return F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


# torchvision's blocks, whose average pools count the padding, which TensorFlow's do not


class InceptionA(inception.InceptionA):
    def forward(self, x):
        return torch.cat([self.branch1x1(x), self.branch5x5_2(self.branch5x5_1(x)),
                          self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x))),
                          self.branch_pool(average_pool(x))], dim=1)


class InceptionC(inception.InceptionC):
    def forward(self, x):
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        return torch.cat([self.branch1x1(x), self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x))),
                          self.branch7x7dbl_5(self.branch7x7dbl_4(double)), self.branch_pool(average_pool(x))], dim=1)


class InceptionE(inception.InceptionE):
    def __init__(self, channels, pool):
        super().__init__(channels)
        self.pool = pool

    def forward(self, x):
        single, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        return torch.cat([self.branch1x1(x), self.branch3x3_2a(single), self.branch3x3_2b(single),
                          self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double),
                          self.branch_pool(self.pool(x))], dim=1)


class FIDInception(inception.Inception3):
    """TensorFlow's Inception of 2015-12-05 with its quirks, on torchvision's blocks; keys are the public file's.

    Images uint8 (B, 3, H, W) -> pool (B, 2048), spatial (B, 2023), class probabilities (B, 1008).
    """

    name, suffix, resize, dimensions = "Inception 2015-12-05", "", "TF1 bilinear to 299", (2048, 2023)

    def __init__(self):
        super().__init__(num_classes=1008, aux_logits=False, init_weights=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = InceptionA(192, 32), InceptionA(256, 64), InceptionA(288, 64)
        self.Mixed_6b, self.Mixed_6e = InceptionC(768, 128), InceptionC(768, 192)
        self.Mixed_6c, self.Mixed_6d = InceptionC(768, 160), InceptionC(768, 160)
        self.Mixed_7b = InceptionE(1280, average_pool)
        self.Mixed_7c = InceptionE(2048, nn.MaxPool2d(3, stride=1, padding=1))  # the graph's last block pools by max

    def forward(self, images):
        return self.features((tf1_resize(images.float(), 299) - 128) / 128)

    def features(self, x):
        """The same three from what the first layer sees: (B, 3, 299, 299), in about [-1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))   # (B, 64, 147, 147)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))        # (B, 192, 71, 71)
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))   # (B, 288, 35, 35)
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))                  # (B, 768, 17, 17)
        spatial = self.Mixed_6d.branch1x1(x)[:, :SPATIAL_CHANNELS]          # (B, 7, 17, 17), "mixed_6/conv" in ADM
        x = self.Mixed_6e(self.Mixed_6d(x))                                 # (B, 768, 17, 17)
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))                  # (B, 2048, 8, 8)
        pool = x.mean((2, 3))                                               # (B, 2048)
        return pool, spatial.flatten(1), (pool @ self.fc.weight.T).softmax(1)  # no bias, as in ADM


class Residual(nn.Sequential):
    def __init__(self, channels):
        super().__init__(*[Conv2dNormActivation(channels, channels, 3) for _ in range(2)])

    def forward(self, x):
        return x + super().forward(x)


class Cifar10Net(nn.Module):
    """A small residual classifier for CIFAR-10, 0.76 M parameters.

    Images uint8 (B, 3, 32, 32) -> pool (B, 128), spatial (B, 448), class probabilities (B, 10).
    """

    name, suffix, resize, dimensions = "cifar10net", "-cifar10net", "none", (128, 448)

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            Conv2dNormActivation(3, 32, 3), Conv2dNormActivation(32, 64, 3, stride=2), Residual(64),
            Conv2dNormActivation(64, 128, 3, stride=2), Residual(128), Residual(128))
        self.fc = nn.Linear(128, 10)

    def logits(self, images):
        """Spatial map (B, 128, 8, 8), pooled features (B, 128) and logits (B, 10) of images uint8 (B, 3, 32, 32)."""
        x = self.body((images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last))
        return x, x.mean((2, 3)), self.fc(x.mean((2, 3)))

    def forward(self, images):
        x, pool, logits = self.logits(images)
        return pool, x[:, :SPATIAL_CHANNELS].flatten(1), logits.softmax(1)


def load_network(config, device):
    """The feature network of config.features, ready for use, with .sha256 of its file. UserError if it is not there."""
    if config.features == "cifar10":
        path, net = CIFAR10NET, Cifar10Net()
        weights = teachers.read(path)["weights"]
    else:
        path, net = inception_file(config.inception_weights), FIDInception()
        weights = teachers.read(path)
    try:
        net.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = teachers.first_words(error)
        raise UserError(f"{path} does not hold the weights of {net.name}: {reason}") from None
    net.sha256 = sha256(path)
    if config.features == "inception" and not net.sha256.startswith(INCEPTION[1]):
        warn(f"{path} is not the public Inception file (its SHA-256 begins with {net.sha256[:8]}, not {INCEPTION[1]}): "
             "these scores compare with no others")
    torch.backends.cudnn.allow_tf32 = False  # its 10-bit products would show in the scores
    return ready(net).to(device, memory_format=torch.channels_last)


def ready(net):
    """net in eval mode, without gradients, each batch norm folded into its convolution."""
    net.requires_grad_(False).eval()
    for block in net.modules():
        if isinstance(block, inception.BasicConv2d):
            block.conv, block.bn = nn.utils.fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
        elif isinstance(block, Conv2dNormActivation):
            block[0], block[1] = nn.utils.fuse_conv_bn_eval(block[0], block[1]), nn.Identity()
    return net


def inception_file(given):
    """Path of the Inception weights: the given one, or the public file, downloaded once. UserError if it cannot be."""
    if given:
        return given
    address, begin = INCEPTION
    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[1]
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(address, path, hash_prefix=begin)  # aside, checked, then renamed
        except (OSError, RuntimeError) as error:
            raise UserError(f"the Inception weights are not here and cannot be downloaded ({error}): put {address} "
                            f"into {path.parent}, or name the file with --inception-weights; --features cifar10 "
                            "needs neither file nor network") from None
    if not sha256(path).startswith(begin):
        raise UserError(f"{path} is not the public file (its SHA-256 does not begin with {begin}): delete it")
    return path


# ---------------------------------------------------------------------------------------------------------------------
# Images, from anywhere


@dataclasses.dataclass
class Images:
    """count images of one size (H, W); source(B) yields them as uint8 (B, 3, H, W); about says what they are."""

    count: int
    size: tuple
    source: object
    about: dict

    def batches(self, B):
        """The first count images, B at a time."""
        left = self.count
        for part in self.source(B):
            yield part[:left]
            left -= len(part)
            if left <= 0:
                return

    def pixel_hash(self):
        """SHA-256 of the pixels and their shape, a hexadecimal string."""
        digest = hashlib.sha256(f"{self.count} {self.size}".encode())
        for part in self.batches(1000):
            digest.update(part.contiguous().numpy())
        return digest.hexdigest()


def open_images(path, n=None):
    """The first n (None: all) images of an .npz or a folder. UserError if they are not there, too few, or not 8-bit."""
    images = folder_images(path) if Path(path).is_dir() else npz_images(path)
    if images.count < (n or 1):
        raise UserError(f"{path} has {images.count} images, and {n or 1} are asked for")
    images.count = n or images.count
    return images


def npz_images(path):
    """Images of an .npz file: arr_0 uint8 (N, H, W, C) with C = 3, or 1, which counts as three equal channels."""
    with open_npz(path) as arrays:
        if "arr_0" not in arrays:
            raise UserError(f"{path} has no arr_0: images are expected there, uint8 (N, H, W, C)")
        array = arrays["arr_0"]
    if array.dtype != np.uint8:
        raise UserError(f"arr_0 of {path} is {array.dtype}: give uint8, 0 to 255 (x in [-1, 1] as ((x + 1) * 127.5), "
                        "rounded)")
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        raise UserError(f"arr_0 of {path} has shape {array.shape}: give (N, H, W, C) with 3 channels, or 1 for gray")
    return array_images(torch.from_numpy(array).permute(0, 3, 1, 2), {"images": str(path)})


def array_images(array, about):
    """Images of a tensor uint8 (N, C, H, W)."""
    size = tuple(array.shape[2:])
    return Images(len(array), size, lambda B: (part.expand(-1, 3, -1, -1) for part in array.split(B)), about)


@contextlib.contextmanager
def open_npz(path):
    """The arrays of an .npz file. UserError if it is missing or broken, also while they are read."""
    if not Path(path).is_file():
        raise UserError(f"no file or folder {path}: check the path")
    try:
        arrays = np.load(path)
        if not isinstance(arrays, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with arrays:
            yield arrays
    except UserError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path} is not a readable .npz file ({teachers.first_words(error)})") from None


def folder_images(path):
    """Images of all PNGs in a folder and its subfolders, sorted by name; gray ones count as three equal channels.

    UserError names the first file that is broken, of another size, or neither RGB nor gray.
    """
    files = sorted(Path(path).rglob("*.png"))
    if not files:
        raise UserError(f"no .png images in {path}: check the path (JPEG would change the scores)")

    def opened(file, decode):
        try:
            with Image.open(file) as image:
                if image.mode not in ("RGB", "L"):
                    raise UserError(f"{file} is {image.mode}, not 8-bit RGB or gray: convert it, without transparency")
                return np.asarray(image.convert("RGB")) if decode else (image.height, image.width)
        except UserError:
            raise
        except (OSError, SyntaxError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): make it again, or take it away") from None

    size = opened(files[0], decode=False)
    for file in files:  # all headers now, rather than an error after an hour
        if (found := opened(file, decode=False)) != size:
            raise UserError(f"{file} has {found[1]} x {found[0]} pixels, {files[0]} {size[1]} x {size[0]}: all images "
                            "must have one size")

    def source(B):
        for k in range(0, len(files), B):
            pixels = np.stack([opened(file, decode=True) for file in files[k:k + B]])
            yield torch.from_numpy(pixels).permute(0, 3, 1, 2)

    return Images(len(files), size, source, {"images": str(path)})


def checkpoint_images(config, device):
    """Images that a checkpoint draws when asked: teachers and DKDM students by DDIM or DDPM, BOOT students in one call.

    Image k starts from its own stream of noise, of --seed and k, with classes in turn; it is the same in any batch, up
    to the rounding of the network. UserError if there is no such checkpoint, or it cannot be sampled in this way.
    """
    path = teachers.locate(config.samples) if config.samples in teachers.NAMED else Path(config.samples)
    content = teachers.load(config.samples, config.arch, config.prompts)
    model, boot, n = teachers.from_checkpoint(content, path, device), content["method"] == "boot", config.n or FULL
    y = teachers.labels_for(n, model.num_classes)
    sampler, steps = config.sampler or "ddim", config.steps or (1 if boot else 50)
    scales = np.atleast_1d(content["config"]["guidance"]).tolist() if boot else []  # a BOOT student's own, or a range
    if boot and (config.sampler or steps != 1 or (config.guidance != 1 and len(scales) == 1)):
        raise UserError(f"{path} is a BOOT student, drawn in one call: leave --sampler, --steps and --guidance out")
    if len(scales) == 2 and not scales[0] <= config.guidance <= scales[1]:
        raise UserError(f"{path} was distilled with guidance {scales[0]:g} to {scales[1]:g}: choose one by --guidance")
    guidance = scales[0] if len(scales) == 1 else config.guidance
    if not teachers.makes_images(model):
        raise UserError(f"{path} makes latents of {model.image_shape[0]} channels: scores need images, so decode them")
    if not boot:  # refuses now what does not fit the chain
        {"ddim": teachers.ddim_indices, "ddpm": teachers.ddpm_indices}[sampler](steps, model.schedule.T)
    if config.guidance != 1 and model.null_label is None:
        raise UserError('--guidance needs a model with classes and "no class", and this one has none')
    if config.compile:
        if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
            raise UserError("--compile needs a C++ compiler: install one, or leave it out")
        model.net.compile(options={"freezing": True})  # the weights are constants here
    autocast = teachers.autocasting(config.precision, device, model.predicts)

    def draw(streams, labels):
        def noise():
            return torch.from_numpy(np.stack([stream.standard_normal(model.image_shape, np.float32)
                                              for stream in streams])).to(device)
        xi = noise()
        if boot:  # y_theta(xi, t_min), see Student in boot.py
            times = content["config"]
            t, t_max = torch.full((len(xi),), times["t_min"], device=device), torch.tensor(times["t_max"])
            w = torch.full((len(xi),), guidance, device=device) if len(scales) == 2 else None
            p = model.net(xi, t * model.schedule.T - 1, labels, w)[:, :xi.shape[1]].float()
            return teachers.to_x0(model.predicts, p, xi, model.schedule.alpha(t_max), model.schedule.sigma(t_max))
        if sampler == "ddim":
            return model.ddim(xi, steps, labels, config.guidance)
        return model.ddpm(xi, steps, labels, config.guidance, (noise() for _ in range(steps)))

    def source(B):
        rank, processes = teachers.processes()
        for k in range(0, n, B * processes):  # a batch for each process, which all then have
            rows = range(n)[k + rank * B:k + (rank + 1) * B]
            pixels = torch.empty(0, *shape, dtype=torch.uint8)
            if rows:
                with torch.no_grad(), autocast():
                    x = draw([np.random.default_rng([config.seed, row]) for row in rows],
                             None if y is None else y[rows.start:rows.stop].to(device))
                if not x.isfinite().all():  # as 8 bits they would look like black pictures
                    raise UserError(f"{path} draws images that are not finite: train it again, at a lower learning "
                                    "rate")
                pixels = teachers.to_uint8(teachers.decoded(x, model)).cpu()
            yield teachers.gathered(pixels).expand(-1, 3, -1, -1)

    with autocast():
        precision = "bf16" if torch.is_autocast_enabled(device.type) else "fp32"
    about = {"images": f"of {config.samples} ({content['method']})",
             "sha256": sha256(path)[:8] if path.is_file() else "",
             "sampler": "BOOT" if boot else sampler, "steps": steps,
             "guidance": guidance, "seed": config.seed, "precision": precision}
    shape = teachers.decoded(torch.zeros(1, *model.image_shape, device=device), model).shape[1:]
    return Images(n, tuple(shape[1:]), source, about)


# ---------------------------------------------------------------------------------------------------------------------
# Measuring a set of images


def measure(network, images, batch, device, title, keep=0, kept=None):
    """What scoring needs of Images, as a dict of tensors: mu, sigma, mu_s and sigma_s (float64), features, probs.

    keep: features of so many images, evenly spread over the set (0: of all).  kept: a list that gets the images too.
    features and probs are all that grows with the number of images: 0.6 GB for 50,000 of Inception's.
    """
    pool, spatial, features, probs, seen = Moments(), Moments(), [], [], 0
    with tqdm(total=images.count, desc=title, unit=" images", dynamic_ncols=True) as progress:
        for part in images.batches(batch):
            if kept is not None:
                kept.append(part)
            with torch.no_grad():
                p, s, q = network(part.to(device))
            pool.update(p)
            spatial.update(s)
            rows = torch.arange(seen, seen + len(part))
            chosen = rows * keep % images.count < keep if keep and keep < images.count else rows >= 0
            features.append(p.cpu()[chosen])
            probs.append(q.cpu()[chosen])
            seen += len(part)
            progress.update(len(part))
    return {"mu": pool.mean.cpu(), "sigma": pool.covariance().cpu(), "mu_s": spatial.mean.cpu(),
            "sigma_s": spatial.covariance().cpu(), "features": torch.cat(features), "probs": torch.cat(probs)}


def reference(config, network, device, size):
    """What samples of size (H, W) are compared with: (a dict like measure()'s, perhaps with less; what it is).

    What is measured from images is kept in torch.hub's cache, under the hash of the pixels and of the network.
    UserError if there is no such reference, or its images have another size.
    """
    if config.ref:
        published = read_statistics(config.ref, network) if Path(config.ref).suffix == ".npz" else {}
        about = {"reference": config.ref}
        if published:
            about |= {"count": published["count"]} if "count" in published else {}
            about["sha256"] = sha256(config.ref)[:8]
            with open_npz(config.ref) as arrays:
                if "arr_0" not in arrays:
                    return published, about
        images = open_images(config.ref)
    elif config.features == "cifar10":  # shipped, so that no data is needed
        published = read_statistics(CIFAR10NET_TRAIN, network)
        return published, {"reference": f"{config.dataset} train", "count": published["count"]}
    else:
        published, about = {}, {"reference": f"{config.dataset} train"}
        images = array_images(teachers.load_images(config.dataset, config.data)[0], {})
    if images.size != size:
        raise UserError(f"{config.samples} has images of {size[1]} x {size[0]}, the reference of {images.size[1]} x "
                        f"{images.size[0]}: make them equal")
    pixels = images.pixel_hash()
    if not published:
        few(images.count, "the reference has", network, config)
        about |= {"count": images.count, "sha256": pixels[:8]}
    cached = Path(torch.hub.get_dir()) / "eval_fid" / f"{pixels[:16]}-{network.sha256[:16]}.npz"
    if not cached.is_file():
        measured = measure(network, images, config.batch, device, "reference", REFERENCE_FEATURES)
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_statistics(cached, measured, network, images.count)
    # ADM's reference files hold 10,000 images, and the statistics of many more
    return read_statistics(cached, network) | published, about


def save_statistics(path, measured, network, count):
    """Writes an .npz for read_statistics(): mu, sigma, mu_s, sigma_s, features, count, and the network's hash."""
    arrays = {name: measured[name].numpy() for name in ("mu", "sigma", "mu_s", "sigma_s", "features")}
    save_npz(path, **arrays, count=np.array(count), network=np.array(network.sha256))


def save_npz(path, **arrays):
    if teachers.processes()[0] > 0:
        return
    aside = Path(path).with_name(Path(path).name + ".part")
    with open(aside, "wb") as f:
        np.savez(f, **arrays)
    os.replace(aside, path)


def read_statistics(path, network):
    """What an .npz holds of mu, sigma, mu_s, sigma_s, features and count; ADM's, EDM's and clean-fid's files too.

    An empty dict if there is no mu. UserError for statistics of another network.
    """
    with open_npz(path) as arrays:
        if "mu" not in arrays:
            return {}
        if "network" in arrays and str(arrays["network"]) != network.sha256:
            raise UserError(f"{path} was measured with another feature network than {network.name}: measure it again")
        found = {name: torch.from_numpy(arrays[name]) for name in ("mu", "sigma", "mu_s", "sigma_s", "features")
                 if name in arrays}
        count = {"count": int(arrays["count"])} if "count" in arrays else {}
    for d, mu, sigma in zip(network.dimensions, ("mu", "mu_s"), ("sigma", "sigma_s"), strict=True):
        shapes = tuple(found[mu].shape) if mu in found else None, tuple(found[sigma].shape) if sigma in found else None
        if shapes not in (((d,), (d, d)), (None, None)) or (mu in found and not found[sigma].isfinite().all()):
            raise UserError(f"{path}: {mu} and {sigma} have shapes {shapes[0]} and {shapes[1]}; {network.name} needs "
                            f"({d},) and ({d}, {d}), finite: were they measured with another network?")
    return {name: array.float() if name == "features" else array.double() for name, array in found.items()} | count


def few(count, who, network, config):
    """UserError if so few images cannot give a covariance, unless --allow-few says that this is known."""
    if count < max(network.dimensions) and not config.allow_few:
        raise UserError(f"{who} {count} images, fewer than the {max(network.dimensions)} dimensions of the features: "
                        "the distance would be far off; make more, or give --allow-few")


# ---------------------------------------------------------------------------------------------------------------------
# Main


def main(config):
    """Scores config.samples: {"scores": {name: value}, "samples", "reference", "features": {what: how}}.

    Raises UserError for bad input. Shows progress bars and warnings on stderr.
    """
    teachers.require(config, (
        ("n", config.n is None or config.n >= 1, "at least 1"),
        ("steps", config.steps is None or config.steps >= 1, "at least 1"),
        ("seed", config.seed >= 0, "0 or more"),
        ("batch", config.batch >= 1, "at least 1"),
        ("guidance", 1 <= config.guidance < math.inf, "at least 1; 1 is none"),
    ))
    device = teachers.pick_device(config.device)
    network = load_network(config, device)
    drawn = not Path(config.samples).is_dir() and Path(config.samples).suffix != ".npz"
    if drawn:
        check_out(config.out)
        images = checkpoint_images(config, device)
    else:
        images = open_images(config.samples, config.n)
        if (config.arch or config.prompts or config.steps or config.sampler or config.guidance != 1 or config.compile
                or config.out):
            raise UserError(f"{config.samples} is no checkpoint: --arch, --prompts, --steps, --sampler, --guidance, "
                            "--compile and --out have nothing to act on")
        images.about["sha256"] = images.pixel_hash()[:8]
    if config.features == "cifar10" and images.size != (32, 32):
        raise UserError(f"{config.samples} has images of {images.size[1]} x {images.size[0]}; --features cifar10 takes "
                        "32 x 32 alone: use --features inception")
    few(images.count, f"{config.samples} has" if not drawn else "--n asks for", network, config)
    ref, about_ref = reference(config, network, device, images.size)

    kept = [] if config.out else None
    measured = measure(network, images, config.batch, device, "samples", kept=kept)
    if config.out:
        pixels = torch.cat(kept)
        save_npz(config.out, arr_0=pixels.permute(0, 2, 3, 1).numpy())
        teachers.save_grid(pixels[:64].float() / 127.5 - 1, Path(config.out).with_suffix(".png"))
    if not measured["features"].isfinite().all():
        raise UserError(f"the features of {config.samples} are not finite: are these the right weights?")

    scores = {"FID": frechet_distance(ref["mu"], ref["sigma"], measured["mu"], measured["sigma"])}
    if "mu_s" in ref:
        scores["sFID"] = frechet_distance(ref["mu_s"], ref["sigma_s"], measured["mu_s"], measured["sigma_s"])
    scores["IS"] = inception_score(measured["probs"], max(1, round(images.count / 5000)))
    if "features" in ref:
        features = ref["features"].to(device), measured["features"].to(device)
        scores["precision"], scores["recall"] = precision_recall(*features)
        scores["KID"] = kernel_distance(ref["features"], measured["features"])
        about_ref["of these for precision, recall and KID"] = len(ref["features"])
    name = network.suffix + (f"@{images.count}" if images.count < FULL else "")
    if images.count < FULL:
        warn(f"{images.count} samples, not {FULL}: the score is FID{name}; compare it at the same number alone")
    if network.suffix:
        warn(f"{network.name} scores compare only among themselves, not with FID")
    return {"scores": {score + name: value for score, value in scores.items()},
            "samples": images.about | {"count": images.count}, "reference": about_ref,
            "features": {"features": network.name, "sha256": network.sha256[:8], "resize": network.resize,
                         "torch": torch.__version__, "device": str(device)}}


def warn(text):
    print(f"eval_fid.py: warning: {text}", file=sys.stderr)


def check_out(out):
    """UserError if --out is no place for an .npz; one that exists is not overwritten."""
    if out and (Path(out).suffix != ".npz" or not Path(out).parent.is_dir() or Path(out).exists()):
        raise UserError(f"--out {out}: give a new file that ends in .npz, in a folder that exists")


def line(result):
    """The result of main() on one line, to paste."""
    scores = ", ".join(f"{name} {value:.4g}" for name, value in result["scores"].items())
    parts = [", ".join(f"{key} {value}" for key, value in result[part].items())
             for part in ("samples", "reference", "features")]
    return "; ".join([scores, *parts])


# ---------------------------------------------------------------------------------------------------------------------
# The feature network of our own


@dataclasses.dataclass
class TrainConfig:
    """The training of cifar10net."""

    data: str = opt("data", "CIFAR-10: a folder of .npz files or torchvision's, which it downloads if it must")
    epochs: int = opt(16, "passes through the 50,000 training images")
    batch: int = opt(128, "images per step")
    lr: float = opt(0.2, "peak learning rate of SGD, one cycle")
    seed: int = opt(0, "seed of every random draw")
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    precision: str = opt("auto", "fp32, bf16 (autocast), or auto: bf16 where it pays", choices=teachers.PRECISIONS)
    out: str = opt("cifar10net.pt", "file for the weights, in half precision; the statistics are put beside it")


def train_features(config):
    """Trains Cifar10Net, writes it and the training images' statistics; returns its accuracy on the test images."""
    teachers.require(config, (
        ("epochs", config.epochs >= 1, "at least 1"),
        ("batch", config.batch >= 2, "at least 2"),
        ("lr", config.lr > 0, "positive"),
        ("seed", 0 <= config.seed < 2**32, "from 0 to 2^32 - 1"),
    ))
    out = Path(config.out)
    statistics = out.with_name(out.stem + "_train.npz")
    if out.suffix != ".pt" or not out.parent.is_dir() or out.exists() or statistics.exists():
        raise UserError(f"--out {out}: give a new file that ends in .pt, in a folder that exists, without {statistics}")
    device = teachers.pick_device(config.device)
    images, labels = teachers.load_images("cifar10", config.data)
    test_images, test_labels = teachers.load_images("cifar10", config.data, "test")
    torch.manual_seed(config.seed)
    net = Cifar10Net().to(device, memory_format=torch.channels_last)
    autocast = teachers.autocasting(config.precision, device, "")
    steps = len(images) // config.batch
    optimizer = torch.optim.SGD(net.parameters(), config.lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, config.lr, total_steps=config.epochs * steps)
    crops = F.pad(images.float(), (4, 4, 4, 4), mode="reflect").byte().unfold(2, 32, 1).unfold(3, 32, 1)
    with tqdm(total=config.epochs * steps, desc="cifar10net", dynamic_ncols=True) as progress:
        for _ in range(config.epochs):
            for rows in torch.randperm(len(images))[:steps * config.batch].split(config.batch):
                corner = torch.randint(9, (2, len(rows)))
                image = crops[rows, :, corner[0], corner[1]]
                image = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, image.flip(3), image)
                with autocast():
                    _, _, logits = net.logits(image.to(device))
                loss = F.cross_entropy(logits.float(), labels[rows].to(device), label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                progress.update()
                if progress.n % 10 == 0:
                    progress.set_postfix_str(f"loss {loss.item():.3f}, {progress.format_dict['rate'] or 0:.1f} steps/s")

    weights = {name: w.half() if w.is_floating_point() else w for name, w in net.state_dict().items()}
    teachers.save(out, {"weights": weights, "config": dataclasses.asdict(config)})
    saved = Cifar10Net()
    saved.load_state_dict(teachers.read(out)["weights"])
    saved.sha256 = sha256(out)
    saved = ready(saved).to(device, memory_format=torch.channels_last)
    probs = measure(saved, array_images(test_images, {}), 100, device, "test images")["probs"]
    measured = measure(saved, array_images(images, {}), 100, device, "training images", REFERENCE_FEATURES)
    # rounded, to be small: by 6e-8 of each covariance, and 5e-4 of each feature
    measured = {name: array.half() if name == "features" else array.float() for name, array in measured.items()}
    save_statistics(statistics, measured, saved, len(images))
    return (probs.argmax(1) == test_labels).double().mean().item()


# ---------------------------------------------------------------------------------------------------------------------
# Command line


def command_line():
    if sys.argv[1:2] == ["train-features"]:
        parser = teachers.Parser(prog="eval_fid.py train-features", description=TrainConfig.__doc__)
        teachers.add_options(parser, TrainConfig)
        config = TrainConfig(**vars(parser.parse_args(sys.argv[2:])))
        accuracy = train_features(config)
        print(f"{config.out}: {os.path.getsize(config.out) / 1e6:.1f} MB, test accuracy {accuracy:.4f}; it and the "
              f"statistics beside it belong in {teachers.WEIGHTS}")
        return
    parser = teachers.Parser(prog="eval_fid.py", description=__doc__.splitlines()[0],
                             epilog="Or: eval_fid.py train-features, see its --help.")
    parser.add_argument("samples", help="what to score: an .npz with arr_0 uint8 (N, H, W, C), a folder of PNGs, a "
                                        "checkpoint, or a teacher's name")
    teachers.add_options(parser, Config)
    config = Config(**vars(parser.parse_args()))
    result = main(config)
    print(json.dumps(result) if config.json else line(result))


if __name__ == "__main__":
    teachers.run_script(command_line)
