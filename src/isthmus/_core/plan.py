"""What a method would do, before it does it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Cost forecast of one method.

    Attributes:
        method: name of the method and of its per-part choices.
        flops: floating-point operations, multiply and add counted separately.
        bytes: peak memory beyond the network and its data.
    """

    method: str
    flops: float
    bytes: float

    def __str__(self) -> str:
        return f"{self.method}: {self.flops / 1e9:.3g} GFLOP, {self.bytes / 2**20:.3g} MiB"
