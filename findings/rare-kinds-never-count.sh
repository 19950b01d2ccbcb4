#!/bin/bash
# What:   vendi-score 0.0.3, vendi.score_X(X, q=...), how many kinds of samples there are, from their features, and q,
#         the order of the score: a small q counts rare kinds in full, a large one only the common ones.
# Source: score_X in vendi_score/vendi.py hands q=1 on, whatever it was given. entropy_q sums the powers q of all
#         eigenvalues above 0, and those that are 0 come out of the rounding as some 1e-17, or 1e-9 in float32.
# Guess:  score_X, score_K of the products of the features, and score_dual of the features are one and the same score
#         computed in three ways, for each q, and never more than the number of kinds.
# Seen:   1,000 samples are 910 of one kind and 10 each of nine others. The score is 8.2 for q=0.1, 3.4 for q=0.5, 1.65
#         for q=1 and 1.1 for "inf"; score_X gives 1.65 for each. score_K and score_dual heed q. For q=0.1, though,
#         score_K finds 21 kinds among the ten, and 118 if the features are float32, as networks give them, since the
#         power 0.1 turns 1e-17 into 0.02 and 1e-9 into 0.13. No warning of either.
# Date:   2026-11-29
# Why:    the order is there to see whether a model drops rare modes (small q) or repeats itself (large q). By score_X
#         both answers are that of q=1, and by score_K with a small q rounding errors are the greater part of it.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q vendi-score==0.0.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cat > "$dir/probe.py" <<'PY'
import warnings

import numpy as np

warnings.filterwarnings("ignore", category=DeprecationWarning)  # an old name of SciPy's
from vendi_score import vendi  # noqa: E402

counts = [910] + 9 * [10]
kinds = np.repeat(np.arange(10), counts)
directions = np.linalg.qr(np.random.default_rng(0).normal(size=(64, 10)))[0].T  # of features; kinds have nothing alike
X = directions[kinds]
share = np.bincount(kinds) / len(kinds)


def right(q):
    """The score by its definition, from the shares of the kinds."""
    if q == 1:
        return np.exp(-(share * np.log(share)).sum())
    return 1 / share.max() if q == "inf" else (share ** q).sum() ** (1 / (1 - q))


for q in (0.1, 0.5, 1, 2, "inf"):
    by_x, by_k, by_dual = vendi.score_X(X, q=q), vendi.score_K(X @ X.T, q=q), vendi.score_dual(X, q=q)
    floats = X.astype(np.float32)
    single = vendi.score_K(floats @ floats.T, q=q)
    print(f"q={q}: by definition {right(q):.2f}, score_X {by_x:.2f}, score_K {by_k:.2f}, score_dual {by_dual:.2f},",
          f"score_K of float32 {single:.2f}")
    assert abs(by_x - right(1)) < 0.01
    if q == 0.1:
        assert right(q) < 8.3 and by_k > 12 and single > 30
    else:
        assert abs(by_k - right(q)) < 0.01 and abs(by_dual - right(q)) < 0.01
print("As described: score_X leaves q out, and a small q counts rounding errors as kinds.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
