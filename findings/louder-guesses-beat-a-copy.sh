#!/bin/bash
# What:   audioldm-eval 0.0.3, KL_Sigmoid, the KL divergence of generated sounds from their references by the
#         probabilities that a tagger gives to each of 527 kinds of sound, with PyTorch 2.14.1.
# Source: calculate_kl in audioldm_eval/metrics/kl.py takes p log(p / q) of the sigmoids p of the reference and q of the
#         generated sound, and sums over the kinds. A comment says that for clips of several kinds this "could be
#         better" than softmax. Kinds by sigmoid are a yes and a no each, so the divergence of one has two terms, and
#         (1 - p) log((1 - p) / (1 - q)) is left out.
# Guess:  a divergence: 0 for a copy of the references, more for anything else, and less is better.
# Seen:   where q is above p the terms are negative, and nothing makes up for it. On drawn logits, most kinds unlikely,
#         a copy of the references scores 0.0, a close rendering 0.04, and the references with each logit raised by 1
#         score -6.0, of logits lowered by 1 6.8; with both terms they are 0.29, 4.2 and 2.5 away. A tagger that answers
#         0.33 for each kind, on each clip, scores best of all, -11.5, where the whole divergence is 191. No warning.
# Date:   2026-11-29
# Why:    the score rewards sounds in which the tagger hears a bit of everything, noise or several sounds at once, over
#         clean ones, and a better model may score worse. The KL by softmax, printed beside it, is a divergence.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q torch==2.14.1 numpy==2.4.6
"$dir/venv/bin/pip" install -q --no-deps audioldm-eval==0.0.3  # its other parts need many packages, this one only torch
cat > "$dir/probe.py" <<'PY'
import contextlib
import importlib.util
import io
import pathlib
import runpy

import torch
import torch.nn.functional as F

folder = pathlib.Path(importlib.util.find_spec("audioldm_eval").origin).parent
calculate_kl = runpy.run_path(str(folder / "metrics" / "kl.py"))["calculate_kl"]  # without the rest of the package

CLIPS, KINDS = 500, 527
torch.manual_seed(0)
reference = 2 * torch.randn(CLIPS, KINDS) - 6  # most kinds are unlikely
reference[torch.arange(CLIPS), torch.randint(KINDS, (CLIPS,))] = 2.0  # one is there
names = [f"{i}.wav" for i in range(CLIPS)]


def given(generated):
    sets = ({"logits": x, "file_path_": names} for x in (generated, reference))
    with contextlib.redirect_stdout(io.StringIO()):
        out = calculate_kl(*sets, "logits")[0]
    return out["kullback_leibler_divergence_sigmoid"], out["kullback_leibler_divergence_softmax"]


def exact(generated):
    """The divergence of 527 answers, yes or no, in nats, for a clip."""
    return sum((p.exp() * (p - q)).sum(1).mean().item() for p, q in (
        (F.logsigmoid(reference), F.logsigmoid(generated)), (F.logsigmoid(-reference), F.logsigmoid(-generated))))


noise = torch.randn(CLIPS, KINDS)
same = torch.full_like(noise, -0.7)  # 0.33 as a probability
scores = {}
for label, generated in (("a copy of the references", reference), ("a close rendering", reference + 0.3 * noise),
                         ("every kind likelier", reference + 1), ("every kind less likely", reference - 1),
                         ("any other clip", reference.roll(1, 0)), ("0.33 for each kind", same)):
    sigmoid, softmax = given(generated)
    right = exact(generated)
    print(f"{label}: KL_Sigmoid {sigmoid:.3f}, with both terms {right:.3f}, softmax {softmax:.3f}")
    assert right >= -1e-3
    scores[label] = sigmoid, right
for label, low, high, whole in (("a copy of the references", -0.01, 0.0, 0.0), ("a close rendering", 0.0, 0.1, 0.3),
                                ("every kind likelier", -7, -5, 4), ("every kind less likely", 6, 8, 2.5),
                                ("any other clip", 25, 35, 32), ("0.33 for each kind", -14, -9, 190)):
    sigmoid, right = scores[label]
    assert low <= sigmoid <= high and abs(right - whole) < 0.02 + 0.1 * whole
print("As described: KL_Sigmoid has one term of two, is negative for guesses that are too high, and ranks them first.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
