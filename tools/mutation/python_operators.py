"""
Which changes of a Python file are worth a try.

Not changed are docstrings, annotations, type variables, imports, decorators, ``__all__``, ``__repr__``, and the texts of
exceptions and of log messages: no caller may depend on them.
"""

from __future__ import annotations

import ast
import re

from mutant import Mutant
from text_operators import looks_like_sql, mutate_sql

__all__ = ["mutate_python"]

_OTHER_TOKEN = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is", "in": "not in",
    "not in": "in", "+": "-", "-": "+", "*": "/", "/": "*", "//": "/", "%": "*", "**": "*", "<<": ">>", ">>": "<<",
    "&": "|", "|": "&", "^": "|", "and": "or", "or": "and",
}  # fmt: skip
_OTHER_NAME = {"min": "max", "max": "min", "any": "all", "all": "any"}
_TOKEN = re.compile(rb"is\s+not\b|not\s+in\b|\b(?:is|in|and|or)\b|[<>=!]=|\*\*|//|<<|>>|[-<>+*/%&|^]")
_COMMENT = re.compile(rb"#[^\n]*")


def mutate_python(path: str, source: bytes) -> list[Mutant]:
    """Return the mutants of the module *source*, in its order; each of them compiles."""
    visitor = _Visitor(path, source)
    visitor.visit(ast.parse(source))
    found = {(m.start, m.end, m.replacement): m for m in visitor.mutants}
    return [m for _, m in sorted(found.items()) if _compiles(m.apply(source))]


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


class _Visitor(ast.NodeVisitor):
    def __init__(self, path: str, source: bytes) -> None:
        self.mutants: list[Mutant] = []
        self._path = path
        self._source = source
        self._starts = [0]
        for line in source.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._statement: ast.stmt | None = None
        self._texts_count = True

    # Where things are

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        start = self._starts[node.lineno - 1] + node.col_offset
        return start, self._starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)

    def _add(self, start: int, end: int, replacement: str) -> None:
        first = self._source.count(b"\n", 0, start) + 1
        last = self._source.count(b"\n", 0, end) + 1
        lines = {*range(first, last + 1)}
        if self._statement is not None:
            lines.add(self._statement.lineno)
        self.mutants.append(Mutant(self._path, tuple(sorted(lines)), start, end, replacement.encode()))

    def _replace(self, node: ast.expr | ast.stmt, replacement: str) -> None:
        self._add(*self._span(node), replacement)

    def _text(self, node: ast.expr) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _mutate_token(self, left: ast.expr, right: ast.expr) -> None:
        """Change the operator that stands between two operands."""
        start, end = self._span(left)[1], self._span(right)[0]
        gap = _COMMENT.sub(lambda found: b" " * len(found[0]), self._source[start:end])
        token = _TOKEN.search(gap)
        if token is not None:
            other = _OTHER_TOKEN[" ".join(token[0].decode().split())]
            self._add(start + token.start(), start + token.end(), other)

    # What is left out

    def visit_Import(self, node: ast.Import) -> None: ...

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None: ...

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name == "__repr__":
            return
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        for statement in node.body:
            self.visit(statement)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for statement in node.body:
            self.visit(statement)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return
        if isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "TypeVar":
            return
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            self._delete(node)
        self.generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self._negate(node.test)
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._delete(node)
        texts_count, self._texts_count = self._texts_count, False
        self.generic_visit(node)
        self._texts_count = texts_count

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        if self._texts_count:
            self._mutate_text(node)  # what is in its braces has no place of its own before Python 3.12

    # What is changed

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, ast.stmt):
            self._statement = node
        super().visit(node)

    def _delete(self, node: ast.stmt) -> None:
        self._replace(node, "pass")

    def _negate(self, test: ast.expr) -> None:
        """Comparisons and ``not`` have mutants of their own."""
        if isinstance(test, ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.NamedExpr):
            self._replace(test, f"(not ({self._text(test)}))")

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for test in node.ifs:
            self._negate(test)
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):  # a docstring
            return
        self._delete(node)
        function = node.value.func if isinstance(node.value, ast.Call) else None
        logs = isinstance(function, ast.Attribute) and ast.unparse(function.value) == "_log"
        texts_count, self._texts_count = self._texts_count, not logs
        self.generic_visit(node)
        self._texts_count = texts_count

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._delete(node)
        start, end = self._span(node.target)[1], self._span(node.value)[0]
        token = _TOKEN.search(self._source[start:end])
        if token is not None:
            self._add(start + token.start(), start + token.end(), _OTHER_TOKEN[token[0].decode()])
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._replace(node.value, "None")
        elif node.value is None:
            self._delete(node)
        self.generic_visit(node)

    def visit_Break(self, node: ast.Break) -> None:
        self._delete(node)

    def visit_Continue(self, node: ast.Continue) -> None:
        self._delete(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
            self._mutate_token(left, right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._mutate_token(left, right)
        for value in node.values:
            self._negate(value)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self._mutate_token(node.left, node.right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        self._replace(node, f"({self._text(node.operand)})")
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id in _OTHER_NAME:
            self._replace(node.func, _OTHER_NAME[node.func.id])
        elif len(node.args) > 1:
            first, second = node.args[:2]
            # Literal text in the place of something else fails at once: that would tell nothing.
            if (
                not isinstance(first, ast.Starred | ast.Constant | ast.JoinedStr)
                and not isinstance(second, ast.Starred)
                and self._text(first) != self._text(second)
            ):
                middle = self._source[self._span(first)[1] : self._span(second)[0]].decode()
                swapped = f"{self._text(second)}{middle}{self._text(first)}"
                self._add(self._span(first)[0], self._span(second)[1], swapped)
        self.visit(node.func)
        for arg in node.args:
            self.visit(arg)
        for keyword in node.keywords:
            # Left out: what is only shown, and what only an error of ours would meet.
            if keyword.arg not in ("repr", "strict"):
                self.visit(keyword.value)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self._replace(node, str(not node.value))
        elif isinstance(node.value, int | float):
            # One more of a million would show nothing.
            large = isinstance(node.value, float) and abs(node.value) >= 1000
            self._replace(node, repr(node.value * 2 if large else node.value + 1))
        elif isinstance(node.value, str | bytes) and self._texts_count:
            self._mutate_text(node)

    def _mutate_text(self, node: ast.expr) -> None:
        start, _ = self._span(node)
        text = self._text(node)
        if "sqlite" in self._path and looks_like_sql(text):
            for at, end, replacement in mutate_sql(text):
                offset = len(text[:at].encode())
                self._add(start + offset, start + offset + len(text[at:end].encode()), replacement)
        elif isinstance(node, ast.Constant):
            empty, other = ('b""', 'b"mutated"') if isinstance(node.value, bytes) else ('""', '"mutated"')
            self._replace(node, empty if node.value else other)
