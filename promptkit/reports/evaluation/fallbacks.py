"""Settings that a run's variants did not run with, since their models cannot, and variants that asked the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from promptkit.engine import Fallback
from promptkit.reports.columns import paragraph
from promptkit.reports.evaluation.tags import variant_tags
from promptkit.reports.text import visible

if TYPE_CHECKING:
    from rich.text import Text

Record = Mapping[str, Any]


def fallback_lines(record: Record, width: int) -> Iterator[Text]:
    """Yield what ran in place of what variants name, and which two sent the same requests."""
    from rich.text import Text

    for told in fallback_notes(record, variant_tags(record["variants"], width)):
        for at, line in enumerate(paragraph(visible(told), width=width - 2)):
            yield Text(("  " if at else "! ") + line, style="yellow")


def fallback_notes(record: Record, tags: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield a sentence for each fallback, with the variants that it is of, and for each pair that sent the same."""
    variants = record.get("variants", ())
    tags = tags or {each["name"]: each["name"] for each in variants}
    of: dict[Fallback, list[str]] = {}
    for variant in variants:
        for each in variant.get("fallbacks", ()):
            of.setdefault(Fallback(**each), []).append(variant["name"])
    for told, names in of.items():
        yield str(told) if len(variants) == 1 else f"{', '.join(tags[name] for name in names)}: {told}"
    same = dict.fromkeys((each["a"], each["b"]) for each in record.get("comparisons", ()) if each.get("same_requests"))
    for a, b in same:
        yield f"{tags[a]} and {tags[b]}: the two sent the same requests"
