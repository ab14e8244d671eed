"""Count how the code is cut and named: run it at two commits to compare them.

It prints modules and lines, the largest folders, the longest chain of imports on a floor, import circles, modules with
one importer, docstrings by their opening, and names of the vocabulary that the glossary replaced.
"""

from __future__ import annotations

import argparse
import ast
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

REPLACED = re.compile(
    "Ground|Field|Bed|Beds|Work|Ready|Wishes|Wanted|Standing|Found|Seen|Axis|Level|Lesson|Hand|Situation|Contender"
    "|Planned|Job|Finished|Placed|Answered|Beside|Matched|Side|Versus|Around|Given|Judging|Asker|Flights|Window"
)
DIALECT = ("told", "said", "own", "each", "wanted")
OPENINGS = ("What", "Return what", "Whether", "Which", "How")
LARGEST_FOLDERS = 5


def read(package: Path) -> dict[str, ast.Module]:
    """Return the syntax tree of each module of `package`, by its dotted name."""
    trees = {}
    for file in sorted(package.rglob("*.py")):
        parts = [package.name, *file.relative_to(package).with_suffix("").parts]
        trees[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(file.read_text(encoding="utf-8"))
    return trees


def imported(nodes: Iterable[ast.AST], modules: Mapping[str, object]) -> Iterator[str]:
    """Yield the modules that `nodes` import, not looking into what they contain."""
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import one another, by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for other in graph[module]:
            if other not in index:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], index[other])
        if low[module] == index[module]:
            place = stack.index(module)
            groups.append(stack[place:])
            del stack[place:]

    for module in graph:
        if module not in index:
            visit(module)
    return [sorted(group) for group in groups if len(group) > 1]


def longest_chain(graph: Mapping[str, set[str]], inside: str) -> int:
    """Return the number of modules of `inside` on the longest chain of imports among them (circles are cut)."""
    lengths: dict[str, int] = {}

    def length(module: str, above: tuple[str, ...]) -> int:
        if module not in lengths:
            below = (other for other in graph[module] if other.startswith(f"{inside}.") and other not in above)
            lengths[module] = 1 + max((length(other, (*above, module)) for other in below), default=0)
        return lengths[module]

    return max((length(module, ()) for module in graph if module.startswith(f"{inside}.")), default=0)


def docstrings(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                yield text


def identifiers(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, nargs="?", default=Path(__file__).resolve().parent.parent / "promptkit")
    package = parser.parse_args().package
    trees = read(package)
    lines = [len(file.read_text(encoding="utf-8").splitlines()) for file in sorted(package.rglob("*.py"))]
    graph = {name: set(imported(tree.body, trees)) - {name} for name, tree in trees.items()}
    deferred = {name: set(imported(ast.walk(tree), trees)) - {name} for name, tree in trees.items()}
    importers = Counter(other for others in graph.values() for other in others)
    folders = Counter(str(file.parent.relative_to(package.parent)) for file in package.rglob("*.py"))
    floors = sorted({name.split(".")[1] for name in trees if "." in name})
    texts = [text for tree in trees.values() for text in docstrings(tree)]
    names = Counter(name for tree in trees.values() for name in identifiers(tree))

    print(
        f"modules                {len(trees)}, {sum(lines)} lines; a module: median {statistics.median(lines):.0f}, "
        f"longest {max(lines)}"
    )
    print("largest folders        " + ", ".join(f"{n} {folder}" for folder, n in folders.most_common(LARGEST_FOLDERS)))
    print(
        "longest import chain   "
        + ", ".join(
            f"{floor} {longest_chain(graph, f'{package.name}.{floor}')}"
            for floor in floors
            if longest_chain(graph, f"{package.name}.{floor}") > 1
        )
    )
    print(
        f"import circles         {len(circles(graph))}; {len(circles(deferred))} with deferred and typing imports"
        + "".join(f"\n  {' '.join(group)}" for group in circles(deferred))
    )
    print(f"one importer           {sum(1 for module in trees if importers[module] == 1)} modules")
    print(
        f"docstrings             {len(texts)}: "
        + ", ".join(
            f"{sum(text.startswith(f'{opening} ') for text in texts)} open with {opening!r}" for opening in OPENINGS
        )
    )
    print(
        "replaced names         "
        + (", ".join(f"{name} {names[name]}" for name in sorted(names) if REPLACED.fullmatch(name)) or "none")
    )
    print("dialect as names       " + (", ".join(f"{name} {names[name]}" for name in DIALECT if names[name]) or "none"))
    sites = sum(len(re.findall(r"\b0\.95\b", file.read_text(encoding="utf-8"))) for file in package.rglob("*.py"))
    print(f"written 0.95           {sites} times")


if __name__ == "__main__":
    main()
