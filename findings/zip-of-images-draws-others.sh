#!/bin/bash
# What:   clean-fid 0.1.35, features of a part of the images in a zip file, by fid.get_folder_features(zip, num=...) and
#         make_custom_stats(name, zip, num=...), which calls it.
# Source: get_folder_features in cleanfid/fid.py sorts the files of a folder, and takes list(set(names)) of a zip file,
#         whose order hangs on the hash of strings, which Python draws anew for each process.
# Guess:  the same images each time: by name, as from a folder, and with shuffle=True those that the seed gives.
# Seen:   each run takes other images. Of 1,000 images in a zip file, num=100 gives 100 in one process and 100 others in
#         the next, of which about 10 are the same, as by chance, and seed=0 changes nothing. From a folder it is the
#         same 100 in each process, with a seed and without. Within one process a second call agrees with the first,
#         and PYTHONHASHSEED decides. No warning.
# Date:   2026-11-29
# Why:    reference statistics of "the first 10,000 images" cannot be made again on the same machine with the same seed,
#         a folder and its zip file have other statistics, and two FID by them have two references.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 clean-fid==0.1.35 numpy==2.4.6 scipy==1.17.1
cat > "$dir/make.py" <<'PY'
import sys
import zipfile
from pathlib import Path

from PIL import Image

folder = Path(sys.argv[1]) / "images"
folder.mkdir()
with zipfile.ZipFile(Path(sys.argv[1]) / "images.zip", "w") as file:
    for i in range(1000):  # one color in each image, which tells its number
        Image.new("RGB", (4, 4), (i // 100, i // 10 % 10, i % 10)).save(folder / f"{i:04}.png")
        file.write(folder / f"{i:04}.png", f"{i:04}.png")
PY
cat > "$dir/probe.py" <<'PY'
import sys

import numpy as np
import torch
from cleanfid import fid


def numbers(source, **options):
    """The numbers of the images that are taken; the "network" is their mean color."""
    features = fid.get_folder_features(source, lambda images: images.mean((2, 3)), num_workers=0, num=100,
                                       device=torch.device("cpu"), verbose=False, **options)
    return (features.round().astype(int) @ np.array([100, 10, 1])).tolist()


for name in ("images", "images.zip"):
    for options in (dict(), dict(shuffle=True, seed=0)):
        chosen = numbers(f"{sys.argv[1]}/{name}", **options)
        assert chosen == numbers(f"{sys.argv[1]}/{name}", **options) and len(set(chosen)) == 100
        print(name, "with a seed:" if options else "without a seed:", *chosen)
PY
cat > "$dir/compare.py" <<'PY'
import sys

first, second = ([line.split(":") for line in open(name)] for name in sys.argv[1:])
for (name, one), (_, two) in zip(first, second):
    one, two = one.split(), two.split()
    print(f"{name}: {' '.join(one[:6])} ... in one process, {' '.join(two[:6])} ... in another, in both:",
          f"{len(set(one) & set(two))} of 100")
    assert len(set(one) & set(two)) < 30 if ".zip" in name else one == two
assert len(first) == len(second) == 4
print("As described: each process takes other images of a zip file, whatever the seed.")
PY
export OMP_NUM_THREADS=1
python="$dir/venv/bin/python"
"$python" "$dir/make.py" "$dir"
for run in 1 2; do  # as two processes are without it, here in a way that can be repeated
    PYTHONHASHSEED=$run "$python" "$dir/probe.py" "$dir" > "$dir/run$run"
done
"$python" "$dir/compare.py" "$dir/run1" "$dir/run2"
