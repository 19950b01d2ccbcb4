#!/bin/bash
# What:   score_models 0.5.11, EnergyModel, "a simple interface to train an energy model using DSM", trained by fit and
#         sampled by sample, with the package's MLP, without and with nn_is_energy=True.
# Source: denoising_score_matching in score_models/dsm.py takes the raw output of the network for sigma times the score,
#         whatever the class. EnergyModel.score in score_model.py takes minus the gradient of
#         |x - network|^2 / (2 sigma), or of network / sigma, which that loss never sees.
# Guess:  fit teaches the score that score() gives and sample() follows: on Gaussian data, the exact one.
# Seen:   data of std 0.5 and 2.0 come out with 0.02 and 0.24, and the squared error of the score is 9 times the squared
#         score itself. With nn_is_energy=True the samples have std 200 and 196. The loss that fit reports is, digit by
#         digit, that of a ScoreModel, whose samples have 0.39 and 2.00. The same EnergyModel, trained in the script on
#         the score it gives, has an error of 0.2 % and samples of 0.36 and 1.83.
# Date:   2026-11-29
# Why:    the loss falls to the value that a good model has, while the energy and the score belong to no data at all.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 score-models==0.5.11
cat > "$dir/probe.py" <<'PY'
import torch
from score_models import MLP, EnergyModel, ScoreModel

STD = torch.tensor([0.5, 2.0])
torch.manual_seed(0)
data = torch.randn(4096, 2) * STD
dataset = torch.utils.data.TensorDataset(data)


def make(kind, scalar=False):
    torch.manual_seed(0)
    return kind(MLP(dimensions=2, units=64, layers=2, nn_is_energy=scalar), beta_min=0.1, beta_max=20.0, device="cpu")


def error(model):
    """The squared error of score() at three times, as a part of the squared exact score."""
    torch.manual_seed(1)
    wrong = size = 0
    for time in (0.3, 0.5, 0.7):
        t = torch.full((4000,), time)
        scale, sigma = (part[:, None] for part in model.sde.marginal_prob_scalars(t))
        x = scale * STD * torch.randn(4000, 2) + sigma * torch.randn(4000, 2)
        exact = -x / (scale**2 * STD**2 + sigma**2)
        wrong += (model.score(t, x).detach() - exact).square().sum().item()
        size += exact.square().sum().item()
    return wrong / size


def report(name, model, loss):
    torch.manual_seed(2)
    samples = model.sample([4000, 2], steps=300)
    std, part = samples.std(0), error(model)
    print(f"{name}: loss {loss:.4f}, error of the score {part:.3f}, std of the samples {std[0]:.4f} and {std[1]:.4f}")
    return std, part, loss


def fitted(name, model):
    torch.manual_seed(3)
    return report(name, model, model.fit(dataset, epochs=60, batch_size=256, learning_rate=3e-3, ema_decay=0.99)[-1])


print("data: std 0.5000 and 2.0000")
std, part, score_loss = fitted("ScoreModel, fit", make(ScoreModel))
assert part < 0.1 and (std / STD - 1).abs().max() < 0.4
std, part, energy_loss = fitted("EnergyModel, fit", make(EnergyModel))
assert energy_loss == score_loss and part > 4 and (std < 0.25 * STD).all()
std, part, _ = fitted("EnergyModel with nn_is_energy, fit", make(EnergyModel, True))
assert part > 1 and (std > 10 * STD).all()

model = make(EnergyModel)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
for step in range(1200):
    x0 = data[torch.randint(4096, (256,))]
    t, noise = torch.rand(256) * (1 - 1e-3) + 1e-3, torch.randn(256, 2)
    mean, sigma = model.sde.marginal_prob(t, x0)
    loss = (noise + sigma * model.score(t, mean + sigma * noise)).square().sum(1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
std, part, _ = report("EnergyModel, trained on its score", model, loss.item())
assert part < 0.1 and (std / STD - 1).abs().max() < 0.4
print("As described: fit trains something else than the score of the energy.")
PY
"$dir/venv/bin/python" "$dir/probe.py" 2> "$dir/progress"
