#!/bin/bash
# What:   pythae 0.1.2, VAEGAN, trained by its CoupledOptimizerAdversarialTrainer (TrainingPipeline takes it too).
# Source: _optimizers_step in pythae/trainers/coupled_optimizer_adversarial_trainer calls backward of the decoder's
#         loss, then backward of the discriminator's loss, and only then steps the decoder. The images that the decoder
#         made of the prior are not detached in vae_gan_model.py, so the second backward adds to the decoder's gradient.
# Guess:  the decoder's step lowers its loss, (1 - a) * reconstruction - a * loss of the discriminator, where a is
#         adversarial_loss_scale: it learns to deceive the discriminator.
# Seen:   the step is along (1 - a) * (reconstruction + loss of the discriminator). With the default a = 0.5 the
#         adversarial part has its full size and the wrong sign: the decoder learns to be told from real images. With
#         a = 1 its weights do not move. Against a fixed discriminator, 200 steps with a = 0.5 take the latter's loss on
#         generated images from 0.66 down to 0.39; steps along the decoder's own loss take it up to 0.95. It is so in
#         each step that updates both networks (the margins of equilibrium decide that, and stayed open here).
# Date:   2026-11-29
# Why:    what is compared with a VAE as "VAE-GAN" was never trained against its discriminator. Nothing shows it: the
#         discriminator's loss falls as in any GAN at its start, and a larger adversarial_loss_scale only makes the
#         decoder's steps shorter, by 1 - a.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 pythae==0.1.2
cat > "$dir/probe.py" <<'PY'
import logging
import sys

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAEGAN, VAEGANConfig
from pythae.trainers import CoupledOptimizerAdversarialTrainer, CoupledOptimizerAdversarialTrainerConfig

logging.disable(logging.CRITICAL)
IMAGES = 256
torch.manual_seed(0)
DATA = torch.rand(IMAGES, 1, 8, 8)
TEST = torch.randn(1_000, 4)  # from the prior


def make(scale):
    torch.manual_seed(1)
    return VAEGAN(VAEGANConfig(input_dim=(1, 8, 8), latent_dim=4, adversarial_loss_scale=scale))


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.decoder.parameters()])


def gradient(model, loss):
    parts = torch.autograd.grad(loss, list(model.decoder.parameters()), retain_graph=True)
    return torch.cat([p.flatten() for p in parts])


def train(model, epochs, rate):
    """Steps of all the data; only the decoder learns, by plain SGD. The gradients of the first step's two losses."""
    seen = []
    forward = model.forward

    def watched(*args, **kwargs):
        output = forward(*args, **kwargs)
        if torch.is_grad_enabled():
            assert output.update_decoder and output.update_discriminator
            seen.append([gradient(model, loss) for loss in (output.decoder_loss, output.discriminator_loss)])
        return output

    model.forward = watched
    config = CoupledOptimizerAdversarialTrainerConfig(
        output_dir=sys.argv[1], num_epochs=epochs, per_device_train_batch_size=IMAGES, no_cuda=True,
        encoder_optimizer_cls="SGD", decoder_optimizer_cls="SGD", discriminator_optimizer_cls="SGD",
        encoder_learning_rate=0.0, decoder_learning_rate=rate, discriminator_learning_rate=0.0)
    labels = torch.zeros(IMAGES)
    CoupledOptimizerAdversarialTrainer(model, BaseDataset(DATA, labels), training_config=config).train()
    del model.forward
    return seen[1]  # the first call is the trainer's check of the model


def found_out(model):
    """The discriminator's loss on generated images, with the real ones fixed."""
    with torch.no_grad():
        score = model.discriminator(model.decoder(TEST).reconstruction).embedding
        return -(1 - score).log().mean().item()


for scale in (0.5, 0.9, 1.0):
    model = make(scale)
    before = weights(model)
    decoder, discriminator = train(model, 1, 0.1)
    step = (weights(model) - before) / -0.1
    wrong, right = (step - decoder - discriminator).norm() / decoder.norm(), (step - decoder).norm() / decoder.norm()
    print(f"a = {scale}: the step's distance from the decoder's gradient {right:.3f}, from the sum of both "
          f"{wrong:.1e}; length of the step's {step.norm():.2e}, of the decoder's {decoder.norm():.2e}")
    assert wrong < 1e-3 and right > 0.5
start = found_out(make(0.5))
package = make(0.5)
train(package, 200, 1.0)
hand = make(0.5)
for _ in range(200):
    step = gradient(hand, hand(dict(data=DATA)).decoder_loss)
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(weights(hand) - step, hand.decoder.parameters())
print(f"a fixed discriminator's loss on generated images: {start:.3f}, after 200 steps of the trainer "
      f"{found_out(package):.3f}, after 200 of the decoder's loss {found_out(hand):.3f}")
assert 0.6 < start < 0.75 and found_out(package) < 0.5 and found_out(hand) > 0.85
print("As described: the decoder is trained on the discriminator's loss too, with the wrong sign.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir/runs"
