"""The type checker behind the import hook of `conftest`: shapes only.

Other annotations are left to pyright. beartype looks at random items of containers, and so would move Python's global
generator, of which other tests say that nothing moves it.
"""

from collections.abc import Callable

from beartype import beartype
from jaxtyping import AbstractArray


def checked(function: Callable) -> Callable:
    """`function` with its array annotations checked at every call."""
    function.__annotations__ = {k: hint for k, hint in function.__annotations__.items() if _is_array(hint)}
    return beartype(function)


def _is_array(hint: object) -> bool:
    return isinstance(hint, type) and issubclass(hint, AbstractArray)
