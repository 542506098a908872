"""The package as a whole: lazy names, the command line, set-up files."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest

import vlmtutor as vt
from vlmtutor import notebooks
from vlmtutor.__main__ import COMMANDS, main
from vlmtutor.selfcheck import in_range

ROOT = Path(__file__).resolve().parents[1]


def python(code):
    """Run code in a fresh Python; what it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, time; start = time.perf_counter(); import vlmtutor;"
        "print(time.perf_counter() - start);"
        "heavy = {'torch', 'numpy', 'transformers', 'PIL', 'matplotlib'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    assert min(float(python(code)) for _ in range(3)) < 0.2


@pytest.mark.parametrize("room", ("world", "memes", "figures", "models", "naming"))
def test_torch_is_loaded_on_first_use(room):
    code = f"import sys, vlmtutor.{room}; "
    code += "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    assert python(code) == "[]"


@pytest.mark.parametrize("name", vt.__all__)
def test_every_name_is_there(name):
    value = getattr(vt, name)
    assert value is not None
    assert name in dir(vt)
    assert getattr(vt, name) is value


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'shwo'"):
        _ = vt.shwo


def test_star_import():
    assert python("from vlmtutor import *; print(callable(claim))") == "True"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"python -m vlmtutor {command}" in capsys.readouterr().out


def test_the_command_line_lists_its_commands(capsys):
    assert main(["--help"]) == 0 and main([]) == 2
    usage = capsys.readouterr().out
    assert all(name in usage for name in COMMANDS)
    assert main(["mems"]) == 2
    assert "no command 'mems'" in capsys.readouterr().err


def project():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["project"]


def pins(file):
    """Name → version of a requirements file; each line has its reason."""
    found = {}
    for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "-")):
            name, version = re.fullmatch(r"([\w-]+)==([\w.+]+)  # \S.+", line).groups()
            found[name.replace("_", "-")] = version
    return found


def test_pinned_versions_lie_in_the_package_ranges():
    extras = project()["optional-dependencies"]
    ranges = [*project()["dependencies"], *extras["course"], *extras["dev"]]
    pinned = pins("requirements.txt")
    for requirement in ranges:
        name, clauses = re.match(r"([\w-]+)(.*)", requirement).groups()
        assert in_range(pinned.pop(name), clauses), requirement
    assert not pinned, "pinned, but pyproject.toml has no range"
    for requirement in extras["train"]:
        assert requirement.split(">")[0] in pins("requirements-train.txt")


def test_the_licences_are_there():
    for file in project()["license-files"]:
        assert len((ROOT / file).read_text(encoding="utf-8")) > 500
    apache = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Version 2.0, January 2004" in apache
    assert "END OF TERMS AND CONDITIONS" in apache


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make here")
def test_make_names_what_it_looked_for(tmp_path):
    for file in ("Makefile", "requirements.txt"):
        shutil.copy(ROOT / file, tmp_path)
    done = subprocess.run(
        ["make", "setup", "PYTHON=/no/python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "tried: /no/python" in done.stdout
    assert not (tmp_path / ".venv").exists()


# The command that runs notebooks.


@pytest.fixture
def folder(tmp_path):
    """A folder with one notebook whose metadata is an author's."""
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(
            "import os\nprint(os.environ['HF_HUB_OFFLINE'])\n"
            "print(os.path.basename(os.getcwd()))",
            execution_count=7,
            metadata={"collapsed": True, "tags": ["kept"]},
        ),
        nbformat.v4.new_code_cell(""),
        nbformat.v4.new_code_cell(
            "from ipywidgets import Label\ndisplay(Label('hello'))"
        ),
        nbformat.v4.new_code_cell("1 / 0", metadata={"tags": []}),
    ]
    nb = nbformat.v4.new_notebook(cells=cells)
    nb.metadata = {"kernelspec": {"name": "mine", "display_name": "mine"}}
    cells[-1].metadata.tags = ["raises-exception"]
    nbformat.write(nb, tmp_path / "03_test.ipynb")
    return tmp_path


def test_refresh_stores_outputs_and_little_else(folder):
    path = folder / "03_test.ipynb"
    assert notebooks.refresh(path)
    nb = nbformat.read(path, as_version=4)
    first, widget, failing = nb.cells[1:]  # the empty cell is gone
    assert [c.execution_count for c in nb.cells[1:]] == [1, 2, 3]
    assert first.outputs[0].text == f"1\n{folder.name}\n"
    assert first.metadata == {"tags": ["kept"]}
    assert list(widget.outputs[0].data) == ["text/plain"]
    assert failing.outputs[0].ename == "ZeroDivisionError"
    assert nb.metadata.kernelspec.name == "python3"
    assert set(nb.metadata) == {"kernelspec", "language_info"}
    assert not notebooks.refresh(path), "a second run changes nothing"
    assert [p.name for p in folder.iterdir()] == ["03_test.ipynb"]


def test_check_passes_then_notices_a_change(folder, capfd):
    path = folder / "03_test.ipynb"
    notebooks.refresh(path)
    assert notebooks.compare([path]) == 0
    assert "3 passed" in capfd.readouterr().out
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"1\\n', '"2\\n'), encoding="utf-8")
    assert notebooks.compare([path]) == 1
    assert "1 failed, 2 passed" in capfd.readouterr().out
    assert notebooks.compare([path], lax=True) == 0


def test_an_error_is_never_stored(folder, capsys):
    path = folder / "03_test.ipynb"
    text = path.read_text(encoding="utf-8").replace("raises-exception", "no")
    path.write_text(text, encoding="utf-8")
    assert main(["notebooks", str(path)]) == 1
    assert "NOT stored" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == text


def test_notebooks_are_found_by_number(folder, capsys):
    path = folder / "03_test.ipynb"
    assert notebooks.find(["03"], folder) == [path]
    assert notebooks.find([], folder) == [path]
    assert main(["notebooks", "99_no_such"]) == 2
    assert "99_no_such" in capsys.readouterr().err


def test_another_processor_is_played_by_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
    env = notebooks.environment("avx2", threads=1)
    assert env["OMP_NUM_THREADS"] == "1"
    assert env["ATEN_CPU_CAPABILITY"] == "avx2"
    code = "import torch; print(torch.backends.cpu.get_cpu_capability())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert done.stdout.strip() in ("AVX2", "DEFAULT", "NO AVX")
    assert "ATEN_CPU_CAPABILITY" not in notebooks.environment()
