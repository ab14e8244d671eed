"""A project with a judged suite of two variants and a run of it, whose answers are to be labelled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.command import run_command

ROWS = 12
PROMPT = """\
---
inputs: {q: {example: Q1}}
---
{% block instructions %}Answer.{% endblock %}
{% block input %}{{ q }}{% endblock %}
"""
MODEL = r"""
import re
def reply(request):
    text = request.messages[-1].content
    number = int(re.search(r"Q(\d+)", text).group(1))
    if number % 4 == 0:
        return f"both {number}"
    return f"{'brief' if 'MARKED' in text else 'plain'} {number}"
def judge(request):
    return "good" if "brief" in request.messages[-1].content else "poor"
"""
SUITE = """\
data: rows.jsonl
target: plain
inputs: {q: "{{ row.q }}"}
metrics:
  helpful:
    judge: {rubric: Is it of use?, levels: [poor, good], question: q, model: "scripted:../model.py:judge"}
  length: length
variants: {shipped: {}, short: {plain.prompt: marked}}
"""
FILES = {
    "promptkit.yaml": "model: scripted:model.py:reply\n",
    "model.py": MODEL,
    "templates/prompts/plain.j2": PROMPT,
    "templates/prompts/marked.j2": PROMPT.replace("Answer.", "MARKED Answer."),
    "evals/replies.yaml": SUITE,
    "evals/rows.jsonl": "".join(
        json.dumps({"q": f"Q{number}", "said": ("good" if number < 3 else "poor") if number < 6 else ""}) + "\n"
        for number in range(ROWS)
    ),
}
ANSWERS = 2 * ROWS - ROWS // 4
"""The different answers: the variants share every fourth one."""


def make_labelled_project(root: Path, suite: str = SUITE) -> Path:
    """Write the project and run its suite."""
    for name, text in {**FILES, "evals/replies.yaml": suite}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    done = run_command("eval", "replies", folder=root)
    assert done.code == 0, done.err
    return root


def kept(root: Path) -> list[dict[str, Any]]:
    """Return the labels of the label file; of one person's labels of an answer the last counts."""
    file = root / "evals/replies.labels.jsonl"
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    return list({(line["metric"], line["key"], line["person"]): line for line in lines}.values())
