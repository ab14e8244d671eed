"""Failures as a client sees them: a status and an object of the OpenAI protocol, without paths or tracebacks."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from promptkit.errors import (
    CodeFailed,
    ContextOverflow,
    DeadlinePassed,
    InputError,
    MissingExtra,
    PromptkitError,
    RuntimeFailure,
    ServerBusy,
    StrictWarning,
    UnexpectedError,
    UnparsedAnswer,
    Unsupported,
)
from promptkit.reports.output import note

RETRY_SECONDS = 2
"""Seconds after which a client that was turned away may come again."""


class HttpError(Exception):
    """A request that is not answered. `code` is for programs; `retry` adds the header `Retry-After`."""

    def __init__(self, status: int, message: str, code: str, *, param: str | None = None, retry: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.retry = retry

    def record(self) -> dict[str, Any]:
        """Return the error as the object of the OpenAI protocol."""
        return {"error": {"message": self.message, "type": _kind(self.status), "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        return {
            **({"Retry-After": str(RETRY_SECONDS)} if self.retry else {}),
            **({"WWW-Authenticate": "Bearer"} if self.status == 401 else {}),
        }


def _kind(status: int) -> str:
    kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
    return kinds.get(status, "invalid_request_error" if status < 500 else "server_error")


@dataclass(frozen=True, slots=True)
class _Reason:
    """The status, the code and the words for a class of failures."""

    status: int
    code: str
    text: str
    retry: bool = False


REASONS: tuple[tuple[type[PromptkitError], _Reason], ...] = (
    (ContextOverflow, _Reason(400, "context_length_exceeded", "the prompt does not fit the window of the model")),
    (DeadlinePassed, _Reason(504, "model_timeout", "the model did not answer in time")),
    (ServerBusy, _Reason(503, "model_busy", "the server of the model is busy", retry=True)),
    (RuntimeFailure, _Reason(502, "model_failed", "the model could not be asked")),
    (Unsupported, _Reason(502, "model_failed", "the model cannot do what the pipeline needs")),
    (MissingExtra, _Reason(502, "model_failed", "a package that the pipeline needs is not installed")),
    (UnparsedAnswer, _Reason(502, "unparsed_answer", "the model gave no answer of the type that the pipeline wants")),
    (StrictWarning, _Reason(502, "refused_warning", "the answer has a warning that the pipeline does not allow")),
    (CodeFailed, _Reason(502, "code_failed", "a tool, a technique or a model of the project failed")),
    (InputError, _Reason(400, "invalid_input", "a value does not suit the pipeline")),
)
_UNEXPECTED = _Reason(500, "internal_error", "the server failed")


def as_http_error(error: PromptkitError) -> HttpError:
    """Return the failure of a run as a client sees it, and write its details to stderr under an id."""
    reason = next((reason for kind, reason in REASONS if isinstance(error, kind)), _UNEXPECTED)
    number = f"err_{secrets.token_hex(6)}"
    details = f"{error.traceback}{error}" if isinstance(error, UnexpectedError) else str(error)
    note(f"{number}: {details}")
    message = f"{reason.text} (details in the log of the server: {number})"
    return HttpError(reason.status, message, reason.code, retry=reason.retry)
