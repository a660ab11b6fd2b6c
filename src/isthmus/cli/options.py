"""Arguments that several verbs share, each with its words for ``--help``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Target = Annotated[str, Parameter(help="FILE.py:function that returns an isthmus.Problem.")]
AtCheckpoint = Annotated[Path | None, Parameter(name="--checkpoint", help="Take the parameters from this checkpoint.")]
Samples = Annotated[int | None, Parameter(name="--samples", help="Only the first training samples.")]
SeedNumber = Annotated[int, Parameter(name="--seed", help="Root of every random draw.")]
Out = Annotated[Path | None, Parameter(name="--out", help="Save the record here (.safetensors).")]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print JSON.")]
