"""A run folder: what it takes up, what it clears, what it refuses."""

from pathlib import Path

import pytest

from isthmus._core.errors import InputError
from isthmus.studies.run import IDENTITY, RunDirectory

DESCRIPTION = dict.fromkeys(IDENTITY, "x")


def test_half_written_files_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.start(DESCRIPTION)
    leftovers = [run.path / ".run.json.1.tmp", run.path / "records" / "kernel" / ".timeline.safetensors.1.tmp"]
    for leftover in leftovers:
        leftover.parent.mkdir(parents=True, exist_ok=True)
        leftover.write_bytes(b"half")
    kept = run.path / "notes.tmp"
    kept.write_text("mine")
    with pytest.raises(InputError, match="seed"):
        run.start(DESCRIPTION | {"seed": 1})
    assert all(leftover.exists() for leftover in leftovers), "another run's folder is left alone"
    run.start(DESCRIPTION)
    assert not any(leftover.exists() for leftover in leftovers)
    assert kept.exists()


def test_a_folder_with_other_files_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError, match="not empty"):
        RunDirectory(tmp_path).start(DESCRIPTION)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": 99}', b"\xff\xfe"])
def test_a_damaged_description_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(InputError, match=r"run\.json"):
        RunDirectory(tmp_path).start(DESCRIPTION)
