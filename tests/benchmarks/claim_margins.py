"""How far the notebooks' claims are from failing, on this and other processors.

``python tests/benchmarks/claim_margins.py [NAME …] [--as avx2 …] [--threads 1 2]``
runs the notebooks with every comparison inside a ``claim(...)`` watched, and
lists the claims that came nearest to failing: the smallest distance between
the two sides of a comparison, as a share of the larger side.  Only claims whose
numbers differ between the runs can ever tip over on another processor; they
are listed first.
"""

from __future__ import annotations

import argparse
import ast
import json
import math
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from nbval_near import far_apart, near, tolerance

from vlmtutor import notebooks

PRELUDE = """
import json as _json, operator as _operator
_margins = {}
def _watched(claim, operators, *values):
    right = True
    for name, a, b in zip(operators, values, values[1:]):
        right = getattr(_operator, name)(a, b)
        try:
            _margins.setdefault(claim, []).append(sorted((float(a), float(b))))
        except (TypeError, ValueError, RuntimeError):
            pass  # tensors of several numbers: all(...) tells of them
        if len(operators) > 1 and not right:
            break
    return right
"""
OPERATORS = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge"}


class Watch(ast.NodeTransformer):
    """Comparisons in the condition of a claim become calls of ``_watched``."""

    def __init__(self, cell: int):
        self.cell, self.claim = cell, ""

    def visit_Call(self, node):
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name != "claim" or len(node.args) < 2:
            return self.generic_visit(node)
        self.claim = f"{self.cell}: {ast.unparse(node.args[0])}"
        node.args[1] = self.visit(node.args[1])
        self.claim = ""
        return node

    def visit_Compare(self, node):
        self.generic_visit(node)
        operators = [OPERATORS.get(type(op)) for op in node.ops]
        if not self.claim or None in operators:
            return node
        shown = [ast.Constant(self.claim), ast.Constant(tuple(operators))]
        return ast.Call(
            ast.Name("_watched", ast.Load()),
            [*shown, node.left, *node.comparators],
            [],
        )


def watched(source: str, cell: int) -> str:
    """A cell's code with its claims watched; magics are left alone."""
    if "claim(" not in source:
        return source
    tree = Watch(cell).visit(ast.parse(source))
    return ast.unparse(ast.fix_missing_locations(tree))


def printed(cell) -> str:
    return "".join(o.text for o in cell.outputs if o.get("name") == "stdout")


def run(path: Path, processor: str, threads: int) -> tuple[dict, list[str]]:
    """The sides of a notebook's comparisons, and the cells that print otherwise."""
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    stored = [printed(cell) for cell in code]
    for n, cell in enumerate(code, 1):
        cell.source = watched(cell.source, n)
    last = nbformat.v4.new_code_cell("print(_json.dumps(_margins))")
    nb.cells = [nbformat.v4.new_code_cell(PRELUDE), *nb.cells, last]
    env = notebooks.environment(processor, threads)
    notebooks.execute(nb, path.parent, allow_errors=True, env=env)
    other = []
    for n, (cell, was) in enumerate(zip(code, stored, strict=True), 1):
        errors = [o for o in cell.outputs if o.output_type == "error"]
        tags = cell.metadata.get("tags", [])
        if errors and "raises-exception" not in tags:
            other.append(f"cell {n}: {errors[0].ename}: {errors[0].evalue[:200]}")
        elif "nbval-ignore-output" not in tags:
            atol, now = tolerance(cell) or 0.0, printed(cell)
            if near(was, atol) != now if atol else was != now:
                apart = far_apart(was, now, atol)
                other.append(f"cell {n}: {apart or 'prints otherwise'}")
    return json.loads(printed(last) or "{}"), other


def share(sides: list[float]) -> float:
    """The distance of two numbers, as a share of the larger."""
    low, high = sides
    return (high - low) / max(abs(low), abs(high), 1e-12)


def tightest(found: dict[str, list[list[float]]], most: int) -> list[str]:
    """Lines on the claims with the smallest margins, those that move first."""
    rows = []
    for claim, sides in found.items():
        spread = max(math.dist(a, b) for a in sides for b in sides)
        rows.append((spread == 0, min(map(share, sides)), claim, sides))
    lines = []
    for fixed, margin, claim, sides in sorted(rows)[:most]:
        kind = "same in all runs" if fixed else "differs between runs"
        shown = " | ".join(f"{a:.4g} to {b:.4g}" for a, b in sides)
        lines.append(f"{margin:6.1%}  {kind:20}  {claim}  ({shown})")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument(
        "--as",
        dest="processors",
        nargs="+",
        default=["this"],
        choices=notebooks.PROCESSORS,
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--most", type=int, default=10, help="claims to list (10)")
    args = parser.parse_args()
    found: dict[str, list[list[float]]] = {}
    for path in notebooks.find(args.names):
        own: dict[str, list[list[float]]] = {}
        for processor in args.processors:
            for threads in args.threads:
                margins, other = run(path, processor, threads)
                how = f"{path.stem} as {processor}, {threads} threads"
                print(f"{how}: {'; '.join(other) or 'as stored'}")
                for claim, sides in margins.items():
                    nearest = min(sides, key=share)
                    own.setdefault(f"{path.stem} {claim}", []).append(nearest)
        print("\n".join(tightest(own, 2)), flush=True)  # a long run may be stopped
        found |= own
    print("\n".join(["", "Of all:", *tightest(found, args.most)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
