"""Targets with planted faults: what a scripted model says hangs on them, so that what should be found is known."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from promptkit.runtimes.base import Request
from promptkit.runtimes.scripted import request_text
from tests.engine.helpers import Folder
from tests.tuning.tunings import TuneBench, luck, row_of, truth

WRONG: dict[str, str] = {"good": "bad", "bad": "good"}
SAID = {"good": ("splendid", "lovely"), "bad": ("dreadful", "stale")}
BAD_EXAMPLE = "row 9999 was hardly"

FAULTY = f"""
---
inputs: {{text: {{}}}}
answer: {{label: [good, bad]}}
decide: generate
layout: json
cue: "Mood:"
examples:
  - {{input: {{text: {BAD_EXAMPLE}}}, output: good}}
---
{{% block instructions %}}Say whether it is good or bad.{{% endblock %}}
{{% block input %}}{{{{ text }}}}{{% endblock %}}
"""


def reviews(count: int) -> list[dict[str, Any]]:
    """Return rows of two labels, each with a word of its label, and with enough of its own not to repeat another."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        label = truth(number)
        alone = " ".join(f"{number}{letter}" for letter in "abcd")
        row = {"text": f"row {number} was {SAID[label][number // 2 % 2]} {alone}", "expect": label}
        rows.append(row)
    return rows


def faults(request: Request) -> int:
    """Return how many of the three faults a request has: its layout, a bad example, labels without definitions."""
    text = request_text(request)
    return sum(('"input"' in text, BAD_EXAMPLE in text, "often said with" not in text))


NOTED = """
name: noted
inputs: {text: {example: fine}}
steps:
  note: {prompt: note}
  mood: {prompt: mood_of_note}
tune: {tune}
"""
NOTE = """
---
inputs: {text: {}}
answer: text
---
{% block instructions %}Note what is said.{% endblock %}
{% block input %}{{ text }}{% endblock %}
"""
MOOD_OF_NOTE = """
---
inputs: {text: {}, note: {}}
answer: {label: [good, bad]}
decide: generate
---
{% block instructions %}Say whether it is good or bad.{% endblock %}
{% block input %}{{ text }}
Note: {{ note }}{% endblock %}
"""


def noted(folder: Folder, count: int, tune: str) -> tuple[TuneBench, Path]:
    """Return a bench with a target of two steps, a note and a mood of text and note, and the target's file."""
    bench = TuneBench(folder, count)
    folder.write("templates/prompts/note.j2", NOTE)
    folder.write("templates/prompts/mood_of_note.j2", MOOD_OF_NOTE)
    return bench, folder.write("pipelines/noted.yaml", NOTED.replace("{tune}", tune))


ADVISED = """
name: advised
inputs: {text: {example: fine}}
steps:
  tone: {prompt: mood}
  advice: {prompt: advice}
"""
ADVICE = """
---
inputs: {text: {}, tone: {}}
answer: {label: [keep, drop]}
decide: generate
cue: "Advice:"
---
{% block instructions %}Say what to do with it.{% endblock %}
{% block input %}{{ text }}
Tone: {{ tone }}{% endblock %}
"""
ADVISED_SUITE = """
data: rows.jsonl
target: advised
inputs: {text: "{{ row.text }}"}
expect: "{{ row.advice }}"
metrics: {accuracy: label}
"""
STEP_LABELS = """
steps:
  tone:
    inputs: {text: "{{ row.text }}"}
    expect: "{{ row.expect }}"
    metrics: {accuracy: label}
  advice:
    inputs: {text: "{{ row.text }}", tone: "{{ row.expect }}"}
    expect: "{{ row.advice }}"
    metrics: {accuracy: label}
"""
ADVICES = {"good": "keep", "bad": "drop"}


def advised(folder: Folder, count: int) -> tuple[TuneBench, Path]:
    """Return a bench with a target of two steps, whose first has two of the faults and whose second the third."""
    bench = TuneBench(folder, count, prompt=FAULTY)
    bench.rows([{**row, "advice": ADVICES[row["expect"]]} for row in reviews(count)])
    folder.write("templates/prompts/advice.j2", ADVICE)
    return bench, folder.write("pipelines/advised.yaml", ADVISED)


def advise(request: Request) -> str:
    """Answer both steps: a tone is right more often without its two faults, an advice without its own on a right tone.

    One that is wrong is never made good by the next.
    """
    text, number = request_text(request), row_of(request)
    right = truth(number)
    if "Say what to do with it." not in text:
        found = sum(('"input"' in text, BAD_EXAMPLE in text))
        return right if luck(number, (0.97, 0.7, 0.45)[found]) else WRONG[right]
    is_right = re.findall(r"Tone: (good|bad)", text)[-1] == right
    is_right = is_right and luck(number, 0.97 if "often said with" in text else 0.55, "advice")
    return ADVICES[right if is_right else WRONG[right]]
