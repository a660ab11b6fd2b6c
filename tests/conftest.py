"""One torch thread for every test; shapes in annotations are checked as the code runs."""

import torch
from jaxtyping import install_import_hook

from tests.shapes import checked

#: rooms' inner modules whose tensors carry their shapes as annotations; checked here, never at a user's run time
SHAPED = (
    "isthmus.kernel.alignment",
    "isthmus.kernel.structured",
    "isthmus.linops.lanczos",
    "isthmus.linops.slq",
    "isthmus.model.capture",
    "isthmus.model.derivatives",
)

torch.set_num_threads(1)
install_import_hook(SHAPED, f"{checked.__module__}.{checked.__name__}")
