"""Scores of generated images, as the papers compute them: FID, sFID, IS, precision, recall, KID.

    python eval_fid.py samples.npz                       against CIFAR-10's training images
    python eval_fid.py samples.npz --ref other.npz       against other images, or statistics
    python eval_fid.py samples.npz --features cifar10    offline, with a small network of ours

boot.py --sample and teachers.py sample draw such files; a folder of PNGs does as well. A score
compares features of n images with those of a reference. Two scores compare only where network,
resizing, n and reference agree, so they are printed. FID falls as n grows; papers use 50,000.

    --features   network                                                     images it sees
    inception    TensorFlow's Inception of 2015-12-05, as in the papers      resized to 299 x 299
    cifar10      weights/cifar10net.pt; its FID is called FID-cifar10net     32 x 32, as they are

    score        what it is                                                        source (arXiv)
    FID          Frechet distance of two Gaussians fitted to pooled features       1706.08500
    sFID         the same for features that know where in the image they are       2103.03841
    IS           exp of the mutual information of image and class                  1606.03498
    precision    share of samples near a reference image, see precision_recall     1904.06991
    recall       share of reference images near a sample                           1904.06991
    KID          squared MMD with a cubic kernel, unbiased                         1801.01401

As in ADM's evaluation suite, IS leaves out the last layer's bias, sFID takes the first 7 channels
of one branch in the middle of the network, and precision and recall use 10,000 reference images.
"""

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
from PIL import Image
from torch import nn
from torchvision.models import inception
from torchvision.ops import Conv2dNormActivation
from tqdm import tqdm

import teachers
from teachers import UserError, one_line, opt

# ------------------------------------------------------------------------------------------------
# Scores

FULL = 50_000                # fewer images than this and the score's name says so
REFERENCE_FEATURES = 10_000  # reference images that precision, recall and KID use


class Moments:
    """Mean and covariance, float64, of rows that come in batches; its memory does not grow."""

    def __init__(self):
        self.n, self.mean, self.scatter = 0, 0.0, 0.0

    def update(self, rows):
        """Adds rows (B, d): the update of Chan, Golub and LeVeque, which does not cancel."""
        rows = (rows.cpu() if rows.device.type == "mps" else rows).double()  # MPS has no float64
        n, B, mean = self.n, len(rows), rows.mean(0)
        centred, shift = rows - mean, mean - self.mean
        self.scatter = self.scatter + centred.T @ centred + shift.outer(shift) * (n * B / (n + B))
        self.mean, self.n = self.mean + shift * (B / (n + B)), n + B

    def covariance(self):
        """(d, d), divided by n - 1."""
        return self.scatter / max(self.n - 1, 1)


def frechet_distance(mu1, sigma1, mu2, sigma2):
    """|mu1 - mu2|^2 + tr(sigma1 + sigma2 - 2 (sigma1 sigma2)^(1/2)), a float (eq. 6).

    mu (d,), sigma (d, d) symmetric. sigma1 sigma2 has the eigenvalues of the symmetric matrix
    sigma1^(1/2) sigma2 sigma1^(1/2), never complex; those that rounding makes negative count as 0.
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


def squared_distances(a, b):
    """(len(a), len(b)), from rows a and b."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return torch.addmm(squares, a, b.T, alpha=-2).clamp_(min=0)


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

    def radii(points):  # squared; the nearest point is the point itself
        return torch.cat([squared_distances(part, points).topk(k + 1, largest=False).values[:, k]
                          for part in points.split(block)])

    ref_radii, sample_radii, inside = radii(ref), radii(samples), 0
    covered = torch.zeros(len(ref), dtype=torch.bool, device=ref.device)
    for part, part_radii in zip(samples.split(block), sample_radii.split(block), strict=True):
        distances = squared_distances(part, ref)
        inside += (distances <= ref_radii).any(1).sum().item()
        covered |= (distances <= part_radii[:, None]).any(0)
    return inside / len(samples), covered.double().mean().item()


def kernel_distance(ref, samples, subsets=100, size=1000, seed=0):
    """KID: the unbiased squared MMD with the kernel (x . y / d + 1)^3, a float.

    ref (M, d), samples (N, d): features. Mean over `subsets` draws of up to `size` points of each.
    """
    rng, d, total = np.random.default_rng(seed), ref.shape[1], 0.0
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

SPATIAL_CHANNELS = 7
INCEPTION = ("https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
             "pt_inception-2015-12-05-6726825d.pth", "6726825d")  # how its SHA-256 begins
CIFAR10NET = teachers.WEIGHTS / "cifar10net.pt"
CIFAR10NET_TRAIN = teachers.WEIGHTS / "cifar10net_train.npz"  # what it sees in CIFAR-10's 50,000


def tf1_resize(x, size):
    """x (B, C, H, W) float to (B, C, size, size) as TensorFlow 1 does.

    Bilinear, output pixel i looking at i * H / size: without F.interpolate's half-pixel shift.
    """
    for dim in (2, 3):
        length = x.shape[dim]
        position = torch.arange(size, dtype=torch.float32, device=x.device) * (length / size)
        low, high = position.long(), (position.long() + 1).clamp(max=length - 1)
        weight = (position - low).reshape(-1, *[1] * (3 - dim))
        x = torch.lerp(x.index_select(dim, low), x.index_select(dim, high), weight)
    return x


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

    def logits(self, images):
        """Spatial map (B, 128, 8, 8), pooled features (B, 128), logits (B, 10) of such images."""
        x = images.float() / 127.5 - 1
        x = self.body(x.contiguous(memory_format=torch.channels_last))
        return x, x.mean((2, 3)), self.fc(x.mean((2, 3)))

    def forward(self, images):
        x, pool, logits = self.logits(images)
        return pool, x[:, :SPATIAL_CHANNELS].flatten(1), logits.softmax(1)


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
        path, net = config.inception_weights or public_inception(), FIDInception()
    weights = teachers.read(path)
    try:
        net.load_state_dict(weights["weights"] if config.features == "cifar10" else weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise UserError(f"{path} does not hold {net.name}: {one_line(error)}") from None
    net.sha256 = sha256(path)
    if config.features == "inception" and not net.sha256.startswith(INCEPTION[1]):
        warn(f"{path} is not the public Inception file (its SHA-256 begins with {net.sha256[:8]}, "
             f"not {INCEPTION[1]}): these scores compare with no others")
    torch.backends.cudnn.allow_tf32 = False  # its 10-bit products would show in the scores
    return ready(net).to(device, memory_format=torch.channels_last)


def public_inception():
    """Path of the public Inception weights, downloaded once. UserError if they cannot be had."""
    address, begin = INCEPTION
    path = Path(torch.hub.get_dir()) / "checkpoints" / address.rsplit("/", 1)[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            torch.hub.download_url_to_file(address, path, hash_prefix=begin)  # aside, then renamed
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot download {address} ({one_line(error)}): put it into {path.parent},"
                        " name it with --inception-weights, or take --features cifar10, which needs"
                        " neither file nor network") from None
    return path


# ------------------------------------------------------------------------------------------------
# Images


@dataclass
class Images:
    """A set of images."""

    pixels: torch.Tensor  # uint8 (N, 3, H, W)
    about: dict           # what they are, for the score's line

    def pixel_hash(self):
        """SHA-256 of the pixels and their shape, a hexadecimal string."""
        digest = hashlib.sha256(f"{len(self.pixels)} {tuple(self.pixels.shape[2:])}".encode())
        for part in self.pixels.split(1000):
            digest.update(part.contiguous().numpy())
        return digest.hexdigest()


def array_images(array, about):
    """Images of a tensor uint8 (N, C, H, W); with C = 1 they count as three equal channels."""
    return Images(array.expand(-1, 3, -1, -1), about)


def open_images(path):
    """Images of arr_0 in an .npz, or of a folder. UserError if they are not 8-bit RGB or gray."""
    if Path(path).is_dir():
        return folder_images(path)
    arrays = read_npz(path)
    array = arrays.get("arr_0", np.empty(0))
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3):
        raise UserError(f"{path} has no images to score: give arr_0, uint8 (N, H, W, 3), or 1 for "
                        f"gray (here: {array.dtype} {array.shape}); a checkpoint's images are "
                        "drawn by boot.py --sample or teachers.py sample")
    made_by = arrays["made_by"] or {"images": str(path)}
    return array_images(torch.from_numpy(array).permute(0, 3, 1, 2), made_by)


def folder_images(path):
    """Images of all PNGs in a folder and its subfolders, in the order of their names."""
    files = sorted(Path(path).rglob("*.png"))
    if not files:
        raise UserError(f"no .png images in {path} (JPEG would change the scores): check the path")
    with Image.open(files[0]) as first:
        W, H = first.size
    pixels = np.empty((len(files), H, W, 3), np.uint8)
    for file, row in zip(files, pixels, strict=True):
        try:
            with Image.open(file) as image:
                if image.mode not in ("RGB", "L") or image.size != (W, H):
                    raise ValueError(f"{image.mode} of {image.width} x {image.height}")
                row[:] = np.asarray(image.convert("RGB"))
        except Exception as error:  # a broken file can fail in any way
            raise UserError(f"{file} is not 8-bit RGB or gray of {W} x {H} ({one_line(error)}): "
                            "convert it, or take it away") from None
    return array_images(torch.from_numpy(pixels).permute(0, 3, 1, 2), {"images": str(path)})


def cifar10(folder, split="train"):
    """CIFAR-10's "train" or "test" images, uint8 (N, 3, 32, 32), and their labels, int64 (N,).

    They come from .npz files in folder (arr_0, arr_1; those called test* are the test split), or
    from torchvision, which downloads them there. UserError if neither works.
    """
    try:
        if files := sorted(Path(folder).glob("*.npz")):
            files = [file for file in files if file.name.startswith("test") == (split == "test")]
            images, labels = (np.concatenate([np.load(file)[name] for file in files])
                              for name in ("arr_0", "arr_1"))
        else:
            data = torchvision.datasets.CIFAR10(folder, train=split == "train", download=True)
            images, labels = data.data, np.array(data.targets)
        if images.dtype != np.uint8 or images.shape != (len(labels), 32, 32, 3):
            raise ValueError(f"arr_0 is {images.dtype} {images.shape}")
    except Exception as error:  # a broken file or download can fail in any way
        raise UserError(f"no CIFAR-10 {split} images in {folder} ({one_line(error)}): name their "
                        "folder with --data") from None
    images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(labels.astype(np.int64))


# ------------------------------------------------------------------------------------------------
# Measuring a set of images, and reading what was measured

STATISTICS = "mu", "sigma", "mu_s", "sigma_s", "features"


def measure(network, images, batch, device, title, keep=None):
    """What scoring needs of Images, a dict of tensors: the STATISTICS, and probs.

    mu (d,), sigma (d, d) of pooled and mu_s, sigma_s of spatial features, float64; features (N, d)
    and probs (N, classes), of these only `keep` rows, evenly spread, if that is given.
    """
    pool, spatial, features, probs, N = Moments(), Moments(), [], [], len(images.pixels)
    keep = min(keep or N, N)
    with tqdm(total=N, desc=title, unit=" images", dynamic_ncols=True) as progress:
        for rows in torch.arange(N).split(batch):
            part, chosen = images.pixels[rows[0]:rows[-1] + 1], rows * keep % N < keep
            with torch.no_grad():
                p, s, q = network(part.to(device))
            pool.update(p)
            spatial.update(s)
            features.append(p.cpu()[chosen])
            probs.append(q.cpu()[chosen])
            progress.update(len(part))
    return {"mu": pool.mean.cpu(), "sigma": pool.covariance().cpu(), "mu_s": spatial.mean.cpu(),
            "sigma_s": spatial.covariance().cpu(), "features": torch.cat(features),
            "probs": torch.cat(probs)}


def save_statistics(path, measured, network, count):
    """Writes an .npz for read_statistics(): STATISTICS, count, and the network's hash."""
    arrays = {name: measured[name].numpy() for name in STATISTICS}
    aside = Path(path).with_name(Path(path).name + ".part")
    with open(aside, "wb") as f:
        np.savez(f, **arrays, count=np.array(count), network=np.array(network.sha256))
    os.replace(aside, path)


def read_npz(path):
    """{name: array} of what an .npz holds under the names in use; made_by as a dict. UserError."""
    try:
        with np.load(path) as arrays:
            names = [*STATISTICS, "count", "network", "arr_0", "made_by"]
            found = {name: arrays[name] for name in names if name in arrays}
        return found | {"made_by": dict(json.loads(str(found.get("made_by", "{}"))))}
    except Exception as error:  # a broken file can fail in any way
        raise UserError(f"{path} is not a readable .npz file ({one_line(error)}): give one, or a "
                        "folder of PNGs") from None


def read_statistics(arrays, path, network):
    """The STATISTICS that read_npz(path) found, as tensors, and count; {} if there is no mu.

    Files of ADM, EDM and clean-fid hold them, too. UserError for those of another network.
    """
    if "mu" not in arrays:
        return {}
    found = {name: torch.from_numpy(arrays[name]) for name in STATISTICS if name in arrays}
    fits = str(arrays.get("network", network.sha256)) == network.sha256
    for d, *names in zip(network.dimensions, ("mu", "mu_s"), ("sigma", "sigma_s"), strict=True):
        pair = [found[name] for name in names if name in found]
        fits &= [x.shape for x in pair] in ([], [(d,), (d, d)])
        fits &= all(x.isfinite().all() for x in pair)
    if not fits:
        raise UserError(f"{path} has statistics that are not finite, or not of {network.name}'s "
                        f"{network.dimensions[0]} features: measure it again")
    found = {name: x.float() if name == "features" else x.double() for name, x in found.items()}
    return found | ({"count": int(arrays["count"])} if "count" in arrays else {})


def reference(config, network, device, size):
    """What samples of size (H, W) are compared with: (STATISTICS or some of them, what it is).

    What is measured from images is kept in torch.hub's cache, under the hash of the pixels and of
    the network. UserError if there is no such reference, or its images have another size.
    """
    path = config.ref or (CIFAR10NET_TRAIN if config.features == "cifar10" else "")
    about, published = {"reference": config.ref or f"{config.dataset} train"}, {}
    if path and not Path(path).is_dir():
        arrays = read_npz(path)
        published = read_statistics(arrays, path, network)
        about |= {name: published[name] for name in ("count",) if name in published}
        if published and config.ref:
            about["sha256"] = sha256(path)[:8]
        if published and "arr_0" not in arrays:
            return published, about
    images = open_images(path) if path else array_images(cifar10(config.data)[0], {})
    H, W = images.pixels.shape[2:]
    if (H, W) != size:
        raise UserError(f"{config.samples} has images of {size[1]} x {size[0]}, the reference of "
                        f"{W} x {H}: make them equal")
    count, pixel_hash = len(images.pixels), images.pixel_hash()
    if not published:
        refuse_few(count, "the reference", network, config)
        about |= {"count": count, "sha256": pixel_hash[:8]}
    cached = Path(torch.hub.get_dir(), "eval_fid", f"{pixel_hash[:16]}-{network.sha256[:16]}.npz")
    if not cached.is_file():
        measured = measure(network, images, config.batch, device, "reference", REFERENCE_FEATURES)
        cached.parent.mkdir(parents=True, exist_ok=True)
        save_statistics(cached, measured, network, count)
    # ADM's reference files hold 10,000 images, and the statistics of many more
    return read_statistics(read_npz(cached), cached, network) | published, about


def refuse_few(count, who, network, config):
    """UserError if so few images give no covariance, unless --allow-few says that it is known."""
    if count < max(network.dimensions) and not config.allow_few:
        raise UserError(f"{who} has {count} images, and {max(network.dimensions)} features need as "
                        "many, or the distance is far off: make more, or give --allow-few")


def sha256(path):
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def warn(text):
    print(f"eval_fid.py: warning: {text}", file=sys.stderr)


# ------------------------------------------------------------------------------------------------
# Configuration, and a score


@dataclass
class Config(teachers.Options):
    """Scores a set of images against a reference: FID, sFID, IS, precision, recall, KID."""

    samples: str = opt("", "what to score: a folder of PNGs, or an .npz with arr_0, uint8 "
                           "(N, H, W, C), as teachers.py and boot.py write it", positional=True)
    dataset: str = opt("cifar10", "reference: the training images of this dataset",
                       choices=("cifar10",))
    data: str = opt("data", "its folder, of .npz files or torchvision's; downloaded if need be")
    ref: str = opt("", "another reference: an .npz of images, a folder of PNGs, or an .npz of "
                       "statistics (mu, sigma)")
    features: str = opt("inception", "feature network", choices=("inception", "cifar10"))
    inception_weights: str = opt("", "path of the Inception weights (default: downloaded once, to "
                                     "torch.hub's cache)")
    n: int = opt(None, "score only the first N images", 1)
    batch: int = opt(100, "images at a time; changes nothing but speed and memory", 1)
    device: str = opt("auto", "auto, cpu, cuda, cuda:N or mps")
    allow_few: bool = opt(False, "score fewer images than the features have dimensions")
    json: bool = opt(False, "print one JSON object instead of a line")


def score(config):
    """{"scores": {name: value}, "samples", "reference", "features": {what: how}}.

    Raises UserError for bad input. Shows progress bars and warnings on stderr.
    """
    device = teachers.pick_device(config.device)
    network, images = load_network(config, device), open_images(config.samples)
    found, _, H, W = images.pixels.shape
    n = config.n or found
    if not 0 < n <= found:
        raise UserError(f"{config.samples} has {found} images, and {n or 1} are asked for")
    if config.features == "cifar10" and (H, W) != (32, 32):
        raise UserError(f"{config.samples} has images of {W} x {H}, and --features cifar10 takes "
                        "32 x 32: use --features inception")
    refuse_few(n, config.samples, network, config)
    images.pixels = images.pixels[:n]
    if "images" in images.about:  # a file that says only where it is
        images.about["sha256"] = images.pixel_hash()[:8]
    ref, about_ref = reference(config, network, device, (H, W))
    measured = measure(network, images, config.batch, device, "samples")
    if not measured["features"].isfinite().all():
        raise UserError(f"{network.name} gives features that are not finite: check its weights")

    scores = {"FID": frechet_distance(ref["mu"], ref["sigma"], measured["mu"], measured["sigma"])}
    if "mu_s" in ref:
        scores["sFID"] = frechet_distance(ref["mu_s"], ref["sigma_s"],
                                          measured["mu_s"], measured["sigma_s"])
    scores["IS"] = inception_score(measured["probs"], max(1, round(n / 5000)))
    if "features" in ref:
        scores["precision"], scores["recall"] = precision_recall(
            ref["features"].to(device), measured["features"].to(device))
        scores["KID"] = kernel_distance(ref["features"], measured["features"])
        about_ref["of these for precision, recall and KID"] = len(ref["features"])
    name = network.suffix + (f"@{n}" if n < FULL else "")
    if n < FULL:
        warn(f"{n} samples, not {FULL}: the score is FID{name}; compare it only at the same number")
    if network.suffix:
        warn(f"{network.name} scores compare only among themselves, not with FID")
    return {"scores": {what + name: value for what, value in scores.items()},
            "samples": images.about | {"count": n}, "reference": about_ref,
            "features": {"features": network.name, "sha256": network.sha256[:8],
                         "resize": network.resize, "torch": torch.__version__,
                         "device": str(device)}}


def main():
    config = Config.parse()
    result = score(config)
    if config.json:
        return print(json.dumps(result))
    result["scores"] = {name: f"{value:.4g}" for name, value in result["scores"].items()}
    print("; ".join(", ".join(f"{what} {how}" for what, how in part.items())
                    for part in result.values()))  # one line, to paste


if __name__ == "__main__":
    teachers.run_script(main)
