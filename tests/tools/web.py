"""A web server on loopback, whose pages a test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Page = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Serves pages by path, and keeps the requests that it saw."""

    def __init__(self) -> None:
        self.url = ""
        self.pages: dict[str, Page] = {}
        self.requests: list[web.Request] = []

    def put(self, path: str, body: str | bytes, *, status: int = 200, kind: str = "text/xml", **headers: str) -> str:
        """Serve a body at a path and return the address. An underscore in a header's name stands for a hyphen."""
        given = {name.replace("_", "-"): value for name, value in headers.items()} | {"Content-Type": kind}
        content = body.encode() if isinstance(body, str) else body

        async def page(request: web.Request) -> web.StreamResponse:
            return web.Response(body=content, status=status, headers=given)

        self.pages[path] = page
        return self.url + path

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Return the page of a request."""
        self.requests.append(request)
        page = self.pages.get(request.path)
        return web.Response(status=404) if page is None else await page(request)


@asynccontextmanager
async def serving() -> AsyncIterator[Site]:
    """Run a site without pages on loopback."""
    site = Site()
    app = web.Application()
    app.router.add_get("/{path:.*}", site.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    site.url = f"http://{host}:{port}"
    try:
        yield site
    finally:
        await runner.cleanup()
