"""The result of a tuning run written as files: a pipeline that sends the same requests, and its prompts."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from promptkit.engine.dependencies import files_of
from promptkit.engine.load import load_target
from promptkit.engine.overrides import apply_overrides, read_overrides
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, PromptkitError, StoreFailed, place
from promptkit.evaluation.suite.suite import Suite
from promptkit.project import Project
from promptkit.prompts.front_matter import split_front_matter
from promptkit.storage.files import make_folder, read_bytes, remove_file, write_atomic
from promptkit.storage.store import Store
from promptkit.storage.yaml import load
from promptkit.storage.yaml_edit import block_text, differing, set_value
from promptkit.tuning.output.example_pools import example_pools
from promptkit.tuning.output.tuned_prompts import (
    TUNED,
    free_file,
    made_by,
    prompt_diff,
    prompt_name,
    text_diff,
    tuned_prompts,
)
from promptkit.tuning.output.weight_files import weight_files
from promptkit.tuning.run import TuningResult
from promptkit.tuning.search_space.candidate import Candidate
from promptkit.tuning.tune_record import TuneRecord

HEADING_WIDTH: Final = 110


def write_result(
    result: TuningResult, suite: Suite, store: Store, *, in_place: bool = False, writing: bool = True
) -> TuningResult:
    """Write the files of a tuning run, and return its result with diff and files in its record, which is stored.

    With `in_place` the original is replaced if the incumbent is shown to be better; otherwise a copy is written beside
    it. Without `writing` there is the diff alone. An error in writing becomes the result's failure; the record has the
    candidate all the same.
    """
    if result.candidate is None:
        return result
    shown = result.record.verdict == "improved"
    record = result.record
    if in_place and not shown:
        record = record.with_note("the original is not replaced: nothing was shown to be better")
    failure = result.failure
    try:
        drafted = _draft_result(result.candidate, suite, record, in_place=in_place and shown)
        record = record.model_copy(update={"diff": drafted.diff, "applied": drafted.in_place and writing})
        if in_place and shown and not drafted.in_place:
            note = "the prompt is not replaced, as it cannot extend itself: a pipeline with the changes is written"
            record = record.with_note(note)
        if writing:
            written = [suite.project.portable_name(file) for file in write(drafted)]
            record = record.model_copy(update={"written": written})
    except PromptkitError as error:
        why = [problem.message for problem in error.problems] if isinstance(error, InputError) else [error.message]
        record = record.with_note(f"nothing is written: {'; '.join(why)}").model_copy(update={"applied": False})
        failure = failure or error
    store.end_run(result.number, result.status, record.to_json())
    return replace(result, record=record, failure=failure)


def _draft_result(candidate: Candidate, suite: Suite, record: TuneRecord, *, in_place: bool) -> Draft:
    project, target = suite.project, suite.source.target
    about = list(heading(record))
    kept = protected_files(target, project, improved=record.verdict == "improved")
    return draft(target, candidate, project, sets=suite.source.sets, about=about, in_place=in_place, kept=kept)


def heading(record: TuneRecord) -> Iterator[str]:
    """Yield the heading of a tuned file: the model, the settings of the run, and its verdict."""
    model = " ".join(filter(None, (plain_reference(record.model.reference), record.model.short_digest)))
    how = f"Suite {record.suite}, optimizer {record.optimizer}, seed {record.seed}, {record.calls} calls"
    yield f"{how}, on {model}."
    found = record.difference
    interval = f" ({found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}] on {found.n} {found.unit}s)" if found else ""
    verdict = IMPROVED_HEADING if record.verdict == "improved" else f"{record.verdict} by"
    text = f"{verdict} {record.metric.name}{interval}{record.verdict_limit}: {record.why}."
    yield from textwrap.wrap(text, HEADING_WIDTH)


def plain_reference(reference: str) -> str:
    """Return a model's reference without the folder or server that it names, which belong to the machine."""
    kind, colon, path = reference.partition(":")
    if colon and "/" in path and "/" not in kind:
        return f"{kind}:{path.rpartition('/')[2]}"
    return reference.partition("@")[0]


YAML = (".yaml", ".yml")
PIPELINES = "pipelines"
IMPROVED_HEADING = "improved by"
"""The verdict in the heading of a file that was shown to be better."""
_TUNED_SUFFIX = re.compile(rf"\.{TUNED}(-\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Files that are not written yet.

    `files`: contents by path, that of the pipeline (or prompt) itself last. `searched`: the candidate as a pipeline.
    `moved`: files of it by the files that they become. `in_place`: the target's own file is replaced.
    """

    target: Path
    files: Mapping[Path, str | bytes]
    searched: Pipeline
    moved: Mapping[Path, Path] = field(default_factory=dict)
    diff: str = ""
    in_place: bool = False


def draft(
    target: Path,
    candidate: Candidate,
    project: Project,
    *,
    sets: Sequence[str] = (),
    about: Sequence[str] = (),
    in_place: bool = False,
    kept: Collection[Path] = (),
) -> Draft:
    """Return the files that a candidate is written to. Writes nothing.

    `target` is the pipeline or prompt that was tuned, with `sets` as on the command line. `about`: lines for the top of
    the file. With `in_place` the target's own text is changed instead of a copy; its prompts stay, as others may use
    them, and their changes go into files of their own. A prompt that is the target cannot extend itself: if its
    sections change, a copy is written. Files in `kept` are not overwritten. Raises InputError if the candidate cannot
    be written so that it sends the same requests.
    """
    searched = load_target(target, project, sets=sets, changes=candidate.changes)
    name = project.portable_name(target)
    taken = {*files_of(load_target(target, project, sets=sets)), *kept}
    prompts = list(tuned_prompts(searched, name, taken))
    if in_place:
        check_replaceable(target, project)
    in_place = in_place and (target.suffix in YAML or not prompts)
    file = target if in_place else free_file(*_tuned_place(target, project), name, taken)
    changes = read_overrides(sets, candidate.changes)
    for prompt in prompts:
        changes[prompt.step]["prompt"] = _reference(prompt.file, file, project)
    pools = list(example_pools(searched, file, taken))
    for pool in pools:
        changes[pool.step]["examples"]["from"] = pool.file.name
    trained = list(weight_files(changes, searched, file, taken))
    for weights in trained:
        changes[weights.step][weights.setting] = weights.reference
        if weights.reference is None:
            del changes[weights.step][weights.setting]
    before = read_bytes(target).decode() if in_place or target.suffix in YAML else ""
    after = (
        _changed_text(before, target, changes, None if in_place else file)
        if before
        else _one_step_pipeline(searched, file, changes)
    )
    artifacts = {} if in_place else dict(_artifacts(searched, file))
    contents: dict[Path, str | bytes] = {prompt.file: prompt.text for prompt in prompts}
    copied = {**artifacts, **{pool.made: pool.file for pool in pools}}
    copied |= {weights.made: weights.file for weights in trained}
    contents |= {new: read_bytes(old) for old, new in copied.items() if old.is_file()}
    diff = text_diff(before, after, name, project.portable_name(file))
    return Draft(
        target=target,
        files={**contents, file: after if in_place else _with_heading(after, [made_by(name), *about])},
        searched=searched,
        in_place=in_place,
        moved={prompt.made: prompt.file for prompt in prompts} | copied,
        diff=diff + "".join(prompt_diff(prompt, project) for prompt in prompts),
    )


def write(drafted: Draft) -> list[Path]:
    """Write the files, check that they mean what was searched, and return them. On an error nothing changes.

    Raises InputError if they do not mean the same, and StoreFailed if a file cannot be written.
    """
    before = {path: path.read_bytes() if path.is_file() else None for path in drafted.files}
    try:
        for path, content in drafted.files.items():
            make_folder(path.parent)
            write_atomic(path, content)
        _check_same_requests(drafted, list(drafted.files)[-1])
    except BaseException:
        for path, earlier in before.items():
            if earlier is not None:
                write_atomic(path, earlier)
            else:
                with suppress(StoreFailed):
                    remove_file(path)
        raise
    return list(drafted.files)


def check_replaceable(target: Path, project: Project) -> None:
    """Raise InputError if a target is not in the project, and cannot be replaced."""
    if not project.owns(target):
        message = f"`{project.portable_name(target)}` is not in this project and cannot be replaced"
        raise InputError(message, hint="leave --apply out and use the tuned file")


def protected_files(target: Path, project: Project, *, improved: bool) -> set[Path]:
    """Return the files made by earlier tunings of a target that a new one does not overwrite.

    They are used by a pipeline that is not a tuned copy of it or, unless the new one is `improved`, by a copy that was
    shown to be better.
    """
    folder, stem, ending = _tuned_place(target, project)
    mark, headings = made_by(project.portable_name(target)), {}
    for file in folder.glob(f"{stem}.{TUNED}*{ending}"):
        heading = _heading(file) if file.is_file() else []
        if heading and mark in heading[0]:
            headings[file.resolve()] = heading
    pipelines = (project.find_pipeline(name) for name in project.names("pipelines"))
    others = {path.resolve() for path in pipelines if path is not None and project.owns(path)}
    shown = {
        file for file, heading in headings.items() if not improved and any(IMPROVED_HEADING in line for line in heading)
    }
    protected = set(shown)
    for file in (others - headings.keys()) | shown:
        with suppress(PromptkitError):
            protected |= {*files_of(load_target(file, project))}
    return protected


def _heading(file: Path) -> list[str]:
    return [line for line in read_bytes(file).decode(errors="replace").splitlines() if line.startswith("#")]


def _tuned_place(target: Path, project: Project) -> tuple[Path, str, str]:
    """Return the place of tuned pipelines: beside the target; for a prompt or a shipped target in `pipelines/`."""
    is_pipeline = target.suffix in YAML
    folder = target.parent if is_pipeline and project.owns(target) else project.root.resolve() / PIPELINES
    # A file with two dots before its ending is an artifact of a technique.
    stem = _TUNED_SUFFIX.sub("", target.stem).replace(".", "_")
    return folder, stem, target.suffix if is_pipeline else YAML[0]


def _reference(prompt: Path, pipeline: Path, project: Project) -> str:
    """Return the name by which a pipeline calls a prompt that does not exist yet."""
    if prompt.parent in (pipeline.parent, project.root.resolve() / "templates" / "prompts"):
        return prompt.stem if not (pipeline.parent / prompt.name).exists() else prompt.name
    return Path(os.path.relpath(prompt, pipeline.parent)).as_posix()


def _changed_text(text: str, file: Path, changes: Mapping[str, Any], copy: Path | None) -> str:
    """Return a target's text with changes of its steps, or of a prompt's front matter; a copy gets its own name."""
    named = str(place(file))
    if file.suffix not in YAML:
        front = split_front_matter(text, named)[0]
        (change,) = changes.values()
        return _text_with_changes(text, {} if front is None else front.value, change, (), named)
    document = load(text, file=named)
    for step, change in changes.items():
        _refuse_inner(step, document.get(("steps", step)), change)
        text = _text_with_changes(text, document.get(("steps", step)), change, ("steps", step), named)
    # The name tells runs of the copy from the original's; without a name the file does.
    name = None if copy is None else document.value.get("name")
    return text if name is None or copy is None else set_value(text, ("name",), _name_of(name, copy), file=named)


def _name_of(name: str, copy: Path) -> str:
    """Return the name of a tuned copy, which ends as its file does."""
    return f"{_TUNED_SUFFIX.sub('', name)}.{copy.stem.rpartition('.')[2]}"


def _text_with_changes(
    text: str, old: Mapping[str, Any], change: Mapping[str, Any], path: tuple[str, ...], file: str
) -> str:
    for below, value in differing(old, apply_overrides(old, change), path):
        text = set_value(text, below, value, file=file)
    return text


def _refuse_inner(name: str, step: Mapping[str, Any], change: Mapping[str, Any]) -> None:
    inner = [key for key, value in change.items() if isinstance(value, dict) and key not in step and "pipeline" in step]
    if inner:
        message = (
            f"`{name}.{inner[0]}` changes a step of the pipeline `{step['pipeline']}`, which has a file of its own"
        )
        raise InputError(message, hint=f"tune `{step['pipeline']}` itself and let `{name}` use the tuned one")


def _with_heading(text: str, lines: Sequence[str]) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    heading = "".join(f"# {line}{line_end}" for line in lines)
    return heading + text.removeprefix("\ufeff")


def _one_step_pipeline(searched: Pipeline, file: Path, changes: Mapping[str, Any]) -> str:
    """Return the one-step pipeline of a prompt, as a person would write it."""
    (step,) = searched.steps
    change = dict(changes.get(step, {}))
    prompt = change.pop("prompt", None) or prompt_name(searched.file, file.parent, searched.project)
    whole: dict[str, Any] = {"name": _name_of(searched.name, file)}
    whole |= {"about": searched.about} if searched.about else {}
    whole["inputs"] = {name: _input_mapping(spec) for name, spec in searched.inputs.items()}
    whole["steps"] = {step: apply_overrides({"prompt": prompt}, change)}
    cases = [
        {"name": case.name, "inputs": dict(case.inputs), **({"expect": case.expect} if case.has_expect else {})}
        for case in searched.cases
    ]
    return block_text({**whole, **({"cases": cases} if cases else {})})


def _input_mapping(spec: Any) -> dict[str, Any]:
    values = {"type": spec.type if spec.type != "text" else None, "about": spec.about or None}
    values |= {"example": spec.example} if spec.has_example else {}
    values |= {"choices": list(spec.choices) or None}
    given = {key: value for key, value in values.items() if value is not None}
    return given | ({"default": spec.default} if spec.has_default else {})


def _artifacts(searched: Pipeline, file: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the artifacts that techniques prepared for the steps, with their place for the tuned pipeline."""
    for name, step in searched.steps.items():
        for technique, old in step.prompt_call.artifacts.items() if step.prompt_call else ():
            yield old, file.parent / f"{file.stem}.{name}.{technique}.yaml"


def _check_same_requests(drafted: Draft, file: Path) -> None:
    """Raise InputError if the written pipeline is not what was searched."""
    searched = drafted.searched
    name = searched.project.portable_name(file)
    try:
        written = load_target(file, searched.project)
    except PromptkitError as error:
        hint = "copy the target, with the files that it names, into your project and tune it there"
        raise InputError(f"the tuned pipeline cannot be written as `{name}`: {error.message}", hint=hint) from error
    expected = {drafted.moved.get(path, path): steps for path, steps in files_of(searched).items()}
    actual = dict(files_of(written))
    for used in (expected, actual):
        for pipeline_file in (searched.file, written.file):
            if pipeline_file.suffix in YAML:
                used.pop(pipeline_file.resolve(), None)
    if expected != actual or _request_settings(searched) != _request_settings(written):
        message = f"`{name}` would not send the requests that were searched"
        raise InputError(message, hint="copy the target into your project and tune it there")


def _request_settings(pipeline: Pipeline) -> list[Any]:
    """Return the settings by which steps ask, except for the content of files."""
    return [
        (
            name,
            step.model,
            step.prompt_call
            and (
                step.prompt_call.technique,
                step.prompt_call.decide,
                step.prompt_call.layout,
                step.prompt_call.messages,
                step.prompt_call.cue,
                step.prompt_call.calibrate,
                step.prompt_call.options,
                step.prompt_call.examples.all,
                step.prompt_call.examples.how_nearest,
            ),
        )
        for name, step in pipeline.steps.items()
    ]
