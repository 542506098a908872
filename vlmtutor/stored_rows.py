"""Stored rows of a bench for a notebook: by backbone, with seeds and rule.

Verdicts are of one backbone, and rows of two are never set side by side
without saying so.  What has not been run yet is named, not left out in
silence; what was run by an earlier program or rule says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from .distill.bench.references import FLOORS, ORACLES
from .distill.bench.results import LIVE
from .distill.methods import TABLES
from .distill.parts.two_stage import RIVAL
from .table import spread, table
from .verdict import NO_VERDICT
from .verdict import SEEDS as ENOUGH

BACKBONES = ("phraseclip", "stickerclip")  # the bench's own first
SCORES = "SUh"


def of_backbone(rows: Sequence[dict], backbone: str) -> list[dict]:
    """The rows of one backbone."""
    return [row for row in rows if row["backbone"] == backbone]


def notes_of(row: dict) -> str:
    """What must be known of a row: its rule, few seeds, a closed gate, a long fit."""
    notes = []
    if "bootstrap" not in (row["rule"] or ""):
        notes.append(row["rule"].split(",")[0] if row["rule"] else "rule unknown")
    if len(row["seeds"]) < ENOUGH and NO_VERDICT not in notes:
        notes.append(NO_VERDICT)
    if row.get("gate") is False and row["table"] != "reference":
        notes.append("gate closed")
    if (row.get("fit_s") or 0) > LIVE:
        notes.append(f"a fit takes {row['fit_s']:.0f} s")
    return "; ".join(notes)


def stored_table(
    rows: Sequence[dict],
    kind: str,
    methods: Sequence[str],
    backbones: Sequence[str] = BACKBONES,
) -> str:
    """One of the bench's tables, backbone by backbone, floors and oracles in each.

    ``kind`` is a key of :data:`vlmtutor.distill.methods.TABLES`; ``methods``
    are those that a notebook is about.  Where methods have base masks, the
    classifier of pixels is among the floors.  Each row has S, U and h in points
    (mean of seeds, least and most), how many seeds, and :func:`notes_of`.
    Backbones without a row are named.
    """
    parts, beneath = [], FLOORS if kind == "free" else (*FLOORS, RIVAL)
    for backbone in backbones:
        here = of_backbone(rows, backbone)
        known = {row["row"]: row for row in here if row["table"] == "reference"}
        own = [r for r in here if r["method"] in methods and r["table"] == kind]
        title = f"{TABLES[kind]}, on {backbone}"
        if not own:
            parts.append(f"{title}: no row is stored yet")
            continue
        floors, oracles = (
            [known[name] for name in some if name in known]
            for some in (beneath, ORACLES)
        )
        lines = [
            [row["row"], *(spread(row["by_seed"][name]) for name in SCORES)]
            + [str(len(row["seeds"])), notes_of(row)]
            for row in [*floors, *own, *oracles]
        ]
        parts.append(f"{title}\n{table(lines, ['', *SCORES, 'seeds', 'note'])}")
    return "\n\n".join(parts)


def stored_checks(
    rows: Sequence[dict], methods: Sequence[str], backbone: str = BACKBONES[0]
) -> list[dict]:
    """What became of some methods' claims on one backbone, in their order.

    Only checks that were judged by the rule of today: others are of code
    that has been mended since.
    """
    here = [row for row in of_backbone(rows, backbone) if row["method"] in methods]
    here = sorted(here, key=lambda row: methods.index(row["method"]))
    return [
        check
        for row in here
        if not (row["rule"] or "").startswith("old")
        for check in row["checks"]
    ]


def missing(
    rows: Sequence[dict], methods: Sequence[str], backbone: str = BACKBONES[0]
) -> list[str]:
    """The methods without a row of today's rule on a backbone."""
    done = {
        row["method"]
        for row in of_backbone(rows, backbone)
        if not (row["rule"] or "").startswith("old")
    }
    return [method for method in methods if method not in done]
