"""What screens show: other encodings, control codes in names."""

import os
import subprocess
import sys

import pytest

from vlmtutor.__main__ import COMMANDS
from vlmtutor.console import fail, printable, say


def on_a_console(code, encoding):
    """The output of some code in a Python whose screen has an encoding."""
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp932", "utf-8"])
def test_a_console_without_the_tick_gets_words(encoding):
    code = """if True:
        import numpy as np, vlmtutor as vt
        from vlmtutor.figures import show
        vt.claim('naïve is ≤ 日本', True, cosine=0.5)
        vt.check_shape(np.zeros((2, 3)), 'B N')
        vt.check_exercise('half', lambda x: x / 2, [((4,), 2)])
        show(np.eye(4), 'A map → 日本.')
    """
    said = on_a_console(code, encoding)
    mark = "✓" if encoding == "utf-8" else "[OK]"
    assert said.count(mark) == 3
    assert f"{mark} [B=2, N=3]" in said and f"{mark} half: 1 case" in said
    assert "(cosine 0.5)" in said and "A map " in said


def test_every_command_explains_itself_on_any_console():
    code = """if True:
        from vlmtutor.__main__ import COMMANDS, main
        main(['--help'])
        for name in COMMANDS:
            try:
                main([name, '--help'])
            except SystemExit as stop:
                assert not stop.code
    """
    said = on_a_console(code, "ascii")
    assert all(f"python -m vlmtutor {name}" in said for name in COMMANDS)


def test_what_can_be_encoded_is_printed_as_it_is(capsys):
    say("✓ a → b")
    assert capsys.readouterr().out == "✓ a → b\n"


def test_control_codes_are_escaped():
    assert printable("a\x1b[31m\u202eb\n\udcff") == "a\\x1b[31m\\u202eb\\n\\udcff"
    assert printable("two\nlines é 猫", keep="\n") == "two\nlines é 猫"


def test_a_failure_is_told_without_control_codes(capsys):
    assert fail(OSError("no file \x1b]0;x\x07here")) == 1
    assert capsys.readouterr().err == "[FAIL] no file \\x1b]0;x\\x07here\n"


def test_only_an_error_of_lines_has_several(capsys):
    fail(FileNotFoundError("there is no a\n[OK] b"))
    fail(ValueError("nothing in a\r\n[OK] b"))
    assert capsys.readouterr().err == (
        "[FAIL] there is no a\\n[OK] b\n[FAIL] nothing in a\\r\\n[OK] b\n"
    )
    fail(RuntimeError("looked for\n  - one"))
    fail("one\ntwo")
    assert capsys.readouterr().err.count("\n") == 4
