"""Which build of torch set-up fetches, without fetching any."""

import re
import subprocess
import sys

import pytest

from vlmtutor import install

PINNED = "torch==2.13.0+cpu"


@pytest.fixture(autouse=True)
def without_the_lock(monkeypatch):
    monkeypatch.delenv("LOCKED", raising=False)


class Pip:
    """Notes what is asked of it; ``has`` says what each index offers."""

    def __init__(self, *has):
        self.has, self.asked = has, []

    def __call__(self, *words, quiet=True):
        index = words[words.index("--index-url") + 1] if "--index-url" in words else ""
        self.asked.append(index)
        assert words[-1] == PINNED and "--no-deps" in words
        return index in self.has


@pytest.mark.parametrize(
    ("has", "told", "reachable", "asked", "found"),
    [
        ([""], False, True, [""], True),  # the user's index has it
        ([install.TORCH_INDEX], False, True, ["", install.TORCH_INDEX], True),
        ([install.TORCH_INDEX], True, True, [""], False),  # another index is pinned
        ([install.TORCH_INDEX], False, False, [""], False),  # no way there
        ([], False, True, ["", install.TORCH_INDEX], False),
    ],
)
def test_where_the_small_build_is_looked_for(has, told, reachable, asked, found):
    pip = Pip(*has)
    where = {"told": lambda: told, "reachable": lambda url: reachable}
    assert install.install_small_torch("2.13.0", pip, **where) is found
    assert pip.asked == asked


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("", False),
        ("global.cert='/etc/ssl/ca.crt'\n:env:.timeout='180'\n", False),
        ("global.index-url='https://mirror.example/simple'\n", True),
        (":env:.extra-index-url='https://mirror.example'\n", True),
        ("install.find-links='/wheels'\n", True),
        ("global.no-index='true'\n", True),
    ],
)
def test_pips_own_settings_win(settings, told):
    def run(command, **how):
        assert command[1:] == ["-m", "pip", "config", "list"]
        return subprocess.CompletedProcess(command, 0, settings, "")

    assert install.pip_is_told_where(run) is told


def test_a_card_or_a_torch_leaves_the_choice_to_pip(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(install, "pip_install", lambda *w, **k: asked.append(w) or True)
    monkeypatch.setattr(sys, "platform", "linux")
    for torch, card in ((True, False), (False, True)):
        monkeypatch.setattr(install, "has_torch", lambda torch=torch: torch)
        monkeypatch.setattr(install, "has_nvidia_card", lambda card=card: card)
        assert install.main() == 0
    assert asked == [("-r", str(install.REQUIREMENTS))] * 2
    assert "MB" not in capsys.readouterr().out


def test_the_size_is_said_before_the_download(monkeypatch, capsys):
    said = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(install, "has_torch", lambda: False)
    monkeypatch.setattr(install, "has_nvidia_card", lambda: False)
    monkeypatch.setattr(install, "pip_is_told_where", lambda: True)

    def no_small_build(*words, quiet=True):
        said.append(capsys.readouterr().out)
        return words[0] == "-r"

    monkeypatch.setattr(install, "pip_install", no_small_build)
    monkeypatch.setattr(
        install.install_small_torch,
        "__defaults__",
        (
            no_small_build,
            lambda: True,
            lambda url: False,
        ),
    )
    assert install.main() == 0
    assert "200 MB" in said[0]
    assert "gigabytes" in said[1]


def test_the_pin_is_that_of_the_requirements(tmp_path):
    assert PINNED == f"torch=={install.torch_pin()}+cpu"
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    with pytest.raises(ValueError, match="pins no torch"):
        install.torch_pin(tmp_path / "requirements.txt")


def test_set_up_needs_nothing_but_python():
    code = (
        "import sys, runpy; sys.modules.update(dict.fromkeys(('torch', 'numpy')));"
        f"runpy.run_path({install.__file__!r})"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True)
    assert done.returncode == 0, done.stderr


def locked():
    """name → version of the lock file; each must have a hash."""
    entries = re.split(r"\n(?=[a-z])", "\n" + install.LOCK.read_text("utf-8"))[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    return dict(re.match(r"([\w.-]+)==([\w.]+)", entry).groups() for entry in entries)


def test_the_lock_holds_what_the_requirements_pin():
    found = locked()
    text = install.REQUIREMENTS.read_text("utf-8")
    pins = dict(re.findall(r"^([\w-]+)==([\w.]+)", text, flags=re.M))
    assert pins.pop("torch") and "torch" not in found
    pins = {name.replace("_", "-"): version for name, version in pins.items()}
    assert {name: found[name] for name in pins} == pins
    assert not [name for name in found if name.startswith(("nvidia", "cuda"))]


def test_a_hash_that_differs_ends_set_up(monkeypatch):
    asked = []
    monkeypatch.setenv("LOCKED", "1")
    monkeypatch.setattr(
        install, "pip_install", lambda *words, quiet=True: asked.append(words)
    )
    assert install.main() == 1
    assert asked == [("--no-deps", "--require-hashes", "-r", str(install.LOCK))]
