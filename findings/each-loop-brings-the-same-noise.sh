#!/bin/bash
# What:   ott-jax 0.6.0 with jax 0.10.2 and flax 0.12.8, its loader of pairs of noise and data for flow matching,
#         SemidiscreteDataloader (SemidiscreteOutput.to_dataloader), read in epochs.
# Source: __iter__ of SemidiscreteDataloader in ott/neural/data/semidiscrete_dataloader.py sets the key for random
#         numbers back to the one it was made with. The docs call that the "random number seed used for sampling from
#         the source distribution", and __iter__ is to "return self".
# Guess:  the loader draws fresh noise for as long as it is read: it has no length and no end. A loop over it, left
#         after some batches, goes on with new pairs the next time, at the latest if the loop is over an iterator that
#         was made once, iter(loader): a loop over an iterator goes on where it stands, in all of Python.
# Seen:   each loop starts with the first batch again: 20 epochs of 8 batches of 64 pairs, 10,240 in all, are 512
#         different pairs. With an iterator made once they are the same 512, because it is the loader itself, and each
#         for, zip, enumerate and islice calls __iter__ again, also for one batch ahead of the loop. Only where
#         all batches are taken by next(iterator) there are 10,240 different pairs. No warning.
# Date:   2026-11-29
# Why:    the model is trained on a few hundred fixed points of noise instead of endless ones, and can learn them by
#         heart. An epoch of this loader, or the steps between two evaluations, can only be made by leaving a loop
#         early, with islice, zip or break, and each of them starts over. The loss alone looks fine.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 flax==0.12.8 diffrax==0.7.2 optax==0.2.8 numpy==2.4.6 scipy==1.17.1 \
    "ott-jax[neural]==0.6.0"
cat > "$dir/probe.py" <<'PY'
from itertools import islice

import jax
import numpy as np
import optax
from ott.geometry import semidiscrete_pointcloud
from ott.problems.linear import semidiscrete_linear_problem
from ott.solvers.linear import semidiscrete

EPOCHS, BATCHES, SIZE, DIM = 20, 8, 64, 4
images = jax.random.normal(jax.random.key(0), (BATCHES * SIZE, DIM)) + 3


def different(batches):
    """How many different rows of noise there are in these batches of pairs."""
    return len(np.unique(np.concatenate([np.asarray(noise) for noise, _ in batches]), axis=0))


geometry = semidiscrete_pointcloud.SemidiscretePointCloud(jax.random.normal, images, epsilon=0.0)
problem = semidiscrete_linear_problem.SemidiscreteLinearProblem(geometry)
solver = semidiscrete.SemidiscreteSolver(num_iterations=100, batch_size=SIZE, optimizer=optax.sgd(0.1))
solution = solver(jax.random.key(1), problem)
loader = solution.to_dataloader(jax.random.key(2), SIZE)

looped = different([pair for _ in range(EPOCHS) for pair in islice(loader, BATCHES)])
iterator = iter(loader)
once = different([pair for _ in range(EPOCHS) for _, pair in zip(range(BATCHES), iterator)])
iterator = iter(loader)
by_next = different([next(iterator) for _ in range(EPOCHS * BATCHES)])
print(f"{EPOCHS * BATCHES * SIZE} pairs in {EPOCHS} epochs, different noise: {looped} in loops over the loader, "
      f"{once} in loops over one iterator, {by_next} by next")
assert looped == once == BATCHES * SIZE and by_next == EPOCHS * BATCHES * SIZE
iterator = iter(loader)
ahead = next(iterator)  # a batch to look at before the training
_, first = next(enumerate(iterator))
same = all((a == b).all() for a, b in zip(ahead, first))
print("the batch taken before a loop is the first one of the loop:", bool(same))
assert same
plain = (number for number in range(4))
assert next(plain) == 0 and next(enumerate(plain)) == (0, 1)  # an iterator of Python goes on

print("As described: each loop over the loader starts with its first pairs again.")
PY
OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu "$dir/venv/bin/python" "$dir/probe.py"
