"""Rules for notebooks that nbval cannot see.

Each rule takes a notebook (nbformat 4, a dict) and returns what is wrong, as
sentences; nothing wrong is an empty list.
"""

import re
from collections import Counter
from pathlib import Path

from nbval_near import tolerance
from pytest_doctestplus.output_checker import OutputChecker

CHECKER = OutputChecker()

OPENING = ("What you will be able to do", "What you need", "Set-up")
CLOSING = ("Check yourself", "Exercises", "Summary", "Further reading")
COURSE_WORDS = (600, 2000)
CODE_LINES, CODE_COLUMNS = 25, 79
IGNORED = 2  # cells of a notebook whose output is not compared
FILE_BYTES = 2_000_000


def code_cells(nb):
    """(number from 1, cell) of each code cell."""
    cells = [c for c in nb["cells"] if c["cell_type"] == "code"]
    return list(enumerate(cells, start=1))


def tags(cell):
    return cell["metadata"].get("tags", [])


def prose(nb):
    """The Markdown of all cells, without fenced code."""
    texts = (c["source"] for c in nb["cells"] if c["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", "\n\n".join(texts), flags=re.M | re.S)


def headings(nb):
    return re.findall(r"^(#{1,2}) +(.+?) *$", prose(nb), flags=re.M)


def section(nb, title):
    """The Markdown between a heading and the next."""
    found = re.search(
        rf"^## +{re.escape(title)} *$(.*?)(?=^## |\Z)", prose(nb), flags=re.M | re.S
    )
    return found[1] if found else ""


def output_texts(cell):
    for output in cell["outputs"]:
        texts = [output.get("text"), output.get("evalue")]
        data = output.get("data", {})
        texts += [v for k, v in data.items() if k.startswith("text/")]
        texts += output.get("traceback", [])
        yield from ("".join(t) for t in texts if t)


def skeleton(nb):
    bad = []
    titles = [t for level, t in headings(nb) if level == "#"]
    if len(titles) != 1 or headings(nb)[0][0] != "#":
        bad.append(f"one '# Title', first of all, not {titles}")
    found = re.match(r"# .+\n+(.+)", prose(nb))
    if not found or found[1].startswith(("#", "-", "|", "!", ">")):
        bad.append("a one-line promise follows the title")
    steps = [t for level, t in headings(nb) if level == "##"]
    if tuple(steps[:3]) != OPENING:
        bad.append(f"the first headings are {OPENING}, not {steps[:3]}")
    if tuple(steps[-4:]) != CLOSING:
        bad.append(f"the last headings are {CLOSING}, not {steps[-4:]}")
    if len(steps) < len(OPENING) + len(CLOSING) + 1:
        bad.append("there is no step between set-up and the end")
    verbs = re.findall(r"^[-*] ", section(nb, OPENING[0]), flags=re.M)
    if not 3 <= len(verbs) <= 5:
        bad.append(f"3 to 5 things to be able to do, not {len(verbs)}")
    if "minute" not in section(nb, OPENING[1]):
        bad.append("'What you need' tells the minutes on a laptop CPU")
    return bad


def run_in_order(nb):
    counts = [cell["execution_count"] for _, cell in code_cells(nb)]
    if counts != list(range(1, len(counts) + 1)):
        return [f"cells were not run once, in order: {counts}"]
    return []


def no_semicolon(nb):
    return [
        f"code cell {n} ends with a semicolon"
        for n, cell in code_cells(nb)
        if cell["source"].rstrip().endswith(";")
    ]


def nothing_skipped(nb):
    bad, ignored = [], []
    for n, cell in code_cells(nb):
        if "nbval-skip" in tags(cell):
            bad.append(f"code cell {n} is skipped")
        if re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell["source"]):
            bad.append(f"code cell {n} has a marker comment: use a tag")
        if "nbval-ignore-output" in tags(cell):
            ignored.append(n)
            if len(cell["metadata"].get("reason", "").split()) < 3:
                bad.append(f"code cell {n} ignores output without a reason")
    if len(ignored) > IGNORED:
        bad.append(f"outputs of cells {ignored} are ignored: {IGNORED} may be")
    return bad


def tolerances_bite(nb):
    """Cells tagged ``trained-…`` have a reason, and figures that are compared.

    A decimal number next to ``%``, ``;``, ``:`` or a full stop would be
    compared to the letter.
    """
    bad = []
    for n, cell in code_cells(nb):
        if not tolerance(cell):
            continue
        if len(cell["metadata"].get("reason", "").split()) < 3:
            bad.append(f"code cell {n} has a tolerance without a reason")
        texts = [
            text
            for output in cell["outputs"]
            if output["output_type"] == "stream"
            for text in [output["text"]]
        ]
        shown = Counter(re.findall(r"\d*\.\d+", "\n".join(texts)))
        seen = [x.strip() for text in texts for x in CHECKER.find_numbers(text)]
        missed = list((shown - Counter(x.lstrip("+-") for x in seen)).elements())
        if missed or not shown:
            found = f"numbers {missed} are" if missed else "no decimal number is"
            bad.append(f"code cell {n} has a tolerance, but {found} compared with it")
    return bad


def no_remote_image(nb):
    texts = [prose(nb)]
    for _, cell in code_cells(nb):
        texts += output_texts(cell)
    remote = r"!\[[^\]]*\]\(\s*<?(?:https?:)?//|<img[^>]+src=.?(?:https?:)?//"
    return [
        f"a remote image: {m[0]}" for text in texts for m in re.finditer(remote, text)
    ]


def local_images(nb, folder):
    """Pictures in the prose exist beside the notebook and have alt text."""
    bad = []
    for alt, path in re.findall(r"!\[([^\]]*)\]\(([^)\s]+)", prose(nb)):
        if "//" in path or path.startswith(("data:", "attachment:")):
            continue
        if not (Path(folder) / path).is_file():
            bad.append(f"no picture {path}")
        if len(alt.split()) < 3:
            bad.append(f"the picture {path} has no description")
    return bad


def figures_speak(nb):
    bad = []
    for n, cell in code_cells(nb):
        pictures = [o for o in cell["outputs"] if "image/png" in o.get("data", {})]
        printed = any(o.get("name") == "stdout" for o in cell["outputs"])
        if pictures and not printed:
            bad.append(f"code cell {n} draws but prints no fact")
        for o in pictures:
            if not o["metadata"].get("image/png", {}).get("alt"):
                bad.append(f"code cell {n} draws without vt.show")
        if any("image/svg+xml" in o.get("data", {}) for o in cell["outputs"]):
            bad.append(f"code cell {n} draws as SVG, which never compares")
    return bad


def no_widget_state(nb):
    bad = ["widget state is stored"] if "widgets" in nb["metadata"] else []
    for n, cell in code_cells(nb):
        for output in cell["outputs"]:
            if any("widget-view" in key for key in output.get("data", {})):
                bad.append(f"code cell {n} stores a widget without its state")
    return bad


def plain_metadata(nb):
    kernel = nb["metadata"].get("kernelspec", {}).get("name")
    bad = [] if kernel == "python3" else [f"the kernel is {kernel!r}"]
    for cell in nb["cells"]:
        extra = set(cell["metadata"]) - {"tags", "reason"}
        if extra:
            bad.append(f"metadata of an editor: {sorted(extra)}")
    return bad


def small_cells(nb):
    bad = []
    for n, cell in code_cells(nb):
        lines = cell["source"].split("\n")
        if len(lines) > CODE_LINES:
            bad.append(f"code cell {n} has {len(lines)} lines")
        if max(map(len, lines)) > CODE_COLUMNS:
            bad.append(f"code cell {n} has a line of {max(map(len, lines))}")
        if re.search(r"^\s*(!|%pip|%conda)", cell["source"], flags=re.M):
            bad.append(f"code cell {n} runs a shell command")
    return bad


def prose_length(nb, least, most):
    """Words of running prose: no addresses, formulas, folds or glossary."""
    text = re.sub(r"\]\([^)]*\)", "]", prose(nb))
    text = re.sub(
        r"<details>.*?</details>|\$\$.*?\$\$|\$[^$\n]+\$", "", text, flags=re.S
    )
    text = re.sub(r"^### Glossary *$.*?(?=^##? |\Z)", "", text, flags=re.M | re.S)
    words = len(re.findall(r"\w[\w'’.-]*", text))
    if not least <= words <= most:
        return [f"{words} words of prose, not {least} to {most}"]
    return []


def errors_are_meant(nb):
    bad = []
    for n, cell in code_cells(nb):
        failed = any(o["output_type"] == "error" for o in cell["outputs"])
        meant = {"raises-exception", "nbval-raises-exception"} & set(tags(cell))
        if failed and not meant:
            bad.append(f"code cell {n} fails and is not tagged for it")
        if meant and not failed:
            bad.append(f"code cell {n} is tagged as failing and does not")
    return bad


def stubs_are_tried(nb):
    """A notebook with stubs has cells that try them, tagged as failing."""
    cells = code_cells(nb)
    stubs = [n for n, c in cells if "raise NotImplementedError" in c["source"]]
    tried = [n for n, c in cells if "raises-exception" in tags(c)]
    if stubs and len(tried) < len(stubs):
        return [f"stubs in cells {stubs}, but only {tried} try one"]
    return []


def same_everywhere(nb):
    """No memory address, path of one machine or warning in the outputs."""
    bad = []
    for n, cell in code_cells(nb):
        for text in output_texts(cell):
            found = re.search(
                r"\b0x[0-9a-f]{6,}|(?:/home|/root|/tmp|/work|/Users)/\w|"
                r"[A-Z]:\\Users",
                text,
            )
            if found:
                bad.append(f"code cell {n} prints {found[0]!r}")
        if any(o.get("name") == "stderr" for o in cell["outputs"]):
            bad.append(f"code cell {n} prints warnings")
    return bad


EVERYWHERE = (
    run_in_order, no_semicolon, nothing_skipped, tolerances_bite, no_remote_image,
    figures_speak, no_widget_state, plain_metadata, small_cells,
    errors_are_meant, stubs_are_tried, same_everywhere,
)  # fmt: skip
