#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, keras.layers.SpectralNormalization, trained by fit.
# Source: SpectralNormalization.call in keras/src/layers/normalization/spectral_normalization.py assigns the normalised
#         kernel to the layer, in training only. On JAX train_step in keras/src/backend/jax/trainer.py runs the model
#         without side effects and keeps new values of non-trainable variables; that of the kernel is dropped, and the
#         optimizer goes on from the old one.
# Guess:  the layer "constrains the spectral norm" of its weights, so evaluate and predict work with weights of norm 1,
#         as training does, on each backend.
# Seen:   in training the norm is 1; stored are weights without a limit, and with these evaluate and predict work. After
#         40 epochs three layers have norms of 2.4, 2.9 and 1.4. The loss is 0.010 in fit and 2.4 in evaluate, on the
#         same data, where always 0 would give 0.19. The file that is saved holds these weights, and TensorFlow gets 2.4
#         from it, too. One call of model(x, training=True) by itself writes weights of norm 1, and evaluate gives
#         0.010. Trained on TensorFlow, the same model has norms of 1, and 0.010 in fit and in evaluate. No warning.
# Date:   2026-11-29
# Why:    critics and discriminators have it, and networks that must not be steep. Training looks as it should. Scores
#         of samples by predict, validation, guidance by such a network and exported weights come from another function,
#         several times as steep, and one reads it as overfitting.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 tensorflow-cpu==2.21.0 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import sys

import keras
import numpy as np

backend, file = keras.backend.backend(), sys.argv[1]
random = np.random.default_rng(0)
x = random.normal(size=(1024, 16)).astype("float32")
y = (0.5 * np.tanh(x @ random.normal(size=(16, 1)))).astype("float32")


def norms(model):
    kernels = [layer.layer.kernel for layer in model.layers if isinstance(layer, keras.layers.SpectralNormalization)]
    return [float(np.linalg.svd(keras.ops.convert_to_numpy(k), compute_uv=False)[0]) for k in kernels]


def evaluate(what, model):
    loss, lengths = model.evaluate(x, y, batch_size=64, verbose=0), norms(model)
    print(f"{backend}, {what}: loss {loss:.4f}, spectral norms", *(f"{n:.2f}" for n in lengths))
    return loss, lengths


if len(sys.argv) > 2:
    loss, lengths = evaluate("the file that JAX wrote", keras.models.load_model(file))
    assert loss > 1 and min(lengths) > 1.2
    sys.exit()
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((16,))])
for width in (64, 64, 1):
    model.add(keras.layers.SpectralNormalization(keras.layers.Dense(width)))
    if width > 1:
        model.add(keras.layers.LeakyReLU(0.2))
model.compile(keras.optimizers.Adam(2e-3), "mse")
fitted = model.fit(x, y, batch_size=64, epochs=40, verbose=0).history["loss"][-1]
print(f"{backend}, fit: loss {fitted:.4f}; always 0 has {(y ** 2).mean():.2f}")
assert fitted < 0.05
loss, lengths = evaluate("evaluate", model)
if backend == "tensorflow":
    assert loss < 0.05 and all(abs(n - 1) < 0.1 for n in lengths)
else:
    assert loss > 1 and min(lengths) > 1.2
    predicted = ((model.predict(x, batch_size=64, verbose=0) - y) ** 2).mean()
    assert abs(predicted - loss) < 1e-3
    model.save(file)
    model(x[:64], training=True)
    loss, lengths = evaluate("evaluate after one call with training=True", model)
    assert loss < 0.05 and all(abs(n - 1) < 0.1 for n in lengths)
PY
export OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu TF_CPP_MIN_LOG_LEVEL=3
KERAS_BACKEND=jax "$dir/venv/bin/python" "$dir/probe.py" "$dir/m.keras"
KERAS_BACKEND=tensorflow "$dir/venv/bin/python" "$dir/probe.py" "$dir/m.keras" load
KERAS_BACKEND=tensorflow "$dir/venv/bin/python" "$dir/probe.py" "$dir/t.keras"
echo "As described: on JAX the kernels are normalised in training only, and the stored ones are not."
