"""Beyond the kernel: what a network learns that its tangent kernel cannot, why, and with how many samples."""

from isthmus.learning.decomposition import order_shares
from isthmus.learning.remainder import remainder_orders

__all__ = ["order_shares", "remainder_orders"]
