"""Run an exercise's check by itself: with its stub, and with its solution.

A check needs little of its notebook. What it needs is found by names: the
cells before it that define a name it uses, the cells that define a name those
use, and so on.
"""

import ast
import re
import symtable
from pathlib import Path

import notebook_rules as rules

MUTATORS = {
    "add", "append", "backward", "clear", "extend", "insert", "pop", "remove",
    "sort", "step", "update",
}  # fmt: skip


class Untrue(AssertionError):
    """A check does not do what a check has to."""


def _names(table):
    """(names that a symbol table stores at the top, names it loads)."""
    stored = {
        s.get_name()
        for s in table.get_symbols()
        if s.is_assigned() or s.is_imported() or s.is_namespace()
    }
    loaded = {s.get_name() for s in table.get_symbols() if s.is_referenced()}
    inner = list(table.get_children())
    for scope in inner:  # functions, comprehensions: what they take from here
        inner += scope.get_children()
        loaded |= {s.get_name() for s in scope.get_symbols() if s.is_global()}
    return stored, loaded


def _statements(source):
    for statement in ast.parse(source).body:
        text = ast.unparse(statement)
        stored, loaded = _names(symtable.symtable(text, "<cell>", "exec"))
        for node in ast.walk(statement):  # x[0] = 1 and x.append(1) change x
            changed = None
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                changed = node.value
            elif isinstance(node, ast.Attribute) and node.attr in MUTATORS:
                changed = node.value
            if isinstance(changed, ast.Name):
                stored.add(changed.id)
                loaded.add(changed.id)
        yield stored, loaded


def stores(source):
    """Names that running ``source`` defines or changes."""
    return set().union(*(stored for stored, _ in _statements(source)))


def loads(source):
    """Names that ``source`` takes from cells before it."""
    known, found = set(), set()
    for stored, loaded in _statements(source):
        found |= loaded - known
        known |= stored
    return found


def stub_names(source):
    """Functions that only raise NotImplementedError so far."""
    return {
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        and "raise NotImplementedError" in ast.unparse(node)
    }


def needed(cells, source):
    """Those of ``cells``, in order, that ``source`` builds on."""
    wanted, found = loads(source), []
    for cell in reversed(cells):
        if stores(cell) & wanted:
            wanted = (wanted - stores(cell)) | loads(cell)
            found.append(cell)
    return found[::-1]


def exercises(nb):
    """(number of the code cell, its source, cells before it) of checks."""
    before = []
    for n, cell in rules.code_cells(nb):
        if "raises-exception" in rules.tags(cell):
            yield n, cell["source"], list(before)
        else:
            before.append(cell["source"])


def solutions(nb, path):
    """Code that solves the stubs: a file, or unfolded in the notebook."""
    path = Path(path)
    file = path.parent / "solutions" / f"{path.stem}.py"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    text = "\n\n".join(c["source"] for c in nb["cells"] if c["cell_type"] == "markdown")
    folds = re.findall(
        r"<summary>[^<]*solution[^<]*</summary>(.*?)</details>", text, flags=re.S | re.I
    )
    blocks = (re.findall(r"```python\n(.*?)```", f, re.S) for f in folds)
    return "\n\n".join(b for found in blocks for b in found)


def try_check(source, before, solution):
    """Raise Untrue unless the stub fails this check and the solution passes.

    Checks of errors that are no exercise, without a stub, are left alone.
    """
    names = {n for cell in before for n in stub_names(cell)} & loads(source)
    if not names:
        return
    missing = names - stores(solution)
    if missing:
        raise Untrue(f"no solution for {sorted(missing)}")
    space = {"__name__": "__main__"}
    for cell in needed(before, f"{source}\n{solution}"):
        exec(compile(cell, "<cell>", "exec"), space)
    try:
        exec(compile(source, "<check>", "exec"), space)
    except NotImplementedError:
        pass
    else:
        raise Untrue(f"the stub of {sorted(names)} passes its check")
    exec(compile(solution, "<solution>", "exec"), space)
    exec(compile(source, "<check>", "exec"), space)
