"""Finds where the firmware looks at its interpreter or board, and marks which branches run.

Such a place is an `if` (or `a if ... else b`) that names MICROPYTHON, and a `try` whose handler names nothing but
ImportError, AttributeError or ValueError and one of the first two at least. Each has two outcomes: "yes", "no".
"""

import ast
from pathlib import Path

_NAME = "MICROPYTHON"
_MISSING = {"ImportError", "AttributeError"}
MARKS = '''"""Prints each mark once."""

_seen = set()


def mark(text):
    if text not in _seen:
        _seen.add(text)
        print("<branch>", text)
'''


class Marker(ast.NodeTransformer):
    """Puts a mark into each outcome of each place; `places` are their names."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.places: list[str] = []

    def visit_If(self, node: ast.If) -> ast.If:
        self.generic_visit(node)
        if _looks_at_interpreter(node.test):
            place = self._place(node)
            node.body.insert(0, _statement(place, "yes"))
            node.orelse.insert(0, _statement(place, "no"))
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.IfExp:
        self.generic_visit(node)
        if _looks_at_interpreter(node.test):
            place = self._place(node)
            node.body = _marked(place, "yes", node.body)
            node.orelse = _marked(place, "no", node.orelse)
        return node

    def visit_Try(self, node: ast.Try) -> ast.Try:
        self.generic_visit(node)
        for handler in node.handlers:
            names = {name.id for name in ast.walk(handler.type or ast.Pass()) if isinstance(name, ast.Name)}
            if names & _MISSING and names <= _MISSING | {"ValueError"}:
                place = self._place(node)
                handler.body.insert(0, _statement(place, "yes"))
                last = node.body[-1]
                if isinstance(last, ast.Return):
                    last.value = ast.parse(f"({ast.unparse(last.value)}, _mark({place + ' no'!r}))[0]").body[0].value
                else:
                    node.body.append(_statement(place, "no"))
        return node

    def _place(self, node: ast.stmt | ast.expr) -> str:
        self.places.append(f"{self.path}:{node.lineno}")
        return self.places[-1]


def _looks_at_interpreter(test: ast.expr) -> bool:
    return any(isinstance(part, ast.Name) and part.id == _NAME for part in ast.walk(test))


def _statement(place: str, outcome: str) -> ast.stmt:
    return ast.parse(f"_mark({place + ' ' + outcome!r})").body[0]


def _marked(place: str, outcome: str, value: ast.expr) -> ast.expr:
    return ast.parse(f"(_mark({place + ' ' + outcome!r}), {ast.unparse(value)})[1]", mode="eval").body


def mark_firmware(sources: dict[str, Path], folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Write the sources with marks into `folder`; return their paths and all places."""
    marked, places = {}, []
    for name, source in sources.items():
        marker = Marker(name)
        tree = marker.visit(ast.parse(source.read_text()))
        places += marker.places
        if marker.places:
            at = 1 if ast.get_docstring(tree) else 0
            tree.body.insert(at, ast.parse("from branch_marks import mark as _mark").body[0])
        marked[name] = folder / name
        marked[name].parent.mkdir(parents=True, exist_ok=True)
        marked[name].write_text(ast.unparse(ast.fix_missing_locations(tree)))
    marked["branch_marks.py"] = folder / "branch_marks.py"
    marked["branch_marks.py"].write_text(MARKS)
    return marked, places
