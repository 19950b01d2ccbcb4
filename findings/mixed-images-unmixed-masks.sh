#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, keras.layers.MixUp of a dictionary of images and segmentation masks.
# Source: transform_segmentation_masks in keras/src/layers/preprocessing/image_preprocessing/mix_up.py takes the masks
#         to be mixed in without an axis, that is, single numbers from the first mask's top left corner; for the images
#         transform_images takes them along axis 0.
# Guess:  a mask is mixed as its image is, with the same other one and the same weight: given as images and as masks,
#         the same arrays come out equal, as they do from CutMix.
# Seen:   each mask is mixed with constants, 0 where the corner is background. Masks of 16 x 32 x 32 x 1 come out as
#         16 x 32 x 32 x 16, one channel for each image of the batch, and the loss "mse" takes them with predictions of
#         one channel (binary_crossentropy raises an error). One-hot masks of as many classes as the batch has images
#         keep their shape, and 76 % of their pixels are not those of the images. A layer that learns the masks of
#         images which are their own masks gives 0.50 in the foreground, and nowhere more; from masks that are mixed as
#         images, or from CutMix, it gives 1.00. No warning but JAX's about int64.
# Date:   2026-11-29
# Why:    masks and layouts are what a conditional model is given with an image. A mixed image may show the other image
#         only, and its mask is empty then: a network that is trained on them is half as sure as it could be.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import keras
import numpy as np

warnings.simplefilter("error", UserWarning)
warnings.filterwarnings("ignore", message=".*int64")
random = np.random.default_rng(0)
rows, columns = np.mgrid[:32, :32]


def disks(count):
    """Images of one disk each, which are their own masks."""
    centre = random.uniform(10, 22, (2, count, 1, 1))
    return ((rows - centre[0])**2 + (columns - centre[1])**2 < 64)[..., None].astype("float32")


def mix(layer, images, masks):
    mixed = layer({"images": images, "segmentation_masks": masks}, training=True)
    return np.asarray(mixed["images"]), np.asarray(mixed["segmentation_masks"])


mixup, cutmix = keras.layers.MixUp(seed=0), keras.layers.CutMix(seed=0)
x = disks(16)
images, masks = mix(mixup, x, x)
print("MixUp, images", images.shape, "masks", masks.shape)
assert images.shape == x.shape and masks.shape == (16, 32, 32, 16)
share = masks.max((1, 2, 3))
assert np.allclose(masks, masks[..., :1]) and np.allclose(masks[..., :1], share[:, None, None, None] * x)
classes = keras.utils.to_categorical(random.integers(0, 16, (16, 32, 32)), 16)
images, masks = mix(mixup, classes, classes)
wrong = (np.abs(images - masks).max(-1) > 0.01).mean()
print(f"one-hot masks of 16 classes: shape {masks.shape}, {wrong:.0%} of the pixels are not those of the images")
assert masks.shape == classes.shape and wrong > 0.4
images, masks = mix(cutmix, x, x)
assert np.array_equal(images, masks)


def learned(what, layer, right=False):
    """What a network of one point-wise layer, trained on mixed images and masks, gives for disks of its own."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((32, 32, 1)), keras.layers.Conv2D(1, 1)])
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 300)), "mse")
    for _ in range(300):
        x = disks(16)
        images, masks = mix(layer, x, x)
        model.train_on_batch(images, images if right else masks)
    x = disks(64)
    out = model.predict(x, verbose=0)
    print(f"{what}: {out[x > 0.5].mean():.2f} in the foreground, {out[x < 0.5].mean():.2f} in the "
          f"background, at most {out.max():.2f}")
    return out[x > 0.5].mean()


assert abs(learned("MixUp", mixup) - 0.5) < 0.06
assert learned("MixUp, masks mixed as images", mixup, right=True) > 0.98
assert learned("CutMix", cutmix) > 0.98
print("As described: MixUp mixes the images and not the masks.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
