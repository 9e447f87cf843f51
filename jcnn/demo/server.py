"""The server of the page: on this machine alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from os import PathLike

from jcnn.demo.network import Subject
from jcnn.errors import UserError
from jcnn.training import load_trained
from jcnn.training.trained import check_finite

HOST = "127.0.0.1"
POSIX = os.name == "posix"


def serve(
    folder: str | PathLike[str], port: int = 0, say: Callable[[str], None] = lambda line: None
) -> None:
    """Serve a run's page until somebody presses Ctrl-C.

    Args:
        folder: A run's folder.
        port: Of 127.0.0.1; a free one where 0.
        say: Told the page's address once it answers.

    Raises:
        UserError: A package is missing, the folder holds no run of images or recordings, its
            weights are not numbers, or the port is taken.
    """
    try:
        import starlette  # noqa: F401
        import uvicorn
    except ModuleNotFoundError:
        raise UserError(
            "jcnn demo needs packages that are not installed: pip install 'jcnn[demo]'"
        ) from None
    from jcnn.demo.app import make_app

    about = subject(folder)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        if POSIX:  # elsewhere a second program could have the port as well
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise UserError(f"--port {port}: {error.strerror or error}") from None
        port = listening.getsockname()[1]
        config = uvicorn.Config(
            make_app(about, port), log_level="error", limit_concurrency=64, timeout_keep_alive=5
        )
        what = "draw, or show images," if about.kind == "drawing" else "speak"
        say(f"{what} on http://{HOST}:{port} (Ctrl-C ends it)")
        uvicorn.Server(config).run(sockets=[listening])


def subject(folder: str | PathLike[str]) -> Subject:
    """Load a run: to draw on where its examples are images, else to speak to.

    Raises:
        UserError: The folder holds no run, its network takes neither images nor recordings, or
            its weights are not numbers.
    """
    from jcnn.demo.drawing import Drawer
    from jcnn.demo.recording import Listener

    trained = load_trained(folder)
    check_finite(trained, folder)
    return Drawer(trained) if len(trained.experiment.input_shape) == 3 else Listener(trained)
