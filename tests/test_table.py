"""The one table: text, Markdown and HTML of the same rows."""

from __future__ import annotations

import pytest

from vlmtutor.table import spread, table

ROWS = [["zero-shot", 50.0, None], ["a < b", 61.25, "2 s"]]
COLUMNS = {"method": "", "h": ".1f", "time": ""}


def test_text_aligns_the_first_column_left():
    assert table(ROWS, COLUMNS).splitlines() == [
        "method        h  time",
        "zero-shot  50.0     –",
        "a < b      61.2   2 s",
    ]


def test_text_with_given_widths():
    lines = table(ROWS, COLUMNS, widths=(12, 8)).splitlines()
    assert lines[1] == "zero-shot       50.0       –"


def test_markdown():
    assert table(ROWS, COLUMNS, "markdown").splitlines() == [
        "| method | h | time |",
        "| --- | --- | --- |",
        "| zero-shot | 50.0 | – |",
        "| a < b | 61.2 | 2 s |",
    ]


def test_html_escapes_and_marks_a_row():
    text = table(ROWS, COLUMNS, "html", marked="a < b")
    assert "<td><b>→ a &lt; b</b></td>" in text and "<th>time</th>" in text
    assert text.count("<tr>") == 3 and "<td>zero-shot</td>" in text


def test_columns_may_be_plain_headings():
    assert table([["a", "b"]], ["x", "y"]).splitlines() == ["x  y", "a  b"]


def test_wrong_style_and_wrong_row_are_errors():
    with pytest.raises(ValueError, match="not 'latex'"):
        table(ROWS, COLUMNS, "latex")
    with pytest.raises(ValueError):
        table([["only one"]], COLUMNS)


def test_spread():
    assert spread([0.5, 0.6, 0.7]) == "60.0 [50.0–70.0]"
    assert spread([0.5]) == "50.0" and spread([]) == ""
    assert spread([3, 4], factor=1, digits=0) == "4 [3–4]"
