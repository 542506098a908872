"""A plugin for nbval: a tolerance for trained figures, and failures by kind.

nbval compares outputs letter by letter.  A cell with the tag ``trained-0.06``
shows figures of a model that was trained in the notebook, which differ a
little between processors: its decimal numbers may lie that far from the stored
ones, while words and whole numbers stay exact.  The comparison is that of
pytest-doctestplus, which sees a number only between white space or brackets:
write ``84.3 %`` and ``.52 of``, not ``84.3%`` or ``.52.``
"""

import re
import time
from queue import Empty

import pytest
from nbval import plugin as nbval
from nbval.kernel import RunningKernel
from pytest_doctestplus.output_checker import FLOAT_CMP, OutputChecker

TAG = re.compile(r"trained-(\d*\.\d+)")
KINDS = (  # how nbval or the kernel's traceback puts it → what it is; in order
    (r"Timeout of|Previous cell timed out", "time-out"),
    (r"Kernel (died|dead)|Kernel dead on test start", "kernel killed"),
    (r"ClaimFailed|ExerciseFailed", "a claim failed"),
    (
        r"OfflineModeIsEnabled|ModelNotFound|ConnectionError|URLError|gaierror",
        "network asked for",
    ),
    (r"out of tolerance:", "number out of tolerance"),
    (r"Cell outputs differ", "output differs"),
    (r"Cell execution caused an exception", "error in a cell"),
)


def tolerance(cell) -> float | None:
    """How far decimal numbers of a cell's outputs may be off, by its tag."""
    for tag in cell["metadata"].get("tags", []):
        if found := TAG.fullmatch(tag):
            return float(found[1])
    return None


class Near(str):
    """A text that equals another if words agree and numbers nearly do."""

    atol = 0.0

    def __eq__(self, other):
        if not isinstance(other, str):
            return NotImplemented
        return _checker(self.atol).check_output(str(self), str(other), FLOAT_CMP)

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__


def near(text: str, atol: float) -> Near:
    """``text``, to be compared with room of ``atol`` for each number."""
    made = Near(text)
    made.atol = atol
    return made


def _checker(atol: float) -> OutputChecker:
    checker = OutputChecker()
    # numbers are printed with few digits: .58 - .52 is .06 and a little
    checker.rtol, checker.atol = 0.0, atol + 1e-9
    return checker


def far_apart(want: str, got: str, atol: float) -> list[tuple[str, str]]:
    """Pairs of numbers that differ by more than ``atol``, in their order.

    Nothing where the texts differ in more than their numbers.
    """
    checker = _checker(atol)
    words = [checker.num_got_rgx.sub("0.0", text) for text in (want, got)]
    if words[0] != words[1]:
        return []
    pairs = zip(checker.find_numbers(want), checker.find_numbers(got), strict=True)
    pairs = [(a.strip(), b.strip()) for a, b in pairs]
    return [(a, b) for a, b in pairs if not checker.equal_floats(a, b)]


def kind_of(message: str) -> str:
    """What sort of failure a report tells of."""
    kinds = (kind for words, kind in KINDS if re.search(words, message))
    return next(kinds, "failure")


def pytest_configure(config):
    if getattr(nbval.IPyNbCell, "near", False):
        return
    sanitize = nbval.IPyNbCell.sanitize
    show = nbval.IPyNbCell.format_output_compare

    def sanitize_near(self, s):
        s, atol = sanitize(self, s), tolerance(self.cell)
        return near(s, atol) if atol and isinstance(s, str) else s

    def show_numbers(self, key, left, right):
        atol = tolerance(self.cell)
        for a, b in far_apart(left, right, atol) if atol else ():
            self.comparison_traceback.append(
                f"out of tolerance: stored {a}, here {b}, more than {atol} apart"
            )
        show(self, key, str(left), str(right))

    await_reply = RunningKernel.await_reply

    def await_reply_or_death(self, msg_id, timeout=None):
        """In short waits: nbval itself waits out the time-out for the dead."""
        end = time.monotonic() + (timeout or 1e9)
        while True:
            try:
                left = end - time.monotonic()
                return await_reply(self, msg_id, timeout=max(min(left, 2), 0))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("Kernel died while the cell ran") from None
                if time.monotonic() > end:
                    raise

    RunningKernel.await_reply = await_reply_or_death
    nbval.IPyNbCell.near = True
    nbval.IPyNbCell.sanitize = sanitize_near
    nbval.IPyNbCell.format_output_compare = show_numbers


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and isinstance(item, nbval.IPyNbCell):
        if report.failed:
            kind = kind_of(str(report.longrepr))
            item.user_properties.append(("kind", kind))
            report.user_properties.append(("kind", kind))
