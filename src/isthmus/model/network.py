"""A network as a function of its parameters; the user's module is copied once and never touched."""

import copy
import hashlib
from collections.abc import Collection, Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from isthmus._core.errors import BatchCoupled, DtypeError, InputError, ModelError, ShapeError
from isthmus._core.numerics import tolerance
from isthmus.linops.flatten import ParameterLayout

_BATCH_NORMS = (nn.modules.batchnorm._BatchNorm,)
_DROPOUTS = (nn.modules.dropout._DropoutNd,)


class Network:
    """A module as the function ``f(parameters, inputs) -> (n, c)``.

    The module is deep-copied; nothing done through a `Network` changes the user's object. `parameters` are the
    trainable ones (``requires_grad``), each tied parameter once; everything else that the module holds (buffers and
    frozen parameters) is in `buffers`.

    Args:
        module: any `torch.nn.Module` that maps a batch (first axis) to one tensor.
        dtype: converts parameters and buffers; by default they stay as they are.
        device: moves them; by default they stay where they are.

    Raises:
        ModelError: no trainable parameter, uninitialized lazy parameters, or the module cannot be copied.
        DtypeError: parameters of several floating dtypes, with no `dtype` given.
    """

    def __init__(self, module: nn.Module, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> None:
        if not isinstance(module, nn.Module):
            raise InputError(f"A torch.nn.Module was needed, found {type(module).__name__}. Pass the module itself.")
        if any(is_lazy(p) for p in module.parameters()):
            raise ModelError("The module has uninitialized lazy parameters. Run one forward pass on real data first.")
        self.module = _private_copy(module)
        if dtype is not None or device is not None:
            self.module.to(device=device, dtype=dtype)
        self.parameters = {k: p.detach() for k, p in self.module.named_parameters() if p.requires_grad}
        frozen = {k: p.detach() for k, p in self.module.named_parameters() if not p.requires_grad}
        self.buffers = {**frozen, **dict(self.module.named_buffers())}
        if not self.parameters:
            raise ModelError(f"{type(module).__name__} has no trainable parameter (requires_grad=True): nothing to map.")
        self.dtype = _only_dtype(self.parameters)
        self.device = next(iter(self.parameters.values())).device
        self.layout = ParameterLayout.of(self.parameters)
        self.projection: Tensor | None = None
        self._order = tuple(self.module.modules())
        self._modes = tuple(sub.training for sub in self._order)

    @classmethod
    def of(cls, source: "nn.Module | Network | Any") -> "Network":
        """A network from a module, a network (returned as it is) or a problem."""
        if isinstance(source, Network):
            return source
        inner = getattr(source, "network", None)
        if isinstance(inner, Network):
            return inner
        return cls(source)

    @property
    def size(self) -> int:
        """Number of trainable parameters p."""
        return self.layout.size

    @property
    def flat(self) -> Tensor:
        """The parameters as one vector, ``(p,)``."""
        return self.layout.flatten(self.parameters)

    @property
    def state(self) -> dict[str, Tensor]:
        """All tensors by name: buffers and parameters."""
        return {**self.buffers, **self.parameters}

    @property
    def training(self) -> bool:
        """Whether any submodule is in training mode."""
        return any(self._modes)

    @property
    def architecture_hash(self) -> str:
        """16 hex digits that two networks share iff modules, parameter names and shapes agree."""
        lines = [repr(self.module), *(f"{k}{tuple(v.shape)}" for k, v in {**self.parameters, **self.buffers}.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    @property
    def parameter_hash(self) -> str:
        """16 hex digits of names, shapes and values of parameters and buffers."""
        return tensor_hash({**self.parameters, **self.buffers})

    def at(self, parameters: Mapping[str, Tensor] | Tensor, buffers: Mapping[str, Tensor] | None = None) -> "Network":
        """The same network at other parameters (a dict, or a flat vector ``(p,)``); shares the module.

        Raises:
            ShapeError: names or shapes do not fit.
        """
        values = self.layout.unflatten(parameters) if isinstance(parameters, Tensor) else dict(parameters)
        values = {k: v.detach().to(self.device, self.dtype) for k, v in values.items()}
        if {k: v.shape for k, v in values.items()} != {k: v.shape for k, v in self.parameters.items()}:
            raise ShapeError(_difference(self.parameters, values))
        other = copy.copy(self)
        other.parameters = {k: values[k] for k in self.parameters}
        if buffers is not None:
            other.buffers = {k: buffers[k].detach().to(self.device, v.dtype) for k, v in self.buffers.items()}
        return other

    def at_state(self, state: Mapping[str, Tensor]) -> "Network":
        """The same network at other parameters and buffers, all in one dict as `state` gives them; further names are ignored."""
        return self.at({k: state[k] for k in self.parameters}, {k: state[k] for k in self.buffers})

    def restricted(self, names: Collection[str]) -> "Network":
        """The same function with only the named parameters free; the others join the buffers."""
        other = copy.copy(self)
        other.parameters = {k: v for k, v in self.parameters.items() if k in names}
        other.buffers = {**self.buffers, **{k: v for k, v in self.parameters.items() if k not in names}}
        other.layout = ParameterLayout.of(other.parameters)
        return other

    def projected(self, matrix: Tensor) -> "Network":
        """The network whose flat outputs are ``matrix @ outputs``, for ``matrix (q, c)``; `forward` stays as it is."""
        other = copy.copy(self)
        matrix = matrix.to(self.device, self.dtype)
        other.projection = matrix if self.projection is None else matrix @ self.projection
        return other

    def eval(self) -> Self:
        """The same network in evaluation mode (BatchNorm uses running statistics, dropout is off)."""
        other = copy.copy(self)
        other._modes = (False,) * len(self._order)
        return other

    def to(self, dtype: torch.dtype) -> "Network":
        """The same network in another floating dtype."""
        if dtype == self.dtype:
            return self
        other = Network(self.module, dtype=dtype).restricted(self.parameters)
        buffers = {k: v.to(other.buffers[k].dtype) for k, v in self.buffers.items()}
        other = other.at(self.parameters, buffers)
        other._modes = self._modes
        other.projection = None if self.projection is None else self.projection.to(dtype)
        return other

    def forward(self, parameters: Mapping[str, Tensor], inputs: Tensor, buffers: Mapping[str, Tensor] | None = None) -> Tensor:
        """The module's own output at these parameters; differentiable in them.

        Raises:
            ModelError: the module does not return one tensor with the batch on its first axis.
        """
        buffers = self.buffers if buffers is None else buffers
        for sub, mode in zip(self._order, self._modes, strict=True):
            sub.training = mode
        if self.training:
            buffers = {k: v.clone() for k, v in buffers.items()}
        outputs = functional_call(self.module, {**buffers, **parameters}, (inputs,))
        if not isinstance(outputs, Tensor):
            raise ModelError(
                f"The module returns a {type(outputs).__name__}; one tensor with the batch on its first axis is needed. "
                "Wrap it in a small nn.Module whose forward returns that tensor."
            )
        if outputs.ndim == 0 or outputs.shape[0] != inputs.shape[0]:
            raise ModelError(
                f"{inputs.shape[0]} examples went in and an output of shape {tuple(outputs.shape)} came out; the first "
                "axis must be the batch (batch_first=True for recurrent layers and attention)."
            )
        return outputs

    def apply(self, parameters: Mapping[str, Tensor], inputs: Tensor, buffers: Mapping[str, Tensor] | None = None) -> Tensor:
        """The output with all trailing axes flattened and projected, ``(n, c)``; differentiable in the parameters."""
        outputs = self.forward(parameters, inputs, buffers)
        flat = outputs.reshape(outputs.shape[0], -1)
        return flat if self.projection is None else flat @ self.projection.T

    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs ``(n, c)`` without gradient."""
        with torch.no_grad():
            return self.apply(self.parameters, inputs)

    def require_per_example(self, inputs: Tensor) -> None:
        """Raise unless each example's output is a deterministic function of that example alone.

        Raises:
            BatchCoupled: BatchNorm with batch statistics, or any module whose output changes with its neighbors.
            ModelError: active dropout.
        """
        for (name, sub), mode in zip(self.module.named_modules(), self._named_modes(), strict=True):
            _require_per_example_layer(name, sub, mode)
        few = inputs[: min(4, len(inputs))]
        together = self(few)
        if not torch.equal(together, self(few)):
            raise ModelError("Two evaluations on the same inputs differ: the module is random. Call module.eval() first.")
        if self._mixes(few, together) and self._jittered()._mixes(few):
            raise BatchCoupled(
                "The output of the first example changes with the rest of its batch, so no per-example derivative exists. "
                "Call module.eval() first, or replace the layer that mixes examples."
            )

    def _mixes(self, few: Tensor, together: Tensor | None = None) -> bool:
        """Whether the first example's output differs, beyond rounding, when it is evaluated without the others."""
        together = self(few) if together is None else together
        scale = together.abs().max().clamp_min(1e-30)
        return bool((self(few[:1]) - together[:1]).abs().max() > tolerance(self.dtype, terms=4096, depth=16) * scale)

    def _jittered(self) -> "Network":
        """The network beside its present point, where outputs that cancel to rounding there (antisymmetric starts) do not."""
        flat = self.flat
        return self.at(flat * (1 + 0.1 * torch.cos(torch.arange(len(flat), device=flat.device)).to(flat)))

    def _named_modes(self) -> list[bool]:
        modes = dict(zip(map(id, self._order), self._modes, strict=True))
        return [modes[id(sub)] for _, sub in self.module.named_modules()]


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """16 hex digits of SHA-256 over names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items():
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _private_copy(module: nn.Module) -> nn.Module:
    try:
        private = copy.deepcopy(module)
    except Exception as fault:
        raise ModelError(f"{type(module).__name__} cannot be copied ({fault}); isthmus works on a private copy.") from fault
    for parameter in private.parameters():
        parameter.grad = None
    return private


def _only_dtype(parameters: Mapping[str, Tensor]) -> torch.dtype:
    dtypes = {p.dtype for p in parameters.values()}
    if len(dtypes) != 1 or not next(iter(dtypes)).is_floating_point:
        raise DtypeError(f"Parameters of one real floating dtype are needed, found {sorted(map(str, dtypes))}. Pass dtype=.")
    return dtypes.pop()


def _difference(mine: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> str:
    for name in [*mine, *other]:
        a, b = mine.get(name), other.get(name)
        if a is None or b is None or a.shape != b.shape:
            shapes = [tuple(t.shape) if t is not None else "absent" for t in (a, b)]
            return (
                f"The parameters belong to another network: {name!r} is {shapes[0]} in this network and {shapes[1]} in "
                "what was passed. Use parameters (or a checkpoint) of the same architecture."
            )
    return "The parameters belong to another network."


def _require_per_example_layer(name: str, sub: nn.Module, training: bool) -> None:
    where = f"{name or 'the module'} ({type(sub).__name__})"
    if isinstance(sub, _BATCH_NORMS):
        if training:
            raise BatchCoupled(
                f"{where} is in training mode and uses batch statistics: one example's output depends on the others. "
                "Call module.eval() first (it then uses its running statistics)."
            )
        if sub.running_mean is None:
            raise BatchCoupled(
                f"{where} keeps no running statistics (track_running_stats=False), so it mixes examples even in eval "
                "mode. Use track_running_stats=True, or GroupNorm / LayerNorm."
            )
    rate = sub.p if isinstance(sub, _DROPOUTS) else getattr(sub, "dropout", 0.0)
    if training and isinstance(rate, float) and rate > 0:
        raise ModelError(f"{where} drops units at random (p={rate}) in training mode. Call module.eval() first.")
