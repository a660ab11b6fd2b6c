"""neural-tangents 0.6.5, implementation 3 (structured derivatives), jitted; median CPU seconds of the full kernel.

python neural_tangents.py mlp N | cnn N
"""

import json
import os
import statistics
import sys
import time

os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import neural_tangents as nt
from jax import random
from neural_tangents import stax


def network(kind):
    """The two networks of the comparison, and the shape of their inputs."""
    if kind == "mlp":
        layers = [stax.Dense(512), stax.Relu(), stax.Dense(512), stax.Relu(), stax.Dense(10)]
        return stax.serial(*layers), (784,)
    layers = []
    for channels, stride in ((16, 1), (32, 2), (32, 2)):
        layers += [stax.Conv(channels, (3, 3), (stride, stride), "SAME"), stax.Relu()]
    return stax.serial(*layers, stax.Flatten(), stax.Dense(10)), (28, 28, 1)


def main(kind, samples):
    """Compile, then time."""
    (init, apply, _), shape = network(kind)
    inputs = random.normal(random.PRNGKey(0), (int(samples), *shape), jnp.float32)
    _, params = init(random.PRNGKey(1), inputs.shape)
    method = nt.NtkImplementation.STRUCTURED_DERIVATIVES
    kernel = jax.jit(nt.empirical_ntk_fn(apply, trace_axes=(), vmap_axes=0, implementation=method))
    kernel(inputs, None, params).block_until_ready()
    times = []
    for _ in range(3):
        start = time.process_time()
        kernel(inputs, None, params).block_until_ready()
        times.append(time.process_time() - start)
    print(json.dumps({"seconds": statistics.median(times)}))


main(*sys.argv[1:])
