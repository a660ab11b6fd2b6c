"""Every method is exact on every kind of network; closed forms; planted errors are caught."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import BatchCoupled, InputError, ModelError, ShapeError, VerificationError
from isthmus.kernel import Auto, JacobianContraction, NtkVectorProducts, Structured, empirical_ntk
from isthmus.kernel.methods import Computed, Method
from isthmus.model.network import Network
from tests.conformance.kernel_methods import KernelMethodSuite
from tests.model.networks import build
from tests.reference.kernels import linear_ntk, two_layer_relu_ntk

METHODS = [Structured(), JacobianContraction(), NtkVectorProducts(), Auto()]
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)


class TestStructured(KernelMethodSuite):
    def method(self) -> Method:
        return Structured()


class TestJacobianContraction(KernelMethodSuite):
    def method(self) -> Method:
        return JacobianContraction()


class TestNtkVectorProducts(KernelMethodSuite):
    def method(self) -> Method:
        return NtkVectorProducts()


class TestAuto(KernelMethodSuite):
    def method(self) -> Method:
        return Auto()


@each_method
@pytest.mark.parametrize("bias", [True, False])
def test_linear_model(method: Method, bias: bool) -> None:
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    module = nn.Linear(4, 3, bias=bias).double()
    found = empirical_ntk(module, x, y, method=method).kernel
    np.testing.assert_allclose(found, linear_ntk(x.numpy(), y.numpy(), 3, bias), atol=1e-13)


@each_method
def test_two_layer_relu_by_hand(method: Method) -> None:
    module = nn.Sequential(nn.Linear(4, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)).double()
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64)
    first, second = (layer.weight.detach().numpy() for layer in (module[0], module[2]))
    exact = two_layer_relu_ntk(first, second, x.numpy(), y.numpy())
    np.testing.assert_allclose(empirical_ntk(module, x, y, method=method).kernel, exact, atol=1e-12)
    trace = np.einsum("ncmc->nm", exact)
    np.testing.assert_allclose(empirical_ntk(module, x, y, outputs="trace", method=method).matrix, trace, atol=1e-12)


@each_method
def test_many_tiles_in_both_directions(method: Method) -> None:
    """10 outputs: a tile holds 64 samples, so 75 x 41 samples leave odd tiles at both ends."""
    module = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 10)).double()
    x, y = torch.randn(75, 3, dtype=torch.float64), torch.randn(41, 3, dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda p, a: torch.func.functional_call(module, p, (a,))), (None, 0))
    rows, columns = (
        torch.cat([b.flatten(2) for b in jacobian(dict(module.named_parameters()), t).values()], 2).detach().numpy()
        for t in (x, y)
    )
    np.testing.assert_allclose(
        empirical_ntk(module, x, y, method=method).kernel, np.einsum("ncp,mdp->ncmd", rows, columns), atol=1e-11
    )
    np.testing.assert_allclose(empirical_ntk(module, x, method=method).kernel, np.einsum("ncp,mdp->ncmd", rows, rows), atol=1e-11)


def test_auto_takes_the_cheaper_method() -> None:
    for name in ("mlp", "cnn with batch norm", "transformer encoder"):
        module, inputs, _ = build(name)
        network = Network(module)
        plans = [method.plan(network, inputs, None, "full") for method in (Structured(), JacobianContraction())]
        assert Auto().plan(network, inputs, None, "full").flops == min(plan.flops for plan in plans)


def test_structured_serves_the_layers_of_an_mlp_by_products() -> None:
    module, inputs, _ = build("mlp")
    rules = empirical_ntk(module, inputs, method=Structured()).layers
    assert set(rules) == {"0", "2", "4"}
    assert not any("Jacobian" in rule for rule in rules.values())


@dataclass(frozen=True)
class Planted(Method):
    """Right but for one planted error."""

    spoil: str

    def plan(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str):
        return JacobianContraction().plan(network, inputs, others, outputs)

    def compute(self, network: Network, inputs: Tensor, others: Tensor | None, outputs: str) -> Computed:
        right = JacobianContraction().compute(network, inputs, others, outputs)
        kernel = right.kernel.clone()
        if self.spoil == "scale":
            kernel *= 1.01
        elif self.spoil == "one entry":
            kernel[1, 0, 2, 0] *= 1.5
        elif self.spoil == "a layer left out":
            names = [name for name in network.parameters if not name.startswith("0.")]
            kernel = JacobianContraction().compute(network.restricted(names), inputs, others, outputs).kernel
        elif self.spoil == "not a number":
            kernel[0, 0, 0, 0] = float("nan")
        return replace(right, kernel=kernel)


@pytest.mark.parametrize("outputs", ["full", "trace"])
@pytest.mark.parametrize("sides", ["self", "cross"])
@pytest.mark.parametrize("spoil", ["scale", "one entry", "a layer left out", "not a number"])
def test_a_wrong_kernel_is_caught(spoil: str, sides: str, outputs: str) -> None:
    module, inputs, _ = build("mlp")
    others = inputs.flip(0).clone() if sides == "cross" else None
    empirical_ntk(module, inputs, others, outputs=outputs, method=Planted(""))
    with pytest.raises(VerificationError, match="disagrees with reverse mode"):
        empirical_ntk(module, inputs, others, outputs=outputs, method=Planted(spoil))
    unchecked = empirical_ntk(module, inputs, others, outputs=outputs, method=Planted(spoil), verify=False)
    assert not unchecked.provenance.verified


def test_batch_coupled_and_random_networks_are_refused() -> None:
    x = torch.randn(5, 4)
    with pytest.raises(BatchCoupled):
        empirical_ntk(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)), x)
    with pytest.raises(ModelError, match="drops"):
        empirical_ntk(nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)), x)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (torch.randn(0, 4), "at least one sample"),
        (torch.tensor(1.0), "at least one sample"),
        (torch.randn(3, 4).double(), "convert one of them"),
        ([1.0], "must be a tensor"),
    ],
)
def test_bad_inputs_are_refused(inputs: object, words: str) -> None:
    for sides in ((inputs, None), (torch.randn(2, 4), inputs)):
        with pytest.raises(InputError, match=words):
            empirical_ntk(nn.Linear(4, 2), *sides)
    with pytest.raises(InputError, match="'full', 'trace', 'sum'"):
        empirical_ntk(nn.Linear(4, 2), torch.randn(3, 4), outputs="mean")
    for sides in ((torch.randn(3, 5), None), (torch.randn(3, 4), torch.randn(3, 5))):
        with pytest.raises(ShapeError, match="does not accept"):
            empirical_ntk(nn.Linear(4, 2), *sides)
