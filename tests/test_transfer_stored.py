"""What notebooks 08 to 10 print of stored studies, without running them."""

from __future__ import annotations

import nbformat
import pytest

from vlmtutor import stored
from vlmtutor.transfer import claims, comparison, report

NOTEBOOKS = stored.FOLDER.parent
CHECKS = dict(
    zip(
        comparison.STUDIES,
        (claims.PROMPTS, claims.VISUAL, claims.ADAPTERS),
        strict=True,
    )
)


def printed(name: str, code: str) -> str:
    """The stored output of the one cell that has ``code`` in it."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    (cell,) = (c for c in notebook.cells if code in c.source)
    return "".join(o.text for o in cell.outputs if o.output_type == "stream")


def test_verdicts_of_prompts():
    notes = stored.load("08_prompt_tuning")
    text = report.verdicts_text(notes, claims.PROMPTS)
    assert text + "\n" == printed("08_prompt_tuning", "report.verdicts_text")


@pytest.mark.parametrize("name", comparison.STUDIES[1:])
def test_verdicts_of_visual_prompts_and_adapters(name):
    notes, lines = stored.load(name), []
    for check in CHECKS[name]:
        found, gains = report.judge(notes, check)
        points = 100 * sum(gains) / len(gains)
        lines.append(f"{found:14} {points:+5.1f}  {check.sentence}\n")
    assert "".join(lines) == printed(name, "found, gains = judge(study, said)")


def test_halves_of_prompts():
    notes = stored.load("08_prompt_tuning")
    tuned = ("CoOp", "CoOp, random start", "CoOp, five classes", "CoCoOp")
    methods = ("zero-shot", "hand prompt", *tuned, "KgCoOp", "ProGrad")
    text = report.halves_text(report.halves(notes, methods))
    assert text + "\n" == printed("08_prompt_tuning", "report.halves_text")


def test_comparison_of_all_methods():
    notes = stored.load("10_adapters")
    text = comparison.as_text(notes["closing"])
    assert text + "\n" == printed("10_adapters", "comparison.as_text")


def test_leaders_of_the_race():
    studies = {name: stored.load(name) for name in comparison.STUDIES}
    lines = []
    for k in (1, 16):
        leaders = comparison.race(studies, k)
        told = ", ".join(f"{name} {gain:+.0f}" for name, gain in leaders[:3])
        lines.append(f"{k:2} a class: {told}; last: {leaders[-1][0]}\n")
    assert "".join(lines) == printed("10_adapters", "leaders = comparison.race")


@pytest.mark.parametrize("name", comparison.STUDIES)
def test_checks_name_methods_and_shots_that_were_run(name):
    tables = stored.load(name)["tables"]
    for check in CHECKS[name]:
        for method, shots in (check.better, check.worse):
            for table in tables.values():
                assert any(run["shots"] == shots for run in table[method]), check
