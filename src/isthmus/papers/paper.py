"""What a paper is here: a reference and the claims bound to it."""

from dataclasses import dataclass

from isthmus.claims import Claim
from isthmus.results.references import REFERENCES, Reference


@dataclass(frozen=True)
class Paper:
    """A paper and its claims.

    Attributes:
        key: short name, also its folder; one of `REFERENCES`.
        claims: statements of the paper, or derived from it here; each says which.
    """

    key: str
    claims: tuple[Claim, ...]

    @property
    def reference(self) -> Reference:
        """How the paper is cited."""
        return REFERENCES[self.key]
