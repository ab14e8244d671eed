"""The figures at `/metrics`, in the text format of Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from promptkit.engine.results import Totals
from promptkit.server.http.admission import Admission


class Metrics:
    """Counts of what the server has done: requests by route and status, tokens and seconds by pipeline."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._requests: Counter[tuple[str, int]] = Counter()
        self._tokens: Counter[tuple[str, str]] = Counter()
        self._runs: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    def count_request(self, route: str, status: int) -> None:
        """Count a finished request."""
        self._requests[route, status] += 1

    def count_run(self, pipeline: str, totals: Totals) -> None:
        """Count a finished run."""
        self._runs[pipeline] += 1
        self._seconds[pipeline] += totals.seconds  # type: ignore[assignment]  # a Counter of seconds
        self._tokens[pipeline, "in"] += totals.tokens_in
        self._tokens[pipeline, "out"] += totals.tokens_out

    def text(self) -> str:
        """Return all figures."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield "# TYPE promptkit_requests_running gauge"
        yield f"promptkit_requests_running {self._admission.running}"
        yield "# TYPE promptkit_requests_waiting gauge"
        yield f"promptkit_requests_waiting {self._admission.waiting}"
        yield "# TYPE promptkit_requests_total counter"
        for (route, status), count in sorted(self._requests.items()):
            yield f'promptkit_requests_total{{route={_label(route)},status="{status}"}} {count}'
        yield "# TYPE promptkit_run_seconds summary"
        for pipeline, count in sorted(self._runs.items()):
            yield f"promptkit_run_seconds_count{{pipeline={_label(pipeline)}}} {count}"
            yield f"promptkit_run_seconds_sum{{pipeline={_label(pipeline)}}} {self._seconds[pipeline]:.4f}"
        yield "# TYPE promptkit_tokens_total counter"
        for (pipeline, direction), count in sorted(self._tokens.items()):
            yield f'promptkit_tokens_total{{pipeline={_label(pipeline)},direction="{direction}"}} {count}'


def _label(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
