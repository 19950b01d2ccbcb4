#!/bin/bash
# What:   piq 0.8.0, piq.FID on given features.
# Source: _sqrtm_newton_schulz and _compute_fid in piq/fid.py.
# Guess:  the distance of a set to itself is 0 up to rounding, and with more images than columns it agrees with the
#         usual matrix square root to some digits, as torchmetrics, ignite and MONAI do.
# Seen:   the iteration for the matrix square root stops when the residual of the WHOLE matrix is small. The many small
#         eigenvalues are far from done then, and each adds to the distance. On 2,000 features of 512 columns whose
#         variances fall as i^-1.5 (sum 100, as real features do) a set has the distance 7.3 to itself, and two sets of
#         one distribution have 8.6, where 1.36 is exact. Double precision does not help.
# Date:   2026-11-27
# Why:    someone who scores a student with piq reads a bias several times a good model's FID, and two students that
#         differ by 1 look alike. White noise as features, the usual unit test, shows nothing.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 torchvision==0.29.1 piq==0.8.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import piq
import torch


def exact(a, b):
    """The Frechet distance in double precision, through symmetric eigenvalues."""
    a, b = a.double(), b.double()
    values, vectors = torch.linalg.eigh(torch.cov(a.T))
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    mixed = torch.linalg.eigvalsh(root @ torch.cov(b.T) @ root).clamp(min=0).sqrt().sum()
    return float((a.mean(0) - b.mean(0)).square().sum() + values.sum() + torch.cov(b.T).trace() - 2 * mixed)


def pair(power, rows=2000, columns=512):
    variances = torch.arange(1, columns + 1) ** -float(power)
    scale = (100 * variances / variances.sum()).sqrt()
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(rows, columns, generator=generator) * scale + 0.4 for _ in range(2)]


seen = {}
for name, power in (("falling variances", 1.5), ("equal variances", 0)):
    a, b = pair(power)
    seen[power] = (float(piq.FID()(a, a)), float(piq.FID()(a, b)), exact(a, b))
    assert abs(exact(a, a)) < 1e-6
    print(f"{name}: {seen[power][0]:.3f} to itself, {seen[power][1]:.2f} to another set, exact {seen[power][2]:.2f}")
assert abs(seen[0][0]) < 0.1 and abs(seen[0][1] / seen[0][2] - 1) < 0.01
assert seen[1.5][0] > 5 and seen[1.5][1] > 5 * seen[1.5][2]
a, _ = pair(1.5)
double = float(piq.FID()(a.double(), a.double()))
assert double > 5
print(f"As described: a set is {seen[1.5][0]:.1f} from itself, in double precision {double:.1f}.")
PY
"$dir/venv/bin/python" "$dir/probe.py"
