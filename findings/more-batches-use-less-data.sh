#!/bin/bash
# What:   ForestDiffusion 1.0.6, ForestDiffusionModel(n_batch=2 or more), diffusion and flow matching of tables by
#         XGBoost in batches, to save memory.
# Source: __init__ in ForestDiffusion/diffusion_with_trees_class.py cuts the rows by np.split, and hands it the SIZES of
#         the batches where np.split takes the places to cut at: 1,000 rows in 4 batches are cut at 250, 250, 250 and
#         250, that is into 250 rows, nothing three times, and 750 rows. IterForDMatrix reads the first four of these.
# Guess:  the batches together are the data, each row in one of them: the comment at the option says that it is the
#         number of batches, and no more.
# Seen:   the model sees the first batch only: half of the rows with n_batch=2, a quarter with 4, a tenth with 10. Of
#         1,000 rows whose first column grows from 0 to 1, the samples have it around 0.50 on average with n_batch=0 or
#         1, around 0.25 with 2 and 0.12 with 4, and 40 %, 0 % and 0 % of them have it above 0.6. No warning.
# Date:   2026-11-29
# Why:    batches are for large tables, which are often sorted: by date, by patient, by class. What comes late in the
#         file is then never generated. If the rows are shuffled, it looks like a weak model, and more batches, taken to
#         fit more data, make it weaker.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 scikit-learn==1.9.1 lightgbm==4.7.0 \
    joblib==1.6.0 six==1.17.0
"$dir/venv/bin/pip" install -q --no-deps xgboost==3.2.0 catboost==1.2.10 ForestDiffusion==1.0.6
cat > "$dir/probe.py" <<'PY'
import numpy as np
from ForestDiffusion import ForestDiffusionModel
from ForestDiffusion.utils.utils_diffusion import IterForDMatrix

ROWS = 1_000
rng = np.random.default_rng(0)
table = np.stack([np.linspace(0, 1, ROWS), rng.uniform(size=ROWS)], axis=1)
seen, read = set(), IterForDMatrix.next


def watched(self, input_data):
    """The iterator's next, which also notes the rows that it hands to XGBoost (before noise is added)."""
    if self.it < self.n_batch * self.n_epochs:
        seen.update(row.tobytes() for row in self._data[self.it % self.n_batch])
    return read(self, input_data)


IterForDMatrix.next = watched
for batches, part in ((0, 1), (1, 1), (2, 1 / 2), (4, 1 / 4)):
    seen.clear()
    model = ForestDiffusionModel(table, n_batch=batches, n_t=10, duplicate_K=10, n_estimators=15, max_depth=4,
                                 n_jobs=1, nthread=1)
    samples = model.generate(batch_size=1_000)[:, 0]
    rows = f"{len(seen)} of {ROWS} rows are read" if batches else "all rows at once"
    print(f"n_batch={batches}: {rows}; samples: mean {samples.mean():.2f}, {(samples > 0.6).mean():.0%} above 0.6")
    assert len(seen) == (ROWS * part if batches else 0)
    assert abs(samples.mean() - part / 2) < 0.06
    if part < 1:
        assert (samples > 0.6).mean() < 0.03
    else:
        assert 0.33 < (samples > 0.6).mean() < 0.5
print("As described: the model sees one batch of the rows, and the others never.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
