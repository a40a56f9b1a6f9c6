"""Functions that import a module of ours as a whole: made to import what they use of it, by name."""

from __future__ import annotations

import ast

from upeer_board.linker.program import FunctionNode, Program


def name_lazy_imports(program: Program) -> None:
    """Turn `from package import module` inside functions, and `module.name`, into imports of the names."""
    for module in program.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, FunctionNode):
                _Namer(program, module.path).run(node)


class _Namer(ast.NodeTransformer):
    def __init__(self, program: Program, path: str) -> None:
        self._program = program
        self._path = path
        self._used: dict[str, set[str]] = {}

    def run(self, function: FunctionNode) -> None:
        """Change one function."""
        imports = [node for node in ast.walk(function) if isinstance(node, ast.ImportFrom)]
        self._used = {
            item.asname or item.name: set()
            for node in imports
            for item in node.names
            if f"{node.module}.{item.name}" in self._program.modules
        }
        if self._used:
            function.body = [self.visit(node) for node in function.body]
            function.body = [new for node in function.body for new in _ImportWriter(self._used).write(node)]

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._used:
            raise ValueError(f"{self._path}: the module {node.id} is used as a value; import what is wanted of it")
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in self._used:
            self._used[node.value.id].add(node.attr)
            return ast.Name(f"{node.value.id}_{node.attr}", node.ctx)
        self.generic_visit(node)
        return node


class _ImportWriter(ast.NodeTransformer):
    def __init__(self, used: dict[str, set[str]]) -> None:
        self._used = used

    def write(self, node: ast.stmt) -> list[ast.stmt]:
        found = self.visit(node)
        return found if isinstance(found, list) else [found]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        whole = [item for item in node.names if (item.asname or item.name) in self._used]
        if not whole:
            return node
        out: list[ast.stmt] = []
        for item in whole:
            plain = item.asname or item.name
            names = [ast.alias(name, f"{plain}_{name}") for name in sorted(self._used[plain])]
            out.append(ast.ImportFrom(f"{node.module}.{item.name}", names, 0))
        node.names = [item for item in node.names if item not in whole]
        return out + [node] if node.names else out
