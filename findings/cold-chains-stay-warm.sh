#!/bin/bash
# What:   blackjax 1.7.1 with jax 0.10.2, the argument temperature of SGHMC, blackjax.sghmc(...).step(key, position,
#         minibatch, step_size, temperature), stochastic gradient Hamiltonian Monte Carlo.
# Source: kernel in blackjax/sgmcmc/sghmc.py draws a new momentum of variance 1 at each call, whatever the temperature,
#         and the temperature scales the noise within the call only. That noise is small: the friction alpha is 0.01 by
#         default, and a call has 10 steps. sgld and sgnht have the argument, too, and draw no momentum per call.
# Guess:  samples of the posterior to the power 1 / temperature, so at 0.01 a tenth of the std, as SGLD gives.
# Seen:   the temperature hardly matters. For a Gaussian posterior of std 0.100 SGHMC gives 0.106 at temperatures 1, 0.1
#         and 0.01. SGLD gives 0.098, 0.031 and 0.010. The same SGHMC, with the first momentum of a call scaled by the
#         root of the temperature, gives 0.105, 0.033 and 0.011. With a friction of 10, at which the noise counts, it
#         is still 0.090 at temperature 0.01. No warning.
# Date:   2026-11-29
# Why:    cold posteriors of Bayesian networks are studied by this sampler, and annealing lowers its temperature. Here
#         all temperatures give the posterior of temperature 1, and one concludes that the temperature has no effect.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install -q jax==0.10.2 blackjax==1.7.1 numpy==2.4.6 scipy==1.17.1 optax==0.2.8
cat > "$dir/probe.py" <<'PY'
import blackjax
import jax
import jax.numpy as jnp
from blackjax.sgmcmc.diffusions import sghmc as integrator
from blackjax.sgmcmc.gradients import grad_estimator

DATA = jax.random.normal(jax.random.key(0), (99,))  # 99 numbers and a prior of std 1: a posterior of std 0.1
STD, CHAINS, STEP, INNER = 0.1, 2_000, 0.005, 10
gradient = grad_estimator(lambda x: -(x**2) / 2, lambda x, item: -((item - x) ** 2) / 2, len(DATA))


def spread(step, calls):
    """Of the temperature: the std over chains that start at the posterior's mean, after so many calls of step."""

    def chain(key, temperature):
        keys = jax.random.split(key, calls)
        return jax.lax.scan(lambda x, key: (step(key, x, temperature), None), DATA.sum() / 100, keys)[0]

    chains = jax.jit(jax.vmap(chain, (0, None)))
    return lambda temperature: float(chains(jax.random.split(jax.random.key(1), CHAINS), temperature).std())


def sghmc(alpha):
    kernel = blackjax.sghmc(gradient, num_integration_steps=INNER, alpha=alpha)
    return spread(lambda key, x, temperature: kernel.step(key, x, DATA, STEP, temperature), 200)


def scaled(key, x, temperature):
    """A call of SGHMC with blackjax's own integrator, but for the momentum at its start."""
    start, key = jax.random.split(key)
    one_step = integrator(alpha=0.01)
    return jax.lax.scan(lambda state, key: (one_step(key, *state, gradient(state[0], DATA), STEP, temperature), None),
                        (x, temperature**0.5 * jax.random.normal(start)), jax.random.split(key, INNER))[0][0]


sgld = blackjax.sgld(gradient)
samplers = {
    "SGHMC": sghmc(alpha=0.01),  # the default
    "with more friction": sghmc(alpha=10.0),
    "with the momentum scaled": spread(scaled, 200),
    "SGLD": spread(lambda key, x, temperature: sgld.step(key, x, DATA, 1e-4, temperature), 1_000),
}
for temperature in (1.0, 0.1, 0.01):
    right = temperature**0.5 * STD
    found = {name: sampler(temperature) for name, sampler in samplers.items()}
    print(f"temperature {temperature}, std {right:.4f} is right:",
          ", ".join(f"{name} {std:.4f}" for name, std in found.items()), flush=True)
    assert abs(found["SGLD"] / right - 1) < 0.08 and abs(found["with the momentum scaled"] / right - 1) < 0.15
    assert abs(found["SGHMC"] / STD - 1) < 0.15 and found["with more friction"] > 0.8 * STD
print("As described: SGHMC samples at temperature 1, whatever the temperature.")
PY
OMP_NUM_THREADS=1 JAX_PLATFORMS=cpu "$dir/venv/bin/python" "$dir/probe.py"
