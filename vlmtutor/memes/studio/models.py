"""The models that the studio can switch between, and fetch.

A distilled student, or any other CLIP, can be chosen if it is a folder in
the hub's format, as ``save_pretrained`` and ``load_clip`` have it, and stands
in ``runs``, the folder for what you train yourself. So a student that a
notebook saves as ``../runs/my_student`` is offered as "my student".
"""

from __future__ import annotations

from collections.abc import Callable

from ...models import hub


def ready_models() -> dict[str, str]:
    """What opens without a network: label → name for ``load_clip``."""
    return {known.label: known.id for known in hub.known() if known.is_here}


def missing_models() -> dict[str, hub.Known]:
    """What can be fetched: what to show → the model, the smallest first."""
    return {
        f"{known.label} ({known.megabytes} MB, {known.licence})": known
        for known in hub.known()
        if not known.is_here
    }


def fetch_model(name: str, say: Callable[[str], None]) -> None:
    """Fetch a model into the cache; ``say`` is told how far it is.

    Raises ModelNotFound within seconds if the hub cannot be reached.
    """
    hub.download(
        name,
        lambda done, total: say(f"{done / 1e6:,.0f} of {total / 1e6:,.0f} MB …"),
    )
