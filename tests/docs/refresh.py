"""Write into the pages what their commands print now: `python -m tests.docs.refresh [PAGE…]`.

What a page shows is left alone where it still agrees. Read the difference before committing it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.docs.pages import agrees, commands, examples, pages, run, write_files


def refresh(page: Path, folder: Path) -> str:
    """Return the page's text with the output of its commands as it is now."""
    write_files(page, folder)
    text, parts, kept = page.read_text("utf-8"), [], 0
    for example in examples(page):
        if example.kind != "console":
            continue
        parts.append(text[kept : example.start])
        for command in commands(example):
            printed = run(command, folder, example.settings)
            output = command.output if agrees(command.output, printed) else printed
            end = "" if not output or output.endswith("\n") else "\n"
            parts.append(f"$ {command.text}\n{output}{end}")
        kept = example.end
    return "".join([*parts, text[kept:]])


def main() -> None:
    """Refresh the pages named, or all."""
    for page in map(Path.resolve, map(Path, sys.argv[1:])) if sys.argv[1:] else pages():
        with tempfile.TemporaryDirectory() as folder:
            page.write_text(refresh(page, Path(folder)), "utf-8")


if __name__ == "__main__":
    main()
