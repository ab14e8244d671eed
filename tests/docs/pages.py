"""The pages of the documentation, and the examples in them.

What an example is, its fence says:

    ```yaml pipelines/mail.yaml        a file of the page's project; `promptkit check` must find nothing wrong in it
    ```yaml pipelines/x.yaml wrong     one in which it must find something
    ```yaml answer                     an answer type with values and how they are written
    ```yaml expressions                expressions with what they give
    ```console                         commands and what they print; `model=REFERENCE` says which model answers
    ```sh, ```                         a command that is only shown: one of the README's, or a script that is there
    ```text                            nothing that can be tried

The files of a page are written first, into one project; then its commands run in order. Lines of output may be left
out by a line `…`, parts of one by `…` within it; times are not compared, nor who named the model. A folder of the page
with a `pyproject.toml` is installed beside the project before its commands run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.command import environment, run_command

ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = Path(__file__).parent / "recordings"
ANYTHING = Path(__file__).parent / "anything.yaml"
RECORDED = "embedded/smollm2"
NOTICE = (
    "embedded/smollm2 answers, as no Ollama server answers: it shows that promptkit works, not how good a prompt is\n"
)
"""The script that stands for a model where a console names none, as `render` needs one."""
SHOWN = {"", "console", "sh", "text"}
LANGUAGES = {"csv", "jinja", "json", "jsonl", "python", "toml", "yaml"}

_FENCE = re.compile(r"^(?P<ticks>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=ticks)[ \t]*$", re.MULTILINE | re.DOTALL)
_PLAIN = re.compile(
    r"""promptkit\ (?P<arguments>(?:[^|<>;&$`*"']|"[^"$]*"|'[^']*')*?)
    (?:\ >\ (?P<file>[\w./]+))?(?P<err>\ 2>\ /dev/null|\ 2>&1)?(?:;\ echo\ (?P<echo>[^|;]+))?""",
    re.VERBOSE,
)
"""A `promptkit` command without a shell's help but that its output goes elsewhere and its exit code is shown."""
_TIME = re.compile(r"\b(?:\d+ min )?\d+(?:\.\d+)? m?s\b")
_GAP = re.compile(r"(?<=\S) {2,}")
_JSON_TIME = re.compile(r'"(seconds|waited)": [\d.e-]+')
_NAMED = re.compile(r"\(named by [^)]*\)")


@dataclass(frozen=True, slots=True)
class Example:
    """One fence. `start` and `end` are where its body lies in the page's text."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    body: str
    start: int
    end: int

    @property
    def kind(self) -> str:
        """What is done with the example: `file`, `answer`, `expressions`, `console`, `sh`, `text`, or `unknown`."""
        if self.language == "yaml" and self.words in (("answer",), ("expressions",)):
            return self.words[0]
        if self.language in LANGUAGES and self.words[:1] and self.words[1:] in ((), ("wrong",)):
            return "file"
        return {"": "sh"}.get(self.language, self.language) if self.language in SHOWN else "unknown"

    @property
    def is_wrong(self) -> bool:
        """Whether the file is there to show what is wrong in it."""
        return self.words[1:] == ("wrong",)

    @property
    def settings(self) -> dict[str, str]:
        """The `name=value` words of a console's fence."""
        return dict(word.partition("=")[::2] for word in self.words)

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console with what the page says it prints."""

    text: str
    output: str


def pages() -> list[Path]:
    """Return every page."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def examples(page: Path) -> list[Example]:
    """Return the examples of a page, in order."""
    text = page.read_text("utf-8")
    return [_example(page, text, found) for found in _FENCE.finditer(text)]


def _example(page: Path, text: str, found: re.Match[str]) -> Example:
    language, *words = found["info"].split() or [""]
    return Example(
        page=page,
        line=text.count("\n", 0, found.start()) + 1,
        language=language,
        words=tuple(words),
        body=found["body"],
        start=found.start("body"),
        end=found.end("body"),
    )


def commands(example: Example) -> Iterator[Command]:
    """Yield the commands of a console; a line that ends in a backslash goes on in the next."""
    for part in re.split(r"^\$ ", example.body, flags=re.MULTILINE)[1:]:
        typed = re.match(r"(?:[^\n]*\\\n)*[^\n]*\n", part)
        assert typed is not None
        yield Command(typed.group().rstrip("\n"), part[typed.end() :])


def write_files(page: Path, folder: Path) -> list[Example]:
    """Write the files of a page into its project and return their examples. A file stands in a page once."""
    files = [example for example in examples(page) if example.kind == "file"]
    for example in files:
        path = folder / example.words[0]
        assert not path.exists(), f"{example}: {example.words[0]} stands there already"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(example.body, "utf-8")
    return files


def install_packages(folder: Path) -> Path:
    """Install the packages in a page's folder as pip does, and return where: outside of the project.

    Other files than Python need `package-data`. Metadata inside of a project is not trusted.
    """
    site = folder.with_name(f"{folder.name}-site")
    for file in folder.glob("*/pyproject.toml"):
        settings = tomllib.loads(file.read_text("utf-8"))
        package = settings["project"]
        info = site / f"{package['name']}-{package['version']}.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        metadata = f"Metadata-Version: 2.1\nName: {package['name']}\nVersion: {package['version']}\n"
        (info / "METADATA").write_text(metadata, "utf-8")
        groups = package["entry-points"].items()
        lines = [line for group, named in groups for line in (f"[{group}]", *(f"{k} = {v}" for k, v in named.items()))]
        (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        data = settings.get("tool", {}).get("setuptools", {}).get("package-data", {})
        patterns = ["*.py", *(f"{name}/{pattern}" for name, of_name in data.items() for pattern in of_name)]
        for pattern in patterns:
            for source in file.parent.rglob(pattern):
                copy = site / source.relative_to(file.parent)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
    return site


def run(command: Command, folder: Path, settings: dict[str, str]) -> str:
    """Run a command in a page's project as a person at a terminal would, and return all that it prints."""
    model = settings.get("model", f"scripted:{ANYTHING}")
    if "recording" in settings:
        model = f"replay:{RECORDINGS / settings['recording']}"
    variables = {"PROMPTKIT_MODEL": model, "PROMPTKIT_CACHE": str(folder / ".cache")}
    if (site := install_packages(folder)).is_dir():
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    printed = _run(command.text, folder, **variables)
    return _as_by_default(printed) if "recording" in settings else printed


def record(command: Command, folder: Path, settings: dict[str, str]) -> str:
    """Run a command on the real model, keep its recording anew, and return all that it prints."""
    file = RECORDINGS / settings["recording"]
    file.unlink(missing_ok=True)
    printed = _run(f"{command.text} --no-cache --record {file}", folder, PROMPTKIT_MODEL=RECORDED)
    return _as_by_default(printed)


def _as_by_default(printed: str) -> str:
    """Return what a command prints where nothing names the embedded model: its notice in place of its name."""
    first, *others = (line for line in printed.splitlines(True) if not line.startswith("answered by "))
    return "".join([first, NOTICE, *others])


def _run(typed: str, folder: Path, **variables: str) -> str:
    given = {**variables, "OLLAMA_HOST": "127.0.0.1:9", "HF_HOME": str(folder / ".cache"), "COLUMNS": "100"}
    # Entry points of a page's package are found by a process of its own.
    plain = None if "PYTHONPATH" in variables else _PLAIN.fullmatch(typed)
    if plain:
        return _run_plain(plain, folder, given)
    done = subprocess.run(
        ["bash", "-c", typed],
        cwd=folder,
        env=environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}", **given),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
    )
    return done.stdout.decode("utf-8")


def _run_plain(typed: re.Match[str], folder: Path, variables: dict[str, str]) -> str:
    """Run `promptkit` in this process, with its streams redirected as a shell would, and return what is shown."""
    arguments, file = shlex.split(typed["arguments"].replace("\\\n", "")), typed["file"]
    is_err_shown = typed["err"] is None
    both = file is None and is_err_shown
    done = run_command(*arguments, folder=folder, variables=variables, stderr_to_stdout=both)
    if file is not None and file != os.devnull:
        (folder / file).write_text(done.out, "utf-8")
    shown = done.out * (file is None) + done.err * is_err_shown
    return shown + (typed["echo"] or "").strip('"').replace("$?", f"{done.code}")


def agrees(shown: str, printed: str) -> bool:
    """Tell whether a command printed what the page shows."""
    pattern = "".join(map(_pattern, normal(shown)))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in normal(printed))) is not None


def _pattern(line: str) -> str:
    if line.strip() == "…":
        return r"(?:[^\n]*\n)*?"
    return ".*?".join(re.escape(part) for part in line.split("…")) + r"\n"


def normal(text: str) -> list[str]:
    """Return the lines of output without what differs from run to run."""
    text = _JSON_TIME.sub(r'"\1": 0', _NAMED.sub("(named by …)", _TIME.sub("0 s", text)))
    # A column of times is as wide as the longest.
    return [_GAP.sub("  ", line.rstrip()) for line in text.rstrip().splitlines()]
