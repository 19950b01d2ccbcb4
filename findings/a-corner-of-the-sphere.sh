#!/bin/bash
# What:   torch-fidelity 0.4.0, scores of a generator with z_type="unit" (command line: --input1-model-z-type unit),
#         which its docs explain as a "uniform distribution on a unit sphere".
# Source: random_unit in torch_fidelity/noise.py normalizes numpy's rand, which is uniform from 0 to 1, where randn,
#         which is normal, would give the sphere.
# Guess:  the noise has all directions alike: two vectors have the cosine 0 on average, and half of all coordinates are
#         negative. So the FID of a generator against its own images from noise of the sphere is near 0.
# Seen:   no coordinate is ever negative, and the cosine of any two vectors is 0.75 on average: of 2 ** 128 orthants,
#         for 128 coordinates, one is sampled. A generator that copies its noise to the pixels has FID 130 against
#         images of its own from the sphere, where two sets of those have 2.1; with z_type="normal" both are 2.1.
# Date:   2026-11-29
# Why:    generators with noise on the sphere (ProGAN, StyleGAN, and students that are distilled from them) are scored
#         by images of one corner of it, with a lack of variety that looks like mode collapse.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 torch-fidelity==0.4.0 tqdm==4.70.1
cat > "$dir/probe.py" <<'PY'
import torch
import torch.nn.functional as F
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase

torch.set_num_threads(1)
SIZE, COUNT = 128, 4_000  # coordinates of the noise, images
seen = []  # the noise that torch-fidelity gave to the generator


class Generator(torch.nn.Module):
    """The simplest one: each coordinate of the noise, times its standard deviation, is a pixel."""

    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, z):
        seen.append(z)
        return (z * self.scale)[:, :, None, None]


class Images(Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


class Pixels(FeatureExtractorBase):
    """The pixels are the features, so that no trained network is needed."""

    def __init__(self, name, features_list, **options):
        super().__init__(name, features_list)

    @staticmethod
    def get_provided_features_list():
        return ("pixels",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "pixels"

    def forward(self, images):
        return (images.flatten(1),)


torch_fidelity.register_feature_extractor("pixels", Pixels)


def fid(first, second, **options):
    scores = torch_fidelity.calculate_metrics(input1=first, input2=second, fid=True, feature_extractor="pixels",
                                              cuda=False, cache=False, save_cpu_ram=True, verbose=False, **options)
    return scores["frechet_inception_distance"]


random = torch.Generator().manual_seed(0)
normal = torch.randn(3, COUNT, SIZE, generator=random)
sphere = F.normalize(normal, dim=-1)
rows = []
for kind, scale, noise in (("unit", SIZE ** 0.5, sphere), ("normal", 1.0, normal)):
    seen.clear()
    generator = Generator(scale)
    own, other = (Images(generator(z)) for z in noise[:2])
    seen.clear()
    wrapped = torch_fidelity.GenerativeModelModuleWrapper(generator, SIZE, kind, 0)
    score = fid(wrapped, own, input1_model_num_samples=COUNT)
    z = F.normalize(torch.cat(seen), dim=1)
    cosine = (z.sum(0).square().sum() - COUNT) / (COUNT * (COUNT - 1))
    rows.append((score, fid(other, own), (z < 0).float().mean().item(), cosine.item()))
    print(f"{kind}: {rows[-1][2]:.1%} of the coordinates are negative, mean cosine {rows[-1][3]:.3f}, FID {score:.2f};",
          f"of two sets from such noise {rows[-1][1]:.2f}")
unit, normal = rows
assert unit[2] == 0 and 0.74 < unit[3] < 0.76 and unit[0] > 50 and unit[1] < 5
assert 0.49 < normal[2] < 0.51 and abs(normal[3]) < 0.01 and normal[0] < 5 and normal[1] < 5
print("As described: the noise of the unit sphere comes from one orthant of it.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
