"""Every check of an exercise passes its solution and stops its stub."""

from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
import solution_rules
from solution_rules import Untrue, try_check

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
ALL = sorted(FOLDER.rglob("[0-9][0-9]*_*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def checks():
    found = []
    for path in ALL:
        nb = read(path)
        solution = solution_rules.solutions(nb, path)
        for n, source, before in solution_rules.exercises(nb):
            label = f"{path.stem}-{n}"
            found.append(pytest.param(path, source, before, solution, id=label))
    return found


@pytest.fixture
def like_a_notebook(monkeypatch):
    """The folder of the notebooks, and what set-up cells change put back."""
    import matplotlib
    import torch

    threads = torch.get_num_threads()
    monkeypatch.chdir(FOLDER)
    with matplotlib.rc_context({"backend": "agg"}):
        yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(("path", "source", "before", "solution"), checks())
def test_solution(path, source, before, solution, like_a_notebook):
    try_check(source, before, solution)


@pytest.mark.parametrize("path", ALL, ids=lambda p: p.stem)
def test_every_stub_is_solved_and_checked(path):
    nb = read(path)
    stubs = set()
    for _, cell in rules.code_cells(nb):
        stubs |= solution_rules.stub_names(cell["source"])
    solved = solution_rules.stores(solution_rules.solutions(nb, path))
    assert stubs <= solved
    tried = [solution_rules.loads(s) for _, s, _ in solution_rules.exercises(nb)]
    assert stubs <= set().union(*tried)


# The rule itself, on small exercises.

STUB = "def double(x):\n    raise NotImplementedError('your turn')"
CHECK = "assert double(start) == 4"
GOOD = "def double(x):\n    return times * x"
BEFORE = ["import os", "start = 2", "times = 2", "boom = 1 / 0", STUB]


def test_a_good_exercise_passes_and_runs_only_what_it_needs():
    try_check(CHECK, BEFORE, GOOD)
    assert solution_rules.needed(BEFORE, CHECK) == ["start = 2", STUB]


@pytest.mark.parametrize(
    ("check", "solution", "error", "message"),
    [
        (CHECK, "def double(x):\n    return x", AssertionError, "^$"),
        ("double", GOOD, Untrue, "the stub"),
        (CHECK, "", Untrue, "no solution"),
        (CHECK, "def double(x):\n    return boom", ZeroDivisionError, "zero"),
    ],
)
def test_a_bad_exercise_is_noticed(check, solution, error, message):
    with pytest.raises(error, match=message):
        try_check(check, BEFORE, solution)


def test_a_meant_error_is_no_exercise():
    try_check("1 / 0", BEFORE, "")


@pytest.mark.parametrize(
    ("cells", "source", "wanted"),
    [
        (["a = 1", "b = a", "a = b + 1", "c = 5"], "a", [0, 1, 2]),
        (["a = 1", "a = 2"], "a", [1]),
        (["a = [1]", "a.append(2)", "print(a)"], "a", [0, 1]),
        (["a = {}", "a['x'] = 2"], "a", [0, 1]),
        (["x = 1", "ys = [x for x in (1, 2)]"], "ys", [1]),
        (["x = 1", "def f(x):\n    return x"], "f", [1]),
        (["x = 1", "def f(y):\n    return x + y"], "f", [0, 1]),
        (["import a.b as c", "import d.e"], "c, d", [0, 1]),
    ],
)
def test_cells_that_a_check_needs(cells, source, wanted):
    expected = [cells[k] for k in wanted]
    assert solution_rules.needed(cells, source) == expected


def test_solutions_stand_in_a_file_or_in_the_notebook(tmp_path):
    fold = "<details><summary>A solution</summary>\n\n```python\nx = 1\n```\n"
    text = nbformat.v4.new_markdown_cell(fold + "</details>\n```python\ny```")
    nb = nbformat.v4.new_notebook(cells=[text])
    path = tmp_path / "01_a.ipynb"
    assert solution_rules.solutions(nb, path).strip() == "x = 1"
    (tmp_path / "solutions").mkdir()
    (tmp_path / "solutions" / "01_a.py").write_text("z = 2")
    assert solution_rules.solutions(nb, path) == "z = 2"
