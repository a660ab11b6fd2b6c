"""First and second derivatives against one-entry-at-a-time autograd and finite differences."""

import gc

import pytest
import torch
from torch import nn

from isthmus._core.errors import NotTwiceDifferentiable, ShapeError, VerificationError
from isthmus._core.seeds import Seed
from isthmus.model import derivatives, verification
from isthmus.model.network import Network
from isthmus.model.problem import Problem
from tests.model.architectures import make
from tests.model.networks import NETWORKS, build
from tests.reference import derivatives as reference


@pytest.fixture(params=NETWORKS)
def case(request: pytest.FixtureRequest) -> tuple:
    return build(request.param)


def problem_of(case: tuple) -> Problem:
    module, inputs, targets = case
    return Problem(module, inputs, targets, nn.CrossEntropyLoss())


def direction(network: Network, seed: int = 1) -> torch.Tensor:
    return torch.randn(network.size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_jacobian_equals_one_backward_per_entry(case: tuple) -> None:
    module, inputs, _ = case
    dense = reference.dense_jacobian(module, inputs)
    torch.testing.assert_close(derivatives.jacobian(Network(module), inputs), dense, rtol=1e-10, atol=1e-12)


def test_vjp_and_jvp_are_the_jacobian_and_its_transpose(case: tuple) -> None:
    module, inputs, _ = case
    network, dense = Network(module), reference.dense_jacobian(module, inputs)
    v = direction(network)
    u = torch.randn(dense.shape[:2], dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(derivatives.output_jvp(network, inputs, v), dense @ v, rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(
        derivatives.output_vjp(network, inputs, u), torch.einsum("nc,ncp->p", u, dense), rtol=1e-9, atol=1e-11
    )


def test_gradient_equals_torch(case: tuple) -> None:
    module, inputs, targets = case
    expected = reference.loss_gradient(module, inputs, targets, nn.CrossEntropyLoss())
    torch.testing.assert_close(derivatives.loss_gradient(problem_of(case)), expected, rtol=1e-10, atol=1e-12)


def test_hessian_product_equals_finite_differences(case: tuple) -> None:
    """Peer failure 1: Hessians through LayerNorm, InstanceNorm and TransformerEncoderLayer were 1-25 % wrong."""
    module, inputs, targets = case
    problem = problem_of(case)
    v = direction(problem.network)
    numeric = reference.finite_difference_hessian_product(module, inputs, targets, nn.CrossEntropyLoss(), v)
    product = derivatives.HessianProduct(problem)(v)
    assert (product - numeric).norm() <= 1e-6 * numeric.norm()


def test_hessian_is_symmetric_and_passes_its_self_checks(case: tuple) -> None:
    problem = problem_of(case)
    dense = derivatives.HessianProduct(problem)(torch.eye(problem.network.size, dtype=torch.float64))
    torch.testing.assert_close(dense, dense.T, rtol=1e-9, atol=1e-12)
    verification.verify_symmetry(derivatives.HessianProduct(problem), problem.network.size, seed=Seed(0), dtype=torch.float64)
    verification.verify_hessian(problem, seed=Seed(0))


def test_ggn_equals_its_definition(case: tuple) -> None:
    module, inputs, _ = case
    problem = problem_of(case)
    jacobian = reference.dense_jacobian(module, inputs)
    soft = module(inputs).detach().softmax(1)
    bend = torch.diag_embed(soft) - soft[:, :, None] * soft[:, None, :]
    dense = torch.einsum("ncp,ncd,ndq->pq", jacobian, bend, jacobian) / len(inputs)
    product = derivatives.GgnProduct(problem)(torch.eye(problem.network.size, dtype=torch.float64))
    torch.testing.assert_close(product, dense, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("samples", range(1, 41))
def test_no_value_depends_on_chunking(samples: int) -> None:
    """Peer failure 10: wrong losses when the number of samples left a remainder."""
    module, inputs, targets = build("mlp", samples)
    problem = Problem(module, inputs, targets, nn.CrossEntropyLoss())
    v, whole = direction(problem.network), nn.CrossEntropyLoss()(module(inputs), targets)
    exact = derivatives.HessianProduct(problem, chunk=samples)(v)
    for chunk in (1, 3, 8):
        assert derivatives.loss_value(problem, chunk=chunk) == pytest.approx(float(whole.detach()), rel=1e-13)
        for keep in (True, False):
            product = derivatives.HessianProduct(problem, chunk=chunk, keep_graph=keep)(v)
            torch.testing.assert_close(product, exact, rtol=1e-11, atol=1e-13)
        parts = derivatives.jacobian(problem.network, inputs, chunk=chunk)
        torch.testing.assert_close(parts, derivatives.jacobian(problem.network, inputs, chunk=samples), rtol=1e-12, atol=1e-14)


SMOOTH = [nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Softplus(2.0), nn.Mish(), nn.ELU(), nn.ELU(inplace=True), nn.CELU(0.7)]
SMOOTH += [nn.SELU(), nn.LogSigmoid(), nn.Tanh(), nn.Sigmoid()]


@pytest.mark.parametrize("activation", SMOOTH, ids=str)
def test_tabulated_activations_change_no_product(activation: nn.Module) -> None:
    """A kept graph holds tables of f' and f''; a graph that is made anew differentiates f itself."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 7), activation, nn.Linear(7, 6), activation, nn.Linear(6, 3)).double()
    problem = Problem(module, torch.randn(9, 5).double(), torch.randint(0, 3, (9,)), nn.CrossEntropyLoss())
    columns = torch.randn(problem.network.size, 2, dtype=torch.float64)
    kept, anew = (derivatives.HessianProduct(problem, chunk=4, keep_graph=keep)(columns) for keep in (True, False))
    torch.testing.assert_close(kept, anew, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["resnet", "gpt", "transformer encoder", "bidirectional lstm and gru"])
def test_the_size_of_a_graph_is_what_autograd_holds(name: str) -> None:
    """Memory that is freed while one counts is given out again, and one address stands for two tensors."""
    module, inputs = make(name, 5)
    network, held, few = Network(module), {}, inputs[:2].clone()
    leaves = {key: value.detach().requires_grad_() for key, value in network.parameters.items()}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with derivatives.exact_kernels(network), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = network.apply(leaves, few)
    own = {value.untyped_storage().data_ptr() for value in leaves.values()}
    whole = sum(tensor.untyped_storage().nbytes() for key, tensor in held.items() if key not in own) + outputs.nbytes
    assert {derivatives.graph_bytes(network, inputs) for _ in range(4)} == {whole // 2}


def test_counting_a_graph_leaves_nothing_behind() -> None:
    module, inputs = make("resnet", 5)
    network = Network(module)

    def alive() -> int:
        gc.collect()
        return sum(1 for thing in gc.get_objects() if type(thing) is torch.Tensor)

    derivatives.graph_bytes(network, inputs)
    before = alive()
    for _ in range(3):
        derivatives.graph_bytes(network, inputs)
    assert alive() == before


def test_the_size_of_a_graph_is_that_of_one_sample_s_whatever_the_data() -> None:
    """Two samples are a view of all the data, whose storage must not be counted: chunks came out a hundred times too small."""
    module, inputs, _ = build("mlp", 4)
    network = Network(module)
    few = derivatives.graph_bytes(network, inputs)
    assert derivatives.graph_bytes(network, inputs.repeat(1000, 1)) == few
    assert few <= 40 * inputs[0].nbytes


def test_data_dependent_branch_is_looped_over() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 2), nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([(self.one if float(row.sum()) > 0 else self.two)(row[None]) for row in x])

    module, inputs = Branch().double(), torch.randn(4, 3, dtype=torch.float64)
    torch.testing.assert_close(derivatives.jacobian(Network(module), inputs), reference.dense_jacobian(module, inputs))


def test_a_wrong_derivative_is_caught() -> None:
    class Crooked(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad):
            (x,) = ctx.saved_tensors
            return grad * 3 * x.detach() * x

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(Crooked.apply(self.a(x)))

    problem = Problem(Net(), torch.randn(6, 3), torch.randn(6, 1), nn.MSELoss(), dtype=torch.float64)
    with pytest.raises(VerificationError, match="finite differences"):
        verification.verify_hessian(problem, seed=Seed(0))


def test_an_asymmetric_product_is_caught() -> None:
    matrix = torch.randn(30, 30, dtype=torch.float64)
    with pytest.raises(VerificationError, match="not symmetric"):
        verification.verify_symmetry(lambda v: matrix @ v, 30, seed=Seed(0), dtype=torch.float64)


def test_cotangents_of_a_wrong_shape_are_refused() -> None:
    module, inputs, _ = build("mlp")
    with pytest.raises(ShapeError, match="cotangents"):
        derivatives.output_vjp(Network(module), inputs, torch.zeros(len(inputs), 2, dtype=torch.float64))


def test_a_layer_without_second_derivative_is_named() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sin()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):
            return 2 * grad

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return Once.apply(self.a(x))

    problem = Problem(Net(), torch.randn(6, 3), torch.randn(6, 1), nn.MSELoss())
    with pytest.raises(NotTwiceDifferentiable):
        derivatives.HessianProduct(problem)(torch.ones(problem.network.size))


def test_third_derivative_equals_finite_differences_of_hessian_products(case: tuple) -> None:
    """Also through LayerNorm and InstanceNorm, whose fused kernels torch differentiates wrongly at this order."""
    problem = problem_of(case)
    left, right, step = direction(problem.network, 1), direction(problem.network, 2), 1e-5
    found = derivatives.curvature_gradient(problem, left, right, chunk=4)
    plus, minus = (derivatives.HessianProduct(problem.at(problem.network.flat + sign * step * left))(right) for sign in (1, -1))
    numeric = (plus - minus) / (2 * step)
    assert (found - numeric).norm() <= 1e-5 * numeric.norm() + 1e-9
    torch.testing.assert_close(found, derivatives.curvature_gradient(problem, right, left), rtol=1e-8, atol=1e-9)
