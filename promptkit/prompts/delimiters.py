"""Delimiters of a layout (`</INPUT>`, `## Input`): those that data holds are kept from standing as one.

The words outside of a template's braces are its author's, who may name the tags. They are marked where they do, before
the template is rendered, and the marks go with them through filters, macros and parents. What looks like a delimiter
in the rendered section and has no mark comes from data, however it was put together. It gets a backslash, and nothing
else is touched.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Final

from jinja2 import nodes

from promptkit.runtimes import backslashed

_MARK: Final = f"\ue000{secrets.token_hex(8)}\ue001"
"""Stands in a delimiter that the author wrote. It is new in each process, so that no data can hold it."""

_BREAKS: Final = "\n\r\v\f\x1c-\x1e\x85\u2028\u2029"
_BEGIN: Final = rf"(?<![^{_BREAKS}])[^\S{_BREAKS}]*"
_END: Final = rf"[^\S{_BREAKS}]*(?![^{_BREAKS}])"


@dataclass(frozen=True, slots=True, eq=False)
class Delimiters:
    """Finds a layout's delimiters in a text. Each holds one of `words`, which is faster to look for.

    What is kept by delimiters is kept by the object, which a layout has one of: to compare patterns takes long.
    """

    pattern: re.Pattern[str]
    words: tuple[str, ...]

    @classmethod
    def of(
        cls, *, tags: Iterable[str] = (), headings: Iterable[str] = (), prefixes: Iterable[str] = ()
    ) -> Delimiters | None:
        """Return what finds tags by their names, lines that are a heading, with a number or without one, and lines
        that begin with a prefix; None where there are none of them."""
        forms = (
            (r"</?(?:{})\s*>", tags),
            (rf"{_BEGIN}(?:{{}})(?:[ ]\d+)?{_END}", headings),
            (rf"{_BEGIN}(?:{{}})", prefixes),
        )
        found = [form.format("|".join(map(re.escape, names))) for form, names in forms if names]
        return cls(re.compile("|".join(found)), (*tags, *headings, *prefixes)) if found else None

    def escaped(self, text: str) -> str:
        """Return data with a backslash in each delimiter."""
        return self.pattern.sub(backslashed, text) if any(word in text for word in self.words) else text

    def settled(self, rendered: str) -> str:
        """Return a rendered text with the author's delimiters as they were written, and a backslash in all others."""
        return self.escaped(rendered).replace(_MARK, "")

    def named_in(self, tree: nodes.Template) -> bool:
        """Tell whether the author of a template names a delimiter."""
        return any(self.pattern.search(text.data) for text in tree.find_all(nodes.TemplateData))

    def marked(self, tree: nodes.Template) -> nodes.Template:
        """Return a copy of a template's tree whose author's delimiters are marked."""
        tree = deepcopy(tree)
        for text in tree.find_all(nodes.TemplateData):
            text.data = self.pattern.sub(lambda found: backslashed(found, _MARK), text.data)
        return tree
