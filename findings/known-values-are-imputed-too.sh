#!/bin/bash
# What:   ForestDiffusion 1.0.6, ForestDiffusionModel.impute(X=table), the imputation of rows that are handed over.
# Source: impute in ForestDiffusion/diffusion_with_trees_class.py takes X as it is for data that are scaled to [-1, 1],
#         and scales the result back. Without X it takes the scaled training data. predict scales the X it is given,
#         since that is raw data, as a comment there says.
# Guess:  X is a table like the one the model was made of, with gaps, as a comment at the method says. Its known values
#         come back as they were, its gaps are filled, and impute(X=the training table) does what impute() does.
# Seen:   the known values come back changed. In a table of two columns around 50, from 35 to 65, each known value
#         becomes the column's maximum, 19 off on average: it is scaled up as if it were a scaled one, to about 800, and
#         clipped. The gaps are filled for a row of that kind, off by 11 instead of 5.4. Without X the known values are
#         exact. No warning.
# Date:   2026-11-29
# Why:    one trains on complete rows and fills the gaps of others, such as a test set, by X. All values are in the
#         range of the data, so that nothing looks wrong, and scores of what is filled in say that the model is bad.
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

whole = np.random.default_rng(0).multivariate_normal([50, 50], [[25, 24], [24, 25]], 400)
table = whole.copy()
table[:200, 1] = np.nan  # a gap in each of the first 200 rows; the columns are alike, so that it can be filled well
known = ~np.isnan(table)
model = ForestDiffusionModel(table, diffusion_type="vp", n_batch=0, n_t=10, duplicate_K=10, n_estimators=15,
                             max_depth=4, n_jobs=1, nthread=1)
for call, filled in (("impute()", model.impute()), ("impute(X=table)", model.impute(X=table.copy()))):
    moved = np.abs(filled - whole)[known].mean()
    gaps = np.abs(filled - whole)[~known].mean()
    at_most = np.isclose(filled, np.nanmax(table, axis=0))[known].mean()
    print(f"{call}: known values are off by {moved:.2f} on average, {at_most:.1%} of them are the column's maximum;",
          f"filled values are off by {gaps:.1f}")
    if call == "impute()":
        assert moved < 1e-9 and at_most < 0.01
        first = gaps
    else:
        assert moved > 10 and at_most > 0.99
        assert gaps > 1.4 * first
print("As described: X is taken for scaled data, and what was known is changed.")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
