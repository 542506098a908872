"""Trained figures may differ a little, and nothing else may."""

import json
import xml.etree.ElementTree as ET

import nbformat
import nbval_near
import pytest

from vlmtutor import notebooks


@pytest.mark.parametrize(
    ("got", "equal"),
    [
        ("thing .55 of 4 kinds", True),
        ("thing .46 of 4 kinds", True),
        ("thing .59 of 4 kinds", False),
        ("thing .45 of 4 kinds", False),
        ("thing .52 of 5 kinds", False),  # a whole number
        ("place .52 of 4 kinds", False),  # a word
        ("thing .52 of 4 kinds and .10", False),  # a number more
        ("thing nan of 4 kinds", False),
    ],
)
def test_near(got, equal):
    stored = nbval_near.near("thing .52 of 4 kinds", 0.06)
    assert (stored == got) is equal
    assert (stored != got) is not equal


def test_a_table_is_compared_number_by_number():
    stored = "CLIP    9.9  0.50 %\nSigLIP 12.0  0.75 %"
    assert nbval_near.near(stored, 0.2) == "CLIP   10.0  0.41 %\nSigLIP 11.9  0.75 %"
    assert nbval_near.far_apart(stored, stored.replace("0.75", "0.96"), 0.2) == [
        ("0.75", "0.96")
    ]
    assert nbval_near.far_apart(stored, stored.replace("CLIP", "BLIP"), 0.2) == []


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Cell 3: Timeout of 120 seconds exceeded executing cell", "time-out"),
        ("plugin exception: Kernel dead on test start", "kernel killed"),
        ("caused an exception\nClaimFailed: ✗ it is so", "a claim failed"),
        ("caused an exception\nModelNotFound: no model", "network asked for"),
        ("Cell outputs differ\nout of tolerance: stored", "number out of tolerance"),
        ("Cell outputs differ", "output differs"),
        ("Cell execution caused an exception\nZeroDivisionError", "error in a cell"),
        ("something else", "failure"),
    ],
)
def test_kinds_of_failures(message, kind):
    assert nbval_near.kind_of(message) == kind


def cell(source, output, *tags):
    outputs = [nbformat.v4.new_output("stream", name="stdout", text=output)]
    return nbformat.v4.new_code_cell(
        source, outputs=outputs, execution_count=1, metadata={"tags": list(tags)}
    )


def test_under_nbval_itself(tmp_path, capfd):
    """The hook replaces an internal of nbval: this notices when it moves."""
    path, report = tmp_path / "03_test.ipynb", tmp_path / "report.xml"
    cells = [
        cell("print('seen', 0.55, 3)", "seen 0.52 3\n", "trained-0.06"),
        cell("print('seen', 0.60, 3)", "seen 0.52 3\n", "trained-0.06"),
        cell("print('seen', 0.52, 3)", "seen 0.52 4\n", "trained-0.06"),
        cell("print('seen', 0.55, 3)", "seen 0.52 3\n"),
        cell("1 / 0", ""),
        cell("import vlmtutor as vt\nvt.claim('up is down', False)", ""),
        cell("import os\nos._exit(9)", ""),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert notebooks.compare([path], report=report, threads=1, workers=2) == 1
    printed = capfd.readouterr().out
    assert "out of tolerance: stored 0.52, here 0.6, more than 0.06 apart" in printed
    kinds = {
        case.get("name"): [p.get("value") for p in case.iter("property")]
        for case in ET.parse(report).getroot().iter("testcase")
    }
    assert kinds == {
        "Cell 0": [],
        "Cell 1": ["number out of tolerance"],
        "Cell 2": ["output differs"],
        "Cell 3": ["output differs"],
        "Cell 4": ["error in a cell"],
        "Cell 5": ["a claim failed"],
        "Cell 6": ["kernel killed"],
    }
    assert json.loads(path.read_text())["nbformat"] == 4
