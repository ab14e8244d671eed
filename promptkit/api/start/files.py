"""The files of a draft: a pipeline, its prompt, a suite and its rows."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from promptkit.api.start.draft import SECTIONS, Draft, DraftCase
from promptkit.project import LIBRARY
from promptkit.storage.files import SETTINGS_FILE
from promptkit.storage.yaml_edit import block_text

_BRACES: Final = re.compile(r"\{[{%#]")
_SENTENCE_SHOWN: Final = 200
_LABELS_SHOWN: Final = 20


def project_files(draft: Draft, root: Path, rows: Path | None) -> dict[Path, str]:
    """Return the texts of a draft's files by their paths, with the project's own where the root is not one yet.

    `rows` is the file with the real rows inside the root; without it the rows are made of the cases.
    """
    name = draft.name
    suite = root / "evals" / f"{name}.yaml"
    data = rows or suite.with_name(f"{name}.jsonl")
    files = {
        root / "pipelines" / f"{name}.yaml": pipeline_text(draft),
        root / "templates" / "prompts" / f"{name}.j2": prompt_text(draft),
        suite: suite_text(draft, _relative(data, suite.parent)),
    }
    if rows is None:
        files[data] = rows_text(draft)
    init = LIBRARY / "templates" / "init"
    if not (root / SETTINGS_FILE).exists():
        files[root / SETTINGS_FILE] = (init / SETTINGS_FILE).read_text("utf-8")
        if not (root / ".gitignore").exists():
            files[root / ".gitignore"] = (init / "gitignore").read_text("utf-8")
    return files


def _relative(file: Path, folder: Path) -> str:
    return Path(os.path.relpath(file, folder)).as_posix()


def pipeline_text(draft: Draft) -> str:
    """Return the YAML of the pipeline: one step, its inputs and the cases."""
    example = draft.cases[0].inputs
    inputs = {name: {"about": about, "example": example[name]} for name, about in draft.inputs.items()}
    return "".join(
        (
            f"# From: {_shown(draft.reading.sentence)}\n",
            _comment(f"the name: {draft.source_text(draft.sources['name'])}"),
            block_text({"name": draft.name, "about": _about(draft)}),
            _comment(f"the inputs: {draft.source_text(draft.sources['inputs'])}"),
            block_text({"inputs": inputs}),
            block_text({"steps": {draft.step: {"prompt": draft.name}}}),
            block_text({"output": f"{{{{ {draft.step} }}}}"}),
            _comment(f"the cases: {_sources_of_cases(draft)}; `promptkit try {draft.name}` runs them"),
            *_todo("write cases of your own", any(case.source == "default" for case in draft.cases)),
            block_text({"cases": [_case(case) for case in draft.cases]}),
        )
    )


def _case(case: DraftCase) -> dict[str, Any]:
    return {"name": case.name, "inputs": dict(case.inputs)} | ({} if case.expect is None else {"expect": case.expect})


def _sources_of_cases(draft: Draft) -> str:
    return ", ".join(dict.fromkeys(draft.source_text(case.source) for case in draft.cases))


def prompt_text(draft: Draft) -> str:
    """Return the prompt: the answer type in its front matter, and the sections."""
    front = "".join(
        (
            block_text({"about": _about(draft)}),
            block_text({"inputs": {name: {"about": about} for name, about in draft.inputs.items()}}),
            *_answer_lines(draft),
        )
    )
    blocks = (_block(draft, name) for name in SECTIONS if draft.section(name))
    return f"---\n{front}---\n{''.join(blocks)}"


_COMMENTS: Final = {
    "persona": "A default: who answers.",
    "constraints": "A default: what to heed. The answer type writes the section about the form of the answer.",
    "input": "What changes from row to row.",
    "cue": "A default: the words right before the answer.",
}


def _block(draft: Draft, name: str) -> str:
    comment = _COMMENTS.get(name) or f"The task: {draft.source_text(draft.sources['instructions'])}."
    text = draft.section(name)
    # The input's braces are the template's own; the other texts hold none that are meant.
    source = text if name == "input" else _BRACES.sub(lambda found: f"{{{{ {found.group()!r} }}}}", text)
    if name == "cue":
        return f"\n{{# {comment} #}}\n{{% block {name} %}}{source}{{% endblock %}}\n"
    return f"\n{{# {comment} #}}\n{{% block {name} %}}\n{source}\n{{% endblock %}}\n"


def _answer_lines(draft: Draft) -> Iterator[str]:
    yield _comment(f"the kind of answer: {draft.source_text(draft.sources['kind'])}")
    if draft.kind in ("label", "labels"):
        yield _comment(f"the labels: {draft.source_text(draft.sources['labels'])}")
        proposed = [label for label in draft.labels if draft.sources.get(f"definition of {label}") == "model"]
        if proposed:
            yield _comment(f"definitions {draft.source_text('model')}: {', '.join(proposed)}")
        open_labels = [label for label, definition in draft.labels.items() if not definition]
        more = f" and {len(open_labels) - _LABELS_SHOWN} more" if len(open_labels) > _LABELS_SHOWN else ""
        named = ", ".join(open_labels[:_LABELS_SHOWN]) + more
        yield from _todo(f"define {named}: what belongs there", bool(open_labels))
    if draft.kind == "record":
        yield _comment(f"the fields: {draft.source_text(draft.sources['fields'])}; their types: by their names")
    yield block_text({"answer": answer_spec(draft)})


def answer_spec(draft: Draft) -> Any:
    """Return the answer type of a draft as YAML holds it."""
    if draft.kind in ("label", "labels"):
        defined = any(draft.labels.values())
        return {
            draft.kind: {label: text or None for label, text in draft.labels.items()} if defined else [*draft.labels]
        }
    if draft.kind == "number":
        return _number_spec(draft)
    if draft.kind == "record":
        return {"json": _schema(draft)}
    return draft.kind


def _number_spec(draft: Draft) -> Any:
    if draft.reading.bounds is None:
        return "number"
    least, most = draft.reading.bounds
    whole = least.is_integer() and most.is_integer()
    options: dict[str, Any] = {"min": int(least) if whole else least, "max": int(most) if whole else most}
    return {"number": options | ({"decimals": 0} if whole else {})}


_FIELD_SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "text": {"type": "string"},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": "boolean"},
    "list": {"type": "array", "items": {"type": "string"}},
}


def _schema(draft: Draft) -> dict[str, Any]:
    properties = {name: _FIELD_SCHEMAS[kind] for name, kind in draft.fields.items()}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def suite_text(draft: Draft, data: str) -> str:
    """Return the YAML of the suite over the rows at `data`, a path beside it."""
    rows = draft.rows
    lines = [
        f"# From: {_shown(draft.reading.sentence)}\n",
        block_text({"name": draft.name, "about": _about(draft)}),
    ]
    if rows is None:
        lines += [
            _comment("these rows are the cases alone: too few to measure by, and none of them is real"),
            *_todo("add real rows, each with its inputs and the right answer in `expect`", True),
        ]
    lines += [block_text({"data": data, "target": draft.name})]
    if rows is not None:
        inputs = {name: f"{{{{ {rows.expression(of)} }}}}" for name, of in rows.fields.items()}
        lines += [_comment("the fields of a row: from the data"), block_text({"inputs": inputs})]
        if (expect := _expect(draft)) is not None:
            lines += [block_text({"expect": expect})]
        else:
            lines += _todo("the rows have no right answers yet; the metrics look at rows with an `expect`", True)
    lines += [_comment("a default for this kind of answer; the first metric is the primary one")]
    return "".join([*lines, block_text({"metrics": metrics(draft)}), *_advice(draft)])


def _expect(draft: Draft) -> Any:
    rows = draft.rows
    if rows is None:
        return None
    if draft.kind == "record" and rows.expect is None and rows.record:
        return {name: f"{{{{ {rows.expression(of)} }}}}" for name, of in rows.record.items()}
    return None if rows.expect is None else rows.expect_expression(draft.kind)


def metrics(draft: Draft) -> dict[str, Any]:
    """Return the metrics that suit the kind of answer, for rows with an expected answer where others may have none."""
    if draft.rows is not None:
        condition = draft.rows.when_expression()
    else:
        condition = None if draft.kind in ("label", "labels", "boolean") else "row.expect is defined"

    def metric(name: str) -> Any:
        return {name: {"when": condition}} if condition else name

    found: dict[str, Any] = {
        "label": {"accuracy": metric("label"), "f1": metric("f1")},
        "labels": {"labels": metric("set_f1"), "exact": metric("exact")},
        "boolean": {"accuracy": metric("exact")},
        "number": {"exact": metric("number")},
        "list": {"items": metric("set_f1")},
        "record": {"fields": metric("json"), "exact": metric("exact")},
        "text": {"similar": metric("edit")},
    }[draft.kind]
    if draft.kind == "text" and draft.reading.most_words is not None:
        found["length"] = {"length": {"max": draft.reading.most_words}}
    return found | {"format": "format"}


def _advice(draft: Draft) -> Iterator[str]:
    if draft.kind == "text":
        yield _comment("rouge, chrf (pip install 'promptkit[text]') or a judge say more of a text than `edit`")


def rows_text(draft: Draft) -> str:
    """Return the cases as rows in JSON lines. Each says that it is generated, so none is ever taken for a real one."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in _rows(draft))


def _rows(draft: Draft) -> Iterator[dict[str, Any]]:
    for case in draft.cases:
        expect = {} if case.expect is None else {"expect": case.expect}
        by = draft.model if case.source == "model" else "promptkit start"
        if case.source == "person":
            yield {**case.inputs, **expect}
        else:
            yield {**case.inputs, **expect, "generated": {"by": by, "for": expect}}


def _about(draft: Draft) -> str:
    return _shown(draft.reading.sentence)


def _shown(text: str) -> str:
    return text if len(text) <= _SENTENCE_SHOWN else f"{text[: _SENTENCE_SHOWN - 1]}…"


def _comment(text: str) -> str:
    return f"# {text}\n"


def _todo(text: str, is_due: bool) -> Iterable[str]:
    return [f"# TODO: {text}\n"] if is_due else []
