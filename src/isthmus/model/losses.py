"""Losses with their reduction understood: ``loss = total over samples / normalizer``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus._core.errors import DtypeError, InputError, ShapeError

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True)
class Loss:
    """A loss split into a sum over samples and a normalizer, so that chunks add up exactly.

    Attributes:
        name: ``mse_entries`` (mean over all entries), ``sum`` (summed squares), ``cross_entropy`` (mean over samples),
            ``cross_entropy_sum``, or the callable's own name with its reduction.
        total: ``(outputs, targets) -> scalar``, the un-normalized sum over the samples passed.
        normalizer: ``targets -> float``, what the sum over these samples is divided by.
        classes: whether targets are class labels (or class probabilities).
        check: raises when targets do not fit outputs.
        ignored: label that is left out of loss and error, or None.
    """

    name: str
    total: Callable[[Tensor, Tensor], Tensor]
    normalizer: Callable[[Tensor], float]
    classes: bool
    check: Callable[[Tensor, Tensor], None]
    ignored: int | None = None

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of this batch under its own reduction."""
        return self.total(outputs, targets) / self.normalizer(targets)

    def counted(self, targets: Tensor) -> Tensor:
        """Which labels count, a boolean of their shape."""
        return torch.ones_like(targets, dtype=torch.bool) if self.ignored is None else targets != self.ignored


def understand(loss: nn.Module | Callable[[Tensor, Tensor], Tensor], reduction: Reduction | None = None) -> Loss:
    """The `Loss` behind a torch loss module or a callable.

    Args:
        loss: `nn.MSELoss`, `nn.CrossEntropyLoss`, another torch loss with a ``reduction``, or any callable
            ``(outputs, targets) -> scalar``.
        reduction: needed for a callable: how it reduces over samples, ``"mean"`` or ``"sum"``.

    Raises:
        InputError: the reduction is not stated, contradicts the loss, or is ``"none"``.
    """
    stated = getattr(loss, "reduction", None)
    if stated is not None and reduction is not None and stated != reduction:
        raise InputError(f"The loss reduces by {stated!r} but reduction={reduction!r} was passed. Leave reduction out.")
    how = stated or reduction
    if how not in ("mean", "sum"):
        raise InputError(
            f"How does {_name(loss)} reduce over samples? Found {how!r}; isthmus never guesses. "
            "Pass reduction='mean' or reduction='sum' to Problem (a torch loss: construct it with that reduction)."
        )
    if isinstance(loss, nn.MSELoss):
        return _mse(how)
    if isinstance(loss, nn.CrossEntropyLoss):
        return _cross_entropy(loss, how)
    if not callable(loss):
        raise InputError(f"The loss must be a torch loss or a callable, found {type(loss).__name__}.")
    return _callable(loss, how)


def _mse(how: str) -> Loss:
    def total(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().sum()

    def check(outputs: Tensor, targets: Tensor) -> None:
        if not targets.is_floating_point():
            raise DtypeError(
                f"MSELoss needs floating-point targets, found {targets.dtype}. For class labels use nn.CrossEntropyLoss; "
                "for regression write targets.float()."
            )
        if outputs.shape != targets.shape:
            raise ShapeError(
                f"MSELoss would broadcast outputs {_batch(outputs)} against targets {_batch(targets)}: the shapes must be "
                "equal. Reshape the targets, e.g. targets[:, None] for one output."
            )

    normalizer = (lambda targets: float(targets.numel())) if how == "mean" else (lambda _: 1.0)
    return Loss("mse_entries" if how == "mean" else "sum", total, normalizer, False, check)


def _cross_entropy(loss: nn.CrossEntropyLoss, how: str) -> Loss:
    weight, ignored, smoothing = loss.weight, loss.ignore_index, loss.label_smoothing

    def total(outputs: Tensor, targets: Tensor) -> Tensor:
        class_weight = None if weight is None else weight.to(outputs)
        return functional.cross_entropy(
            outputs, targets, weight=class_weight, ignore_index=ignored, reduction="sum", label_smoothing=smoothing
        )

    def normalizer(targets: Tensor) -> float:
        if how == "sum":
            return 1.0
        if targets.is_floating_point():
            return float(targets.numel() / targets.shape[1])
        kept = targets[targets != ignored]
        return float(len(kept) if weight is None else weight.to(kept.device, torch.float64)[kept].sum())

    def check(outputs: Tensor, targets: Tensor) -> None:
        _check_classes(outputs, targets, ignored)

    return Loss("cross_entropy" if how == "mean" else "cross_entropy_sum", total, normalizer, True, check, ignored)


def _check_classes(outputs: Tensor, targets: Tensor, ignored: int) -> None:
    if outputs.ndim < 2:
        raise ShapeError(f"CrossEntropyLoss needs logits (n, classes, ...), found outputs {_batch(outputs)}.")
    if targets.is_floating_point():
        if outputs.shape != targets.shape:
            raise ShapeError(
                f"Floating-point targets are read as class probabilities of shape {_batch(outputs)}, found "
                f"{_batch(targets)}. For class labels write targets.long()."
            )
        return
    if targets.dtype != torch.int64:
        raise DtypeError(f"CrossEntropyLoss needs int64 class labels, found {targets.dtype}. Write targets.long().")
    expected = (outputs.shape[0], *outputs.shape[2:])
    if tuple(targets.shape) != expected:
        raise ShapeError(f"Class labels of shape {_batch(expected)} fit outputs {_batch(outputs)}; found {_batch(targets)}.")
    labels = targets[targets != ignored]
    if len(labels) and (labels.min() < 0 or labels.max() >= outputs.shape[1]):
        raise InputError(
            f"Class labels must lie in 0..{outputs.shape[1] - 1} (the network has {outputs.shape[1]} outputs); found "
            f"{int(labels.min())}..{int(labels.max())}. Relabel the classes or widen the last layer."
        )


def _callable(loss: Callable[[Tensor, Tensor], Tensor], how: str) -> Loss:
    def total(outputs: Tensor, targets: Tensor) -> Tensor:
        value = loss(outputs, targets)
        return value * len(outputs) if how == "mean" else value

    def check(outputs: Tensor, targets: Tensor) -> None:
        value = loss(outputs, targets)
        if not isinstance(value, Tensor) or value.ndim != 0:
            raise InputError(f"{_name(loss)} must return one scalar tensor, found {_describe(value)}.")
        if len(outputs) > 1:
            parts = total(outputs[:1], targets[:1]) + total(outputs[1:], targets[1:])
            whole = total(outputs, targets)
            if not torch.isclose(parts, whole, rtol=1e-3, atol=1e-6):
                raise InputError(
                    f"{_name(loss)} is not a {how} over samples: two parts of a batch do not add up to the whole "
                    f"({float(parts):.6g} against {float(whole):.6g}). State the other reduction, or use a loss that "
                    "treats samples alone."
                )

    normalizer = (lambda targets: float(len(targets))) if how == "mean" else (lambda _: 1.0)
    classes = isinstance(loss, nn.NLLLoss | nn.MultiMarginLoss)
    return Loss(f"{_name(loss)}[{how}]", total, normalizer, classes, check, getattr(loss, "ignore_index", None))


def _name(loss: object) -> str:
    return getattr(loss, "__name__", type(loss).__name__)


def _describe(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _batch(shape: Tensor | tuple) -> str:
    axes = tuple(shape.shape) if isinstance(shape, Tensor) else shape
    return "(" + ", ".join(["n", *map(str, axes[1:])]) + ("," if len(axes) == 1 else "") + ")"
