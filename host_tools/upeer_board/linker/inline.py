"""Inlines functions and methods that are called in one place, and those that are one expression.

Who calls is gone through after whom it calls, so that a chain of small functions becomes one. What cannot be proved to
be the same stays a call.
"""

from __future__ import annotations

import ast
import copy
from itertools import count

from upeer_board.linker import body as bodies
from upeer_board.linker.calls import Calls, Function
from upeer_board.linker.order import can_place, find_place, replace_in, replace_node
from upeer_board.linker.program import FunctionNode, Program
from upeer_board.linker.reach import Reach, drop_unreached, roots
from upeer_board.linker.split import split

_FUNCTION_BYTES, _METHOD_BYTES = 70, 83
_MOST_BEFORE = 3  # parts of a statement that are put into variables, so that a call later in it can be replaced
_MOST_ROUNDS = 6
_UNIT_BYTES = 1.5  # of bytecode for one of `size_of`
_MARGIN = 20  # bytes: a smaller gain is none


def inline_calls(program: Program, builtin: frozenset[str]) -> int:
    """Inline what can be, leave out what is no longer reached, and return how many functions went."""
    gone = 0
    for _ in range(_MOST_ROUNDS):
        calls = Calls(program, Reach(program, roots(program, extra=False)), builtin)
        work = _Inliner(calls, gone)
        for function in _callees_first(calls):
            work.run(function)
        drop_unreached(program)
        if work.gone == gone:
            break
        gone = work.gone
    return gone + _inline_small(program, builtin)


def _inline_small(program: Program, builtin: frozenset[str]) -> int:
    """Inline functions that are called in a few places and so small that their copies take less than they do."""
    gone = 0
    for number in range(_MOST_ROUNDS):
        calls = Calls(program, Reach(program, roots(program, extra=False)), builtin)
        before = gone
        for function in sorted(calls.by_key.values(), key=lambda item: (size_of(item.node), item.key)):
            if _is_small(function, calls.named(function)):
                gone += _Inliner(calls, gone + 10000 * (number + 1), function).everywhere()
        drop_unreached(program)
        if gone == before:
            break
    return gone


def _is_small(function: Function, named: int) -> bool:
    """Return whether `named` copies of a function take less than the function and the calls of it."""
    size = sum(map(size_of, function.node.body)) * _UNIT_BYTES
    call = (3 + 2 * len(function.node.args.args)) * _UNIT_BYTES
    overhead = _METHOD_BYTES if function.owner else _FUNCTION_BYTES
    return 1 <= named < 1000 and named * (size - call) < size + overhead - _MARGIN


def _callees_first(calls: Calls) -> list[Function]:
    order: list[Function] = []
    seen: set[int] = set()

    def visit(function: Function) -> None:
        if id(function) in seen:
            return
        seen.add(id(function))
        for inner in ast.walk(function.node):
            found = calls.target(inner, function)
            if found:
                visit(found[0])
        order.append(function)

    for function in calls.functions:
        visit(function)
    return order


class _Inliner:
    """Goes through callers. `_done`: callers that are finished; no other is put anywhere."""

    def __init__(self, calls: Calls, gone: int, only: Function | None = None) -> None:
        self._calls = calls
        self._only = only
        self._done: set[int] = set()
        self._numbers = count(1000 * gone)
        self.gone = gone

    def run(self, caller: Function) -> None:
        """Inline what this function calls."""
        if caller.is_beside:
            return  # it keeps its names, which tests replace
        self._caller = caller
        caller.node.own = getattr(caller.node, "own", None) or bodies.stored_names(caller.node)  # type: ignore[union-attr]
        has_cells = any(isinstance(inner, ast.Nonlocal) for inner in ast.walk(caller.node))
        if not has_cells:
            caller.node.body = self._block(caller.node.body)
        if not self._only:
            self._done.add(id(caller.node))

    def everywhere(self) -> int:
        """Inline the one function wherever it is called; return 1, or 0 and leave all as it was if a call is left."""
        assert self._only
        only, calls = self._only, self._calls
        self._done = {id(only.node)}
        callers = [item for item in calls.functions if only.key in calls.mentions(item)]
        before: list[tuple[Function, list[ast.stmt], set[str]]] = [
            (item, copy.deepcopy(item.node.body), getattr(item.node, "inlined", set())) for item in callers
        ]
        counts = calls.counts.copy()
        for caller in callers:
            self.run(caller)
            calls.changed(caller)
        if calls.named(only) == 0:
            calls.remove(only)
            return 1
        for caller, body, inside in before:
            caller.node.body, caller.node.inlined = body, inside  # type: ignore[union-attr]
            calls.changed(caller)
        calls.counts = counts
        return 0

    def _block(self, nodes: list[ast.stmt]) -> list[ast.stmt]:
        out: list[ast.stmt] = []
        for node in nodes:
            todo = [node]
            while todo:
                node = todo.pop(0)
                self._expressions(node)
                changed = self._statement(node)
                if changed is not None:
                    todo = changed + todo
                    continue
                self._inner_blocks(node)
                out.append(node)
        return out or [ast.Pass()]

    def _inner_blocks(self, node: ast.stmt) -> None:
        if isinstance(node, FunctionNode | ast.ClassDef):
            return
        for name in ("body", "orelse", "finalbody"):
            inner = getattr(node, name, None)
            if inner:
                setattr(node, name, self._block(inner))
        for handler in getattr(node, "handlers", []):
            handler.body = self._block(handler.body)

    # expressions

    def _expressions(self, node: ast.stmt) -> None:
        """Put one-expression functions in place of their calls, anywhere in the statement's own expressions."""
        if not isinstance(node, FunctionNode | ast.ClassDef):
            for part in own_expressions(node):
                replace_node(node, part, self._expression(part))

    def _expression(self, node: ast.expr) -> ast.expr:
        if isinstance(node, ast.Lambda):
            return node
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.expr):
                replace_node(node, part, self._expression(part))
            elif isinstance(part, ast.keyword | ast.comprehension):
                for inner in ast.iter_child_nodes(part):
                    if isinstance(inner, ast.expr) and isinstance(part, ast.keyword):
                        replace_node(part, inner, self._expression(inner))
        found = self._candidate(node)
        if found is None or isinstance(found[0].node, ast.AsyncFunctionDef):
            return node
        function, receiver = found
        value = _one_expression(function.node)
        if value is None or not self._is_worth_it(function, value):
            return node
        if self._calls.touch(function, receiver, self._caller) != "":
            return node
        pairs = bodies.bind(function.node, node, receiver)  # type: ignore[arg-type]
        if pairs is None or not can_place(pairs, value):
            return node
        result: ast.expr = bodies.Substitution(dict(pairs)).visit(copy.deepcopy(value))
        self._note(function)
        return result

    def _candidate(self, node: ast.AST) -> tuple[Function, ast.expr | None] | None:
        found = self._calls.target(node, self._caller)
        if found and found[0].node is not self._caller.node and id(found[0].node) in self._done:
            return found if self._only in (None, found[0]) else None
        return None

    def _is_worth_it(self, function: Function, value: ast.expr) -> bool:
        named = self._calls.named(function)
        if named == 1 or self._only:
            return True
        if named >= 1000:
            return False
        saved = (_METHOD_BYTES if function.owner else _FUNCTION_BYTES) + size_of(value)
        return named * (size_of(value) - 4 - 2 * len(function.node.args.args)) <= saved

    def _note(self, function: Function) -> None:
        was = self._calls.named(function)
        inside = {function.key} | getattr(function.node, "inlined", set())
        self._caller.node.inlined = getattr(self._caller.node, "inlined", set()) | inside  # type: ignore[union-attr]
        self._calls.inlined(function, was)
        if was == 1:
            self.gone += 1

    # statements

    def _statement(self, node: ast.stmt) -> list[ast.stmt] | None:
        """Return what comes in place of a statement with a call of a function that is called only here."""
        place = find_place(node, self._single_call, self._calls.stored)
        if place is None:
            return split(node, self._has_single_call, self._new_name)
        function, receiver = self._candidate(place.call)  # type: ignore[misc]
        pairs = bodies.bind(function.node, place.call, receiver)  # type: ignore[arg-type]
        touched = self._calls.touch(function, receiver, self._caller)
        if pairs is None or touched is None or len(place.before) > _MOST_BEFORE:
            return None
        prelude, values = self._arguments(function, pairs, touched)
        code = [bodies.Substitution(values).visit(part) for part in copy.deepcopy(function.node.body)]
        result = self._put(node, place.outer, own_imports(code, self._calls, self._caller))
        if result is None:
            return None
        saved: list[ast.stmt] = []
        for parent, part in place.before:
            name = self._new_name()
            saved.append(ast.Assign([ast.Name(name, ast.Store())], part))
            replace_node(parent, part, ast.Name(name, ast.Load()))
        self._note(function)
        return saved + prelude + result

    def _candidate_call(self, node: ast.AST) -> ast.Call | None:
        """Return the call in a node, `await call` of a coroutine function; None if it is none that can be inlined."""
        is_awaited = isinstance(node, ast.Await)
        call = node.value if isinstance(node, ast.Await) else node
        found = self._candidate(call)
        if found is None or isinstance(found[0].node, ast.AsyncFunctionDef) != is_awaited:
            return None
        return call  # type: ignore[return-value]

    def _single_call(self, node: ast.AST) -> ast.Call | None:
        call = self._candidate_call(node)
        found = call and self._candidate(call)
        return call if found and (self._only or self._calls.named(found[0]) == 1) else None

    def _has_single_call(self, node: ast.AST) -> bool:
        """Return whether a function that is called only here is called somewhere in an expression."""
        return any(self._single_call(inner) is not None for inner in ast.walk(node))

    def _new_name(self) -> str:
        return f"r__r{next(self._numbers)}"

    def _arguments(
        self, function: Function, pairs: list[tuple[str, ast.expr]], touched: str
    ) -> tuple[list[ast.stmt], dict[str, ast.expr]]:
        """Return assignments of arguments to parameters, and the arguments that need none.

        `touched`: an attribute of the receiver to be looked at first, so that a call on None fails where it did.
        """
        stored = set().union(*(bodies.stored_names(part) for part in function.node.body))
        prelude: list[ast.stmt] = []
        values: dict[str, ast.expr] = {}
        for name, argument in pairs:
            if name not in stored and bodies.is_stable(argument):
                values[name] = argument
            else:
                prelude.append(ast.Assign([ast.Name(name, ast.Store())], argument))
            if touched and name == pairs[0][0]:
                receiver = copy.deepcopy(values.get(name, ast.Name(name, ast.Load())))
                prelude.append(ast.Expr(ast.Attribute(receiver, touched, ast.Load())))
        return prelude, values

    def _put(self, node: ast.stmt, outer: ast.expr, code: list[ast.stmt]) -> list[ast.stmt] | None:
        """Return the statement with `code` before it, and what that returns in place of `outer`."""
        if isinstance(node, ast.Expr) and node.value is outer:
            return _without_returns(code, lambda value: [ast.Expr(value)] if _acts(value) else [])
        if isinstance(node, ast.Return) and node.value is outer:
            return code if bodies.always_leaves(code) else [*code, ast.Return(None)]
        is_assigned = isinstance(node, ast.Assign) and node.value is outer and _is_local(node.targets)
        has_try = any(isinstance(inner, ast.Try | ast.With) for part in code for inner in ast.walk(part))
        if is_assigned and not has_try:
            target = node.targets[0]  # type: ignore[attr-defined]
            return _without_returns(code, lambda value: [ast.Assign([copy.deepcopy(target)], value)])
        last = code[-1]
        if isinstance(last, ast.Return) and last.value and not bodies.has_return(code[:-1]):
            replace_in(node, outer, last.value)
            return [*code[:-1], node]
        name = self._new_name()
        out = _without_returns(code, lambda value: [ast.Assign([ast.Name(name, ast.Store())], value)])
        if out is None:
            return None
        replace_in(node, outer, ast.Name(name, ast.Load()))
        return [*out, node]


def _without_returns(code: list[ast.stmt], sink: bodies.Sink) -> list[ast.stmt] | None:
    found = bodies.without_returns(code, sink)
    return bodies.in_one_round(code, sink) if found is None else found


def own_imports(code: list[ast.stmt], calls: Calls, caller: Function) -> list[ast.stmt]:
    """Return code that came from another unit without its imports from the caller's."""
    values: dict[str, ast.expr] = {}
    for part in code:
        for node in ast.walk(part):
            if isinstance(node, ast.ImportFrom):
                for item in list(node.names):
                    if ":" in item.name and calls.unit(item.name) == caller.unit:
                        values[item.asname or ""] = ast.Name(item.name, ast.Load())
                        node.names.remove(item)
    if not values:
        return code
    return [bodies.Substitution(values).visit(_NoEmptyImports().visit(part)) for part in code]


class _NoEmptyImports(ast.NodeTransformer):
    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt:
        return node if node.names else ast.Pass()


def own_expressions(node: ast.stmt) -> list[ast.expr]:
    """Return the expressions of a statement itself, not those of the statements in it."""
    return [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]


def _one_expression(node: FunctionNode) -> ast.expr | None:
    if len(node.body) == 1 and isinstance(node.body[0], ast.Return):
        return node.body[0].value
    return None


def _is_local(targets: list[ast.expr]) -> bool:
    return len(targets) == 1 and bodies.is_stable(targets[0])


def _acts(value: ast.expr) -> bool:
    return not isinstance(value, ast.Name | ast.Constant)


def size_of(node: ast.AST) -> int:
    """Return about how many bytes of bytecode an expression takes."""
    small = (ast.expr_context, ast.operator, ast.cmpop, ast.boolop, ast.unaryop)
    weight = {ast.Attribute: 2, ast.Call: 2, ast.BoolOp: 3, ast.IfExp: 5, ast.Constant: 1}
    return sum(weight.get(type(inner), 1) for inner in ast.walk(node) if not isinstance(inner, small))
