"""The package keeps the rules of the house, and the rules notice a breach."""

import pytest
from house_rules import (
    DOCUMENTED,
    PACKAGE,
    TAUGHT,
    TESTS,
    circles,
    experiments_taught,
    floor,
    module_name,
    private,
    too_long,
    undocumented,
    upward,
)


def test_taught_code_never_imports_experiments():
    assert experiments_taught(PACKAGE | TAUGHT) == []
    breach = {
        "vlmtutor/memes/a.py": "def f():\n    from ..experiments.run import g",
        "notebooks/01.ipynb#1": "import vlmtutor.experiments.run",
        "vlmtutor/__main__.py": "from .experiments import cli",
    }
    assert [line[:12] for line in experiments_taught(breach)] == [
        "vlmtutor/mem",
        "notebooks/01",
    ]


def test_every_module_has_a_floor_and_imports_go_down():
    modules = map(module_name, PACKAGE)
    assert [m for m in modules if floor(m) is None] == ["vlmtutor"]
    assert upward(PACKAGE) == []
    breach = {
        "vlmtutor/world/a.py": "from ..models import clip",
        "vlmtutor/distill/parts/b.py": "from .. import methods, segmentation",
    }
    assert upward(breach) == [
        "vlmtutor/world/a.py:1: vlmtutor.world.a -> vlmtutor.models.clip",
        "vlmtutor/distill/parts/b.py:1: "
        "vlmtutor.distill.parts.b -> vlmtutor.distill.segmentation",
    ]


def test_imports_form_no_circle():
    assert circles(PACKAGE) == []
    breach = {
        "vlmtutor/world/a.py": "from .b import f",
        "vlmtutor/world/b.py": "def f():\n    from . import a",
    }
    (found,) = circles(breach)
    assert "vlmtutor.world.a -> vlmtutor.world.b" in found


@pytest.mark.parametrize(
    "code, found",
    [
        ("from .world.glyphs import _font", "vlmtutor.world.glyphs._font"),
        ("x._hidden", "x._hidden"),
        ("part.__dict__['a'] = 1", "part.__dict__"),
        ("self._a, self.__dict__, __name__, x.__class__", None),
        ("class A:\n    def _f(self, other):\n        return other._f", None),
    ],
)
def test_private_names_stay_at_home(code, found):
    lines = private({"vlmtutor/a.py": code})
    assert [line.rpartition(": ")[2] for line in lines] == [found] * bool(found)


def test_nobody_reads_anothers_private_names():
    assert private(PACKAGE | TAUGHT | TESTS) == []


def test_modules_are_short():
    assert too_long(PACKAGE) == []
    assert too_long({"a.py": "x\n" * 301, "b.py": "x\n" * 300}) == [
        "a.py:301: over 300"
    ]


def test_docstrings_say_what_goes_in_and_out():
    rooms = tuple(f"vlmtutor/{room}" for room in DOCUMENTED)
    files = {path: text for path, text in PACKAGE.items() if path.startswith(rooms)}
    assert undocumented(files) == []


@pytest.mark.parametrize(
    "code, owing",
    [
        ("def f(): pass", "f has no docstring"),
        ("def f(x: Tensor):\n    'Said.'", "f tells no shape, as in [N, D]"),
        ("def f(x: Tensor):\n    'Of [N, D].'", None),
        (
            "def f():\n    'Said.'\n    raise ValueError('no')",
            "f raises ValueError and does not say so",
        ),
        (
            "class A(nn.Module):\n    'Said.'\n    def forward(self, x: Tensor): 0",
            "A tells no shape, as in [N, D]",
        ),
        ("class A:\n    'Said.'\n    def f(self): 0", "f has no docstring"),
        (
            "class A:\n    'Said.'\n    def f(self): 'f.'\n"
            "class B(A):\n    'Said.'\n    def f(self): 0",
            None,
        ),
    ],
)
def test_what_a_docstring_owes(code, owing):
    lines = undocumented({"vlmtutor/models/a.py": code})
    assert [line.rpartition(": ")[2] for line in lines] == [owing] * bool(owing)


def test_methods_tell_their_source():
    code = '"""A. B et al. {}"""'
    path = "vlmtutor/transfer/a.py"
    assert undocumented({path: code.format("2021, arXiv 2103.00020")}) == []
    assert undocumented({path: code.format("2021")}) == [
        f"{path}:1: no year and arXiv id"
    ]


def test_the_formatter_has_its_way():
    mark = "# fmt: " + "skip"
    counts = {path: text.count(mark) for path, text in (PACKAGE | TESTS).items()}
    assert sum(counts.values()) <= 30, counts
