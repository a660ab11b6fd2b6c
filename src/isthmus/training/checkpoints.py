"""A checkpoint: everything needed to go on bit for bit, in one safetensors file that executes nothing."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from isthmus._core.errors import InputError
from isthmus.model.network import Network
from isthmus.results.record import write_atomically

FORMAT = 1


class _Head(msgspec.Struct):
    """What the file's JSON header holds."""

    format: Literal[1]
    step: int
    steps_per_epoch: int
    param_groups: list[dict[str, Any]]
    scheduler: dict[str, Any]
    sampler: dict[str, Any]
    module_hash: str
    data_hash: str


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A point of a training run.

    Attributes:
        step: optimizer steps done.
        steps_per_epoch: optimizer steps of an epoch.
        parameters: by name.
        buffers: by name, frozen parameters included.
        optimizer_state: parameter name to slot to tensor.
        param_groups: the optimizer's groups: plain options, and ``params`` as names.
        scheduler: the scheduler's plain state; empty without one.
        rng: torch's generator state for what the network draws in training (dropout); may be empty.
        sampler: ``seed`` and ``batch`` of the mini-batch order; the position is `step`.
        module_hash: of the architecture.
        data_hash: of the training data; "" when unknown.
    """

    step: int
    steps_per_epoch: int
    parameters: dict[str, Tensor]
    buffers: dict[str, Tensor] = field(default_factory=dict)
    optimizer_state: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    param_groups: list[dict[str, Any]] = field(default_factory=list)
    scheduler: dict[str, Any] = field(default_factory=dict)
    rng: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.uint8))
    sampler: dict[str, Any] = field(default_factory=dict)
    module_hash: str = ""
    data_hash: str = ""

    @property
    def epoch(self) -> float:
        """Time in epochs."""
        return self.step / self.steps_per_epoch

    def save(self, directory: Path) -> Path:
        """Write ``directory/<step>.safetensors`` in one piece."""
        tensors = {f"param/{k}": v for k, v in self.parameters.items()} | {f"buffer/{k}": v for k, v in self.buffers.items()}
        tensors |= {f"optim/{name}/{slot}": v for name, slots in self.optimizer_state.items() for slot, v in slots.items()}
        tensors["rng/torch"] = self.rng
        plain = ("step", "steps_per_epoch", "param_groups", "scheduler", "sampler", "module_hash", "data_hash")
        head = {"format": FORMAT, "epoch": self.epoch, **{name: getattr(self, name) for name in plain}}
        kept = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        data = safetensors.torch.save(kept, metadata={"isthmus.checkpoint": msgspec.json.encode(head).decode()})
        return write_atomically(checkpoint_path(directory, self.step), data)

    @classmethod
    def load(cls, path: Path) -> "Checkpoint":
        """Read a checkpoint.

        Raises:
            InputError: the file is missing, truncated, or not a checkpoint of isthmus.
        """
        head, tensors = _read(path)
        parts: dict[str, dict[str, Tensor]] = {"param": {}, "buffer": {}, "rng": {}}
        slots: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if kind == "optim":
                parameter, _, slot = name.rpartition("/")
                slots.setdefault(parameter, {})[slot] = tensor
            else:
                parts.setdefault(kind, {})[name] = tensor
        return cls(
            step=head.step,
            steps_per_epoch=head.steps_per_epoch,
            parameters=parts["param"],
            buffers=parts["buffer"],
            optimizer_state=slots,
            param_groups=head.param_groups,
            scheduler=head.scheduler,
            rng=parts["rng"].get("torch", torch.empty(0, dtype=torch.uint8)),
            sampler=head.sampler,
            module_hash=head.module_hash,
            data_hash=head.data_hash,
        )

    def require_of(self, network: Network, path: Path) -> None:
        """Raise unless this checkpoint belongs to the network's architecture.

        Raises:
            InputError: it belongs to another network.
        """
        mine = {k: tuple(v.shape) for k, v in network.parameters.items()}
        found = {k: tuple(v.shape) for k, v in self.parameters.items()}
        if mine != found:
            odd = next(k for k in [*mine, *found] if mine.get(k) != found.get(k))
            raise InputError(
                f"{path} is a checkpoint of another network: parameter {odd!r} has shape {found.get(odd, 'absent')} there and "
                f"{mine.get(odd, 'absent')} in this network. Use checkpoints that this network wrote."
            )


def checkpoint_path(directory: Path, step: int) -> Path:
    """``directory/<step, 8 digits>.safetensors``."""
    return directory / f"{step:08d}.safetensors"


def stored_steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint file in the folder."""
    return sorted(int(path.stem) for path in directory.glob("*.safetensors") if path.stem.isdigit())


def _read(path: Path) -> tuple[_Head, dict[str, Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as fault:
        raise InputError(f"{path} does not exist.") from fault
    except (safetensors.SafetensorError, OSError) as fault:
        raise InputError(f"{path} is truncated or not a safetensors file ({fault}). Delete it and train again.") from fault
    if "isthmus.checkpoint" not in metadata:
        raise InputError(
            f"{path} is not an isthmus checkpoint (no header). Write checkpoints with isthmus.Recorder or isthmus.train."
        )
    try:
        return msgspec.json.decode(metadata["isthmus.checkpoint"], type=_Head), tensors
    except msgspec.DecodeError as fault:
        raise InputError(
            f"{path} has an unknown or damaged checkpoint header ({fault}); this version reads format {FORMAT}."
        ) from fault
