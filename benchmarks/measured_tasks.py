"""The tasks on which techniques are measured: a pipeline, its rows, and the techniques worth measuring on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import multi_hop

SENTIMENT = """\
name: sst2
inputs: {text: {type: text}}
steps:
  sentiment:
    prompt:
      instructions: Classify the sentiment of the review as positive or negative.
      input: "{{ text }}"
      cue: "Sentiment:"
    answer: {label: [positive, negative]}
"""
ARITHMETIC = """\
name: gsm8k
inputs: {question: {type: text}}
steps:
  solve:
    prompt:
      instructions: Solve the problem.
      input: "{{ question }}"
    answer: number
"""
TABLE = """\
name: wtq
inputs: {question: {type: text}, table: {type: table}}
steps:
  look_up:
    prompt:
      instructions: Answer the question about the table with the value or the number that it asks for.
      context: |
        {% for row in table %}
        {% if loop.first %}{{ row.keys() | join(" | ") }}{% endif %}

        {{ row.values() | join(" | ") }}
        {% endfor %}
      input: "{{ question }}"
    answer: text
    options: {max_tokens: 48}
"""
MULTI_HOP = """\
name: multi_hop
inputs: {question: {type: text}, documents: {type: list}}
steps:
  find_out:
    prompt:
      instructions: Answer the question from the passages, with a name or a year and no other words.
      context: "{% for passage in documents %}{{ passage }}\\n{% endfor %}"
      input: "{{ question }}"
    answer: text
    options: {max_tokens: 48}
"""

TIMEOUT_SECONDS = 7_200


@dataclass(frozen=True, slots=True)
class MeasuredTask:
    """A task: the key of promptkit's table of tasks, a pipeline of one step, and the techniques to measure, in YAML.

    The first technique is the baseline. `rows` yields the rows from the folder of public data.
    """

    key: str
    title: str
    pipeline: str
    techniques: str
    rows: Callable[[Path], Iterable[Mapping[str, Any]]]

    @property
    def name(self) -> str:
        """The name of the pipeline, and of the task on the command line."""
        return self.pipeline.splitlines()[0].removeprefix("name: ")

    def write(self, folder: Path, data: Path, count: int) -> tuple[Path, Path]:
        """Write the pipeline and its first rows to a folder, and return their files."""
        pipeline, rows = folder / f"{self.name}.yaml", folder / f"{self.name}.jsonl"
        # A busy machine takes long for many thoughts at once; no answer depends on it.
        (folder / "promptkit.yaml").write_text(f"timeout: {TIMEOUT_SECONDS}\n", "utf-8")
        pipeline.write_text(self.pipeline, "utf-8")
        lines = (json.dumps(row, ensure_ascii=False) for row in islice(self.rows(data), count))
        rows.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return pipeline, rows


def rows_of_file(file: Path) -> Iterable[dict[str, Any]]:
    with file.open(encoding="utf-8") as opened:
        yield from map(json.loads, opened)


def _tables(data: Path) -> Iterable[dict[str, Any]]:
    """Yield the questions with one answer, their tables as lists of mappings; columns of one name are numbered."""
    for row in rows_of_file(data / "wtq/dev.jsonl"):
        if "|" in row["answer"]:
            continue
        columns: list[str] = []
        for column in row["table"]["columns"]:
            columns.append(f"{column} ({columns.count(column) + 1})" if column in columns else column)
        table = [dict(zip(columns, cells, strict=True)) for cells in row["table"]["rows"]]
        yield {"question": row["question"], "table": table, "answer": row["answer"]}


TASKS = (
    MeasuredTask(
        key="sentiment",
        title="SST-2: a label for a sentence",
        pipeline=SENTIMENT,
        techniques="""
            vanilla, instructed, chain_of_thought, plan_and_solve, {self_consistency: {samples: 3}}, metacognitive,
            system_2_attention, {ensemble_refinement: {first: 2, samples: 2}}, {chain_of_verification: {questions: 2}}
        """,
        rows=lambda data: rows_of_file(data / "sst2/dev.jsonl"),
    ),
    MeasuredTask(
        key="math",
        title="GSM8K: a number for a word problem",
        pipeline=ARITHMETIC,
        techniques="""
            vanilla, chain_of_thought, plan_and_solve, least_to_most, {self_consistency: {samples: 3}}, pal,
            program_of_thoughts, chain_of_code, analogical, {chain_of_verification: {questions: 2}}
        """,
        rows=lambda data: rows_of_file(data / "gsm8k/dev.jsonl"),
    ),
    MeasuredTask(
        key="table_qa",
        title="WikiTableQuestions: a value from a table",
        pipeline=TABLE,
        techniques="""
            vanilla, chain_of_thought, {self_consistency: {samples: 3, over: chain_of_thought}}, chain_of_table,
            {binder: {samples: 3}}, {dater: {query_samples: 3}}
        """,
        rows=_tables,
    ),
    MeasuredTask(
        key="multi_hop",
        title="Two and three hops through passages about invented people",
        pipeline=MULTI_HOP,
        techniques="""
            vanilla, chain_of_thought, plan_and_solve, least_to_most, {thread_of_thought: {context: documents}},
            {implicit_rag: {context: documents}}, {self_consistency: {samples: 3, over: chain_of_thought}},
            {chain_of_knowledge: {samples: 3}}, {verify_and_edit: {samples: 3, threshold: 3}}
        """,
        rows=lambda data: multi_hop.rows(1_000),
    ),
)
