"""The page's addresses, and who may ask for them.

The server listens on 127.0.0.1, but a page of elsewhere that runs in the same browser can send
requests there. So a request must name this host (a foreign name that resolves to 127.0.0.1 is
refused) and, where it has an origin, come from this page; its body is counted while it is read.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jcnn.demo.network import Question, Subject
from jcnn.errors import UserError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request

_TEMPLATES = Path(__file__).parent / "templates"
_MOST_WAITING = 8
# The port that browsers leave out of Host and Origin.
_HTTP = 80
_SECONDS = 10


def make_app(subject: Subject, port: int) -> Starlette:
    """Return the application of a loaded network, for a server on ``127.0.0.1:port``."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    answers = _Answers(subject, port)
    asked = [
        Route(path, answers.to(question), methods=["POST"])
        for path, question in subject.questions.items()
    ]
    return Starlette(routes=[Route("/", answers.page), *asked])


class _Answers:
    """What the addresses answer."""

    def __init__(self, subject: Subject, port: int) -> None:
        self._subject, self._port = subject, port
        names = "127.0.0.1", "localhost"
        self._hosts = {f"{name}:{port}" for name in names}
        if port == _HTTP:
            self._hosts.update(names)
        self._waiting = 0

    def _refusal(self, request: Request) -> str | None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        if host not in self._hosts:
            return f"expected the host 127.0.0.1:{self._port}"
        if origin is not None and origin != f"http://{host}":
            return "expected a request of this page"
        return None

    async def page(self, request: Request) -> Any:
        """The page, whose script and style alone may run."""
        from starlette.responses import HTMLResponse, JSONResponse

        if reason := self._refusal(request):
            return JSONResponse({"error": reason}, 403)
        nonce = secrets.token_urlsafe(16)
        policy = (
            f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
            "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'"
        )
        headers = {"content-security-policy": policy, **_HEADERS}
        return HTMLResponse(_page(self._subject, nonce), headers=headers)

    def to(self, question: Question) -> Callable[[Request], Awaitable[Any]]:
        """What the network makes of an example; at most a few wait for it."""

        async def answered(request: Request) -> Any:
            return await self._in_turn(question, request)

        return answered

    async def _in_turn(self, question: Question, request: Request) -> Any:
        from starlette.responses import JSONResponse

        if reason := self._refusal(request):
            return JSONResponse({"error": reason}, 403)
        if self._waiting >= _MOST_WAITING:
            return JSONResponse({"error": "too many questions at once"}, 503)
        self._waiting += 1
        try:
            return await self._answer(question, request)
        finally:
            self._waiting -= 1

    async def _answer(self, question: Question, request: Request) -> Any:
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import ClientDisconnect
        from starlette.responses import JSONResponse

        try:
            body = await asyncio.wait_for(_body(request, question.most_bytes), _SECONDS)
            found = await run_in_threadpool(question.answer, body)
        except UserError as error:
            return JSONResponse({"error": str(error)}, 400)
        except (TimeoutError, ClientDisconnect):
            return JSONResponse({"error": f"the {question.what} did not arrive"}, 408)
        return JSONResponse(found, headers=_HEADERS)


_HEADERS = {
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


async def _body(request: Request, most: int) -> bytes:
    """Read a body, but no more than an example can have."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise UserError(f"expected {most} bytes at most, found more")
    return bytes(body)


def _page(subject: Subject, nonce: str) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=FileSystemLoader(_TEMPLATES)
    )
    experiment = subject.experiment
    return environment.get_template("demo.html").render(
        name=experiment.name,
        names=experiment.data.class_names,
        kind=subject.kind,
        nonce=nonce,
        **subject.settings,
    )
