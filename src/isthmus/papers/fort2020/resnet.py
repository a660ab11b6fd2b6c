"""ResNet-20 on images of CIFAR-10's shape: the architecture, its recipe, and the data from the user's own arrays.

Batch size, schedule and augmentation are the field's usual ones for this network; they are not confirmed as the paper's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from isthmus._core.errors import InputError
from isthmus._core.seeds import Seed, as_seed
from isthmus.linops.random import forked_rng, gaussian
from isthmus.model.data import DataSet
from isthmus.model.problem import Problem

_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_STAGES, _BLOCKS = (16, 32, 64), 3


class _Block(nn.Module):
    """Two 3x3 convolutions with batch normalization around a shortcut that pads channels with zeros."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride, self.extra = (1 if inputs == outputs else 2), outputs - inputs
        self.first = nn.Conv2d(inputs, outputs, 3, self.stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, ``(n, outputs, h / stride, w / stride)``."""
        hidden = torch.relu(self.first_norm(self.first(x)))
        kept = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.extra))
        return torch.relu(self.second_norm(self.second(hidden)) + kept)


def resnet20(classes: int = 10, *, seed: Seed) -> nn.Sequential:
    """ResNet-20 for 32x32 images (He et al. 2016): three stages of three blocks at 16, 32, 64 channels; 269,722 parameters."""
    with forked_rng(seed):
        layers: list[nn.Module] = [nn.Conv2d(3, _STAGES[0], 3, 1, 1, bias=False), nn.BatchNorm2d(_STAGES[0]), nn.ReLU()]
        width = _STAGES[0]
        for stage in _STAGES:
            for _ in range(_BLOCKS):
                layers.append(_Block(width, stage))
                width = stage
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


@dataclass(frozen=True)
class StepSgd:
    """SGD with momentum and weight decay, its rate divided by ten at some epochs, as a picklable factory."""

    lr: float = 0.1
    momentum: float = 0.9
    decay: float = 1e-4
    milestones: tuple[int, ...] = (100, 150)

    def __call__(self, parameters: Iterable[nn.Parameter]) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """The optimizer over these parameters, and its schedule."""
        optimizer = torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.decay)
        return optimizer, torch.optim.lr_scheduler.MultiStepLR(optimizer, list(self.milestones))


def crop_and_flip(inputs: Tensor, seed: Seed) -> Tensor:
    """Each image shifted by up to four pixels (zeros come in) and mirrored with probability 1/2."""
    generator, count = seed.numpy(), len(inputs)
    padded = nn.functional.pad(inputs, (4, 4, 4, 4))
    moves, mirrored = generator.integers(0, 9, (count, 2)), generator.random(count) < 0.5
    size = inputs.shape[-1]
    crops = [image[:, a : a + size, b : b + size] for image, (a, b) in zip(padded, moves, strict=True)]
    return torch.stack([crop.flip(-1) if mirror else crop for crop, mirror in zip(crops, mirrored, strict=True)])


def images(source: Path | str | None, *, samples: int = 50000, tests: int = 10000, seed: Seed | int = 0) -> DataSet:
    """The user's CIFAR arrays, or generated images of the same shape.

    Args:
        source: an ``.npz`` file with ``train_images (n, 32, 32, 3)`` in 0..255, ``train_labels (n,)`` and the same for ``test_``;
            None generates ten Gaussian patterns with noise.
        samples: at most so many training images.
        tests: at most so many test images.
        seed: names generated images.

    Raises:
        InputError: the file is missing, or lacks an array of that shape.
    """
    if source is None:
        seed = as_seed(seed)
        patterns = gaussian((10, 3, 32, 32), seed.child("patterns"), torch.float32)
        labels = torch.arange(samples + tests) % 10
        drawn = patterns[labels] + 2 * gaussian((samples + tests, 3, 32, 32), seed.child("noise"), torch.float32)
        return DataSet(drawn[:samples], labels[:samples], drawn[samples:], labels[samples:])
    arrays = _read(Path(source))
    train, test = (torch.from_numpy(arrays[name].astype(np.float32)).permute(0, 3, 1, 2) / 255 for name in _ARRAYS[::2])
    mean, scale = train.mean((0, 2, 3), keepdim=True), train.std((0, 2, 3), keepdim=True)
    labels = [torch.from_numpy(arrays[name].astype(np.int64).reshape(-1)) for name in _ARRAYS[1::2]]
    pixels = [((part - mean) / scale).contiguous() for part in (train, test)]
    return DataSet(pixels[0][:samples], labels[0][:samples], pixels[1][:tests], labels[1][:tests])


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file}
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{path} is no .npz file of arrays ({fault}). Write one with numpy.savez and {_words(_ARRAYS)}."
        ) from fault
    wrong = [name for name in _ARRAYS if name not in arrays or ("images" in name and arrays[name].shape[1:] != (32, 32, 3))]
    if wrong:
        raise InputError(
            f"{path} lacks {_words(wrong)} in the right shape: images are (n, 32, 32, 3) in 0..255, labels (n,) in 0..9. Save your own "
            f"copy of CIFAR-10 with numpy.savez and {_words(_ARRAYS)}."
        )
    return arrays


def _words(names: Sequence[str]) -> str:
    return ", ".join(names)


def image_problem(data: DataSet, *, seed: Seed) -> Problem:
    """ResNet-20 on these images, on the GPU where there is one."""
    place = "cuda" if torch.cuda.is_available() else "cpu"
    test = data.test_inputs, data.test_targets
    module = resnet20(seed=seed)
    return Problem(
        module,
        data.train_inputs,
        data.train_targets,
        nn.CrossEntropyLoss(),
        test=test,
        name="ResNet-20 on CIFAR-10",
        device=place,
    )
