"""The result of a tuning run written as files: a pipeline that sends the same requests, and its prompts."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from promptkit.engine.dependencies import files_of
from promptkit.engine.load import load_target
from promptkit.engine.overrides import apply_overrides, read_overrides
from promptkit.engine.pipeline import Pipeline
from promptkit.errors import InputError, PromptkitError, StoreFailed, place
from promptkit.prompts.front_matter import split_front_matter
from promptkit.storage.files import make_folder, read_bytes, remove_file, write_atomic
from promptkit.storage.yaml import load
from promptkit.storage.yaml_edit import REMOVED, block_text, set_value
from promptkit.tuning.output.tuned_prompts import (
    TUNED,
    free_file,
    made_by,
    prompt_diff,
    prompt_name,
    stable_name,
    text_diff,
    tuned_prompts,
)

if TYPE_CHECKING:
    from promptkit.evaluation.suite.suite import Suite
    from promptkit.project import Project
    from promptkit.storage.store import Store
    from promptkit.tuning.run import TuningResult
    from promptkit.tuning.search_space.candidate import Candidate

HEADING_WIDTH: Final = 110


def write_result(
    tuned: TuningResult, suite: Suite, store: Store, *, in_place: bool = False, writing: bool = True
) -> TuningResult:
    """Write what a tuning found worth it, and return it with the diff and the files in its record, which is kept.

    With `in_place` the original is replaced where the pick is shown to be better; else it stays, and a copy is written
    beside it. Without `writing` there is the diff alone. What cannot be written is the result's failure; the record has
    the candidate all the same.
    """
    if tuned.chosen is None:
        return tuned
    shown = tuned.record["verdict"] == "improved"
    record = dict(tuned.record)
    if in_place and not shown:
        record["notes"] = [*record["notes"], "the original stays: nothing was shown to be better than it"]
    failure = tuned.failure
    try:
        drafted = _draft_result(tuned.chosen, suite, record, in_place=in_place and shown)
        record |= {"diff": drafted.diff, "applied": drafted.in_place and writing}
        if in_place and shown and not drafted.in_place:
            told = "the prompt stays, for it cannot extend itself: the pipeline that is written has its changes"
            record["notes"] = [*record["notes"], told]
        if writing:
            record["written"] = [stable_name(file, suite.project) for file in write(drafted)]
    except PromptkitError as error:
        why = [each.message for each in error.problems] if isinstance(error, InputError) else [error.message]
        record |= {"applied": False, "notes": [*record["notes"], f"nothing is written: {'; '.join(why)}"]}
        failure = failure or error
    store.end_run(tuned.number, tuned.status, record)
    return replace(tuned, record=record, failure=failure)


def _draft_result(chosen: Candidate, suite: Suite, record: Mapping[str, Any], *, in_place: bool) -> Draft:
    project, target = suite.project, suite.wanted.target
    about = list(heading(record))
    kept = protected_files(target, project, improved=record["verdict"] == "improved")
    return draft(target, chosen, project, sets=suite.wanted.sets, about=about, in_place=in_place, kept=kept)


def heading(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that a tuned file begins with: on which model it was found, by what, and what was shown."""
    digest = str(record["model"].get("digest") or "").removeprefix("sha256:")[:12]
    model = " ".join(filter(None, (plain_reference(record["model"]["reference"]), digest)))
    how = f"Suite {record['suite']}, optimizer {record['optimizer']}, seed {record['seed']}, {record['calls']} calls"
    yield f"{how}, on {model}."
    found = record["difference"]
    said = (
        f" ({found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}] on {found['n']} {found['unit']}s)"
        if found
        else ""
    )
    verdict = IMPROVED_HEADING if record["verdict"] == "improved" else f"{record['verdict']} by"
    told = f"{verdict} {record['metric']['name']}{said}: {record['why']}."
    yield from textwrap.wrap(told, HEADING_WIDTH)


def plain_reference(reference: str) -> str:
    """Return a model's reference without the folder or the server that it names: these are the machine's."""
    kind, colon, path = reference.partition(":")
    if colon and "/" in path and "/" not in kind:
        return f"{kind}:{path.rpartition('/')[2]}"
    return reference.partition("@")[0]


YAML = (".yaml", ".yml")
PIPELINES = "pipelines"
IMPROVED_HEADING = "improved by"
"""What the heading of a file says that was shown to be better."""
_TUNED_SUFFIX = re.compile(rf"\.{TUNED}(-\d+)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Files that are not written yet. `files` are texts by path, the pipeline's (or the prompt's) own last.

    `searched` is the candidate as a pipeline, `moved` says which file of it becomes which; `diff` is what changes.
    `in_place` tells whether the target's own file is replaced.
    """

    target: Path
    files: Mapping[Path, str]
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
    """Return the files that a candidate is written to; nothing is written.

    `target` is the pipeline or prompt that was tuned with `sets` as on the command line. `about` are lines for its
    top: how it was made. With `in_place` the target's own text is changed instead of a copy of it; its prompts stay,
    as others may use them, and what they say otherwise is in a file of its own, so that a prompt whose sections change
    is no exception: it cannot extend itself. Files in `kept` are not written over.
    Raises InputError where the candidate cannot be written so that it sends the same requests.
    """
    searched = load_target(target, project, sets=sets, changes=candidate.changes)
    name = stable_name(target, project)
    taken = {*files_of(load_target(target, project, sets=sets)), *kept}
    prompts = list(tuned_prompts(searched, name, taken))
    if in_place:
        check_replaceable(target, project)
    in_place = in_place and (target.suffix in YAML or not prompts)
    file = target if in_place else free_file(*_tuned_place(target, project), name, taken)
    changes = read_overrides(sets, candidate.changes)
    for each in prompts:
        changes[each.step]["prompt"] = _reference(each.file, file, project)
    before = read_bytes(target).decode() if in_place or target.suffix in YAML else ""
    after = (
        _changed_text(before, target, changes, None if in_place else file)
        if before
        else _one_step_pipeline(searched, file, changes)
    )
    artifacts = {} if in_place else dict(_artifacts(searched, file))
    texts = {each.file: each.text for each in prompts}
    texts |= {new: read_bytes(old).decode() for old, new in artifacts.items() if old.is_file()}
    diff = text_diff(before, after, name, stable_name(file, project))
    return Draft(
        target=target,
        files={**texts, file: after if in_place else _with_heading(after, [made_by(name), *about])},
        searched=searched,
        in_place=in_place,
        moved={each.made: each.file for each in prompts} | artifacts,
        diff=diff + "".join(prompt_diff(each, project) for each in prompts),
    )


def write(drafted: Draft) -> list[Path]:
    """Write the files, see that they mean what was searched, and return them; else all is as it was before.

    Raises InputError where they do not mean it, and StoreFailed where a file cannot be written.
    """
    before = {path: path.read_bytes() if path.is_file() else None for path in drafted.files}
    try:
        for path, text in drafted.files.items():
            make_folder(path.parent)
            write_atomic(path, text.encode())
        _check_same_requests(drafted, list(drafted.files)[-1])
    except BaseException:
        for path, content in before.items():
            if content is not None:
                write_atomic(path, content)
            else:
                with suppress(StoreFailed):
                    remove_file(path)
        raise
    return list(drafted.files)


def check_replaceable(target: Path, project: Project) -> None:
    """Raise InputError where a target is not the project's own, and stays as it is."""
    if not project.owns(target):
        told = f"`{stable_name(target, project)}` is not in this project, and stays as it is"
        raise InputError(told, hint="leave --apply out, and take the tuned file instead")


def protected_files(target: Path, project: Project, *, improved: bool) -> set[Path]:
    """Return files that a tuning of a target does not write over though an earlier one made them.

    They are used by a pipeline that is no tuned copy of it, or (but for one that is `improved`) by a copy that was
    shown to be better.
    """
    folder, stem, ending = _tuned_place(target, project)
    made, headings = made_by(stable_name(target, project)), {}
    for file in folder.glob(f"{stem}.{TUNED}*{ending}"):
        heading = _heading(file) if file.is_file() else []
        if heading and made in heading[0]:
            headings[file.resolve()] = heading
    pipelines = (project.find_pipeline(name) for name in project.names("pipelines"))
    others = {each.resolve() for each in pipelines if each is not None and project.owns(each)}
    shown = {
        file for file, heading in headings.items() if not improved and any(IMPROVED_HEADING in line for line in heading)
    }
    found = set(shown)
    for file in (others - headings.keys()) | shown:
        with suppress(PromptkitError):
            found |= {*files_of(load_target(file, project))}
    return found


def _heading(file: Path) -> list[str]:
    return [line for line in read_bytes(file).decode(errors="replace").splitlines() if line.startswith("#")]


def _tuned_place(target: Path, project: Project) -> tuple[Path, str, str]:
    """Return where tuned pipelines go: beside the target, of a prompt and of what is shipped into `pipelines/`."""
    is_pipeline = target.suffix in YAML
    folder = target.parent if is_pipeline and project.owns(target) else project.root.resolve() / PIPELINES
    # A file with two dots before its ending is what a technique prepared.
    stem = _TUNED_SUFFIX.sub("", target.stem).replace(".", "_")
    return folder, stem, target.suffix if is_pipeline else YAML[0]


def _reference(prompt: Path, pipeline: Path, project: Project) -> str:
    """Return what a pipeline calls a prompt that is not there yet."""
    if prompt.parent in (pipeline.parent, project.root.resolve() / "templates" / "prompts"):
        return prompt.stem if not (pipeline.parent / prompt.name).exists() else prompt.name
    return Path(os.path.relpath(prompt, pipeline.parent)).as_posix()


def _changed_text(text: str, file: Path, changes: Mapping[str, Any], copy: Path | None) -> str:
    """Return a target's text with what changes in its steps, or in a prompt's front matter; a copy has its own name."""
    named = str(place(file))
    if file.suffix not in YAML:
        front = split_front_matter(text, named)[0]
        (change,) = changes.values()
        return _text_with_changes(text, {} if front is None else front.value, change, (), named)
    document = load(text, file=named)
    for step, change in changes.items():
        _refuse_inner(step, document.get(("steps", step)), change)
        text = _text_with_changes(text, document.get(("steps", step)), change, ("steps", step), named)
    # The name tells the runs of the copy from the original's; where there is none, the file's does.
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
        told = f"`{name}.{inner[0]}` changes a step of the pipeline `{step['pipeline']}`, which has a file of its own"
        raise InputError(told, hint=f"tune `{step['pipeline']}` itself, and let `{name}` use the tuned one")


def differing(
    old: Mapping[str, Any], new: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the least that makes of one mapping another: a path and its value, or `REMOVED`."""
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping) and value.keys() & before.keys():
            yield from differing(before, value, (*path, key))
        elif key not in old or repr(value) != repr(before):
            yield (*path, key), value
    for key in old:
        if key not in new:
            yield (*path, key), REMOVED


def _with_heading(text: str, lines: Sequence[str]) -> str:
    line_end = "\r\n" if "\r\n" in text else "\n"
    heading = "".join(f"# {line}{line_end}" for line in lines)
    return heading + text.removeprefix("\ufeff")


def _one_step_pipeline(searched: Pipeline, file: Path, changes: Mapping[str, Any]) -> str:
    """Return the pipeline of one step that a prompt is, as a person would write it."""
    (step,) = searched.steps
    change = dict(changes.get(step, {}))
    prompt = change.pop("prompt", None) or prompt_name(searched.file, file.parent, searched.project)
    whole: dict[str, Any] = {"name": _name_of(searched.name, file)}
    whole |= {"about": searched.about} if searched.about else {}
    whole["inputs"] = {name: _input_mapping(each) for name, each in searched.inputs.items()}
    whole["steps"] = {step: apply_overrides({"prompt": prompt}, change)}
    cases = [
        {"name": case.name, "inputs": dict(case.inputs), **({"expect": case.expect} if case.has_expect else {})}
        for case in searched.cases
    ]
    return block_text({**whole, **({"cases": cases} if cases else {})})


def _input_mapping(each: Any) -> dict[str, Any]:
    told = {"type": each.type if each.type != "text" else None, "about": each.about or None}
    told |= {"example": each.example} if each.has_example else {}
    told |= {"choices": list(each.choices) or None}
    found = {key: value for key, value in told.items() if value is not None}
    return found | ({"default": each.default} if each.has_default else {})


def _artifacts(searched: Pipeline, file: Path) -> Iterator[tuple[Path, Path]]:
    """Yield what techniques prepared for the steps, with where it lies for the tuned pipeline."""
    for name, step in searched.steps.items():
        for technique, old in step.prompt_call.artifacts.items() if step.prompt_call else ():
            yield old, file.parent / f"{file.stem}.{name}.{technique}.yaml"


def _check_same_requests(drafted: Draft, file: Path) -> None:
    """Raise InputError where the written pipeline is not what was searched."""
    searched = drafted.searched
    name = stable_name(file, searched.project)
    try:
        written = load_target(file, searched.project)
    except PromptkitError as error:
        hint = "copy the target, with the files that it names, into your project and tune it there"
        raise InputError(f"the tuned pipeline cannot be written as `{name}`: {error.message}", hint=hint) from error
    wanted = {drafted.moved.get(path, path): steps for path, steps in files_of(searched).items()}
    found = dict(files_of(written))
    for each in (wanted, found):
        for own in (searched.file, written.file):
            if own.suffix in YAML:
                each.pop(own.resolve(), None)
    if wanted != found or _request_settings(searched) != _request_settings(written):
        told = f"`{name}` would not send the requests that were searched"
        raise InputError(told, hint="copy the target into your project and tune it there")


def _request_settings(pipeline: Pipeline) -> list[Any]:
    """Return what steps ask by, but for what files say."""
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
            ),
        )
        for name, step in pipeline.steps.items()
    ]
