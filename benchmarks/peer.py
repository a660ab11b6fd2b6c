"""Other libraries, timed beside ours in the same run, each in a virtual environment of its own.

The folder named by ``ISTHMUS_PEERS`` holds one environment for each library; ``benchmarks/peers/README.md`` says what to
install in which. Without it a benchmark prints our side only, and says so.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "peers"


def peer(environment: str, script: str, *arguments: str) -> dict[str, Any] | None:
    """What ``peers/<script>`` measured when run in that environment, or None when the environment is not there.

    Args:
        environment: folder of the virtual environment below ``ISTHMUS_PEERS``.
        script: its last line of output is a JSON object.
        arguments: of the script.

    Raises:
        RuntimeError: the script failed.
    """
    python = Path(os.environ.get("ISTHMUS_PEERS", "/nowhere")) / environment / "bin" / "python"
    if not python.exists():
        print(f"({environment} was not timed: there is no environment of it; see benchmarks/peers/README.md)", flush=True)
        return None
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(python), str(SCRIPTS / script), *arguments], env=clean, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{script} failed in {environment}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
