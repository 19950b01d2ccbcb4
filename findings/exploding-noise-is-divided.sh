#!/bin/bash
# What:   BayesFlow 2.0.12 with Keras 3.15.1 on jax 0.10.2, DiffusionModel with the EDM schedule and
#         variance_type="exploding", which the docstring says the EDM paper uses. The default is "preserving".
# Source: NoiseSchedule.get_drift in bayesflow/networks/inference/diffusion/schedules/noise_schedule.py takes the
#         derivative of log(1 + sigma^2) as the squared diffusion g^2. That is right for the preserving type. For the
#         exploding type it is the derivative of sigma^2, larger by 1 + sigma^2. DiffusionModel._inverse starts at the
#         noise of the base distribution, of standard deviation 1, not at sigma_max, 80.
# Guess:  the type says how noise and data are scaled on the way, so with an exact network both give the target.
# Seen:   with the exact network for a Gaussian of standard deviation 1, the default sampler gives 1.34 and an ODE
#         solver 0.61. For mean 3 and standard deviation 0.5, an ODE solver gives 1.81 and 0.40. More steps change
#         nothing. "preserving" has it right each time. No warning.
# Date:   2026-11-29
# Why:    whoever sets EDM up as in the paper gets posteriors a third too wide, or by an ODE solver too narrow and off
#         their mean. Each sample is plausible, so it looks like a network that learned too little.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q bayesflow==2.0.12 keras==3.15.1 jax==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import logging

import bayesflow as bf
import numpy as np
from keras import ops

logging.getLogger("bayesflow").setLevel(logging.ERROR)
COUNT = 10_000
normal = np.random.default_rng(0).normal(size=(COUNT, 1)).astype("float32")


def sample(variance_type, mean, std, **how):
    """Mean and standard deviation of samples, with the exact prediction of x for a Gaussian target."""
    model = bf.networks.DiffusionModel(prediction_type="x", noise_schedule="edm",
                                       schedule_kwargs={"variance_type": variance_type})
    model.build((None, 1), None)
    schedule = model.noise_schedule

    def exact(inputs, training=False):
        z, normalized, _ = inputs
        low, high = schedule.log_snr_min, schedule.log_snr_max
        alpha, sigma = schedule.get_alpha_sigma(low + (normalized + 1) / 2 * (high - low))
        return mean + std**2 * alpha * (z - alpha * mean) / (alpha**2 * std**2 + sigma**2)

    model.subnet, model.output_projector = exact, lambda x: x
    x = np.asarray(model(ops.convert_to_tensor(normal), inverse=True, seed=1, **how))
    return float(x.mean()), float(x.std())


for mean, std, how, expected in (
    (0.0, 1.0, {}, (0.0, 1.34)),
    (0.0, 1.0, {"method": "tsit5"}, (0.0, 0.605)),
    (3.0, 0.5, {"method": "euler", "steps": 500}, (1.81, 0.396)),
    (3.0, 0.5, {"method": "euler", "steps": 2000}, (1.81, 0.396)),
):
    preserving, exploding = sample("preserving", mean, std, **how), sample("exploding", mean, std, **how)
    print(f"target {mean}, {std}; {how or 'the default sampler'}: preserving {preserving[0]:.3f}, {preserving[1]:.3f},"
          f" exploding {exploding[0]:.3f}, {exploding[1]:.3f}")
    assert np.allclose(preserving, (mean, std), rtol=0.03, atol=0.03)
    assert np.allclose(exploding, expected, rtol=0.03, atol=0.03)
print("As described: the exploding type samples with a diffusion that is 1 + sigma^2 times too small.")
PY
KERAS_BACKEND=jax OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
