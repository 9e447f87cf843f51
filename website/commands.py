"""The reference of the command line: the help of every command, as the commands print it."""

from __future__ import annotations

import os
from typing import Any

os.environ["TYPER_USE_RICH"] = "0"  # plain lines; read when typer is imported
os.environ["COLUMNS"] = "92"

import typer
from typer.testing import CliRunner

from jcnn.cli.app import app


def page() -> str:
    """Every command and what its ``--help`` prints."""
    parts = [
        "# Commands\n\nWhat each command's `--help` prints. A mistake ends with exit code 2 and one sentence that says "
        "what was expected and what was found; `--json` prints one JSON object and nothing else.\n"
    ]
    for words in _names(typer.main.get_command(app), ()):
        printed = CliRunner().invoke(app, [*words, "--help"], prog_name="jcnn")
        assert printed.exit_code == 0, printed.output
        parts.append(f"## {' '.join(('jcnn', *words))}\n\n```text\n{printed.output.strip()}\n```\n")
    return "\n".join(parts)


def _names(command: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:
    inner = sorted(getattr(command, "commands", {}).items())
    return [words, *(name for child, c in inner for name in _names(c, (*words, child)))]
