"""Puts a function's body in place of a call of it: results, early returns, arguments.

Every function here returns None where it cannot prove that the outcome is the same.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable

from upeer_board.linker.program import FunctionNode, is_local

Sink = Callable[[ast.expr], list[ast.stmt]]
_Loop = ast.For | ast.While | ast.AsyncFor


def has_return(nodes: list[ast.stmt]) -> bool:
    """Return whether a return stands anywhere in the statements (functions inside have none of ours)."""
    return any(isinstance(inner, ast.Return) for node in nodes for inner in ast.walk(node))


def always_leaves(nodes: list[ast.stmt]) -> bool:
    """Return whether the end of the statements is never reached."""
    if not nodes:
        return False
    last = nodes[-1]
    if isinstance(last, ast.Return | ast.Raise | ast.Break | ast.Continue):
        return True
    if isinstance(last, ast.If):
        return always_leaves(last.body) and always_leaves(last.orelse)
    if isinstance(last, ast.While) and isinstance(last.test, ast.Constant) and last.test.value:
        return not _own_breaks(last.body)
    if isinstance(last, ast.Try):
        handled = all(always_leaves(handler.body) for handler in last.handlers)
        return handled and (always_leaves(last.body) or always_leaves(last.orelse))
    return False


def _own_breaks(nodes: list[ast.stmt]) -> bool:
    """Return whether a break of this very loop stands in its body."""
    for node in nodes:
        if isinstance(node, ast.Break):
            return True
        if isinstance(node, _Loop):
            if _own_breaks(node.orelse):
                return True
            continue
        for name in ("body", "orelse", "finalbody"):
            if _own_breaks(getattr(node, name, [])):
                return True
        if any(_own_breaks(handler.body) for handler in getattr(node, "handlers", [])):
            return True
    return False


def without_returns(nodes: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    """Return the statements with `sink(value)` in place of every return and at the end, and nothing left to return."""
    for i, node in enumerate(nodes):
        before, rest = nodes[:i], nodes[i + 1 :]
        if isinstance(node, ast.Return):
            return before + sink(node.value or ast.Constant(None))
        if has_return([node]):
            changed = _replace(node, rest, sink)
            return None if changed is None else before + changed
    if always_leaves(nodes):
        return nodes
    return nodes + sink(ast.Constant(None))


def _replace(node: ast.stmt, rest: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    if isinstance(node, ast.If):
        return _replace_if(node, rest, sink)
    if isinstance(node, ast.For | ast.While):
        return _replace_loop(node, rest, sink)
    if isinstance(node, ast.Try):
        return _replace_try(node, rest, sink)
    return None


def _replace_if(node: ast.If, rest: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    ends = always_leaves(node.body), always_leaves(node.orelse)
    if rest and not any(ends):
        return None  # what follows would be there twice
    body = without_returns(node.body + ([] if ends[0] else rest), sink)
    orelse = without_returns(node.orelse + ([] if ends[1] else rest), sink)
    if body is None or orelse is None:
        return None
    return [_if(node.test, body, orelse)]


def _if(test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]) -> ast.stmt:
    if body:
        return ast.If(test, body, orelse)
    if not orelse:
        return ast.Expr(test)
    negated = (
        test.operand if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) else ast.UnaryOp(ast.Not(), test)
    )
    return ast.If(negated, orelse, [])


def _replace_loop(node: ast.For | ast.While, rest: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    """A loop that returns: break instead, and what follows goes into the loop's `else`."""
    if node.orelse or _own_breaks(node.body):
        return None
    body = _broken(node.body, sink)
    is_endless = isinstance(node, ast.While) and isinstance(node.test, ast.Constant) and node.test.value
    after = [] if is_endless else without_returns(rest, sink)
    if body is None or after is None:
        return None
    node = copy.copy(node)
    node.body, node.orelse = body, after
    return [node]


def _broken(nodes: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    """Return the body of a loop with `sink(value)` and break for its returns; None if one is in a loop inside."""
    out: list[ast.stmt] = []
    for node in nodes:
        if isinstance(node, ast.Return):
            return [*out, *sink(node.value or ast.Constant(None)), ast.Break()]
        changed = _broken_inside(node, sink) if has_return([node]) else node
        if changed is None:
            return None
        out.append(changed)
    return out


def _broken_inside(node: ast.stmt, sink: Sink) -> ast.stmt | None:
    if not isinstance(node, ast.If | ast.Try | ast.With):
        return None
    node = copy.copy(node)
    for name in ("body", "orelse", "finalbody"):
        if getattr(node, name, None):
            inner = _broken(getattr(node, name), sink)
            if inner is None:
                return None
            setattr(node, name, inner)
    if isinstance(node, ast.Try):
        handlers = []
        for handler in node.handlers:
            inner = _broken(handler.body, sink)
            if inner is None:
                return None
            handlers.append(ast.ExceptHandler(handler.type, handler.name, inner))
        node.handlers = handlers
    return node


def in_one_round(nodes: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    """Return the same as `without_returns` by a loop that is left at once: a return becomes its break."""
    at = next((i for i, node in enumerate(nodes) if isinstance(node, _Loop) and has_return([node])), None)
    if at is None:
        body = _broken(nodes, sink)
        end = sink(ast.Constant(None)) if body is not None and not always_leaves(body) else []
    else:
        body = _broken(nodes[:at], sink)
        end = _replace_loop(nodes[at], nodes[at + 1 :], sink)  # type: ignore[arg-type, assignment]
    if body is None or end is None:
        return None
    body = body + end
    return [ast.While(ast.Constant(True), body if always_leaves(body) else [*body, ast.Break()], [])]


def _replace_try(node: ast.Try, rest: list[ast.stmt], sink: Sink) -> list[ast.stmt] | None:
    """A `try` with returns: only if nothing follows, or what follows may stand in its `else`."""
    if has_return(node.finalbody):
        return None
    if has_return(node.body):
        if node.orelse or (rest and not always_leaves([node])):
            return None
        body = without_returns(node.body, sink)
        orelse: list[ast.stmt] | None = []
    else:
        if rest and (node.finalbody or not all(always_leaves(handler.body) for handler in node.handlers)):
            return None
        body, orelse = node.body, without_returns(node.orelse + rest, sink)
    handlers = [without_returns(handler.body, sink) for handler in node.handlers]
    if body is None or orelse is None or any(handler is None for handler in handlers):
        return None
    node = copy.copy(node)
    node.body, node.orelse = body or [ast.Pass()], orelse
    node.handlers = [
        ast.ExceptHandler(old.type, old.name, new or [ast.Pass()])
        for old, new in zip(node.handlers, handlers, strict=True)
    ]
    return [node]


# arguments


def bind(function: FunctionNode, call: ast.Call, receiver: ast.expr | None) -> list[tuple[str, ast.expr]] | None:
    """Return [(parameter, argument)] in the order of evaluation."""
    parameters = [item.arg for item in function.args.args]
    found: list[tuple[str, ast.expr]] = []
    if receiver is not None:
        found.append((parameters.pop(0), receiver))
    if len(call.args) > len(parameters) or any(isinstance(item, ast.Starred) for item in call.args):
        return None
    found += list(zip(parameters, call.args, strict=False))
    left = parameters[len(call.args) :]
    for keyword in call.keywords:
        named = [name for name in left if name.rpartition("__")[0] == keyword.arg]
        if not named:
            return None
        found.append((named[0], keyword.value))
        left.remove(named[0])
    defaults = dict(
        zip([item.arg for item in reversed(function.args.args)], reversed(function.args.defaults), strict=False)
    )
    if any(name not in defaults for name in left):
        return None
    return found + [(name, defaults[name]) for name in left]


def is_stable(node: ast.expr) -> bool:
    """Return whether a value is the same whenever it is looked at during one statement: locals, constants."""
    if isinstance(node, ast.Name):
        return is_local(node.id)
    return isinstance(node, ast.Constant)


class Substitution(ast.NodeTransformer):
    """Puts expressions in the places of names."""

    def __init__(self, values: dict[str, ast.expr]) -> None:
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self._values[node.id]) if node.id in self._values else node


def stored_names(node: ast.AST) -> set[str]:
    """Return the names that are bound anywhere in a node."""
    found: set[str] = set()
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            if not isinstance(inner.ctx, ast.Load):
                found.add(inner.id)
        elif isinstance(inner, ast.ExceptHandler | ast.alias):
            name = inner.name if isinstance(inner, ast.ExceptHandler) else inner.asname
            found |= {name} if name else set()
    return found
