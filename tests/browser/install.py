"""Install the browser that the tests drive, where that can be done.

``make test`` runs this first. With a browser there it does nothing; as root
with apt-get it installs Debian's package; elsewhere it says what to do. In
CI (``CI`` is set) the exit code is 1 if there is no browser in the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from chromium import HELP, find_chromium


def can_install() -> bool:
    """Whether this is root on a system with apt-get."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return is_root and shutil.which("apt-get") is not None


def install() -> None:
    """Run apt-get; a failure is told by its own words."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
    subprocess.run([*quiet, "update"], env=env, check=False)
    subprocess.run(
        [*quiet, "install", "-y", "--no-install-recommends", "chromium"],
        env=env,
        check=False,
        stdout=subprocess.DEVNULL,
    )


def main() -> int:
    if find_chromium() is None and can_install():
        print("Installing Chromium, which tests the studio in a browser …")
        install()
    if find_chromium() is not None:
        return 0
    print(HELP, file=sys.stderr)
    if os.environ.get("CI"):
        return 1
    print("The browser tests will be skipped.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
