"""A run's page, served from a thread, and asked."""

from __future__ import annotations

import http.client
import socket
import threading
import time

import numpy as np

from jcnn.demo import make_app, subject
from jcnn.demo.drawing import SIDE
from tests.optional import optional

_, uvicorn, needs_server = optional("starlette", "uvicorn")


def served(run, named: int | None = None):
    """Serve a run from a thread, as if on another port where one is named; yields the port."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(make_app(subject(run), named or port), log_level="error")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join()
    listening.close()


def ask(port: int, body: bytes | None, path: str = "/look", method: str = "POST", **headers: str):
    """Send a request; return status, headers and what the answer holds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def stroke() -> bytes:
    drawing = np.zeros((SIDE, SIDE), np.uint8)
    drawing[20:90, 50:62] = 255
    return drawing.tobytes()
