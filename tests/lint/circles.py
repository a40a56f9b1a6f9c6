"""Circles of imports among modules: each is two rooms that are one, or a third that is missing. check_style calls this.

Imports inside functions and under TYPE_CHECKING count too. A package's own `__init__` counts where it is imported from,
not because a module stands in it.
"""

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping

Graph = dict[str, set[str]]


def graph(sources: Mapping[str, str]) -> Graph:
    """Return {module: the modules among `sources` that it imports}, from {path below its tree: source}."""
    trees = {module_name(path): ast.parse(source, path) for path, source in sources.items()}
    return {name: {other for other in _imports(tree, trees) if other in trees} - {name} for name, tree in trees.items()}


def module_name(path: str) -> str:
    """Return the dotted name of a file: "upeer.session.stream", and "upeer" of "upeer/__init__.py"."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def find(edges: Graph, allowed: Iterable[tuple[str, str]] = ()) -> list[list[str]]:
    """Return the circles, each as its modules in order of their names; `allowed` imports do not count."""
    skipped = set(allowed)
    kept = {name: {other for other in others if (name, other) not in skipped} for name, others in edges.items()}
    reached = {name: _reachable(kept, name) for name in kept}
    circles = {
        tuple(sorted({name, *(other for other in reached[name] if name in reached[other])}))
        for name in kept
        if name in reached[name]
    }
    return [list(circle) for circle in sorted(circles)]


def _reachable(edges: Graph, start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for other in edges[waiting.pop()] - found:
            found.add(other)
            waiting.append(other)
    return found


def _imports(tree: ast.Module, modules: Collection[str]) -> Iterator[str]:
    """Yield what is imported; of `from package import name` that module if there is one, else the package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for item in node.names:
                name = f"{node.module}.{item.name}"
                yield name if name in modules else node.module
