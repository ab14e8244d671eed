"""The routes of the server, and the middleware around them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

from aiohttp import web

from promptkit.engine.pipeline import Pipeline
from promptkit.engine.results import Result
from promptkit.engine.session import OnEvent
from promptkit.errors import PromptkitError
from promptkit.reports.text import warning_texts
from promptkit.server.http.access import HEADERS, MODEL, AccessLog, Guard, Handler, answered, cors_headers
from promptkit.server.http.admission import Admission
from promptkit.server.http.body import read_object
from promptkit.server.http.catalog import Catalog
from promptkit.server.http.chat import Completion, answer_text, read_chat, usage
from promptkit.server.http.errors import HttpError, as_http_error
from promptkit.server.http.inputs import given_inputs
from promptkit.server.http.metrics import Metrics
from promptkit.server.http.openapi import PAGE_POLICY, openapi, page
from promptkit.server.http.options import HttpOptions
from promptkit.server.http.stream import ChatStream
from promptkit.storage.strict_json import json_bytes

CLIENT_GONE = 499
"""The status in the log of a request whose client has gone."""
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class Endpoints:
    """The handlers of all routes."""

    def __init__(self, catalog: Catalog, options: HttpOptions, admission: Admission, log: AccessLog) -> None:
        self._catalog = catalog
        self._options = options
        self._admission = admission
        self._log = log
        self._guard = Guard(options)
        self._metrics = Metrics(admission)
        self._started = int(time.time())

    def application(self) -> web.Application:
        """Return the application with all routes."""
        app = web.Application(client_max_size=self._options.max_body, middlewares=[self._around])
        app.add_routes(
            [
                web.get("/", self.page),
                web.get("/openapi.json", self.openapi),
                web.get("/healthz", self.health),
                web.get("/readyz", self.ready),
                web.get("/metrics", self.metrics),
                web.get("/v1/models", self.models),
                web.get("/v1/models/{name}", self.model),
                web.post("/v1/chat/completions", self.chat),
                web.post("/pipelines/{name}", self.run),
            ]
        )
        return app

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Guard a request, answer it, add the headers of every response, and log it."""
        started = monotonic()
        request[HEADERS] = {**_HEADERS, **cors_headers(request, self._guard)}

        async def guarded(request: web.Request) -> web.StreamResponse:
            self._guard.refuse(request)
            if request.method == "OPTIONS":  # a browser asks before the request of a page
                return web.Response(status=204)
            return await handler(request)

        status = CLIENT_GONE
        try:
            response = await answered(request, guarded)
            status = response.status
        finally:
            self._log.write(request, status, started)
            self._metrics.count_request(_route(request), status)
        if not response.prepared:
            response.headers.update(request[HEADERS])
            if self._admission.draining:
                response.force_close()
        return response

    async def page(self, request: web.Request) -> web.Response:
        """Answer with the page that lists the pipelines."""
        text = page(self._catalog, f"http://{request.host}", has_token=self._options.token is not None)
        return web.Response(text=text, content_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})

    async def openapi(self, request: web.Request) -> web.Response:
        """Answer with the OpenAPI description."""
        return _json(openapi(self._catalog, has_token=self._options.token is not None))

    async def health(self, request: web.Request) -> web.Response:
        """Answer that the process lives."""
        return _json({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        """Answer whether requests are taken."""
        if self._admission.draining:
            return _json({"status": "stopping"}, status=503)
        return _json({"status": "ready"})

    async def metrics(self, request: web.Request) -> web.Response:
        """Answer with the figures of the server."""
        return web.Response(text=self._metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def models(self, request: web.Request) -> web.Response:
        """List the pipelines as models."""
        return _json({"object": "list", "data": [self._model(pipeline) for pipeline in self._catalog]})

    async def model(self, request: web.Request) -> web.Response:
        """Describe a pipeline as a model."""
        return _json(self._model(self._catalog.find(request.match_info["name"])))

    def _model(self, pipeline: Pipeline) -> dict[str, Any]:
        return {"id": pipeline.name, "object": "model", "created": self._started, "owned_by": "promptkit"}

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a chat completion, whole or streamed."""
        body = await read_object(request, self._options)
        name = body.get("model")
        if not isinstance(name, str):
            raise HttpError(400, "`model` must name a pipeline; /v1/models lists them", "model_missing", param="model")
        pipeline = self._catalog.find(name)
        request[MODEL] = name
        asked = read_chat(body, pipeline)
        if asked.stream:
            stream = ChatStream(request, pipeline, asked, partial(self._run, pipeline, asked.inputs))
            try:
                async with self._admission.place():
                    return await stream.answer()
            except HttpError as error:
                return await stream.fail(error)
        async with self._admission.place():
            result = await self._run(pipeline, asked.inputs)
        return _json(Completion(name).whole(answer_text(result.output, asked), result))

    async def run(self, request: web.Request) -> web.Response:
        """Run a pipeline on the inputs in the body."""
        pipeline = self._catalog.find(request.match_info["name"])
        body = await read_object(request, self._options)
        if unknown := sorted(body.keys() - {"inputs", "steps"}):
            message = f"unknown field `{unknown[0]}`: the body has `inputs` and maybe `steps`"
            raise HttpError(400, message, "unknown_field", param=unknown[0])
        values = given_inputs(pipeline, body.get("inputs", {}))
        async with self._admission.place():
            result = await self._run(pipeline, values)
        return _json(_run_record(result, with_steps=body.get("steps") is True))

    async def _run(self, pipeline: Pipeline, values: Mapping[str, Any], on_event: OnEvent | None = None) -> Result:
        """Run a pipeline. Raises HttpError for what ends the run."""
        try:
            result = await self._catalog.run(pipeline, values, on_event)
        except PromptkitError as error:
            raise as_http_error(error) from None
        self._metrics.count_run(pipeline.name, result.totals)
        if result.error is not None:
            raise as_http_error(result.error)
        return result


def _run_record(result: Result, *, with_steps: bool) -> dict[str, Any]:
    record: dict[str, Any] = {
        "output": result.output,
        "usage": usage(result.totals),
        "warnings": warning_texts(result.totals.warnings, result.totals.warned_by),
    }
    if result.totals.truncated:
        record["warnings"].insert(0, f"{result.totals.truncated} cut off")
    if with_steps:
        record["steps"] = {name: {"status": step.status, "value": step.value} for name, step in result.steps.items()}
    return record if result.run is None else {**record, "run": result.run}


def _route(request: web.Request) -> str:
    """Return the route of a request, not its path: names that clients invent would be figures without end."""
    resource = request.match_info.route.resource
    return "none" if resource is None else resource.canonical


def _json(record: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=json_bytes(record), status=status, content_type="application/json")
