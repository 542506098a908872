"""The table of changes fits the notebooks: each is found once, with its claim."""

import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import perturb_claims

from vlmtutor import notebooks, stored

ROWS = [(name, c) for name, own in perturb_claims.CHANGES.items() for c in own]


@pytest.mark.parametrize(("name", "change"), ROWS)
def test_a_change_fits_its_notebook(name, change):
    (path,) = notebooks.find([name])
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    assert sum(source.count(change.old) for source in code) == 1, change.old
    compile(next(s for s in code if change.old in s).replace(change.old, change.new),
            "cell", "exec")  # fmt: skip
    said = "\n".join(source.replace('"\n    "', "") for source in code)
    assert change.claim in said, change.claim


@pytest.mark.parametrize(
    "name", [n for n, own in perturb_claims.CHANGES.items() if own]
)
def test_what_is_stored_is_of_these_changes_and_all_claims_failed(name):
    (path,) = notebooks.find([name])
    found = stored.read(perturb_claims.FOLDER / f"{path.stem}.json")
    wanted = [(c.old, c.new, c.claim) for c in perturb_claims.CHANGES[name]]
    done = [(c["old"], c["new"], c["claim"]) for c in found["changes"]]
    # the file keeps no run of spaces
    assert [" ".join(" ".join(c).split()) for c in done] == [
        " ".join(" ".join(c).split()) for c in wanted
    ]
    assert all(change["failed"] for change in found["changes"])


def test_a_soft_run_notes_every_claim(tmp_path):
    cells = [
        "from vlmtutor import claim\nx = 2",
        "1 / 0",
        'claim("told", True, source="stored", x=x)\nclaim("x is even", x % 2 == 0)',
        "raise RuntimeError('this far it need not go')",
    ]
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    path = tmp_path / "99_soft.ipynb"
    nbformat.write(nb, path)
    change = perturb_claims.Change("x = 2", "x = 3", "x is even")
    found = perturb_claims.judge(path, (change,), alone=False)
    assert [c["failed"] for c in found["changes"]] == [True]
    (broken,) = found["broken"]
    assert found["others"] == [] and "ZeroDivisionError" in broken
    with pytest.raises(ValueError, match="not once"):
        perturb_claims.run(path, (perturb_claims.Change("zebra", "z", ""),))
