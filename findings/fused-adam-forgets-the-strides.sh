#!/bin/bash
# What:   PyTorch 2.14.1, AdamW, Adam, SGD and Adagrad of torch.optim with fused=True, on the CPU.
# Source: _fused_adam in torch/optim/adam.py and FusedAdamKernel.cpp in aten/src/ATen/native/cpu (and its like for SGD
#         and Adagrad), which go through the memory of weight, gradient and moments side by side. Reports of the same on
#         CUDA (PyTorch's issue 106951) end in an error about the layout; that was not tried here.
# Guess:  fused=True makes the step faster and nothing else. Strides are not values: it trains as the plain one does.
# Seen:   numbers are paired by their place in memory. Where strides differ, a weight gets another one's gradient or
#         moments. Gradients of torch.func.grad or torch.autograd.grad, handed to the optimizer, are channels_last when
#         the images are, though the weights are not: 100 steps take the loss from 1.12 to 0.19, fused ones leave it at
#         1.14. A run that is saved in the usual layout and resumed in channels_last, with backward(), is off by at
#         most 3e-6 of its way after 10 steps; with fused=True it is off by 1.0 times its way (Adagrad by 0.5), as
#         load_state_dict keeps the strides of the saved moments. No warning.
# Date:   2026-11-29
# Why:    fused and channels_last are two switches for speed, and a run is resumed elsewhere with both of them on. Wrong
#         moments pass for noise there. Gradients are taken and given by hand for several losses, for second orders, and
#         where one's own code averages or clips them: then nothing is learned, and the new method gets the blame.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import copy
import warnings

import torch
from torch import nn
from torch.func import functional_call, grad

warnings.simplefilter("error")
torch.set_num_threads(1)
LAST = torch.channels_last


def network(layout=torch.contiguous_format):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.SiLU(), nn.Conv2d(32, 32, 3, padding=1), nn.SiLU(),
                        nn.Conv2d(32, 3, 3, padding=1))
    return net.to(memory_format=layout)


def batch(seed):
    """Noisy pictures, stripes of random colours, and the clean ones."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randn(8, 3, 1, 16, generator=generator).expand(-1, -1, 16, -1)
    return clean + torch.randn(clean.shape, generator=generator), clean


def loss_of(net, x, y):
    return (net(x) - y).square().mean()


def test(net):
    with torch.no_grad():
        return loss_of(net, *batch(10_000)).item()


def train(net, optimizer, first, steps):
    for seed in range(first, first + steps):
        optimizer.zero_grad()
        loss_of(net, *batch(seed)).backward()
        optimizer.step()


def distance(a, b):
    return sum((p - q).square().sum() for p, q in zip(a.parameters(), b.parameters())).sqrt().item()


def resumed(kind, fused, layout, **settings):
    """The network after 60 steps, a save, a load into a network of this layout, and 10 more steps; how far these go."""
    net = network()
    optimizer = kind(net.parameters(), fused=fused, **settings)
    train(net, optimizer, 0, 60)
    saved = copy.deepcopy((net.state_dict(), optimizer.state_dict()))
    old, net = net, network(layout)
    net.load_state_dict(saved[0])
    optimizer = kind(net.parameters(), fused=fused, **settings)
    optimizer.load_state_dict(saved[1])
    train(net, optimizer, 60, 10)
    return net, distance(old, net)


for kind, settings in ((torch.optim.AdamW, {"lr": 3e-3}), (torch.optim.Adam, {"lr": 3e-3}),
                       (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}), (torch.optim.Adagrad, {"lr": 3e-3})):
    off = []
    for fused in (False, True):
        (plain, way), (other, _) = (resumed(kind, fused, layout, **settings)
                                    for layout in (torch.contiguous_format, LAST))
        off.append(distance(plain, other) / way)
    print(f"{kind.__name__}, 10 steps after resuming in channels_last: off by {off[0]:.1e} of the way, "
          f"fused by {off[1]:.2f}")
    assert off[0] < 1e-3 and off[1] > 0.1


def by_hand(fused, gradient):
    """100 steps whose gradients are given to the optimizer by hand, of pictures in channels_last; the test's loss."""
    net = network()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, fused=fused)
    for seed in range(100):
        x, y = (t.to(memory_format=LAST) for t in batch(seed))
        names = dict(net.named_parameters())
        found = gradient(net, names, x, y)
        for name, parameter in names.items():
            assert found[name].shape == parameter.shape
            parameter.grad = found[name]
        optimizer.step()
    return test(net)


def functional(net, names, x, y):
    return grad(lambda values: (functional_call(net, values, (x,)) - y).square().mean())(names)


def plainly(net, names, x, y):
    return dict(zip(names, torch.autograd.grad(loss_of(net, x, y), list(names.values()))))


print(f"before training: loss {test(network()):.3f}")
for gradient in (functional, plainly):
    good, bad = by_hand(False, gradient), by_hand(True, gradient)
    name = "torch.func.grad" if gradient is functional else "torch.autograd.grad"
    print(f"gradients of {name}: loss {good:.3f}, fused {bad:.3f}")
    assert good < 0.5 and bad > 1.5 * good
print("As described: fused optimizers pair the numbers by their place in memory.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
