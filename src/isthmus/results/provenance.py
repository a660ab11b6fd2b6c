"""Where a result came from and what it cost."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What is needed to make the result again.

    Attributes:
        versions: package name to version (isthmus, torch, numpy, python).
        dtype: dtype of the computation, e.g. ``"float64"``.
        device: device of the computation, e.g. ``"cpu"``.
        seed: the named seed, or "" when nothing random was drawn.
        parameters: SHA-256 (first 16 hex digits) of the parameters used, or "".
        data: SHA-256 (first 16 hex digits) of inputs and targets, or "".
        verified: whether the self-checks ran.
    """

    versions: dict[str, str] = field(default_factory=dict)
    dtype: str = ""
    device: str = ""
    seed: str = ""
    parameters: str = ""
    data: str = ""
    verified: bool = True


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the result cost: operator products, wall seconds, peak bytes asked for."""

    matvecs: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
