"""A page to draw on, or to speak to."""

from __future__ import annotations

from typing import Annotated

import typer

from jcnn.cli.options import RunFolder, say


def demo(
    run: RunFolder,
    port: Annotated[
        int,
        typer.Option(
            "--port",
            metavar="N",
            min=0,
            max=65535,
            help="Port of 127.0.0.1.",
            show_default="a free one",
        ),
    ] = 0,
) -> None:
    """Serve a page to draw on or speak to, on this machine alone: prediction, activations and δ."""
    from jcnn import training
    from jcnn.demo.server import serve

    training.enable_compilation_cache()
    serve(run, port, say)
