"""Named random seeds: one root, any number of independent children, no global generator."""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from isthmus._core.errors import InputError


@dataclass(frozen=True)
class Seed:
    """A root integer and a path of names; the same path gives the same stream on every machine.

    ``Seed(0).child("train").child("order", 3)`` hashes ``"0/train/order/3"`` with SHA-256, so that adding a draw
    in one place never shifts the draws of another.
    """

    root: int = 0
    path: tuple[str, ...] = ()

    def child(self, *names: str | int) -> "Seed":
        """The independent seed at ``path / names``; a slash inside a name is escaped, so that it is no path."""
        return Seed(self.root, self.path + tuple(str(name).replace("\\", "\\\\").replace("/", "\\/") for name in names))

    @classmethod
    def parse(cls, text: str) -> "Seed":
        """The seed that prints as `text`, e.g. one that a checkpoint names.

        Raises:
            InputError: the text does not begin with a whole number.
        """
        root, *path = re.split(r"(?<!\\)/", text)
        if not re.fullmatch(r"-?\d+", root):
            raise InputError(f"A seed reads like 0/train/order, found {text!r}.")
        return cls(int(root), tuple(path))

    @property
    def integer(self) -> int:
        """A 63-bit integer for libraries that want one."""
        digest = hashlib.sha256(str(self).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def numpy(self) -> np.random.Generator:
        """A NumPy generator at this seed."""
        return np.random.default_rng(self.integer)

    def __str__(self) -> str:
        return "/".join((str(self.root), *self.path))


def as_seed(seed: "Seed | int") -> Seed:
    """`seed` itself, or the root seed of an integer."""
    return seed if isinstance(seed, Seed) else Seed(int(seed))
