"""What a paper is here: a reference and the claims bound to it."""

from dataclasses import dataclass

from isthmus.claims import Claim


@dataclass(frozen=True)
class Paper:
    """A paper and its claims.

    Attributes:
        key: short name, also its folder.
        title: of the paper.
        authors: as printed.
        year: of publication.
        arxiv: identifier.
        claims: statements of the paper, or derived from it here; each says which.
    """

    key: str
    title: str
    authors: str
    year: int
    arxiv: str
    claims: tuple[Claim, ...]
