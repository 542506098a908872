"""What happens around an action of the studio: one at a time, and told.

Callbacks change the value of HTML widgets and print nothing, since what a
callback prints has no cell to appear under. JupyterLab may run them in threads
beside that of the cells.
"""

from __future__ import annotations

import functools

from ...models.pictures import UnreadablePicture
from .html import shown_name


def told(action):
    """One callback at a time; tell its error in the status line."""

    @functools.wraps(action)
    def wrapper(self, *args):
        with self._working:
            try:
                action(self, *args)
            except KeyboardInterrupt:  # Interrupt Kernel, in the menu
                self._say("Stopped. Do it again to go on from there.")
            except UnreadablePicture as reason:  # of the one on show: say which
                name = self.state.pictures[self.ui.picture.value].name
                self._say(f"{shown_name(name)}: {reason}", is_problem=True)
            except Exception as error:  # nobody else would see it
                self._say(str(error) or type(error).__name__, is_problem=True)

    return wrapper


def by_person(action):
    """Heed a change only if a person made it, not this program."""

    @functools.wraps(action)
    def wrapper(self, *args):
        with self._working:  # else it might be another thread that fills
            if not self._is_filling:
                told(action)(self, *args)

    return wrapper


def job(action):
    """What may take long: meanwhile nothing else can be pressed."""

    @functools.wraps(action)
    def wrapper(self, *args):
        with self._busy():
            action(self, *args)

    return wrapper


def of_picture(action):
    """Done only to the picture that was on show when it was asked for."""

    @functools.wraps(action)
    def wrapper(self, *args):
        asked = self._on_show()
        with self._working:
            if self.ui.picture.value is None and not self._is_filling:
                return self._say(self._about(), is_problem=True)
            if asked == self._on_show():
                return action(self, *args)
            self._draw()
            self._say(f"Not done: another picture is on show now. {self._about()}")

    return wrapper
