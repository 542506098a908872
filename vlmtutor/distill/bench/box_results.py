"""Stored rows of detectors, for a notebook to print; some may not be there."""

from __future__ import annotations

from collections.abc import Sequence

from ... import stored
from ...table import spread, table
from .fates import FATES

COLUMNS = ("", "S", "U", "h", "U alone", "U common", "AP75 U", "ms", "fit s", "seeds")


def stored_rows(name: str = "detection", backbone: str = "phraseclip") -> list[dict]:
    """The stored rows of one backbone; none where nothing has been run yet."""
    try:
        rows = stored.load(name).get("rows", [])
    except FileNotFoundError:
        return []
    return [row for row in rows if row["backbone"] == backbone]


def rows_of(rows: Sequence[dict], methods: Sequence[str]) -> str:
    """Stored rows of some methods as a table, in points; what is missing is said.

    By the papers' own rules of ranking; "common" is U by the rule for all.
    Means over seeds, with their range for U.
    """
    own = [row for row in rows if row["method"] in methods]
    known = {row["method"] for row in own}
    missing = [f"{m}: no row is stored yet" for m in methods if m not in known]
    lines = [_line(row) for row in own]
    return "\n".join([table(lines, COLUMNS)] * bool(lines) + missing)


def _line(row: dict) -> list[str]:
    scores, by_seed = row["scores"], row["by_seed"]
    own, common = scores["own"], scores["common"]
    points = [own["S"], own["h"], own["U_alone"], common["U"], own["AP75_U"]]
    S, h, alone, ranked, strict = (f"{100 * value:.1f}" for value in points)
    costs = [None if row[k] is None else f"{row[k]:.0f}" for k in ("ms", "fit_s")]
    many = str(len(row["seeds"]))
    return [
        row["row"],
        S,
        spread(by_seed["own"]["U"]),
        h,
        alone,
        ranked,
        strict,
        *costs,
        many,
    ]


def checks_of(rows: Sequence[dict], methods: Sequence[str]) -> list[dict]:
    """The stored checks of some methods, in their order."""
    own = [row for m in methods for row in rows if row["method"] == m]
    return [check for row in own for check in row["checks"]]


def expected(name: str = "detection") -> list[dict]:
    """What was expected of each check before any method ran, as stored.

    ``method``, ``check``, ``expected`` and ``why``; none where nothing has run.
    """
    try:
        choices = stored.load(name)["choices"]
    except FileNotFoundError:
        return []
    return next((c["predictions"] for c in choices if "predictions" in c), [])


def as_expected(rows: Sequence[dict], methods: Sequence[str]) -> str:
    """A line a check of some methods: what was expected, and the verdict."""
    met = {
        (method, check["name"]): check["verdict"]
        for method in methods  # two may ask the same
        for check in checks_of(rows, [method])
    }
    lines, right = [], 0
    for one in expected():
        found = met.get((one["method"], one["check"]))
        if found:
            right += found == one["expected"]
            lines.append(
                f"{one['method']:10} expected {one['expected']:15} "
                f"found {found:15} {one['check']}"
            )
    return "\n".join([*lines, f"as expected: {right} of {len(lines)}"])


def fates_of(rows: Sequence[dict]) -> dict[str, list[float]]:
    """The name of each stored row that knows its fates, and their shares."""
    found = {}
    for row in rows:
        shares = (row["scores"] or {}).get("fates")
        if shares:
            found[row["row"]] = [shares[fate] for fate in FATES]
    return found
