"""The seed's autoencoder in JAX, one compiled call per step. Needs: jax[cpu] optax numpy.

(A whole epoch in one `lax.scan` is slightly slower on a CPU.)
"""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mnist

options = mnist.arguments()
train, test = mnist.load(options.data)

key = jax.random.PRNGKey(options.seed)
parameters = []
for inputs, outputs in itertools.pairwise(mnist.LAYERS):
    key, layer_key = jax.random.split(key)
    limit = (6 / (inputs + outputs)) ** 0.5
    weights = jax.random.uniform(layer_key, (inputs, outputs), minval=-limit, maxval=limit)
    parameters.append((weights, jnp.zeros(outputs)))


def reconstruct(parameters, x):
    for weights, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = parameters[-1]
    return jax.nn.sigmoid(x @ weights + bias)


def loss(parameters, x):
    return jnp.mean((reconstruct(parameters, x) - x) ** 2)


optimizer = optax.adam(mnist.LEARNING_RATE)
state = optimizer.init(parameters)


@jax.jit
def step(parameters, state, batch):
    gradients = jax.grad(loss)(parameters, batch)
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(parameters, updates), state


order = np.random.default_rng(options.seed)
epoch_seconds = []
for _ in range(options.epochs):
    start = time.perf_counter()
    shuffled = train[order.permutation(len(train))]
    for first in range(0, len(shuffled), mnist.BATCH):
        parameters, state = step(parameters, state, shuffled[first : first + mnist.BATCH])
    jax.block_until_ready(parameters)
    epoch_seconds.append(time.perf_counter() - start)

mnist.report(f"JAX {jax.__version__}", loss(parameters, test), epoch_seconds)
