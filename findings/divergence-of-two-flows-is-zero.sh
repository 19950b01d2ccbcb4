#!/bin/bash
# What:   distrax 0.1.9 with jax 0.10.2 and tfp-nightly 0.26.0.dev20261027 (which it requires), kl_divergence of two
#         Transformed distributions, such as two normalizing flows.
# Source: _kl_divergence_transformed_transformed in distrax/_src/distributions/transformed.py takes two bijectors as
#         equal if the texts of their jaxprs are. Parameters that are arrays are constants outside that text, so only
#         the shapes and operations are compared. Then the divergence is that of the base distributions.
# Guess:  flows with other parameters are other distributions: their divergence is above 0, or, as the docstring says
#         of bijectors that are not known to be equal, it raises NotImplementedError.
# Seen:   with parameters that are jax arrays it is 0, and so is its gradient: for Gaussians whose means differ by 3 in
#         each of two dimensions, by Shift or ScalarAffine, where it is 9, for scales of 0.33 and 3 by DiagLinear, and
#         for flows of six coupling layers with different random weights. The same shift as a Python number raises
#         NotImplementedError. No warning.
# Date:   2026-11-29
# Why:    in a VAE whose posterior and prior are flows, or where a flow is distilled into another, the KL term is that
#         of the base distributions and trains no flow. The loss looks good, the samples from the prior do not.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q distrax==0.1.9 jax==0.10.2 tfp-nightly==0.26.0.dev20261027 numpy==2.4.6
cat > "$dir/probe.py" <<'PY'
import distrax
import jax
import jax.numpy as jnp


def flow(bijector):
    return distrax.Transformed(distrax.MultivariateNormalDiag(jnp.zeros(2), jnp.ones(2)), bijector)


def shift(value):
    return flow(distrax.Block(distrax.Shift(value), 1))


def affine(value):
    return flow(distrax.Block(distrax.ScalarAffine(shift=value, scale=jnp.array([1.0, 1.0])), 1))


def diagonal(value):
    return flow(distrax.DiagLinear(value))


def coupling(seed):
    layers = []
    for number, key in enumerate(jax.random.split(jax.random.key(seed), 6)):
        weights = jax.random.normal(key, (2, 2))
        layers.append(distrax.MaskedCoupling(
            mask=jnp.arange(2) % 2 == number % 2, bijector=distrax.Shift,
            conditioner=lambda x, weights=weights: jnp.tanh(x) @ weights))
    return flow(distrax.Chain(layers))


def estimate(first, second):
    """The divergence by samples."""
    x, log_prob = first.sample_and_log_prob(seed=jax.random.key(0), sample_shape=20_000)
    return float((log_prob - second.log_prob(x)).mean())


zero, three, third = jnp.array([0.0, 0.0]), jnp.array([3.0, 3.0]), jnp.array([0.33, 0.33])
for name, first, second in (("Shift", shift(zero), shift(three)), ("ScalarAffine", affine(zero), affine(three)),
                            ("DiagLinear", diagonal(third), diagonal(three)),
                            ("coupling layers", coupling(1), coupling(2))):
    divergence, by_samples = float(first.kl_divergence(second)), estimate(first, second)
    print(f"{name}: kl_divergence {divergence:.3f}, by samples {by_samples:.3f}")
    assert divergence == 0 and by_samples > 0.5

slope = jax.grad(lambda value: shift(zero).kl_divergence(shift(value)))(three)
print(f"Shift: gradient with respect to the shift of the second {slope}, which should be 3")
assert (slope == 0).all()
try:
    print(shift(0.0).kl_divergence(shift(3.0)))
except NotImplementedError:
    print("Shift by Python numbers: NotImplementedError")
else:
    raise AssertionError("no NotImplementedError")
PY
OMP_NUM_THREADS=1 "$dir/venv/bin/python" "$dir/probe.py"
echo "As described: flows whose parameters are arrays are taken as equal."
