"""Check the style rules that ruff cannot: sizes, layers, the core's imports, what MicroPython lacks (rules.py)."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import circles
import rules

ROOT = Path(__file__).resolve().parents[2]
_TREES = (ROOT / "firmware", ROOT / "host_tools")
_SIZED_TREES = (*_TREES, ROOT / "tests", ROOT / "examples")
_IMPORTERS = ("__import__", "import_module", "importlib.import_module", "pytest.importorskip")
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


class Checker:
    """Collects faults; remembers which exceptions were needed."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.used_exceptions: set[str] = set()

    def check_file(self, name: str, source: str) -> None:
        """Check one file; name is its path below `firmware/` or `host_tools/`."""
        tree = ast.parse(source, name)
        package = name.partition("/")[0].removesuffix(".py")
        self._check_sizes(name, source, tree)
        self.check_programs(name, tree)
        if package in rules.LAYERS:
            self._check_layer(name, package, tree)
        if package in rules.CHAPTERS:
            self._check_chapter(name, package, tree)
        if package == "upeer":
            self._check_core(name, tree)
        if package in ("upeer", "device", "boot", "main") and name not in rules.NOT_ON_BOARD:
            self._check_absent(name, tree)

    def check_module_size(self, name: str, source: str) -> None:
        """Check the length of a module, the only size rule for tests."""
        count = source.count("\n")
        if count > rules.MODULE_LINES:
            self._size_fault(name, name, 1, f"module of {count} lines, at most {rules.MODULE_LINES}")

    def check_programs(self, name: str, tree: ast.Module) -> None:
        """Check that no program which is to be run is imported: what imports GPL code is GPL itself."""
        for line, module in _imports(tree):
            if module.partition(".")[0] in rules.PROGRAMS:
                self._fault(name, line, f"{module} is run as a program, never imported: it is GPL")

    def check_test_imports(self, name: str, tree: ast.Module) -> None:
        """Check that no test's module imports another: what two of them use is a helper, which each finds alone."""
        for line, module in _imports(tree):
            if module.startswith("test_"):
                self._fault(name, line, f"{module} is a module of tests: what others use of it goes to a helper")

    def stale_exceptions(self) -> list[str]:
        """Return a fault for every exception that nothing needs."""
        stale = set(rules.EXCEPTIONS) - self.used_exceptions
        return [f"tests/lint/rules.py: the exception for {key} is not needed" for key in sorted(stale)]

    def _check_sizes(self, name: str, source: str, tree: ast.Module) -> None:
        self.check_module_size(name, source)
        for function_name, function in _functions(tree):
            key = f"{name}:{function_name}"
            count = _line_count(function)
            if count > rules.FUNCTION_LINES:
                text = f"{function_name}: {count} lines, at most {rules.FUNCTION_LINES}"
                self._size_fault(key, name, function.lineno, text)
            count = _parameter_count(function)
            if count > rules.PARAMETERS and not _is_command(function):
                text = f"{function_name}: {count} parameters, at most {rules.PARAMETERS}"
                self._size_fault(key, name, function.lineno, text)

    def _check_layer(self, name: str, package: str, tree: ast.Module) -> None:
        others = set(rules.LAYERS) - rules.LAYERS[package] - {package}
        for line, module in _imports(tree):
            if module.partition(".")[0] in others:
                self._fault(name, line, f"{package} must not import {module}: imports go downward only")

    def _check_chapter(self, name: str, package: str, tree: ast.Module) -> None:
        """Check that a chapter imports chapters of lower floors only, and nothing that stands beside the chapters."""
        floors = {chapter: floor for floor, row in enumerate(rules.CHAPTERS[package]) for chapter in row}
        own = _chapter(name.removesuffix(".py").replace("/", "."))
        if own not in floors:
            return
        for line, module in _imports(tree):
            other = _chapter(module)
            is_ours = module.partition(".")[0] == package
            if is_ours and other != own and floors.get(other, len(floors)) >= floors[own]:
                self._fault(name, line, f"{package}/{own} must not import {module}: it is not on a lower floor")

    def _check_core(self, name: str, tree: ast.Module) -> None:
        allowed = rules.CORE_IMPORTS | rules.CORE_EXTRA_IMPORTS.get(name, set()) | {"upeer"}
        for line, module in _imports(tree):
            if module.partition(".")[0] not in allowed:
                self._fault(name, line, f"the core must not import {module}")
        for node in ast.walk(tree):
            called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if called in rules.CORE_FORBIDDEN_CALLS:
                self._fault(name, node.lineno, f"the core must not call {called}()")

    def _check_absent(self, name: str, tree: ast.Module) -> None:
        for line, module in _imports(tree):
            if module.partition(".")[0] in rules.ABSENT_MODULES:
                self._fault(name, line, f"MicroPython has no module {module}")
        for node in ast.walk(tree):
            text = _absent_feature(node, rules.ABSENT_ALLOWED.get(name, set()))
            if text:
                self._fault(name, getattr(node, "lineno", 1), text)

    def _size_fault(self, key: str, name: str, line: int, text: str) -> None:
        if key in rules.EXCEPTIONS:
            self.used_exceptions.add(key)
        else:
            self._fault(name, line, text)

    def _fault(self, name: str, line: int, text: str) -> None:
        self.faults.append(f"{name}:{line}: {text}")


def _chapter(module: str) -> str:
    """Return the chapter of a module's dotted name: "session" of "upeer.session.stream"."""
    return f"{module}.".split(".")[1]


def _absent_feature(node: ast.AST, allowed: set[str]) -> str | None:
    """Return what is wrong with a node that MicroPython cannot run, None if nothing is."""
    if isinstance(node, ast.Match):
        return "MicroPython has no match statement"
    if isinstance(node, ast.Raise) and node.cause is not None:
        return "MicroPython has no `raise ... from`"
    if isinstance(node, ast.Name) and node.id in rules.ABSENT_NAMES:
        return f"MicroPython has no builtin {node.id}"
    if isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        name = f"{owner}.{node.attr}"
        if name not in allowed and (name in rules.ABSENT_ATTRIBUTES or node.attr in rules.ABSENT_METHODS):
            return f"MicroPython has no {name}"
    return None


def _functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, _FUNCTION]]:
    """Yield (Class.function, node) of every function, inner ones too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, _FUNCTION):
            yield prefix + node.name, node
        if isinstance(node, ast.ClassDef | _FUNCTION):
            yield from _functions(node, f"{prefix}{node.name}.")
        else:
            yield from _functions(node, prefix)


def _line_count(function: _FUNCTION) -> int:
    """Return the lines from `def` to the end, without the docstring."""
    count = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None:
        count -= (first.end_lineno or first.lineno) - first.lineno + 1
    return count


def _parameter_count(function: _FUNCTION) -> int:
    parameters = [item.arg for item in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return len([name for name in parameters if name not in ("self", "cls")])


def _is_command(function: _FUNCTION) -> bool:
    """Tell whether it is a command of the command line: its parameters are its options."""
    names = [ast.unparse(item.func if isinstance(item, ast.Call) else item) for item in function.decorator_list]
    return any(name.endswith((".command", ".group")) for name in names)


def _imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, module) of every import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                yield node.lineno, item.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
        elif isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in _IMPORTERS:
            yield node.lineno, ast.unparse(node.args[0]).strip("'\"")


def check_circles(sources: dict[str, str]) -> list[str]:
    """Return a fault for each circle among {path below its tree: source}, and for each exception that opens none."""
    edges = circles.graph(sources)
    faults = [f"imports go in a circle: {' - '.join(circle)}" for circle in circles.find(edges, rules.CIRCLES)]
    for pair in rules.CIRCLES:
        others = [other for other in rules.CIRCLES if other != pair]
        if circles.find(edges, others) == circles.find(edges, rules.CIRCLES):
            faults.append(f"tests/lint/rules.py: the circle {pair} is not there")
    return faults


def check_all() -> list[str]:
    """Check every file of the project; return the faults."""
    checker = Checker()
    sources = {}
    for tree in _SIZED_TREES:
        for path in sorted(tree.rglob("*.py")):
            source = path.read_text()
            if tree in _TREES:
                sources[str(path.relative_to(tree))] = source
                checker.check_file(str(path.relative_to(tree)), source)
            else:
                name = str(path.relative_to(ROOT))
                checker.check_module_size(name, source)
                module = ast.parse(source, name)
                checker.check_programs(name, module)
                checker.check_test_imports(name, module)
    return checker.faults + checker.stale_exceptions() + check_circles(sources)


def main() -> int:
    faults = check_all()
    for line in faults:
        print(line)
    print(f"check_style: {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
