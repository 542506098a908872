"""The command that runs everything says what failed, and goes on."""

import everything
import pytest

TESTS = """
import pytest

def test_good():
    pass

def test_bad(record_property):
    record_property("kind", "a claim failed")
    assert 1 > 2

def test_worse():
    raise OSError("no")

@pytest.mark.skip(reason="there is no browser")
def test_skipped():
    pass
"""


@pytest.fixture
def parts(tmp_path, monkeypatch):
    tests = tmp_path / "test_small.py"
    tests.write_text(TESTS)
    found = {
        "style": ("-c", "print('fine')"),
        "unit": ("-m", "pytest", "-q", "--junitxml={report}", str(tests)),
        "torn": ("-c", "import os; os._exit(7)", "{report}"),
        "last": ("-c", "print('ran to the end')"),
    }
    monkeypatch.setattr(everything, "PARTS", found)
    return found


def test_all_parts_run_and_the_summary_tells_the_kinds_apart(parts, capfd):
    assert everything.main([]) == 1
    told = capfd.readouterr().out.partition("== Summary")
    assert "ran to the end" in told[0]
    lines = [line.strip() for line in told[2].splitlines()]
    assert "1 × a claim failed" in lines
    assert "1 × test" in lines
    assert "skipped 1: there is no browser" in lines
    assert "torn ended with exit code 7" in lines
    assert [line.split()[:2] for line in lines if " min" in line][:4] == [
        ["style", "passed"],
        ["unit", "FAILED"],
        ["torn", "FAILED"],
        ["last", "passed"],
    ]
    assert lines[-1].startswith("Not all is well")


def test_the_exit_code_is_0_only_if_all_is_well(parts, capfd):
    assert everything.main(["style", "last"]) == 0
    assert "All is well" in capfd.readouterr().out
    assert everything.main(["torn"]) == 1


def test_an_unknown_part_is_named(capsys):
    assert everything.main(["unti"]) == 2
    assert "'unti'" in capsys.readouterr().err


def test_every_test_file_belongs_to_a_part():
    unit = " ".join(everything.PARTS["unit"])
    assert "tests" in unit and "test_browser_*" in unit
    assert len(everything.BROWSER) >= 2
    for file in everything.SMOKE["tests"]:
        if file.endswith(".py"):
            assert (everything.ROOT / file).is_file()
