"""Stored rows by backbone: what is shown, and what is said to be missing."""

from vlmtutor.stored_rows import missing, notes_of, stored_checks, stored_table

NEW, OLD = "two-level bootstrap, 8 seeds", "old rule, 3 seeds"


def row(name, backbone="phraseclip", table="free", rule=NEW, **more):
    """A stored row; S, U and h are of two seeds, which is enough to print."""
    by_seed = {"S": [0.2, 0.4], "U": [0.1, 0.1], "h": [0.15, 0.17]}
    return {
        "method": more.pop("method", name),
        "row": name,
        "backbone": backbone,
        "table": table,
        "rule": rule,
        "seeds": list(range(3 if rule == OLD else 8)),
        "by_seed": by_seed,
        "gate": None,
        "fit_s": 3.0,
        "checks": [{"name": f"{name} helps"}],
        **more,
    }


ROWS = [
    row("chance", table="reference", method="references"),
    row("classifier of pixels", table="reference", method="references"),
    row("full supervision", table="reference", method="references"),
    row("SSIW"),
    row("ReCo", gate=False, fit_s=33.4),
    row("LSeg", table="inductive"),
    row("SSIW", "stickerclip", rule=OLD),
]


def test_a_table_has_one_kind_and_each_backbone_by_itself():
    text = stored_table(ROWS, "free", ["SSIW", "ReCo"])
    first, second = text.split("\n\n")
    assert first.startswith("annotation-free and weak, on phraseclip")
    names = [line.split("  ")[0] for line in first.split("\n")[2:]]
    assert names == ["chance", "SSIW", "ReCo", "full supervision"]
    assert "LSeg" not in text
    assert "30.0 [20.0–40.0]" in first
    (line,) = second.split("\n")[2:]
    assert line.startswith("SSIW") and line.endswith("old rule; no verdict")


def test_an_empty_table_says_so():
    text = stored_table(ROWS, "transductive", ["SSIW"], ["phraseclip"])
    assert text.endswith("on phraseclip: no row is stored yet")


def test_who_has_base_masks_stands_beside_a_classifier_of_pixels():
    text = stored_table(ROWS, "inductive", ["LSeg"], ["phraseclip"])
    names = [line.split("  ")[0] for line in text.split("\n")[2:]]
    assert names == ["chance", "classifier of pixels", "LSeg", "full supervision"]


def test_what_must_be_known_of_a_row():
    by_name = {row["row"]: row for row in ROWS[:-1]}
    assert notes_of(by_name["SSIW"]) == ""
    assert notes_of(by_name["ReCo"]) == "gate closed; a fit takes 33 s"
    assert notes_of(ROWS[-1]) == "old rule; no verdict"
    assert notes_of(row("x", rule="one run", seeds=[0])) == "one run; no verdict"
    assert notes_of(row("x", rule=None)) == "rule unknown"
    few = row("x", seeds=[0, 1, 2])
    assert notes_of(few) == "no verdict"
    assert notes_of(few | {"rule": "no verdict, 3 seeds"}) == "no verdict"


def test_checks_of_an_old_rule_are_not_shown_as_verdicts():
    assert [c["name"] for c in stored_checks(ROWS, ["ReCo", "SSIW"])] == [
        "ReCo helps",
        "SSIW helps",
    ]
    assert stored_checks(ROWS, ["SSIW"], "stickerclip") == []


def test_methods_without_a_row_of_today_are_named():
    assert missing(ROWS, ["SSIW", "CLIMS"]) == ["CLIMS"]
    assert missing(ROWS, ["SSIW"], "stickerclip") == ["SSIW"]
