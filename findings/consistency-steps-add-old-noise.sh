#!/bin/bash
# What:   BayesFlow 2.0.12 with Keras 3.15.1 on jax 0.10.2, StableConsistencyModel (sCM), sampled in two or more steps.
# Source: StableConsistencyModel._inverse in bayesflow/networks/inference/consistency/stable_consistency_model.py: the
#         new noise is added at the time t of the step before, then t becomes the next time and the network is called.
#         That noise is of standard deviation 1, where the first noise and that of training are of sigma.
# Guess:  each step adds the noise of the time at which the network is then called, as in the multistep sampling
#         (Algorithm 1 of Song et al.) that the docstring names. More steps then correct the errors of fewer.
# Seen:   each step brings more noise than the network is told. With the exact network for a Gaussian of standard
#         deviation 0.1, samples have 1.0 after 2 steps, where they are the pure noise, whatever the network, 0.32
#         after 5, 0.15 after 15 (the default) and 0.12 after 30. With sigma set to the standard deviation of the
#         target, as its docstring says, they have 1.0 at each number of steps. Only 2 and 3 steps log a warning (the
#         last step is large). ConsistencyModel of the same package gives 0.1 throughout.
# Date:   2026-11-29
# Why:    posteriors come out too wide, the more so the narrower they are, and two-step samples, the usual choice for
#         such models, are noise. It looks like a network that did not learn, and calibration checks fail.
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
COUNT, DIMS = 20_000, 2
normal = np.random.default_rng(0).normal(size=(COUNT, DIMS)).astype("float32")


def spread(model, subnet, projector, steps):
    """The standard deviation of samples in so many steps, with an exact function in place of the network."""
    model.build((None, DIMS), None)
    model.subnet = subnet
    setattr(model, projector, lambda x: x)
    return float(np.std(model(ops.convert_to_tensor(normal), inverse=True, steps=steps, seed=1)))


def stable(target, sigma, steps):
    def subnet(inputs, training=False):
        x, t, _ = inputs
        x = x * sigma
        clean = x * target / ops.sqrt((ops.cos(t) * target) ** 2 + (ops.sin(t) * sigma) ** 2)
        return (ops.cos(t) * x - clean) / (ops.maximum(ops.sin(t), 1e-6) * sigma)  # clean = cos t x - sin t sigma F

    return spread(bf.networks.StableConsistencyModel(sigma=sigma), subnet, "subnet_projector", steps)


def discrete(target, steps):
    model = bf.networks.ConsistencyModel(total_steps=100, s0=2, s1=32)

    def subnet(inputs, training=False):
        x, t, _ = inputs
        t = t * model.max_time
        clean = x * ops.sqrt((target**2 + model.eps**2) / (target**2 + t**2))
        skip = 1 / ((t - model.eps) ** 2 + 1)  # clean = skip x + out F, with the model's sigma2 of 1
        out = (t - model.eps) / ops.sqrt(1 + t**2)
        return (clean - skip * x) / ops.where(out == 0, 1.0, out)

    return spread(model, subnet, "output_projector", steps)


for target, steps, low, high in ((0.1, 2, 0.98, 1.02), (0.1, 5, 0.30, 0.35), (0.1, 15, 0.14, 0.155),
                                 (0.1, 30, 0.115, 0.125), (2.0, 15, 1.25, 1.4)):
    got, other = stable(target, 1.0, steps), discrete(target, steps)
    print(f"target {target}, steps {steps}: {got:.3f} by StableConsistencyModel, {other:.3f} by ConsistencyModel")
    assert low < got < high and abs(other / target - 1) < 0.02
for steps in (2, 5, 15, 100):
    got = stable(0.1, 0.1, steps)
    print(f"target 0.1, sigma 0.1, steps {steps}: {got:.3f} by StableConsistencyModel")
    assert 0.98 < got < 1.02
print("As described: the noise of each step is that of the step before, and not scaled by sigma.")
PY
KERAS_BACKEND=jax OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
