"""What a call takes, measured in a process of its own so that peaks of memory do not hide behind earlier ones."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from gemm import seconds


def cost(work: Callable[[], object]) -> dict[str, float]:
    """CPU seconds of a call, and the bytes by which it raises this process's peak of memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    took = seconds(work)
    return {"seconds": took, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024}


def apart(script: str, *words: str) -> dict[str, Any]:
    """The JSON object that a benchmark prints when it is run anew with these words."""
    return json.loads(subprocess.run([sys.executable, script, *words], check=True, capture_output=True, text=True).stdout)
