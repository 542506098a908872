"""The hash of code: what computes counts, what explains does not."""

from __future__ import annotations

import pytest

from vlmtutor.experiments import code_hash as module

FILES = {
    "distill/method.py": '"""Old."""\nfrom .parts import helper\nx = helper.f(1)\n',
    "distill/parts/__init__.py": "",
    "distill/parts/helper.py": "def f(a):\n    from ...models import deep\n    a\n",
    "models/__init__.py": "",
    # a circle
    "models/deep.py": "from ..distill import method\nfrom . import hub\ny = 2\n",
    "models/hub.py": "v = 1\n",
    "metrics.py": "z = 1\n",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package; called with changes, it gives the method's hash."""
    monkeypatch.setattr(module, "ROOT", tmp_path)

    def digest(**changes: str) -> str:
        for name, text in FILES.items():
            text = changes.get(name.rpartition("/")[2].removesuffix(".py"), text)
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        module.code_hash.cache_clear()
        module.read.cache_clear()
        return module.code_hash("vlmtutor.distill.method")

    yield digest
    module.code_hash.cache_clear()
    module.read.cache_clear()


def test_comments_docstrings_and_layout_do_not_count(package):
    text = (
        '"""Other words."""\n# why\nfrom .parts import (helper)\n\nx = helper.f( 1 )\n'
    )
    assert package() == package(method=text)


def test_what_it_computes_counts(package):
    assert package() != package(method=FILES["distill/method.py"].replace("1", "2"))


def test_imports_are_followed_through_functions_and_rooms(package):
    assert package() != package(deep=FILES["models/deep.py"].replace("2", "3"))


def test_what_opens_files_does_not_count(package):
    assert package() == package(hub="v = 2\n")


def test_other_rooms_do_not_count(package):
    assert package() == package(metrics="z = 2\n")


def test_a_string_that_is_no_docstring_counts(package):
    text = FILES["distill/method.py"]
    assert package(method=text + 'w = "a"\n') != package(method=text + 'w = "b"\n')


def test_a_module_that_is_missing_is_named():
    with pytest.raises(ModuleNotFoundError, match="vlmtutor.distill.nothing"):
        module.code_hash("vlmtutor.distill.nothing")


def test_every_method_of_the_course_has_its_own_hash():
    names = ("maskclip", "lseg", "zegclip")
    hashes = {module.code_hash(f"vlmtutor.distill.segmentation.{n}") for n in names}
    assert len(hashes) == 3 and all(len(h) == 16 for h in hashes)
