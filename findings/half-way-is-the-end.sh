#!/bin/bash
# What:   flow_matching 1.0.10, MixtureDiscreteEulerSolver.sample with a time_grid that ends before 1.
# Source: the branch for the final step in flow_matching/solver/discrete_solver.py, which sets x_t = x_1: it asks for
#         the last step of the call, not for the end of time. The docstring promises a process "in the interval
#         [time_grid[0], time_grid[-1]]".
# Guess:  a call from 0 to 0.5 gives the state at 0.5, in which half of the tokens are still masked, and a second call
#         from there to 1 ends as one call from 0 to 1 does. ODESolver of the same package, for images, does just that.
# Seen:   the last step draws all tokens at once, wherever the grid ends: none is masked at 0.5, nor at 0.125. As an
#         intermediate time of a longer grid the same 0.5 has half of its tokens masked. With an exact model of two
#         tokens that always agree, pairs that disagree are 0.4 % after one call from 0 to 1, 24 % after two calls that
#         meet at 0.5 and 70 % after eight calls, in steps of the same size; smaller steps change nothing. No warning.
# Date:   2026-11-29
# Why:    a run is split to change the model or the guidance on the way, to save a state, to draw a student's training
#         states, or to let a teacher go from one time to the next, as in distillation in hops. Each token looks right
#         alone. What is lost is how the tokens belong together, so it looks like a weak model.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6 scipy==1.17.1 torchdiffeq==0.2.5 flow-matching==1.0.10 \
    tqdm==4.70.1
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
import torch.nn.functional as F
from flow_matching.path import MixtureDiscreteProbPath
from flow_matching.path.scheduler import CondOTScheduler
from flow_matching.solver import MixtureDiscreteEulerSolver, ODESolver
from flow_matching.utils import ModelWrapper

warnings.simplefilter("error")
TOKENS, PAIRS = 10, 4_000
MASK = TOKENS  # the token that stands for noise


class Exact(ModelWrapper):
    """Of pairs of equal tokens, each value as likely as another: what each token will be, given the pair so far."""

    def __init__(self):
        super().__init__(None)

    def forward(self, x, t, **extras):
        known = torch.where(x == MASK, x.flip(1), x)
        guesses = torch.tensor(TOKENS * [1 / TOKENS] + [0.0])
        return torch.where((known == MASK)[..., None], guesses, F.one_hot(known, TOKENS + 1).float())


solver = MixtureDiscreteEulerSolver(Exact(), MixtureDiscreteProbPath(CondOTScheduler()), TOKENS + 1)
noise = torch.full((PAIRS, 2), MASK)


def masked(x):
    return (x == MASK).float().mean().item()


def hops(times, step=1 / 256):
    """One call from each time to the next; the share of masked tokens and that of pairs that disagree at the end."""
    torch.manual_seed(0)
    x = noise
    for start, end in zip(times, times[1:]):
        x = solver.sample(x, step_size=step, time_grid=torch.tensor([start, end]))
    return masked(x), (x[:, 0] != x[:, 1]).float().mean().item()


half = ODESolver(lambda x, t: torch.ones_like(x)).sample(torch.zeros(1), step_size=1 / 256,
                                                       time_grid=torch.tensor([0.0, 0.5])).item()
print(f"ODESolver, velocity 1 from 0: {half:.3f} at time 0.5")
assert abs(half - 0.5) < 1e-5

torch.manual_seed(0)
on_the_way = solver.sample(noise, step_size=1 / 256, time_grid=torch.tensor([0.0, 0.125, 0.5, 1.0]),
                           return_intermediates=True)
for time, state in zip((0.125, 0.5), on_the_way[1:]):
    share, _ = hops([0.0, time])
    print(f"time {time}: {masked(state):.1%} of the tokens are masked on the way to 1, {share:.1%} when the grid ends")
    assert abs(masked(state) - (1 - time)) < 0.03 and share == 0
fine, _ = hops([0.0, 0.5], 1 / 1024)
grid = masked(solver.sample(noise, step_size=None, time_grid=torch.linspace(0, 0.5, 129)))
print(f"time 0.5: {fine:.1%} are masked with steps of 1/1024, {grid:.1%} with a grid of 128 steps and no step_size")
assert fine == grid == 0

for calls, low, high in ((1, 0, 0.02), (2, 0.2, 0.26), (8, 0.65, 0.75)):
    share, disagree = hops([i / calls for i in range(calls + 1)])
    print(f"from 0 to 1, calls: {calls}; {disagree:.1%} of the pairs disagree")
    assert share == 0 and low <= disagree <= high
print("As described: the last step of a call draws all tokens, wherever its time ends.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
