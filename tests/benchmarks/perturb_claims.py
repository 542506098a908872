"""Can the notebooks' claims fail?  Change something and see that they do.

``python tests/benchmarks/perturb_claims.py [NAME …] [--alone]`` runs a notebook
once with all of its changes below (or, with ``--alone``, once for each) and
with claims that are noted instead of raised.  Each change must make the claim
that it names fail.  What was found is written to
``notebooks/results/perturbed/``, with date and machine; the exit code is 1 where a
claim stood firm.  A run takes as long as its notebook.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import nbformat

from vlmtutor import notebooks, stored

FOLDER = stored.FOLDER / "perturbed"


@dataclass(frozen=True)
class Change:
    """In the one cell that holds ``old`` it becomes ``new``.

    ``claim`` begins the sentence of the claim that must then fail.  Changes
    of one notebook are made together: choose such that do not meet.
    """

    old: str
    new: str
    claim: str


CHANGES: dict[str, tuple[Change, ...]] = {
    "00": (),
    "01": (),
    "02": (),
    "03": (),
    "04": (),
    "05": (
        Change(
            "weights = logits.softmax(dim=1)",
            "weights = logits.softmax(dim=0)",
            "the package draws with these chances",
        ),
        Change(
            "for name, hard in matching.NEGATIVES.items():",
            "for name, hard in dict(contrast=None, random=1, hard=1).items():",
            "the head that learns from random negatives",
        ),
        Change(
            "ours = rerank(model, seen, top=10)",
            "ours = rerank(model, seen, top=50)",
            "a shortlist costs less than a tenth",
        ),
        Change(
            "alpha = torch.where(yes > 0, 0.25, 0.75)",
            "alpha = torch.where(yes > 0, 0.75, 0.25)",
            "by hand as in the package",
        ),
        Change(
            "maps[name] = heat(model, test)",
            "maps[name] = heat(model, test).flip(1)",
            "captions alone teach it as well",
        ),
    ),
    "06": (),
    "07": (),
}

PRELUDE = """
import json as _json
import vlmtutor as _vt
from vlmtutor import claims as _claims
_noted = []
def _note(sentence, condition, source=None, **numbers):
    _noted.append((sentence, _claims._truth(condition)))
_vt.claim = _claims.claim = _note
"""
LAST = "print(_json.dumps(_noted))"


def run(path: Path, changes: tuple[Change, ...]) -> tuple[dict, list[str]]:
    """{sentence: whether it held}, and the cells that broke."""
    nb = nbformat.read(path, as_version=4)
    code = [cell for cell in nb.cells if cell.cell_type == "code"]
    for change in changes:
        (cell,) = [c for c in code if change.old in c.source] or [None]
        if cell is None or cell.source.count(change.old) != 1:
            raise ValueError(f"{path.name}: not once in it: {change.old!r}")
        cell.source = cell.source.replace(change.old, change.new)
    last = nbformat.v4.new_code_cell(LAST)
    nb.cells = [nbformat.v4.new_code_cell(PRELUDE), *nb.cells, last]
    env = notebooks.environment(threads=1)
    notebooks.execute(nb, path.parent, allow_errors=True, env=env)
    broken = []
    for n, cell in enumerate(code, 1):
        errors = [o for o in cell.outputs if o.output_type == "error"]
        if errors and "raises-exception" not in cell.metadata.get("tags", []):
            broken.append(f"cell {n}: {errors[0].ename}: {errors[0].evalue[:200]}")
    (said,) = last.outputs
    return dict(json.loads(said.text)), broken


def judge(path: Path, changes: tuple[Change, ...], alone: bool) -> dict:
    """Run a notebook with its changes: which claims failed, as they should?"""
    found = {**stored.heading(), "changes": [], "others": [], "broken": []}
    for group in [(c,) for c in changes] if alone else [changes]:
        held, broken = run(path, group)
        found["broken"] += broken
        meant = set()
        for change in group:
            own = {s for s in held if s.startswith(change.claim)}
            meant |= own
            failed = bool(own) and not all(held[s] for s in own)
            found["changes"].append({**asdict(change), "failed": failed})
        found["others"] += [s for s, ok in held.items() if not ok and s not in meant]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="say 01; or all")
    parser.add_argument("--alone", action="store_true", help="one run a change")
    args = parser.parse_args()
    firm = 0
    for name in args.names or CHANGES:
        if not CHANGES[name]:
            continue
        (path,) = notebooks.find([name])
        found = judge(path, CHANGES[name], args.alone)
        print(path.stem)
        for change in found["changes"]:
            firm += not change["failed"]
            told = "failed, as it should" if change["failed"] else "STOOD FIRM"
            print(f"  {told}: {change['claim']}")
        for kind in ("others", "broken"):
            for line in found[kind]:
                print(f"  {kind}: {line}")
        stored.write(found, FOLDER / f"{path.stem}.json")
    return 1 if firm else 0


if __name__ == "__main__":
    sys.exit(main())
