"""Every notebook keeps the rules, and every rule notices when one does not."""

import json
import re
from pathlib import Path

import nbformat
import notebook_rules as rules
import pytest
import untrained
from nbval_near import near, tolerance

from vlmtutor.notebooks import normalize

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "notebooks"
ALL = sorted(FOLDER.rglob("[0-9][0-9]*_*.ipynb"))
COURSE = [p for p in ALL if p.parent == FOLDER and not p.stem.endswith("_exercises")]


def by_name(path):
    return path.stem


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", ALL, ids=by_name)
@pytest.mark.parametrize("rule", rules.EVERYWHERE)
def test_rule(rule, path):
    assert rule(read(path)) == []


@pytest.mark.parametrize("path", ALL, ids=by_name)
def test_file(path):
    nb = read(path)
    nbformat.validate(nb)
    assert path.stat().st_size <= rules.FILE_BYTES
    assert rules.local_images(nb, path.parent) == []
    assert rules.prose_length(nb, 0, rules.COURSE_WORDS[1]) == []


@pytest.mark.parametrize("path", COURSE, ids=by_name)
def test_course_notebook(path):
    assert rules.skeleton(read(path)) == []
    assert rules.prose_length(read(path), *rules.COURSE_WORDS) == []


def test_every_notebook_is_named_and_linked():
    files = [p for p in FOLDER.rglob("*.ipynb") if ".ipynb_ch" not in str(p)]
    assert sorted(files) == ALL, "names begin with a number: 03_topic.ipynb"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in COURSE:
        assert f"(notebooks/{path.name})" in readme, path.name


def test_links_of_the_readme_lead_somewhere():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", readme)
    assert links
    if not ALL:  # the course is not written yet
        links = [link for link in links if not link.startswith("notebooks/")]
    assert [link for link in links if not (ROOT / link).exists()] == []


# Cells whose figures are compared with a tolerance, and what it rests on: 2.5
# standard errors of a share of n (at .5), or 1.5 times the largest difference
# seen between processors.
TRAINED = {
    "01_why_vlms": {
        18: (0.07, "300 pictures"),
        24: (0.07, "300 pictures"),
    },
    "02_frameworks": {25: (0.08, "200 pairs")},
    "03_contrastive": {28: (0.07, "200 scenes")},
    "04_generative": {
        12: (0.02, "under .01 seen"),
        19: (0.05, ".035 seen"),
        21: (0.05, ".035 seen"),
        26: (0.02, "under .01 seen"),
        34: (0.12, "100 captions"),
    },
    "05_alignment": {
        13: (0.1, ".07 seen, between one thread and two"),
        14: (0.19, ".13 seen, between one thread and two"),
        15: (0.1, "losses, as in 13"),
        25: (0.08, ".051 seen"),
    },
    "06_pretraining": {
        11: (0.05, "600 scenes"),
        15: (0.05, "600 captions"),
        21: (0.05, "600 scenes"),
        25: (0.05, "600 scenes"),
        30: (0.05, "600 scenes"),
    },
    "09_visual_and_unified_prompts": {19: (0.05, ".02 seen")},
}


def test_cells_with_a_tolerance_are_listed():
    found = {}
    for path in COURSE:
        cells = {n: tolerance(c) for n, c in rules.code_cells(read(path))}
        cells = {n: atol for n, atol in cells.items() if atol}
        found |= {path.stem: cells} if cells else {}
    listed = {k: {n: t for n, (t, _) in v.items()} for k, v in TRAINED.items()}
    assert found == listed
    assert sum(map(len, found.values())) <= 2 * len(COURSE)


@pytest.mark.parametrize("path", untrained.with_tolerance(), ids=by_name)
def test_an_untrained_model_does_not_pass_for_a_trained_one(path):
    stored = json.loads(untrained.STORED.read_text("utf-8"))[path.stem]
    nb = read(path)
    remedy = "run python tests/untrained.py"
    assert stored["code"] == untrained.code_hash(nb), remedy
    for n, cell in rules.code_cells(nb):
        if atol := tolerance(cell):
            said = near(untrained.printed(cell), atol)
            assert said != stored["cells"][str(n)], f"code cell {n}"


# The rules themselves, on a small good notebook and on spoilt ones.

SKELETON = """# A title

You will see what a rule is.

## What you will be able to do

- name a rule
- break a rule
- keep a rule

## What you need

Two minutes on a laptop CPU.

## Set-up"""
ENDING = "\n\n".join(f"## {title}" for title in rules.CLOSING)


def text(source):
    return nbformat.v4.new_markdown_cell(source)


def code(source="1 + 1", outputs=(), **metadata):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata=metadata)


def shown(*outputs, **metadata):
    """A notebook of one cell that shows these."""
    return notebook(code("x", outputs, **metadata))


def prose(source):
    return notebook(text(source))


def notebook(*cells):
    """Cells numbered 1..n, as the refresh command leaves them."""
    nb = nbformat.v4.new_notebook(cells=list(cells))
    nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python"}
    for n, cell in rules.code_cells(nb):
        cell.execution_count = n
    return nb


def printed(words, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=words)


def picture(alt="a dog", kind="image/png"):
    return nbformat.v4.new_output(
        "display_data",
        {kind: "iVBORw0KGgo="},
        metadata={"image/png": {"alt": alt}} if alt else {},
    )


def failure(name="NotImplementedError"):
    return nbformat.v4.new_output("error", ename=name, evalue="")


def html(source):
    return nbformat.v4.new_output("display_data", {"text/html": source})


def widget():
    key = "application/vnd.jupyter.widget-view+json"
    return nbformat.v4.new_output("display_data", {key: {"model_id": "1"}})


def good():
    return notebook(
        text(SKELETON),
        code("import vlmtutor as vt"),
        text("## A step\n\n```\n# no heading\n```\n\n![a big dog](dog.png)"),
        code("vt.show(dog, 'a dog')", [picture(), printed("a dog\n")]),
        code("def f():\n    raise NotImplementedError"),
        code("f()", [failure()], tags=["raises-exception"]),
        code("x", tags=["nbval-ignore-output"], reason="differs by machine"),
        text(ENDING),
    )


@pytest.mark.parametrize("rule", (*rules.EVERYWHERE, rules.skeleton))
def test_a_good_notebook_passes(rule, tmp_path):
    assert rule(good()) == []
    (tmp_path / "dog.png").touch()
    assert rules.local_images(good(), tmp_path) == []


def unnumbered():
    nb = notebook(code(), code())
    nb.cells[1].execution_count = None
    return nb


def twice():
    nb = notebook(code(), code())
    nb.cells[1].execution_count = 3
    return nb


def with_state():
    nb = notebook(code())
    nb.metadata["widgets"] = {}
    return nb


def foreign_kernel():
    nb = notebook(code())
    nb.metadata["kernelspec"]["name"] = "cv"
    return nb


ignored = {"tags": ["nbval-ignore-output"], "reason": "a good long one"}
because = {"reason": "differs between processors"}
BAD = [
    (rules.run_in_order, unnumbered(), "None"),
    (rules.run_in_order, twice(), "3"),
    (rules.no_semicolon, notebook(code("plt.plot(x);\n")), "cell 1"),
    (rules.nothing_skipped, notebook(code(tags=["nbval-skip"])), "skipped"),
    (rules.nothing_skipped, notebook(code("# NBVAL_SKIP\n1")), "comment"),
    (
        rules.nothing_skipped,
        notebook(code(tags=["nbval-ignore-output"])),
        "without a reason",
    ),
    (rules.nothing_skipped, notebook(*(code(**ignored) for _ in "123")), "2 may be"),
    (
        rules.tolerances_bite,
        shown(printed(".5 of 2\n"), tags=["trained-0.1"]),
        "without a reason",
    ),
    (
        rules.tolerances_bite,
        shown(printed("3 of 4\n"), tags=["trained-0.1"], **because),
        "no decimal number",
    ),
    (
        rules.tolerances_bite,
        shown(printed(".50: .25%\n"), tags=["trained-.1"], **because),
        "'.50', '.25'",
    ),
    (rules.no_remote_image, prose("![a dog](https://example.org/a.png)"), "remote"),
    (
        rules.no_remote_image,
        prose('<img width="3" src="http://example.org/a.png">'),
        "remote",
    ),
    (rules.no_remote_image, shown(html("<img src='//example.org/a.png'>")), "remote"),
    (rules.figures_speak, shown(picture()), "no fact"),
    (rules.figures_speak, shown(picture(""), printed("a")), "vt.show"),
    (rules.figures_speak, shown(picture(kind="image/svg+xml")), "SVG"),
    (rules.no_widget_state, with_state(), "state"),
    (rules.no_widget_state, shown(widget()), "cell 1"),
    (rules.plain_metadata, foreign_kernel(), "cv"),
    (rules.plain_metadata, notebook(code(collapsed=True)), "collapsed"),
    (rules.small_cells, notebook(code("1\n" * 26)), "27 lines"),
    (rules.small_cells, notebook(code("x" * 80)), "line of 80"),
    (rules.small_cells, notebook(code("1\n!pip install x")), "shell"),
    (rules.errors_are_meant, shown(failure()), "not tagged"),
    (
        rules.errors_are_meant,
        notebook(code("x", tags=["raises-exception"])),
        "does not",
    ),
    (
        rules.stubs_are_tried,
        notebook(code("def f():\n    raise NotImplementedError")),
        "stubs",
    ),
    (rules.same_everywhere, shown(printed("<object at 0x7f3a2b1c>")), "0x7f3a2b1c"),
    (rules.same_everywhere, shown(printed("in /home/ann/course")), "/home/a"),
    (rules.same_everywhere, shown(printed("careful", "stderr")), "warnings"),
]


@pytest.mark.parametrize(("rule", "nb", "message"), BAD)
def test_a_bad_notebook_is_noticed(rule, nb, message):
    assert message in "; ".join(rule(nb))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("# A title", "## A title", "one '# Title'"),
        ("You will see what a rule is.", "", "promise"),
        ("## What you need", "## What you want", "first headings"),
        ("Two minutes", "Nothing", "minutes"),
        ("- keep a rule", "", "3 to 5"),
        ("## Summary", "## The end", "last headings"),
        ("## A step", "A step", "no step"),
        ("## A step", "# Another title", "one '# Title'"),
    ],
)
def test_a_broken_skeleton_is_noticed(old, new, message):
    nb = good()
    for cell in nb.cells:
        cell.source = cell.source.replace(old, new)
    assert message in "; ".join(rules.skeleton(nb))


def test_pictures_in_the_prose(tmp_path):
    assert "no picture dog.png" in rules.local_images(good(), tmp_path)
    (tmp_path / "a.png").touch()
    nb = notebook(text("![dog](a.png)"))
    assert "no description" in rules.local_images(nb, tmp_path)[0]


def test_counting_words():
    nb = notebook(text("Two [words](https://a.b/c/d)\n```\nnot these\n```"))
    assert rules.prose_length(nb, 2, 2) == []
    assert rules.prose_length(nb, 3, 9) == ["2 words of prose, not 3 to 9"]


def test_folds_formulas_and_the_glossary_are_not_counted():
    texts = [
        "One two.\n\n$$L = \\log N$$\n\nThree $x_i$ costs $5.",
        "<details><summary>A hint</summary>\n\nMany words.\n\n</details>",
        "### Glossary\n\n- **token**: a word\n\n## Six",
    ]
    nb = notebook(*map(text, texts))
    assert rules.prose_length(nb, 6, 6) == []


def test_refreshing_keeps_an_error_and_drops_where_it_was():
    error = nbformat.v4.new_output(
        "error",
        ename="NotImplementedError",
        evalue="your turn",
        traceback=["File /home/me/course/claims.py:79", "your turn"],
    )
    nb = notebook(code("f()", [error], tags=["raises-exception"]))
    assert rules.same_everywhere(nb)
    normalize(nb)
    assert rules.same_everywhere(nb) == []
    (kept,) = nb.cells[0].outputs
    assert (kept.ename, kept.evalue) == ("NotImplementedError", "your turn")
    assert kept.traceback == ["NotImplementedError: your turn"]
