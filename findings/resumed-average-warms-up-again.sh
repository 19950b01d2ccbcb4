#!/bin/bash
# What:   pytorch-ignite 0.5.5, EMAHandler with momentum_warmup and warmup_iters, in a run that is resumed.
# Source: EMAHandler.attach in ignite/handlers/ema_handler.py makes a new LambdaStateScheduler, which counts its own
#         calls from 0, whatever the trainer's iteration is. The counter is in no state that the docstring's steps save,
#         and the scheduler is made by attach, which comes after the loading in them.
# Guess:  resumed by the recommended steps (model, ema_model, optimizer and trainer loaded by Checkpoint.load_objects,
#         then attach), the trainer goes on at its iteration and the momentum, past its warm-up, is the final one.
# Seen:   the warm-up starts again. With the docstring's own numbers, 0.2 down to 0.002 in 100 iterations, the first of
#         those iterations keep 0.002 % of the loaded average. A run of 4,000 noisy iterations has an EMA with an error
#         of 0.062, against 0.45 of the raw weights. Stopped at 3,900 it has 0.062 there, and the resumed run has 0.25
#         at 4,000. Without a warm-up a resumed run keeps 0.062. No warning.
# Date:   2026-11-29
# Why:    the EMA is the model that is sampled from. Each interruption of a long run throws it away and puts nearly the
#         raw weights in its place, so samples and FID get worse after each restart, for 1/momentum iterations, and with
#         the default momentum of 0.0002 that is 5,000. It looks as if the optimizer had not been restored.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 pytorch-ignite==0.5.5 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import warnings

import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, EMAHandler

warnings.simplefilter("error")
torch.manual_seed(0)
TARGET = torch.randn(1000)
NOISE = 2 * torch.randn(4000, 1000)  # the noise of each iteration's gradient
STOP = 3900


def start(warm_up=True):
    """Model, optimizer, handler and trainer, and what a checkpoint has of them, as in the docstring of EMAHandler."""
    model = torch.nn.Linear(1, 1000, bias=False)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = dict(momentum_warmup=0.2, warmup_iters=100) if warm_up else {}
    handler = EMAHandler(model, momentum=0.002, **settings)

    def step(engine, batch):
        optimizer.zero_grad()
        model.weight.grad = model.weight.detach() - TARGET[:, None] + NOISE[engine.state.iteration - 1][:, None]
        optimizer.step()

    trainer = Engine(step)
    parts = {"model": model, "ema_model": handler.ema_model, "optimizer": optimizer, "trainer": trainer}
    return handler, trainer, parts


def error(model):
    return (model.weight[:, 0] - TARGET).square().mean().sqrt().item()


def run(handler, trainer, iterations):
    """Trains to the end of the iterations; the momentum that was in use in each, and the errors at the end."""
    momentum = []
    handler.attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: momentum.append(trainer.state.ema_momentum))
    trainer.run([0] * 100, max_epochs=iterations // 100)
    assert trainer.state.iteration == iterations
    return momentum, error(handler.ema_model), error(handler.model)


def resumed(warm_up):
    """As run, of a run that was stopped at STOP and goes on from its checkpoint; and the EMA's error when loaded."""
    handler, trainer, parts = start(warm_up)
    run(handler, trainer, STOP)
    saved = {name: part.state_dict() for name, part in parts.items()}
    handler, trainer, parts = start(warm_up)
    Checkpoint.load_objects(parts, saved)
    assert trainer.state.iteration == STOP
    loaded = error(handler.ema_model)
    return *run(handler, trainer, 4000), loaded


handler, trainer, _ = start()
momentum, whole, raw = run(handler, trainer, 4000)
print(f"in one go: momentum {momentum[0]:.3f} at first and {momentum[-100]:.3f} in the last 100 iterations; "
      f"error of the EMA {whole:.3f}, of the raw weights {raw:.3f}")
assert momentum[0] == 0.2 and set(momentum[-100:]) == {0.002} and whole < 0.2 * raw
momentum, broken, raw_again, loaded = resumed(True)
kept = torch.tensor(momentum).neg().add(1).prod().item()
print(f"resumed at {STOP}: momentum {momentum[0]:.3f} at first, {momentum[-1]:.3f} at last, {kept:.4%} of the loaded "
      f"average kept; error of the EMA {loaded:.3f} when loaded and {broken:.3f} at the end, raw {raw_again:.3f}")
assert momentum[0] == 0.2 and kept < 1e-4 and raw_again == raw and loaded < 1.5 * whole and broken > 3 * loaded
momentum, kept_up, _, loaded = resumed(False)
print(f"resumed, without a warm-up: momentum {momentum[0]:.3f}, error {loaded:.3f} when loaded, "
      f"{kept_up:.3f} at the end")
assert set(momentum) == {0.002} and kept_up < 1.2 * loaded
print("As described: a resumed EMA warms up again and forgets what it was loaded with.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
