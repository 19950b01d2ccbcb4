#!/bin/bash
# What:   Keras 3.15.1 with jax 0.10.2, the callback SwapEMAWeights, in predict, and in fit with EarlyStopping.
# Source: SwapEMAWeights in keras/src/callbacks/swap_ema_weights.py: on_predict_end swaps only if the average is NOT in
#         the model, where on_test_end swaps if it is; on_epoch_end looks for the last of all planned epochs, so that
#         fit's finalize_variable_values, which copies the optimizer's average to the model, finds the weights there
#         when training stops before.
# Guess:  predict(callbacks=[SwapEMAWeights()]) predicts with the average and puts the weights back, as evaluate does,
#         and fit ends with the average in the model, as it does without EarlyStopping or without the swap.
# Seen:   after predict the average stays in the model, and the weights are in the average's place. Called four times,
#         each with a callback of its own, predict has the average, the weights, the average, the weights: losses of
#         0.056, 0.165, 0.056, 0.165. evaluate has 0.056 each time. With swap_on_epoch=True and EarlyStopping fit ends
#         with the weights, at 0.81, though each val_loss was the average's and the last one was 0.029; without either
#         of the two callbacks it ends with the average. With a preview of samples by predict after each epoch, training
#         goes on from the average, and fit ends with the weights: 0.37, and 0.030 without the preview. No warning.
# Date:   2026-11-29
# Why:    samples for a grid or an FID are made by predict, with the average, while training goes on. Every second set
#         then comes from the raw weights, training is another one for having been looked at, and what is saved in the
#         end are raw weights that are taken for their average.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q keras==3.15.1 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import keras
import numpy as np
from keras.callbacks import Callback, EarlyStopping, SwapEMAWeights

random = np.random.default_rng(0)
x = random.normal(size=(2048, 4)).astype("float32")
clean = np.sin(2 * x[:, :1]).astype("float32")
noisy = clean + random.normal(size=clean.shape).astype("float32")


def make():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64, activation="tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.995), "mse")
    return model


def predict(model, *callbacks):
    return float(((model.predict(x, batch_size=2048, verbose=0, callbacks=list(callbacks)) - clean) ** 2).mean())


def both(model):
    """The losses of the weights and of their average, where the optimizer keeps it."""
    weights = model.get_weights()
    loss = predict(model)
    model.set_weights([keras.ops.convert_to_numpy(a) for a in model.optimizer._model_variables_moving_average])
    average = predict(model)
    model.set_weights(weights)
    return loss, average


class Watch(Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.weights, self.average = both(self.model)


class Preview(Callback):
    def on_epoch_end(self, epoch, logs=None):
        predict(self.model, SwapEMAWeights())


def fit(what, *callbacks, **options):
    model, watch = make(), Watch()
    history = model.fit(x, noisy, batch_size=32, epochs=16, verbose=0, callbacks=[watch, *callbacks], **options)
    end = predict(model)
    print(f"fit, {what}: {len(history.epoch)} epochs, weights {watch.weights:.3f}, average {watch.average:.3f}, "
          f"in the model at the end {end:.3f}")
    return watch.weights, watch.average, end, history.history


model = make()
for k in range(800):
    pick = random.integers(0, len(x), 32)
    model.train_on_batch(x[pick], noisy[pick])
weights, average = both(model)
evaluated = [model.evaluate(x, clean, batch_size=2048, verbose=0, callbacks=[SwapEMAWeights()]) for _ in range(4)]
predicted = [predict(model, SwapEMAWeights()) for _ in range(4)]
print(f"800 batches: weights {weights:.3f}, average {average:.3f}")
print("evaluate four times:", *(f"{e:.3f}" for e in evaluated))
print("predict four times: ", *(f"{p:.3f}" for p in predicted))
assert weights > 1.3 * average and np.allclose(evaluated, average, atol=1e-4)
assert np.allclose(predicted, [average, weights] * 2, atol=1e-4)

weights, average, end, _ = fit("plain", validation_data=(x, clean))
assert abs(end - average) < 1e-4 and weights > 1.3 * average
swap, stop = SwapEMAWeights(swap_on_epoch=True), EarlyStopping("val_loss", patience=1)
weights, average, end, _ = fit("swap_on_epoch", swap, validation_data=(x, clean))
assert abs(end - average) < 1e-4
weights, average, end, _ = fit("EarlyStopping", stop, validation_data=(x, clean))
assert abs(end - average) < 1e-4
swap, stop = SwapEMAWeights(swap_on_epoch=True), EarlyStopping("val_loss", patience=1)
weights, average, end, history = fit("swap_on_epoch and EarlyStopping", swap, stop, validation_data=(x, clean))
assert len(history["loss"]) < 16 and abs(history["val_loss"][-1] - average) < 1e-4
assert abs(end - weights) < 1e-4 and weights > 1.2 * average
weights, average, end, _ = fit("predict with SwapEMAWeights after each epoch", Preview())
assert abs(end - weights) < 1e-4
print("As described: the average stays in the model after predict, and is not there after fit stops early.")
PY
KERAS_BACKEND=jax JAX_PLATFORMS=cpu OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
