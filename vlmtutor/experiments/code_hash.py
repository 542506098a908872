"""Has the code behind a stored number changed?  A hash of what it computes."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT.name
ROOMS = ("distill", "lessons", "models", "objectives", "transfer")
# They open files: what is in a file is the same, whoever has read it.
OPENERS = frozenset(f"{PACKAGE}.models.{name}" for name in ("hub", "pictures"))


@functools.cache
def code_hash(*modules: str) -> str:
    """Sixteen characters of the syntax trees of modules and their imports.

    Comments, docstrings and layout do not count.  Imports are followed, also
    those inside functions, as long as they lie in :data:`ROOMS`, but for
    :data:`OPENERS`.  Raises ModuleNotFoundError for a module that the package
    does not have.
    """
    todo, seen = list(modules), set()
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += read(module)[1]
    parts = [f"{module} {read(module)[0]}" for module in sorted(seen)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _path(module: str) -> Path | None:
    """The file of a module of this package, if there is one."""
    first, *rest = module.split(".")
    if first != PACKAGE:
        return None
    path = ROOT.joinpath(*rest)
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file():
            return file
    return None


@functools.cache
def read(module: str) -> tuple[str, tuple[str, ...]]:
    """A module's own digest, and the modules of the rooms that it imports."""
    path = _path(module)
    if path is None:
        raise ModuleNotFoundError(f"there is no module {module}")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = {
        name
        for name in _imports(tree, package)
        if name.split(".")[1:2] and name.split(".")[1] in ROOMS and _path(name)
        if name not in OPENERS
    }
    digest = hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()
    return digest, tuple(sorted(found))


def _imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Full names of what may be modules."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, base] if base else above)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _plain(node):
    """A syntax tree as nested lists, the same in every version of Python."""
    if isinstance(node, list):
        return [_plain(child) for child in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = dict(ast.iter_fields(node))
    if "body" in fields and isinstance(fields["body"], list):
        fields["body"] = _without_docstring(node, fields["body"])
    skip = ("type_comment", "kind", "type_ignores")
    return [
        type(node).__name__,
        *(
            [name, _plain(child)]
            for name, child in sorted(fields.items())
            if child not in (None, []) and name not in skip
        ),
    ]


def _without_docstring(node, body: list) -> list:
    owners = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if isinstance(node, owners) and body:
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            if isinstance(first.value.value, str):
                return body[1:]
    return body
