"""What notebooks 08 to 11 print of stored studies, without fitting anything."""

from __future__ import annotations

import contextlib
import io

import nbformat
import pytest

from vlmtutor import claim, stored, verdict
from vlmtutor.transfer import claims, comparison, forgetting, report

NOTEBOOKS = stored.FOLDER.parent
CHECKS = dict(
    zip(
        comparison.STUDIES,
        (claims.PROMPTS, claims.VISUAL, claims.ADAPTERS),
        strict=True,
    )
)
# by notebook: a line of each cell that needs nothing but its study
CELLS = {
    "08_prompt_tuning": (
        "report.halves_text(halves)",
        "for title, methods in notes",
        "by_seed = report.figures(notes, method, kind, 0)",
        "report.verdicts_text",
        "forgetting.verdicts()",
        'low = {c["name"]',
        "ahead = [",
    ),
    "09_visual_and_unified_prompts": (
        "report.losses_text(study",
        "report.verdicts_text(study, VISUAL)",
        'for method in ("CoOp", "VPT-shallow", "VPT-deep"):',
        'study["distances"]',
    ),
    "10_adapters": (
        "report.verdicts_text(study, ADAPTERS)",
        "comparison.as_text(closing)",
        "leaders = comparison.race",
    ),
    "10b_labels_and_pixels": (
        'stored_free = study["CLIP\'s read-outs"]',
        "report.scene_verdicts(study)",
    ),
    "11_distil_a_student": (
        "shapes = [rows for rows",
        'rows[0].get("table") != "ways"',
        'LONG = ["StickerCLIP", "student"',
        "the stored student reaches the goal",
        "for name in LONG[1:]:",
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_print_what_is_stored_in_the_notebook(name):
    if name.startswith("11"):
        study = {}
        for row in stored.runs(name):
            study.setdefault(row["part"], []).append(row)
    else:
        study = report.study(name)
    methods = ["linear probe", "CLIP-Adapter", "Tip-Adapter-F", "TaskRes"]
    space = {"study": study, "notes": study, "methods": methods}
    space |= {"claim": claim, "claims": claims, "report": report}
    space |= {"stored": stored, "verdict": verdict, "forgetting": forgetting}
    if name.startswith("08"):
        space["sketches"] = study["tables"]["mixed, sketch"]
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    for line in CELLS[name]:
        (cell,) = (c for c in notebook.cells if line in c.source)
        expected = "".join(o.text for o in cell.outputs if o.output_type == "stream")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(cell.source, space)
        assert expected and printed.getvalue() == expected


@pytest.mark.parametrize("name", comparison.STUDIES)
def test_checks_name_methods_and_shots_that_were_run(name):
    notes = report.study(name)
    tried = report.tried(notes, CHECKS[name])
    assert len(tried) > len(CHECKS[name]) / 2
    for check in tried:
        for method, shots in (check.better, check.worse):
            for table in notes["tables"].values():
                assert any(run["shots"] == shots for run in table[method]), check
