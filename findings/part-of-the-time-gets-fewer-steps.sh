#!/bin/bash
# What:   ott-jax 0.6.0 with jax 0.10.2, flax 0.12.8 and diffrax 0.7.2, flow_matching.evaluate_velocity_field(model, x,
#         t0=..., t1=..., num_steps=n), the sampler of flow matching, over a part of the time from 0 to 1.
# Source: evaluate_velocity_field in ott/neural/methods/flow_matching.py sets the step to 1 / num_steps, whatever t0 and
#         t1 are. The docstring calls num_steps the "number of steps used for solvers with a constant step size".
# Guess:  n steps from t0 to t1, of (t1 - t0) / n each.
# Seen:   steps of 1 / n, cut at t1. With num_steps=4 there are 4 steps from 0 to 1, 2 from 0 to 0.5 and 1 over an
#         eighth of the time, with the same result as num_steps=1. For an exact flow to Gaussian data of std 0.5,
#         eight calls, one for each eighth of the time, with 4 steps each, give samples of std 0.415, as 8 steps in
#         all do; 32 steps in all give 0.477. The same with Heun's method, and backward (reverse=True). No warning.
# Date:   2026-11-29
# Why:    a time is cut into parts to change the guidance on the way, to draw the targets of a student that makes one
#         step of a teacher's four, or to edit an image from half its noise. The teacher is coarser than its number of
#         steps says, by the number of parts, and the student learns the plain Euler step that it was to replace.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 flax==0.12.8 diffrax==0.7.2 optax==0.2.8 numpy==2.4.6 scipy==1.17.1 \
    "ott-jax[neural]==0.6.0"
cat > "$dir/probe.py" <<'PY'
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ott.neural.methods.flow_matching import evaluate_velocity_field

STD = 0.5  # of the data, each number by itself, with mean 0


class Exact(nnx.Module):
    """The velocity of the straight paths (1 - t) noise + t data, for all times at once."""

    def __call__(self, t, x, cond=None, rngs=None):
        t = t[:, None]
        return (t * STD**2 - (1 - t)) / ((1 - t) ** 2 + (t * STD) ** 2) * x


model = Exact()
start = jnp.array([1.0, -2.0, 0.5])


def solve(x, t0, t1, steps, **options):
    out = evaluate_velocity_field(model, x, t0=t0, t1=t1, num_steps=steps, **options)
    return out.ys[-1], int(out.stats["num_steps"])


def euler(x, times):
    """Euler's method by hand, from each time to the next."""
    for now, later in zip(times, times[1:]):
        x = x + (later - now) * model(jnp.array([now]), x[None])[0]
    return x


for t0, t1, taken in ((0.0, 1.0, 4), (0.0, 0.5, 2), (0.5, 1.0, 2), (0.0, 0.125, 1), (0.875, 1.0, 1)):
    end, count = solve(start, t0, t1, 4)
    asked, made = (np.abs(end - euler(start, np.linspace(t0, t1, n + 1))).max() for n in (4, taken))
    print(f"num_steps=4 from {t0} to {t1}: {count} steps; off by {asked:.4f} from 4 by hand, {made:.1e} from {taken}")
    assert count == taken and made < 1e-5
    assert taken == 4 or asked > 1e-3
one, _ = solve(start, 0.875, 1.0, 1)
four, _ = solve(start, 0.875, 1.0, 4)
assert (one == four).all()

counts = [solve(start, 0.0, 0.5, 8, **options)[1] for options in ({"solver": diffrax.Heun()}, {"reverse": True})]
print("num_steps=8 from 0 to 0.5 with Heun's method and backward:", counts)
assert counts == [4, 4]


def hops(parts, steps):
    """The std of samples, by one call for each part of the time; the flow multiplies the noise, of std 1."""
    x = jnp.ones(1)
    for part in range(parts):
        x, _ = solve(x, part / parts, (part + 1) / parts, steps)
    return abs(x[0].item())


split, coarse, fine = hops(8, 4), hops(1, 8), hops(1, 32)
print(f"std of samples: 8 calls with 4 steps {split:.3f}, one with 8 {coarse:.3f}, one with 32 {fine:.3f}, exact {STD}")
assert abs(split - coarse) < 1e-4 and split < 0.43 and fine > 0.465
print("As described: the number of steps is for the time from 0 to 1, a part of it gets fewer.")
PY
OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu "$dir/venv/bin/python" "$dir/probe.py"
