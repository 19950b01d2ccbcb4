#!/bin/bash
# What:   datasets 5.2.0 with Pillow 13.0.0, Dataset.map of a function that only looks at the images, JPEG files kept as
#         bytes in the table (as in Parquet files).
# Source: prepare_outputs in Dataset._map_single (datasets/arrow_dataset.py) passes on a column that was read as
#         decoded, and image_to_bytes in datasets/features/image.py saves it by image.save without a quality.
# Guess:  a function that returns {"width": ...} adds that column, and the other columns, which it did not return, stay
#         as they are.
# Seen:   every image that the function has looked at is compressed again, at Pillow's quality of 75 with colours at
#         half resolution. Two photographs of 197 and 143 KB become 61 and 27 KB, with a PSNR of 30 and 35 dB to what
#         they were, and values off by up to 73 and 88 of 255. A function that looks at another column, filter, and
#         input_columns=["image"] leave the files as they were, bit for bit, and a column of paths too. No warning.
# Date:   2026-11-29
# Why:    to measure sizes, captions, brightness or an aesthetic score with map is how data are prepared for a model of
#         images. The columns come out right, and the model is trained on, and FID is measured against, artefacts of
#         JPEG that the data did not have.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q datasets==5.2.0 pillow==13.0.0 numpy==2.4.6 scikit-learn==1.9.1
cat > "$dir/probe.py" <<'PY'
import io
import pathlib
import sys

import datasets
import numpy as np
import sklearn.datasets
from PIL import Image

datasets.disable_progress_bars()
photos = [pathlib.Path(sklearn.datasets.__file__).parent / "images" / name for name in ("china.jpg", "flower.jpg")]
files = [photo.read_bytes() for photo in photos]


def table(images):
    whole = datasets.Dataset.from_dict({"image": images, "caption": ["temple", "flower"]})
    return whole.cast_column("image", datasets.Image())


def stored(result):
    return [row["bytes"] for row in result.cast_column("image", datasets.Image(decode=False))["image"]]


def pixels(file):
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).astype(int)


table([{"bytes": file, "path": None} for file in files]).to_parquet(sys.argv[1] + "/data.parquet")
data = datasets.Dataset.from_parquet(sys.argv[1] + "/data.parquet", cache_dir=sys.argv[1])
assert stored(data) == files
looked = {
    "one by one": data.map(lambda row: {"width": row["image"].width}),
    "in batches": data.map(lambda rows: {"width": [image.width for image in rows["image"]]}, batched=True),
    "returning the row": data.map(lambda row: row | {"width": row["image"].width}),
}
for how, result in looked.items():
    assert result["width"] == [640, 640]
    for name, old, new in zip(("temple", "flower"), files, stored(result)):
        error = pixels(new) - pixels(old)
        psnr = 10 * np.log10(255**2 / (error**2).mean())
        ratio = [Image.open(io.BytesIO(file)).layer[0][1] for file in (old, new)]
        print(f"{how}, {name}: {len(old)} bytes become {len(new)}, PSNR {psnr:.1f} dB, largest error "
              f"{abs(error).max()}, resolution of brightness to colour {ratio[0]} before and {ratio[1]} after")
        assert len(new) < len(old) / 2 and psnr < 40 and abs(error).max() > 40 and ratio == [1, 2]
same = {
    "map of another column": data.map(lambda row: {"length": len(row["caption"])}),
    "filter": data.filter(lambda row: row["image"].width == 640),
    "map with input_columns": data.map(lambda image: {"kind": str(type(image))}, input_columns=["image"]),
}
for how, result in same.items():
    assert stored(result) == files
    print(f"{how}: the files are the same, bit for bit")
kinds = set(same["map with input_columns"]["kind"])
by_path = table([str(photo) for photo in photos]).map(lambda row: {"width": row["image"].width})
assert all((np.asarray(image) == pixels(file)).all() for image, file in zip(by_path["image"], files))
print(f"(input_columns gives the function {kinds}.) A column of paths: the pixels are the same")
print("As described: a map that looks at the images compresses them again.")
PY
HF_HUB_OFFLINE=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
