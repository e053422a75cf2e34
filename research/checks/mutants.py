"""Small changes of a Python module, each of which the tests should detect."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.Gt),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.Lt),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
# Calls that only tell the user something, or wait for the other processes.
_WITHOUT_EFFECT = ("logger", "print", "warnings", "progress", "comm.synchronize")
_ARGUMENTS_WITHOUT_EFFECT = ("strict", "leave")  # of zip, an assertion; of a progress bar


@dataclass(frozen=True)
class Mutant:
    """A changed module: the line, its old and new text, and the whole source."""

    line: int
    old: str
    new: str
    source: str


def mutants(source: str) -> list[Mutant]:
    """All mutants of a module: other operators, numbers, conditions, flags, and statements left out.

    Changes that no test can notice are left out where the syntax shows them: of messages and progress bars, of types,
    of the -1 of ``reshape``, which stands for the size that remains, and of ``strict`` of ``zip``, which only asserts.
    """
    encoded = source.encode()
    starts = [0]
    for line in encoded.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    result = []
    for node, text in _replacements(ast.parse(source)):
        assert node.end_lineno is not None and node.end_col_offset is not None  # the parser sets them
        begin, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        old = encoded[begin:end].decode()
        changed = (encoded[:begin] + text.encode() + encoded[end:]).decode()
        result.append(Mutant(node.lineno, " ".join(old.split()), text, changed))
    return result


def _replacements(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield the nodes to replace below a node, with their new text. Annotations and messages are left as they are."""
    yield from _statements(node)
    yield from _expressions(node)
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "exc") or isinstance(value, ast.JoinedStr):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (_has_no_effect(child) or _is_remaining_size(child, node)):
                yield from _replacements(child)


def _has_no_effect(node: ast.AST) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or ast.unparse(node.value).startswith(_WITHOUT_EFFECT)
    if isinstance(node, ast.keyword):
        return node.arg in _ARGUMENTS_WITHOUT_EFFECT
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")


def _is_remaining_size(node: ast.AST, parent: ast.AST) -> bool:
    return isinstance(parent, ast.Call) and ast.unparse(parent.func).endswith("reshape") and ast.unparse(node) == "-1"


def _is_call(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether a statement is a call whose result is not used, except one of the superclass."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and "super()." not in ast.unparse(node)


def _statements(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    if isinstance(node, ast.AugAssign) or _is_call(node):
        yield node, "pass"
    elif isinstance(node, ast.Continue):
        yield node, "break"
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield node.test, f"(not ({ast.unparse(node.test)}))"


def _expressions(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in _COMPARISONS[type(node.ops[0])]:
            yield node, _unparsed(ast.Compare(node.left, [other()], node.comparators))
    elif isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        yield node, _unparsed(ast.BinOp(node.left, _OPERATORS[type(node.op)](), node.right))
    elif isinstance(node, ast.BoolOp):
        opposite = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
        yield node, _unparsed(ast.BoolOp(opposite, node.values))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield node, _unparsed(node.operand)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield node, f"({node.value + 1})"


def _unparsed(node: ast.expr) -> str:
    return f"({ast.unparse(node)})"
