#!/bin/bash
# What:   datasets 5.2.0 with Pillow 13.0.0, images opened from files and edited in place, put in a Dataset.
# Source: encode_pil_image in datasets/features/image.py: an image with a filename is kept as that path alone.
# Guess:  the table has the image that it was given: after thumbnail, paste, putalpha or drawing, the edited one.
# Seen:   Pillow leaves the filename on an image that is edited in place, and the table keeps the name of the file, not
#         the pixels. from_dict, from_generator and map of a column of paths all give back the whole, unedited file:
#         256 x 256 after thumbnail((64, 64)), 3 channels after putalpha, the bar that was painted over. No warning.
#         map on an IterableDataset, map of a column of bytes, and a copy of the image keep the edit.
# Date:   2026-11-29
# Why:    watermarks and text are painted over, masks are pasted in and images made small before a model learns them.
#         The prepared data set is the raw one: the model learns the watermarks, at another resolution, and a trial in
#         streaming mode showed the right images.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q datasets==5.2.0 pillow==13.0.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import pathlib
import sys

import datasets
import numpy as np
from PIL import Image, ImageDraw

datasets.disable_progress_bars()
raw = np.random.default_rng(0).integers(1, 256, (256, 256, 3), dtype=np.uint8)  # no pixel is black
file = sys.argv[1] + "/raw.png"
Image.fromarray(raw).save(file)
edits = {
    "thumbnail": lambda image: image.thumbnail((64, 64)),
    "putalpha": lambda image: image.putalpha(128),
    "drawing": lambda image: ImageDraw.Draw(image).rectangle((0, 0, 255, 63), fill="black"),
    "paste": lambda image: image.paste("black", (0, 0, 255, 64)),
}
features = datasets.Features({"image": datasets.Image()})


def table(value):
    return datasets.Dataset.from_dict({"image": [value]}, features=features)


for what, edit in edits.items():
    def change(row):
        edit(row["image"])
        return row

    def generate(name=what):
        image = Image.open(file)
        edits[name](image)
        yield {"image": image}

    image, cache = Image.open(file), f"{sys.argv[1]}/{what}"
    edit(image)
    wanted = np.asarray(image)
    assert wanted.shape != raw.shape or not (wanted == raw).all()
    made = {
        "from_dict": table(image),
        "from_generator": datasets.Dataset.from_generator(generate, features=features, cache_dir=cache),
        "map of paths": table(file).map(change),
        "map of paths, streamed": table(file).to_iterable_dataset().map(change),
        "map of bytes": table({"bytes": pathlib.Path(file).read_bytes(), "path": None}).map(change),
        "from_dict of a copy": table(image.copy()),
    }
    got = {how: np.asarray(next(iter(data))["image"]) for how, data in made.items()}
    lost = [how for how, pixels in got.items() if pixels.shape == raw.shape and (pixels == raw).all()]
    kept = [how for how, pixels in got.items() if pixels.shape == wanted.shape and (pixels == wanted).all()]
    print(f"{what}: lost by {', '.join(lost)}; kept by {', '.join(kept)}")
    assert lost == ["from_dict", "from_generator", "map of paths"] and len(kept) == 3
print("As described: images that were edited in place come back unedited.")
PY
HF_HUB_OFFLINE=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
