"""The command line in this process, and a user's file in an empty folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from isthmus.cli.main import main
from tests.cli.files import SOURCE

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that holds the user's ``net.py``."""
    (tmp_path / "net.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture) -> Run:
    """Runs ``isthmus WORDS`` and returns exit code, standard output and standard error."""

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in words])
        code = stop.value.code
        out = capsys.readouterr()
        assert isinstance(code, int)
        return code, out.out, out.err

    return call
