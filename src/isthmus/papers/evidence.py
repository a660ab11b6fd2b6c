"""Evidence at desk scale, kept with the paper: every claim checked on a built-in task and saved.

    python -m isthmus.papers.evidence PAPER [TASK]

TASK is `digits` (the default), `mnist1d`, `three_steps` or `teacher`. Each record says in its provenance which commit made it.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from isthmus.claims import check_claim
from isthmus.model.data import builtin_task
from isthmus.papers import PAPERS

HERE = Path(__file__).parent


def main(key: str, task: str = "digits") -> None:
    """Check the paper's claims at desk scale, each with its control, and save the results under ``<paper>/evidence``."""
    problem = builtin_task(task, 0).problem.eval()
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()
    for claim in next(paper for paper in PAPERS if paper.key == key).claims:
        result = check_claim(claim, problem, paper=key, scale="desk", seed=0)
        versions = {**result.provenance.versions, "commit": commit}
        kept = replace(result, provenance=replace(result.provenance, versions=versions))
        kept.save(HERE / key / "evidence" / f"{claim.id}.safetensors")
        words = f"{result.verdict}, control {result.control_verdict}, {result.cost.seconds:.1f} s. {result.evidence}"
        sys.stdout.write(f"{claim.id}: {words}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
