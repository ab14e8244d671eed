"""Write into the pages what their commands print now: `python -m tests.docs.refresh [--record] [PAGE…]`.

What the README shows of the real model is a recording, replayed by the tests; `--record` makes it anew, where the
shipped prompts have changed.
What a page shows is left alone where it still agrees. Read the difference before committing it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.command import DATA
from tests.docs import catalog, commands, metrics
from tests.docs.pages import agrees, examples, normal, pages, record, run, write_files
from tests.docs.pages import commands as commands_in

MADE = {commands.PAGE: commands.reference, catalog.PAGE: catalog.catalog, metrics.PAGE: metrics.page}
"""The pages that are made from the code, metrics in part."""


def refresh(page: Path, folder: Path, *, records: bool = False) -> str:
    """Return the page's text with the output of its commands as it is now."""
    write_files(page, folder)
    text, parts, kept = page.read_text("utf-8"), [], 0
    for example in examples(page):
        if example.kind != "console":
            continue
        parts.append(text[kept : example.start])
        for command in commands_in(example):
            anew = records and "recording" in example.settings
            printed = (record if anew else run)(command, folder, example.settings).replace(str(folder), "…")
            assert "Traceback" not in printed, f"{example}: {command.text}\n{printed}"
            output = printed if anew else merged(command.output, printed)
            end = "" if not output or output.endswith("\n") else "\n"
            parts.append(f"$ {command.text}\n{output}{end}")
        kept = example.end
    return "".join([*parts, text[kept:]])


def merged(shown: str, printed: str) -> str:
    """Return what was printed; a line stays as shown where only its time differs: a replay has none of its own."""
    if agrees(shown, printed):
        return shown
    kept = {tuple(normal(line)): line for line in shown.splitlines()}
    return "\n".join(kept.get(tuple(normal(line)), line) for line in printed.splitlines())


def main() -> None:
    """Refresh the pages named, or all."""
    names = [name for name in sys.argv[1:] if name != "--record"]
    for page in [Path(name).resolve() for name in names] or pages():
        if page in MADE:
            page.write_text(MADE[page](), "utf-8")
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as data:
            os.environ[DATA] = data  # What a tuning prints depends on what earlier ones have left there.
            page.write_text(refresh(page, Path(folder), records="--record" in sys.argv), "utf-8")


if __name__ == "__main__":
    main()
