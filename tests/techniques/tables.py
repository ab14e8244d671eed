"""A step over a table, for the tests of techniques."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptkit.techniques.perform import perform
from tests.techniques.steps import Bench

TABLED = """\
---
inputs: {table: {type: table}, question: {type: text}}
---
{% block persona %}PERSONA-MARK{% endblock %}
{% block instructions %}INSTRUCTIONS-MARK{% endblock %}
{% block constraints %}CONSTRAINTS-MARK{% endblock %}
{% block context %}CONTEXT-MARK{% endblock %}
{% block output_format %}FORMAT-MARK{% endblock %}
{% block input %}
{% for row in table %}
{{ row.values() | join(", ") }}
{% endfor %}
{{ question }}
{% endblock %}
{% block recap %}RECAP-MARK{% endblock %}
{% block cue %}CUE-MARK:{% endblock %}
"""
"""A prompt with a table and a question, and a word of its own in every section."""


class TableBench(Bench):
    """A bench whose step asks a question about a table."""

    def __init__(
        self,
        folder: Path,
        answers: Any,
        table: Any,
        question: str,
        answer: Any,
        *,
        prompt: str = TABLED,
        **runtime: Any,
    ) -> None:
        super().__init__(folder, answers, answer, prompt=prompt, **runtime)
        self.values = {"table": table, "question": question}

    async def ask(self, name: str, *, decide: Any = "generate", examples: Any = (), **parameters: Any) -> Any:
        return await perform({name: parameters}, self.step(decide=decide, values=self.values, examples=examples))
