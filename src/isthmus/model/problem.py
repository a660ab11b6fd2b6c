"""A network with its data and its loss: the one object that everything else takes."""

import copy
import math
import platform
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from isthmus._core.errors import DeviceError, DtypeError, InputError, IsthmusError, ShapeError, UnsupportedLayer
from isthmus._core.seeds import Seed
from isthmus.linops.random import forked_rng
from isthmus.model.losses import Reduction, understand
from isthmus.model.network import Network, tensor_hash
from isthmus.results.provenance import Provenance


class Problem:
    """A network, its training data, its loss, and optional test data.

    Args:
        module: any `torch.nn.Module`; copied, never changed.
        inputs: tensor (or numpy array) with samples on the first axis, or a `DataLoader` of ``(inputs, targets)``
            batches, which is read once in its fixed order.
        targets: tensor with samples on the first axis; leave out when `inputs` is a DataLoader.
        loss: `nn.MSELoss`, `nn.CrossEntropyLoss`, another torch loss, or a callable with `reduction` stated.
        test: ``(inputs, targets)`` or a DataLoader.
        reduction: ``"mean"`` or ``"sum"`` over samples, for a callable.
        name: what reports call it; the module's class by default.
        dtype: converts network and floating data; without it their dtypes must agree.
        device: moves network and data; without it their devices must agree.

    Raises:
        InputError: empty, non-finite or mismatching data, a loss with unknown reduction, a loader that reads
            differently twice.
        ModelError: the module does not map a batch to one tensor, or writes into its inputs.
    """

    def __init__(
        self,
        module: nn.Module | Network,
        inputs: Tensor | np.ndarray | DataLoader,
        targets: Tensor | np.ndarray | None = None,
        loss: nn.Module | Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        test: tuple | DataLoader | None = None,
        reduction: Reduction | None = None,
        name: str | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        if loss is None:
            raise InputError("Problem needs a loss, e.g. loss=nn.CrossEntropyLoss().")
        self.network = module if isinstance(module, Network) else Network(module, dtype=dtype, device=device)
        self.loss = understand(loss, reduction)
        convert = dtype is not None, device is not None
        self.inputs, self.targets = self._admit("training", _read(inputs, targets), *convert)
        self.test_inputs: Tensor | None = None
        self.test_targets: Tensor | None = None
        if test is not None:
            pair = _read(test, None) if isinstance(test, DataLoader) else _pair(test)
            self.test_inputs, self.test_targets = self._admit("test", pair, *convert)
        self.name = name or type(self.network.module).__name__
        self.outputs = self._probe(self.inputs, self.targets, "training")
        if self.test_inputs is not None and self.test_targets is not None:
            self._probe(self.test_inputs, self.test_targets, "test")

    @property
    def samples(self) -> int:
        """Number of training samples n."""
        return len(self.inputs)

    @property
    def classification(self) -> bool:
        """Whether targets are class labels, so that a 0-1 error exists."""
        return self.loss.classes and not self.targets.is_floating_point()

    @property
    def normalizer(self) -> float:
        """What the summed loss over the training data is divided by."""
        return self.loss.normalizer(self.targets)

    @property
    def data_hash(self) -> str:
        """16 hex digits of the training data."""
        return tensor_hash({"inputs": self.inputs, "targets": self.targets})

    def at(self, parameters: Mapping[str, Tensor] | Tensor, buffers: Mapping[str, Tensor] | None = None) -> "Problem":
        """The same problem at other parameters (dict or flat vector)."""
        return self._with(network=self.network.at(parameters, buffers))

    def with_network(self, network: Network) -> "Problem":
        """The same data and loss with another network of the same inputs and outputs."""
        return self._with(network=network)

    def eval(self) -> "Problem":
        """The same problem with the network in evaluation mode."""
        return self._with(network=self.network.eval())

    def to(self, dtype: torch.dtype) -> "Problem":
        """The same problem with network and floating data in another dtype."""

        def cast(tensor: Tensor | None) -> Tensor | None:
            return tensor.to(dtype) if tensor is not None and tensor.is_floating_point() else tensor

        names = ("inputs", "targets", "test_inputs", "test_targets")
        return self._with(network=self.network.to(dtype), **{name: cast(getattr(self, name)) for name in names})

    def subset(self, indices: Tensor | slice) -> "Problem":
        """The same problem on some training samples; test data stay.

        Raises:
            InputError: no sample is left.
        """
        chosen = self._with(inputs=self.inputs[indices], targets=self.targets[indices])
        if chosen.samples == 0:
            raise InputError("The subset is empty; a problem needs at least one training sample.")
        return chosen

    def on_test_data(self) -> "Problem":
        """The same problem with the test data in place of the training data.

        Raises:
            InputError: there are none.
        """
        if self.test_inputs is None or self.test_targets is None:
            raise InputError("The problem has no test data. Pass test=(inputs, targets) to Problem.")
        return self._with(inputs=self.test_inputs, targets=self.test_targets)

    def _with(self, **changes: Any) -> "Problem":
        other = copy.copy(self)
        for name, value in changes.items():
            setattr(other, name, value)
        return other

    def _admit(self, which: str, pair: tuple[Tensor, Tensor], cast: bool, move: bool) -> tuple[Tensor, Tensor]:
        inputs, targets = pair
        if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) == 0:
            raise InputError(f"The {which} data are empty (inputs {tuple(inputs.shape)}); at least one sample is needed.")
        if len(inputs) != len(targets):
            raise ShapeError(
                f"The {which} data have {len(inputs)} inputs and {len(targets)} targets; one target per input is needed."
            )
        admitted = []
        for role, tensor in (("inputs", inputs), ("targets", targets)):
            tensor = tensor.detach()
            _require_finite(f"{which} {role}", tensor)
            if tensor.is_floating_point() and tensor.dtype != self.network.dtype:
                if not cast:
                    raise DtypeError(
                        f"The {which} {role} are {tensor.dtype} and the network is {self.network.dtype}. Pass dtype= to "
                        f"Problem (torch.float64 for theory), or convert one of them."
                    )
                tensor = tensor.to(self.network.dtype)
            if tensor.device != self.network.device:
                if not move:
                    raise DeviceError(
                        f"The {which} {role} are on {tensor.device}, the network on {self.network.device}. Pass device=."
                    )
                tensor = tensor.to(self.network.device)
            admitted.append(tensor)
        return admitted[0], admitted[1]

    def _probe(self, inputs: Tensor, targets: Tensor, which: str) -> int:
        """Run a few samples in evaluation mode: outputs must exist and fit all the targets."""
        network, few = self.network.eval(), inputs[:2].clone()
        try:
            with torch.no_grad():
                outputs = network.forward(network.parameters, few)
        except IsthmusError:
            raise
        except (RuntimeError, ValueError, TypeError, IndexError) as fault:
            raise ShapeError(
                f"The network does not accept the {which} inputs of shape (n, {', '.join(map(str, inputs.shape[1:]))}), "
                f"dtype {inputs.dtype}: {str(fault).splitlines()[0]}. Check the first layer against the data."
            ) from fault
        if few._version:
            raise UnsupportedLayer(
                "The network writes into its own inputs (an in-place operation such as nn.ReLU(inplace=True) or x += 1 before the "
                "first layer), so every later pass would see other data. Use the operation that returns a new tensor there."
            )
        whole = outputs[:1].expand(len(targets), *outputs.shape[1:])
        checked = (outputs, targets[:2]) if "[" in self.loss.name else (whole, targets)
        self.loss.check(*checked)
        return math.prod(outputs.shape[1:])


def provenance(source: "Problem | Network", seed: Seed | str = "", *, verified: bool = True) -> Provenance:
    """Versions, dtype, device and hashes for a record about this problem or network."""
    network = Network.of(source)
    return Provenance(
        versions=versions(),
        dtype=str(network.dtype).removeprefix("torch."),
        device=str(network.device),
        seed=str(seed),
        parameters=network.parameter_hash,
        data=source.data_hash if isinstance(source, Problem) else "",
        verified=verified,
    )


def versions() -> dict[str, str]:
    """Versions of what computes the numbers."""
    own = {"isthmus": metadata.version("isthmus"), "python": platform.python_version()}
    return own | {"torch": str(torch.__version__), "numpy": np.__version__}


def _read(source: Any, targets: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(source, DataLoader):
        if targets is None:
            raise InputError("Problem needs targets, or a DataLoader of (inputs, targets) batches in place of inputs.")
        return _tensor(source, "inputs"), _tensor(targets, "targets")
    if targets is not None:
        raise InputError("A DataLoader brings its own targets; leave targets out and pass loss= by name.")
    first, second = _read_loader(source, 1), _read_loader(source, 2)
    if any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, second, strict=True)):
        raise InputError(
            "The DataLoader reads differently twice (shuffling or random augmentation), so no result could be repeated. "
            "Pass DataLoader(..., shuffle=False) over a data set without random transforms."
        )
    return first


def _read_loader(loader: DataLoader, reading: int) -> tuple[Tensor, Tensor]:
    """One pass over the loader, under its own random state so that shuffling shows as a difference."""
    own = loader.generator.get_state() if loader.generator is not None else None
    with forked_rng(Seed(0).child("loader", reading)):
        if loader.generator is not None:
            loader.generator.manual_seed(reading)
        batches = list(loader)
    if loader.generator is not None and own is not None:
        loader.generator.set_state(own)
    if not batches:
        raise InputError("The DataLoader yields no batch; at least one sample is needed.")
    pairs = [_pair(batch) for batch in batches]
    return torch.cat([x for x, _ in pairs]), torch.cat([y for _, y in pairs])


def _pair(batch: Any) -> tuple[Tensor, Tensor]:
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise InputError(f"Each batch (and test=) must be a pair (inputs, targets), found {type(batch).__name__}.")
    return _tensor(batch[0], "inputs"), _tensor(batch[1], "targets")


def _tensor(value: Any, role: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(np.array(value))
    raise InputError(f"The {role} must be a tensor or a numpy array, found {type(value).__name__}.")


def _require_finite(what: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        return
    bad = ~torch.isfinite(tensor)
    if bad.any():
        first = int(bad.reshape(len(tensor), -1).any(dim=1).nonzero()[0])
        raise InputError(
            f"The {what} hold {int(bad.sum())} values that are NaN or infinite (first in sample {first}). "
            "Remove or repair these samples; isthmus never drops data silently."
        )
