"""Peer failure 2: tangent kernels silently 31 % off when one module is called twice; attention, Embedding, LSTM refused."""

import numpy as np
import pytest
import torch

from isthmus.kernel import JacobianContraction, NtkVectorProducts, Structured, empirical_ntk
from isthmus.model.capture import capture, understand
from isthmus.model.network import Network
from tests.model.architectures import make
from tests.reference.kernels import dense_ntk

METHODS = [Structured(), Structured(budget=3000), JacobianContraction(), NtkVectorProducts()]


@pytest.mark.parametrize("name", ["linear called twice", "tied weights", "reused block", "embedding tied to output", "gpt"])
def test_shared_parameters_hold_all_cross_terms(name: str) -> None:
    module, inputs = make(name, 4)
    exact = dense_ntk(module, inputs, inputs, "full")
    for method in METHODS:
        found = empirical_ntk(module, inputs, method=method).kernel
        np.testing.assert_allclose(found, exact, rtol=0, atol=1e-11 * np.abs(exact).max())


@pytest.mark.parametrize("name", ["transformer encoder", "cross attention", "lstm", "bidirectional lstm and gru"])
def test_attention_and_recurrence_are_served(name: str) -> None:
    module, inputs = make(name, 4)
    exact = dense_ntk(module, inputs, inputs, "full")
    record = empirical_ntk(module, inputs, method=Structured())
    np.testing.assert_allclose(record.kernel, exact, rtol=0, atol=1e-11 * np.abs(exact).max())
    assert sum("Jacobian" in rule for rule in record.layers.values()) <= 1


def test_leaving_out_the_cross_terms_is_far_off() -> None:
    """Control: the peer's kernel, uses contracted one by one, is wrong by more than a twentieth on the same network."""
    module, inputs = make("linear called twice", 4)
    network = Network(module)
    exact = dense_ntk(module, inputs, inputs, "full")
    peer = torch.zeros(exact.shape, dtype=torch.float64)
    for part in capture(network, inputs, understand(network, inputs)):
        for use in part.uses:
            rows = use.rows(slice(0, use.units))
            peer += torch.einsum("ncp,mdp->ncmd", rows, rows)
    assert np.linalg.norm(peer.numpy() - exact) > 0.05 * np.linalg.norm(exact)


@pytest.mark.parametrize("samples", [2, 3, 4])
def test_prelu_with_as_many_samples_as_outputs(samples: int) -> None:
    """torch's mapped Jacobian through PReLU is wrong when both numbers agree; ours notices and goes sample by sample."""
    module, inputs = make("conv flatten linear", samples)
    exact = dense_ntk(module, inputs, inputs, "full")
    found = empirical_ntk(module, inputs, method=JacobianContraction(), verify=False).kernel
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-11 * np.abs(exact).max())
