#!/bin/bash
# What:   dalle2-pytorch 1.15.6, DiffusionPrior on CLIP embeddings that are computed before: prior(text_embed=...,
#         image_embed=...), its loss.
# Source: DiffusionPrior.forward in dalle2_pytorch/dalle2_pytorch.py multiplies image_embed by image_embed_scale, which
#         is the square root of the dimension by default, in place: in the tensor that it is given.
# Guess:  the prior scales a copy. A loss leaves its data as they are, so the same call with the same seed gives the
#         same number again. The text embeddings, beside it in the same call, do stay.
# Seen:   each call multiplies the caller's embeddings by 8 (64 dimensions; by 22.6 for the 512 of CLIP). Parts of a
#         stored tensor (split, slices) share its memory, so the whole set grows by that each epoch: lengths 8, 64, 512
#         and 4096 after four of them. The numpy array behind torch.from_numpy grows, too. A second model on the same
#         batch gets other data: the loss of a copy of a model, as an average of weights is, is 48 times that of the
#         model. The loss of training grows 64 times an epoch; with predict_x_start=False, where the target is the
#         noise, it shows nothing in these epochs: 1.01, as on data that are copied for each call, as a DataLoader of
#         single rows does by stacking them. No warning.
# Date:   2026-11-29
# Why:    embeddings are small, so they are kept in memory. The prior is trained on embeddings of a wrong length,
#         another one each epoch, a comparison of online and averaged weights is void, and what is saved afterwards is
#         not what CLIP gave. The cosine similarity of stored embeddings does not change, so it hides all that.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 numpy==2.4.6 einops==0.8.2 kornia==0.9.0 \
    x-clip==0.14.4 dalle2-pytorch==1.15.6
cat > "$dir/probe.py" <<'PY'
import copy

import numpy as np
import torch
import torch.nn.functional as F
from dalle2_pytorch import DiffusionPrior, DiffusionPriorNetwork

DIM, IMAGES, BATCH, EPOCHS = 64, 256, 64, 4
torch.manual_seed(0)
CLIP = F.normalize(torch.randn(IMAGES, DIM), dim=1)  # stands for the image embeddings that CLIP gives: of length 1
TEXTS = F.normalize(CLIP + 0.05 * torch.randn(IMAGES, DIM), dim=1)


def new_prior(predict_x_start=True):
    torch.manual_seed(1)
    network = DiffusionPriorNetwork(DIM, max_text_len=4, depth=1, dim_head=16, heads=2)
    return DiffusionPrior(network, image_embed_dim=DIM, timesteps=100, condition_on_text_encodings=False,
                          predict_x_start=predict_x_start)


def length(embeddings):
    return embeddings.norm(dim=1).mean().item()


def loss_of(prior, texts, images):
    torch.manual_seed(2)
    with torch.no_grad():
        return prior(text_embed=texts, image_embed=images).item()


prior, images = new_prior().eval(), CLIP.clone()
average = copy.deepcopy(prior)
kept = [loss_of(model, TEXTS, CLIP.clone()) for model in (prior, average)]
texts = TEXTS.clone()
given = [loss_of(model, texts, images) for model in (prior, average)]
print(f"a model and its copy, same seed: losses {kept[0]:.3f} and {kept[1]:.3f} on copies of the batch,",
      f"{given[0]:.3f} and {given[1]:.3f} on the batch itself")
assert kept[0] == kept[1] == given[0] and given[1] > 20 * given[0]
print(f"the batch had embeddings of length {length(CLIP):.1f}, and has them of length {length(images):.1f}")
assert torch.equal(texts, TEXTS) and torch.allclose(images, 64 * CLIP)

array = CLIP.numpy().copy()
loss_of(prior, TEXTS, torch.from_numpy(array))
print(f"a numpy array behind the tensor: length {np.linalg.norm(array, axis=1).mean():.1f} after one call")
assert np.allclose(array, 8 * CLIP.numpy())


def train(predict_x_start, copies):
    prior, images = new_prior(predict_x_start), CLIP.clone()
    optimizer = torch.optim.Adam(prior.parameters(), 1e-3)
    losses, lengths = [], []
    for _ in range(EPOCHS):
        total = 0
        for texts, batch in zip(TEXTS.split(BATCH), images.split(BATCH)):
            loss = prior(text_embed=texts, image_embed=batch.clone() if copies else batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * BATCH / IMAGES
        losses.append(total)
        lengths.append(length(images))
    print(f"predict_x_start={predict_x_start}, {'copies' if copies else 'parts'} of the stored embeddings: lengths",
          *(f"{x:.0f}" for x in lengths), "after each epoch; losses", *(f"{x:.3f}" for x in losses))
    return losses, lengths


for predict_x_start in (True, False):
    kept, lengths = train(predict_x_start, copies=True)
    assert all(abs(x - 1) < 1e-4 for x in lengths)
    given, lengths = train(predict_x_start, copies=False)
    assert all(abs(x / 8 ** (epoch + 1) - 1) < 1e-3 for epoch, x in enumerate(lengths))
    if predict_x_start:
        assert given[-1] > 1000 * kept[-1]
    else:
        assert abs(given[-1] - kept[-1]) < 0.05
print("As described: each call of the loss multiplies the stored embeddings.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" -W ignore "$dir/probe.py"
