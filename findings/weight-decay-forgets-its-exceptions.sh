#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, optimizers with exclude_from_weight_decay, saved with their model and loaded.
# Source: get_config of BaseOptimizer in keras/src/optimizers/base_optimizer.py has the weight decay and not the
#         exceptions from it, which exclude_from_weight_decay keeps as attributes; load_model makes the optimizer anew
#         from that config, and then loads its state.
# Guess:  model.save keeps the optimizer with its state, so a loaded model trains on as the unbroken one does, or there
#         is a warning that something is to be set again.
# Seen:   everything is decayed. A network with embeddings of ten classes, excepted as the biases are, is trained on all
#         and then, for 40 epochs, on five of them. Without a break the other five keep their embeddings, of length 3.2,
#         and a loss of 0.001. Loaded in between, the loss of the five that are trained is as good, the embeddings of
#         the others shrink to 0.7, and their loss is 1.5. If the exceptions are set again on the loaded model's
#         optimizer, all is as without a break. An optimizer made by from_config(get_config()) forgets, too. No warning.
# Date:   2026-11-29
# Why:    embeddings, biases and the scales of normalisation are excepted from weight decay as a rule. From the first
#         stop on they decay, and what is trained seldom, such as embeddings of rare classes, tokens or times, fades
#         away while the training loss is as good as ever.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys
import warnings

import keras
import numpy as np

file = sys.argv[1] + "/model.keras"
random = np.random.default_rng(0)
x = random.normal(size=(4096, 8)).astype("float32")
label = random.integers(0, 10, 4096)
target = np.tanh(x) + random.normal(size=(10, 8)).astype("float32")[label]
few = label < 5
warnings.simplefilter("error", UserWarning)


def fit(model, which, epochs):
    model.fit([x[which], label[which]], target[which], batch_size=32, epochs=epochs, verbose=0)
    return model


def report(what, model):
    """The losses of the classes that are trained on to the end, and of the other five."""
    losses = [model.evaluate([x[which], label[which]], target[which], verbose=0) for which in (few, ~few)]
    table = keras.ops.convert_to_numpy(model.get_layer("classes").embeddings)
    print(f"{what}: loss of the five classes {losses[0]:.3f}, of the others {losses[1]:.3f}, length of their "
          f"embeddings {np.linalg.norm(table[5:], axis=1).mean():.2f}")
    return losses


keras.utils.set_random_seed(0)
picture, number = keras.Input((8,)), keras.Input((), dtype="int32")
hidden = keras.layers.Dense(64, activation="tanh")(picture)
means = keras.layers.Embedding(10, 8, name="classes")(number)
model = keras.Model([picture, number], keras.layers.Dense(8)(hidden) + means)
optimizer = keras.optimizers.AdamW(3e-3, weight_decay=0.2)
optimizer.exclude_from_weight_decay(var_list=[model.get_layer("classes").embeddings], var_names=["bias"])
model.compile(optimizer, "mse")
start = report("trained on ten classes", fit(model, label < 10, 20))
model.save(file)
assert max(start) < 0.05
loaded = keras.models.load_model(file)
repaired = keras.models.load_model(file)
repaired.optimizer.exclude_from_weight_decay(
    var_list=[repaired.get_layer("classes").embeddings], var_names=["bias"])
for what, trained in (("unbroken, five classes more", model), ("loaded and told again", repaired)):
    losses = report(what, fit(trained, few, 40))
    assert losses[0] < 0.05 and losses[1] < 0.1
assert report("loaded, not trained", loaded) == start
losses = report("loaded, five classes more", fit(loaded, few, 40))
assert losses[0] < 0.05 and losses[1] > 0.7
config = keras.optimizers.AdamW.from_config(optimizer.get_config())
table = model.get_layer("classes").embeddings
assert config.weight_decay == 0.2 and config._use_weight_decay(table) and not optimizer._use_weight_decay(table)
print("As described: after load_model, all that was excepted decays.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py" "$dir"
