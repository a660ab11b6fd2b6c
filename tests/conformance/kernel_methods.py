"""What every way to compute the tangent kernel must do. A new method inherits this and writes one method."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isthmus._core.errors import BudgetError
from isthmus.engine import memory
from isthmus.kernel.methods import Method
from isthmus.kernel.ntk import empirical_ntk
from isthmus.model.network import Network
from tests.model.networks import NETWORKS, build
from tests.reference.kernels import dense_ntk

each_network = pytest.mark.parametrize("name", NETWORKS)
each_reduction = pytest.mark.parametrize("outputs", ["full", "trace"])
#: relative to the kernel's largest entry; float32 carries the rounding of its forward and backward passes
SLACK = {torch.float64: 1e-11, torch.float32: 2e-5}


class KernelMethodSuite:
    """Inherit as ``class TestMine(KernelMethodSuite)`` and give `method`; every network kind is tested for you."""

    def method(self) -> Method:
        """The method."""
        raise NotImplementedError

    def kernel(self, module: nn.Module, inputs: Tensor, others: Tensor | None = None, outputs: str = "full") -> np.ndarray:
        return empirical_ntk(module, inputs, others, outputs=outputs, method=self.method()).kernel

    @each_network
    @each_reduction
    @pytest.mark.parametrize("dtype", SLACK)
    @pytest.mark.parametrize("sides", ["self", "cross"])
    def test_it_is_the_dense_jacobian_s_product(self, name: str, outputs: str, dtype: torch.dtype, sides: str) -> None:
        module, inputs, _ = build(name, samples=7)
        inputs, others = inputs[:4], (inputs[4:] if sides == "cross" else None)
        exact = dense_ntk(module, inputs, inputs if others is None else others, outputs)
        single = [t.to(dtype) if t is not None and t.is_floating_point() else t for t in (inputs, others)]
        found = self.kernel(module.to(dtype), *single, outputs=outputs)
        assert found.dtype == np.dtype(str(dtype).removeprefix("torch."))
        np.testing.assert_allclose(found, exact, rtol=0, atol=SLACK[dtype] * np.abs(exact).max())

    @each_network
    @each_reduction
    def test_equal_sides_and_the_cross_path_agree(self, name: str, outputs: str) -> None:
        module, inputs, _ = build(name)
        one, other = self.kernel(module, inputs, outputs=outputs), self.kernel(module, inputs, inputs.clone(), outputs)
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * np.abs(one).max())
        np.testing.assert_allclose(one, one.transpose(2, 3, 0, 1), rtol=0, atol=1e-12 * np.abs(one).max())

    @pytest.mark.parametrize("samples", [1, 2, 31, 107])
    def test_tiles_that_do_not_divide_the_samples_change_nothing(self, samples: int) -> None:
        module, inputs, _ = build("mlp", samples=samples)
        whole = self.kernel(module, inputs)
        parts = [self.kernel(module, inputs, piece) for piece in inputs.split(10)]
        np.testing.assert_allclose(whole, np.concatenate(parts, axis=2), rtol=0, atol=1e-11 * np.abs(whole).max())
        assert np.linalg.eigvalsh(whole.reshape(samples * 3, -1))[0] >= -1e-10 * np.abs(whole).max() * samples * 3

    @each_network
    def test_the_plan_is_the_one_followed_and_costs_something(self, name: str) -> None:
        module, inputs, _ = build(name)
        plan = self.method().plan(Network(module), inputs, None, "full")
        record = empirical_ntk(module, inputs, method=self.method())
        assert record.method == plan.method
        assert record.cost.peak_bytes == int(plan.bytes) >= record.kernel.nbytes
        assert plan.flops > 0

    @each_network
    def test_every_module_with_parameters_is_named_with_its_rule(self, name: str) -> None:
        module, inputs, _ = build(name)
        owners = {parameter.rpartition(".")[0] or parameter for parameter, _ in module.named_parameters()}
        assert set(empirical_ntk(module, inputs, method=self.method()).layers) == owners

    def test_frozen_parameters_do_not_count(self) -> None:
        module, inputs, _ = build("mlp")
        module[0].requires_grad_(False)
        module[4].bias.requires_grad_(False)
        exact = dense_ntk(module, inputs, inputs, "full")
        np.testing.assert_allclose(self.kernel(module, inputs), exact, rtol=0, atol=1e-11 * np.abs(exact).max())

    def test_too_little_memory_is_refused_before_the_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        module, inputs, _ = build("mlp", samples=40)
        monkeypatch.setattr(memory, "available_bytes", lambda: 1000)
        with pytest.raises(BudgetError, match=r"40 x 40 inputs with 3 outputs would need .* Instead: outputs='trace'"):
            self.kernel(module, inputs)
        with pytest.raises(BudgetError, match="Instead: fewer inputs"):
            self.kernel(module, inputs, outputs="trace")

    def test_two_calls_agree_bit_for_bit(self) -> None:
        module, inputs, _ = build("residual with layer norm")
        assert self.kernel(module, inputs).tobytes() == self.kernel(module, inputs).tobytes()
