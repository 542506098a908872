"""Run everything, even where one part fails, and say what failed and why.

``make test`` runs this: style, unit tests, browser tests, notebooks.  Words
name parts to run, say ``python tests/everything.py unit notebooks``.  The exit
code is 0 if all is well, else 1.
"""

from __future__ import annotations

import collections
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSER = sorted(str(p) for p in (ROOT / "tests").glob("test_browser_*.py"))
PYTEST = ("-m", "pytest")
# Two processes with one thread each do more than one process with two.
WORKERS = str(min(2, os.cpu_count() or 1))
# part → Python's arguments; those that take {report} write JUnit's XML there
PARTS = {
    "style": ("-m", "ruff", "check", "."),
    "format": ("-m", "ruff", "format", "--check", "."),
    "unit": (
        *PYTEST,
        *("-n", WORKERS, "--dist", "loadfile"),
        *("tests", "--junitxml={report}", "--ignore-glob=*test_browser_*"),
    ),
    "chromium": ("tests/browser/install.py",),
    "browser": (*PYTEST, "--junitxml={report}", *BROWSER),
    "notebooks": (
        *("-m", "vlmtutor", "notebooks", "--check", "--report", "{report}"),
        *("--threads", "1", "--workers", WORKERS),
    ),
}
# Whether a computer will do, in a minute: a look at it, then a few tests.
SMOKE = {
    "computer": ("-m", "vlmtutor", "check"),
    "tests": (
        *PYTEST,
        "--junitxml={report}",
        "tests/test_shipped_model.py",
        "tests/test_claims.py",
        "tests/test_figures.py",
        "tests/test_images_folder.py",
    ),
}


@dataclass
class Part:
    """How a part went: cases run, what failed, what was skipped and why."""

    name: str
    code: int
    seconds: float
    cases: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # (kind, case)
    skipped: dict[str, int] = field(default_factory=dict)  # reason → cases


def read_report(part: Part, report: Path) -> None:
    """Add what JUnit's XML tells to a part.

    Without a report, or with a torn one, the part itself is what failed.
    """
    try:
        cases = list(ET.parse(report).getroot().iter("testcase"))
    except (OSError, ET.ParseError):
        cases = []
    part.cases = len(cases)
    reasons = collections.Counter()
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            kinds = [
                p.get("value") for p in case.iter("property") if p.get("name") == "kind"
            ]
            part.failed.append((kinds[0] if kinds else "test", name))
        elif (skip := case.find("skipped")) is not None:
            reasons[skip.get("message") or "no reason"] += 1
    part.skipped = dict(reasons)


def run_part(name: str, command: tuple[str, ...]) -> Part:
    """Run one part to its end; its output goes to the terminal."""
    print(f"\n== {name}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [word.format(report=report) for word in command]
        begun = time.monotonic()
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        code = subprocess.run([sys.executable, *words], cwd=ROOT, env=env).returncode
        part = Part(name, code, time.monotonic() - begun)
        if "{report}" in " ".join(command):
            read_report(part, report)
    if code and not part.failed:
        part.failed.append(("stopped", f"{name} ended with exit code {code}"))
    return part


def summary(parts: list[Part]) -> str:
    """What a person wants to know when they come back."""
    lines = ["", "== Summary"]
    for part in parts:
        state = "FAILED" if part.failed else "passed"
        cases = f", {part.cases} cases" if part.cases else ""
        lines.append(f"{part.name:10} {state} in {part.seconds / 60:.1f} min{cases}")
        for reason, n in part.skipped.items():
            lines.append(f"    skipped {n}: {reason}")
        for kind, n in collections.Counter(k for k, _ in part.failed).items():
            lines.append(f"    {n} × {kind}")
            lines += [f"        {case}" for k, case in part.failed if k == kind]
    minutes = sum(part.seconds for part in parts) / 60
    good = not any(part.failed for part in parts)
    lines.append(f"{'All is well' if good else 'Not all is well'}: {minutes:.1f} min")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    parts = PARTS
    if words == ["smoke"]:
        parts = SMOKE
    elif words:
        unknown = set(words) - set(PARTS)
        if unknown:
            print(f"no part {sorted(unknown)}: {', '.join(PARTS)}", file=sys.stderr)
            return 2
        parts = {name: PARTS[name] for name in words}
    os.chdir(ROOT)
    done = [run_part(name, command) for name, command in parts.items()]
    print(summary(done))
    return 1 if any(part.failed for part in done) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
