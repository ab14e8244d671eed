"""Reading the JSON of a request within bounds of size, time and depth."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

from promptkit.server.http.errors import HttpError
from promptkit.server.http.options import HttpOptions
from promptkit.storage.strict_json import parse_json

MAX_DEPTH = 64
"""The most levels of lists and objects in a request."""


async def read_object(request: web.Request, options: HttpOptions) -> Mapping[str, Any]:
    """Return the JSON object in the body of a request. Raises HttpError."""
    if request.content_type != "application/json":
        # A web page of another origin may send other types without asking the server first.
        raise HttpError(415, "the body must be JSON, with `Content-Type: application/json`", "unsupported_media_type")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HttpError(415, "the body must not be compressed", "unsupported_encoding")
    value = _parsed(await _read(request, options))
    if not isinstance(value, dict):
        raise HttpError(400, "the body must be a JSON object", "invalid_json")
    return value


async def _read(request: web.Request, options: HttpOptions) -> bytes:
    if (request.content_length or 0) > options.max_body:
        raise _too_large(options)
    try:
        async with asyncio.timeout(options.read_timeout):
            return await request.read()
    except TimeoutError:
        message = f"the body did not arrive within {options.read_timeout:g} seconds"
        raise HttpError(408, message, "body_timeout") from None
    except web.HTTPRequestEntityTooLarge:
        raise _too_large(options) from None
    except (RequestPayloadError, HttpProcessingError):
        raise HttpError(400, "the body breaks off or is not valid HTTP", "invalid_body") from None


def _too_large(options: HttpOptions) -> HttpError:
    return HttpError(413, f"the body is larger than {options.max_body:,} bytes", "body_too_large")


def _parsed(body: bytes) -> Any:
    try:
        value = parse_json(body)
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON: {error}", "invalid_json") from None
    if depth_exceeds(value, MAX_DEPTH):
        raise HttpError(400, f"the JSON is nested deeper than {MAX_DEPTH} levels", "invalid_json")
    return value


def depth_exceeds(value: Any, most: int) -> bool:
    """Tell whether lists and objects are nested deeper than `most` levels."""
    level = [value]
    for _ in range(most):
        level = [part for parts in level for part in (parts.values() if isinstance(parts, dict) else parts)]
        level = [part for part in level if isinstance(part, dict | list)]
    return bool(level)
