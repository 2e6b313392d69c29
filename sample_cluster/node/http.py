"""What a node answers to plain HTTP on its client port. Nothing here waits for anything."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from sample_cluster.codecs import SUBPROTOCOLS

SOCKET_PATH: Final = "/ws"
HEALTH_PATHS: Final = ("/live", "/health", "/ready", "/metrics")


def plain(status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return a whole response."""
    return _response(status, text, "text/plain; charset=utf-8", headers or {})


def document(status: HTTPStatus, fields: Mapping[str, object]) -> Response:
    """Return a response with a JSON object."""
    return _response(status, json.dumps(fields) + "\n", "application/json", {})


def refuse_request(request: Request) -> Response | None:
    """Return the answer to a request that nobody serves; None if it is one for this node."""
    if request.method != "GET":
        return plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is served\n", {"Allow": "GET"})
    path = request.path.partition("?")[0]
    if path != SOCKET_PATH:
        return None if path in HEALTH_PATHS else plain(HTTPStatus.NOT_FOUND, f"clients connect to {SOCKET_PATH}\n")
    offered = offered_subprotocols(request)
    if offered and not set(offered) & set(SUBPROTOCOLS):
        return plain(HTTPStatus.BAD_REQUEST, f"supported subprotocols: {', '.join(SUBPROTOCOLS)}\n")
    return None


def offered_subprotocols(request: Request) -> tuple[str, ...]:
    """Return what the client can speak; nothing means that it leaves the choice to us."""
    names = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    return tuple(name.strip() for name in names if name.strip())


def metrics(values: Mapping[str, tuple[str, str, float]], *, node: str) -> Response:
    """Return `values` (name → kind, help, value) in the Prometheus text format."""
    lines: list[str] = []
    for name, (kind, meaning, value) in values.items():
        lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f'{name}{{node="{node}"}} {value:g}']
    return _response(HTTPStatus.OK, "\n".join(lines) + "\n", "text/plain; version=0.0.4; charset=utf-8", {})


def _response(status: HTTPStatus, text: str, kind: str, headers: Mapping[str, str]) -> Response:
    body = text.encode()
    fields = {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **headers}
    return Response(status.value, status.phrase, Headers(fields), body)
