"""From one sentence to a project: the draft by rules and data, the model's proposals, and the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from promptkit.api.session import ModelOptions, open_session
from promptkit.api.start.checks import NAME_LIMIT, labels_fault, slug
from promptkit.api.start.draft import MOST_CASES, TEMPLATES, Draft, DraftCase, case_name, settle_answer, settle_details
from promptkit.api.start.files import project_files
from promptkit.api.start.proposals import Proposer
from promptkit.api.start.rows import RowsFacts, label_values, read_data
from promptkit.api.start.sentence import read_sentence
from promptkit.engine.load import load_target
from promptkit.errors import InputError, Problem
from promptkit.project import Project
from promptkit.reports.progress import Progress
from promptkit.storage.files import SETTINGS_FILE, read_bytes, resolved, write_new_files


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The options of `promptkit start`: rows with their fields, a name, and the folder of the project."""

    data: Path | None = None
    inputs: Sequence[str] = ()
    expect: str | None = None
    name: str | None = None
    into: Path | None = None

    def __post_init__(self) -> None:
        """Raise InputError for options that do not go together, and for a name that files cannot have."""
        if self.data is None and (self.inputs or self.expect):
            raise InputError("--input and --expect name fields of rows", hint="--data FILE names the rows")
        if self.name is not None and (not self.name or slug(self.name) != self.name):
            hint = f"up to {NAME_LIMIT} lower-case letters, digits and `_`"
            raise InputError(f"`--name {self.name}` is not a name for files", hint=hint)


def project_root(options: StartOptions) -> Path:
    """Return the root of the project: `--into`, else the project of the working folder, else that folder."""
    return resolved(options.into) if options.into is not None else Project.find(Path.cwd()).root


def begin_draft(sentence: str, options: StartOptions, root: Path) -> Draft:
    """Return the draft as far as the sentence, the rows and the options decide it. Raises InputError.

    A name whose files exist already is refused here, before a model is asked.
    """
    reading = read_sentence(sentence)
    draft = Draft(reading)
    if reading.kind is not None:
        draft.kind, draft.sources["kind"] = reading.kind, "sentence"
    if reading.labels:
        draft.set_labels(reading.labels, "default" if reading.is_usual else "sentence")
    if reading.fields:
        draft.fields, draft.sources["fields"] = dict(reading.fields), "sentence"
    if reading.inputs:
        draft.set_inputs(_abouts(draft, reading.inputs), "sentence")
    if options.data is not None:
        take_rows(draft, read_data(options.data, reading, inputs=options.inputs, expect=options.expect))
    draft.name = _free_name(options.name or reading.name or "task", options, root)
    draft.sources["name"] = "option" if options.name else "sentence" if reading.name else "default"
    check_free(draft, root)
    return draft


def _abouts(draft: Draft, names: Sequence[str]) -> dict[str, str]:
    """Return inputs by name with their lines for people: the sentence's own words for the last one."""
    abouts = {name: f"the {name.replace('_', ' ')}" for name in names}
    if draft.reading.subject and names[-1] == draft.reading.inputs[-1] and len(names) == 1:
        subject = draft.reading.subject
        abouts[names[-1]] = f"one of the {subject}" if subject.endswith("s") else f"the {subject}"
    return abouts


def take_rows(draft: Draft, rows: RowsFacts) -> None:
    """Take inputs, labels, the kind of answer and cases from rows."""
    if draft.missing("kind") and rows.kind is not None:
        draft.kind, draft.sources["kind"] = rows.kind, "data"
    if draft.kind == "label" and rows.expect is not None:
        labels = label_values(rows, draft.reading)
        if fault := labels_fault(labels):
            hint = "--expect FIELD names another field; without labels in it, the sentence may list them"
            raise InputError(f"the values of `{rows.expect}` are no set of labels: {fault}", hint=hint)
        draft.set_labels(labels, "data")
    elif rows.expect is not None and draft.kind == "labels":
        rows = replace(rows, expect=rows.expect if not rows.is_text else None)
    elif draft.kind == "record" and rows.expect is None:
        rows = replace(rows, record=rows.columns_of(draft.fields))
    draft.rows = rows
    draft.set_inputs({name: f"the field `{of}` of a row" for name, of in rows.fields.items()}, "data")
    names: set[str] = set()
    for number, row in enumerate(rows.examples[:MOST_CASES], 1):
        expect = rows.expected(row, draft.kind)
        name = case_name(expect, number)
        name = f"case {number}" if name in names else name
        names.add(name)
        inputs = {name: row[of] for name, of in rows.fields.items()}
        draft.cases.append(DraftCase(name, inputs, expect, "data"))


def _free_name(name: str, options: StartOptions, root: Path) -> str:
    """Return a name that no shipped pipeline or prompt has: a derived one gets a number, a given one is refused."""
    project = Project(root)
    taken = {shipped for kind in ("pipelines", "prompts") for shipped in project.names(kind)}
    mine = {path.stem for folder in ("pipelines", "templates/prompts") for path in (root / folder).glob("*.*")}
    shipped = taken - mine
    if name not in shipped:
        return name
    if options.name is not None:
        raise InputError(f"`{name}` is the name of something that promptkit ships", hint="--name NAME takes another")
    return next(free for free in (f"{name}_{number}" for number in range(2, 1000)) if free not in shipped)


def check_free(draft: Draft, root: Path) -> None:
    """Raise InputError with every file of the draft that is there already."""
    files = (
        "pipelines/{}.yaml",
        "templates/prompts/{}.j2",
        "evals/{}.yaml",
        *(() if draft.rows else ("evals/{}.jsonl",)),
    )
    there = [file for name in files if (root / (file := name.format(draft.name))).exists()]
    if there:
        what = "this file is" if len(there) == 1 else "these files are"
        hint = f"--name {draft.name[: NAME_LIMIT - 2]}_2 takes another name; nothing was written"
        raise InputError(Problem(f"{what} there already: {', '.join(there)}", hint=hint))


class Editor(Protocol):
    """A person who confirms or edits what is proposed. `kind` returns whether the kind of answer was changed."""

    def kind(self, draft: Draft) -> bool: ...
    def answer(self, draft: Draft) -> None: ...
    def details(self, draft: Draft) -> None: ...


async def propose(draft: Draft, root: Path, options: ModelOptions, progress: Progress, editor: Editor | None) -> None:
    """Ask the model for what is open in a draft, and the editor about what was proposed.

    A model that fails leaves defaults and a note. Raises the failure of a model that `--model` names.
    """
    project = Project.find(root) if (root / SETTINGS_FILE).exists() else Project(root)
    questions = replace(load_target(TEMPLATES / "ask_kind.j2", project), project=project)
    async with open_session(questions, options, progress) as session:
        proposer = Proposer(draft, session, progress.listener(steps=False))
        with progress.showing():
            await proposer.propose_answer()
        if editor and editor.kind(draft):
            with progress.showing():
                await proposer.propose_answer()
        settle_answer(draft)
        if editor:
            editor.answer(draft)
        with progress.showing():
            await proposer.propose_details()
    if proposer.failure is None:
        return
    if options.model is not None:
        raise proposer.failure
    draft.notes.append(f"the model is not asked further, and defaults stand in its place: {proposer.failure.message}")


def write_project(draft: Draft, root: Path) -> list[Path]:
    """Write the files of a draft and return their paths. Raises InputError where one is there, StoreFailed."""
    settle_answer(draft)
    settle_details(draft)
    if draft.rows is None:
        return write_new_files(project_files(draft, root, None))
    file = resolved(draft.rows.file)
    if file.is_relative_to(root):
        return write_new_files(project_files(draft, root, file))
    copy = root / "evals" / f"{draft.name}{file.suffix}"
    draft.notes.append(f"the rows are copied to evals/{copy.name}, as a suite reads files of its project alone")
    return write_new_files({**project_files(draft, root, copy), copy: read_bytes(file)})
