"""The page put together and written, part by part: never more than a few hundred rows are in memory."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from promptkit.reports.page.classes import class_tables
from promptkit.reports.page.comparisons import comparison_table, threshold_table
from promptkit.reports.page.markup import text
from promptkit.reports.page.pack import block, json_of, row_blocks
from promptkit.reports.page.summary import headline, summary
from promptkit.storage import write_private

if TYPE_CHECKING:
    from promptkit.evaluation import RunView

_PLACE = re.compile(r"<!--(\w+)-->")
# `start` is the last, as it uses all the others.
_SCRIPTS = ("text", "run", "filters", "list", "opened", "trace", "words", "figures", "slices", "start")
_COPIED = 1 << 20


def write_page(view: RunView, path: Path) -> None:
    """Write a run as one HTML page that asks nothing of a network. Raises StoreFailed where it cannot be written.

    What is said of the run stands in the page as plain HTML; rows and traces are compressed blocks that its script
    inflates, traces only when a row is opened.
    """
    write_private(path, page_parts(view))


def page_parts(view: RunView) -> Iterator[bytes]:
    """Yield the page in order."""
    style, script = _asset("page.css"), _script()
    parts: dict[str, Callable[[], str]] = {
        "policy": lambda: policy(style, script),
        "title": lambda: text(f"{view.suite}, run {view.number}"),
        "style": lambda: style,
        "headline": lambda: headline(view),
        "summary": lambda: summary(view),
        "comparisons": lambda: comparison_table(view.record),
        "thresholds": lambda: threshold_table(view.record),
        "classes": lambda: class_tables(view),
    }
    for number, part in enumerate(_PLACE.split(_asset("page.html"))):
        if number % 2 == 0:
            yield part.encode()
        elif part == "rows":
            yield from _blocks(view, script)
        else:
            yield parts[part]().encode()


def _blocks(view: RunView, script: str) -> Iterator[bytes]:
    """Yield the list's blocks, the script, and only then what it needs later: the table shows before that is read."""
    yield block("about", json_of(_about(view)))
    with TemporaryFile() as opened:
        yield from row_blocks(view, opened)
        yield f"<script>{script}</script>\n".encode()
        opened.seek(0)
        while copied := opened.read(_COPIED):
            yield copied


def _about(view: RunView) -> dict[str, Any]:
    """Return what the script needs to know of the run as a whole."""
    said = {each["name"]: each for each in view.record.get("variants", ())}
    keys = ("cases", "missing", "calls", "tokens_in", "tokens_out", "seconds", "cost")
    return {
        "variants": [
            {
                "name": name,
                **{key: said.get(name, {}).get(key) for key in keys},
                "metrics": {
                    metric: {key: each.get(key) for key in ("mean", "low", "high", "bounds", "higher_is_better")}
                    for metric, each in said.get(name, {}).get("metrics", {}).items()
                },
            }
            for name in view.variants
        ],
        "metrics": list(view.metrics),
    }


def policy(style: str, script: str = "") -> str:
    """Return a content security policy under which nothing but the page's own script and style has any effect."""
    scripts = f"script-src {_hash(script)}; " if script else ""
    return f"default-src 'none'; {scripts}style-src {_hash(style)}; img-src data:; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


def _script() -> str:
    """Return the parts of the script as one, in a scope of its own."""
    parts = "\n".join(_asset("script", f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n{{\n{parts}}}'


def _asset(*name: str) -> str:
    return files(__package__).joinpath(*name).read_text(encoding="utf-8")
