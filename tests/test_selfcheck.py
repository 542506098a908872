"""The environment check: what it finds, and that it never breaks itself."""

import importlib
import subprocess
import sys
from importlib import metadata

import pytest

from vlmtutor import check as check_function
from vlmtutor.selfcheck import (
    Report,
    Result,
    check,
    in_range,
    package,
    requirements,
    stickers,
    whole,
)


@pytest.fixture(scope="module")
def report():
    return check()


def test_everything_but_the_machine_is_met(report):
    """Memory and folders are the machine's; the rest must hold here."""
    bad = [r for r in report if not r.ok and "memory" not in r.name]
    assert not bad, Report(bad).text()


def test_every_requirement_has_a_line(report):
    names = [r.name for r in report]
    for line in requirements():
        assert any(name.startswith(line.split(">")[0]) for name in names)
    assert len(report) == len(requirements()) + 5


def test_the_cell_shows_nothing_that_differs_between_machines(report):
    met = Report([r for r in report if r.ok])
    assert metadata.version("torch") not in met.text()
    assert metadata.version("torch") in met.text(details=True)
    assert repr(met) == str(met) == met.text()
    assert met.text().isascii()


def test_a_failure_shows_what_was_found_and_the_remedy():
    report = Report(
        [Result("fine", True, "1", "-"), Result("bad ü", False, "0", "fix")]
    )
    assert report.text().splitlines() == [
        "[OK]   fine",
        "[FAIL] bad \\xfc: 0",
        "       -> fix",
        "1 of 2 need a remedy.",
    ]
    assert not report.ok


@pytest.mark.parametrize(
    ("version", "clauses", "inside"),
    [
        ("2.13.0+cpu", ">=2.6,<3", True),
        ("2.6", ">=2.6", True),
        ("2.6.0", ">=2.6,<3", True),
        ("2.10.0", ">=2.6", True),
        ("2.5.9", ">=2.6", False),
        ("3.0.0", ">=2.6,<3", False),
        ("3.0.0rc1", "<3", False),
        ("17", "", True),
    ],
)
def test_ranges(version, clauses, inside):
    assert in_range(version, clauses) == inside


def test_packages_that_are_missing_old_or_broken(monkeypatch):
    missing = package("no-such-package-here>=1")
    assert not missing.ok and "pip install" in missing.remedy
    old = package("numpy>=99,<100")
    assert not old.ok and metadata.version("numpy") in old.found

    def broken(name):
        raise OSError("a library is missing")

    monkeypatch.setattr(importlib, "import_module", broken)
    result = package("numpy>=1")
    assert not result.ok and "a library is missing" in result.found
    assert "--force-reinstall numpy" in result.remedy


def test_stickers_in_black_and_white_are_noticed(monkeypatch):
    from PIL import Image

    from vlmtutor.world import glyphs

    blank = Image.new("RGBA", (64, 64))
    monkeypatch.setattr(glyphs, "sticker", lambda char, size: blank)
    assert not stickers().ok


def test_cut_off_weights_are_noticed(tmp_path):
    import numpy as np
    from safetensors.numpy import save_file

    file = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(100), "b": np.ones(3)}, file)
    assert whole(file)
    data = file.read_bytes()
    for part in (data[:-1], data[:40], b"", b"version https://git-lfs"):
        file.write_bytes(part)
        assert not whole(file)
    assert not whole(tmp_path / "none")


def test_the_command_works_without_torch(tmp_path):
    """A torch that cannot be loaded is reported, with the rest."""
    (tmp_path / "torch.py").write_text("raise OSError('torch is broken')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from vlmtutor.__main__ import main; sys.exit(main(['check']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert "[FAIL] torch" in done.stdout
    assert "torch is broken" in done.stdout
    assert "[OK]   stickers can be drawn" in done.stdout


def test_the_ranges_are_those_of_the_package():
    assert any(line.startswith("torch>=") for line in requirements())
    assert any(line.startswith("jupyterlab>=") for line in requirements())
    assert not any("pytest" in line for line in requirements())


def test_the_lazy_name_is_the_function():
    assert check_function is check
