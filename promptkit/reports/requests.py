"""What steps would send, as a person reads it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from promptkit.reports.text import visible

if TYPE_CHECKING:
    from promptkit.engine import Rendered


def rendered_text(steps: Iterable[Rendered], *, template: bool = False) -> str:
    """Return the request of each step: its messages, or with `template` the text they become where that is known."""
    return visible("\n\n".join("\n".join(_lines(step, template)) for step in steps))


def _lines(rendered: Rendered, template: bool) -> Iterator[str]:
    request = rendered.request
    counted = f" · {rendered.tokens} tokens" if rendered.tokens is not None else ""
    yield f"── {rendered.step}{counted} · at most {request.max_tokens} tokens of answer"
    if template and rendered.text is not None:
        yield rendered.text
    elif request.prompt is not None:
        yield from ("[prompt]", request.prompt)
    else:
        for message in request.messages:
            yield from (f"[{message.role}]", message.content)
        if request.begun:
            yield from ("[assistant, begun]", request.begun)
    if request.grammar is not None:
        yield from ("[grammar]", request.grammar.strip())
    if request.schema is not None:
        yield from ("[schema]", json.dumps(request.schema, indent=2, ensure_ascii=False))
