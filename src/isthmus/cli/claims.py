"""The verb `isthmus claims`."""

from pathlib import Path
from typing import Annotated, Literal

import cyclopts
from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from isthmus._core.errors import InputError
from isthmus.claims import check_claim
from isthmus.cli.place import problem_at
from isthmus.model.data import builtin_task
from isthmus.papers import all_claims

app = cyclopts.App(name="claims", help="The refutable statements: list them, or check them on a network.")


@app.command(name="list")
def list_claims() -> None:
    """All claims with their kind, statement and source."""
    table = Table("claim", "kind", "statement", "source", box=None, pad_edge=False)
    for name, (_, claim) in all_claims().items():
        table.add_row(name, claim.kind, claim.statement, claim.source)
    Console().print(table)


@app.command
def check(
    target: str | None = None,
    *,
    claim: Annotated[list[str] | None, Parameter(name=["--claim", "-c"])] = None,
    scale: Literal["smoke", "desk", "paper"] = "smoke",
    seed: int = 0,
    out: Path | None = None,
) -> int:
    """Check claims, each with its negative control; exit code 1 when a claim fails or a control does not.

    Parameters
    ----------
    target
        FILE.py:function that returns an isthmus.Problem; the built-in digits task when left out.
    claim
        Only these (repeat the option); all by default.
    scale
        smoke: seconds each; desk: minutes.
    seed
        Root of every draw.
    out
        Folder for the records.
    """
    known = all_claims()
    for name in claim or ():
        if name not in known:
            raise InputError(f"There is no claim {name!r}; there are {', '.join(known)}.")
    problem = problem_at(target) if target is not None else builtin_task("digits", seed).problem.eval()
    console, bad = Console(), False
    for name in claim or known:
        paper, found = known[name]
        result = check_claim(found, problem, paper=paper.key, scale=scale, seed=seed)
        console.print(
            f"[bold]{name}[/bold]: {result.verdict}{f' (unmet: {result.unmet})' if result.unmet else ''}", highlight=False
        )
        if result.evidence:
            console.print(f"  {result.evidence}", highlight=False)
            console.print(f"  control: {result.control_verdict}. {result.control_evidence}", highlight=False)
        bad |= result.verdict == "fails" or (not result.unmet and result.control_verdict != "fails")
        if out is not None:
            result.save(out / f"{name}.safetensors")
    return int(bad)
