"""Sentences that are run: claims, shapes and checks of exercises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from numbers import Integral, Real

import numpy as np

from . import hidden
from .console import counted, say


class ClaimFailed(AssertionError):
    """What a notebook claimed is not so."""


class ExerciseFailed(AssertionError):
    """A function does not yet do what its exercise asks for."""


def claim(sentence: str, condition, source: str | None = None, **numbers) -> None:
    """Print "✓ sentence" if it is true, else raise ClaimFailed.

    ``condition`` is one truth value: a bool, a NumPy bool or a tensor with
    one bool; anything else raises TypeError, since a number is no claim.
    ``numbers`` are shown behind the sentence, rounded to three digits. Where
    a screen lacks "✓", "[OK]" stands for it.  What was not computed just now
    has a ``source``, say :func:`vlmtutor.stored.origin`, and gets that as its
    mark: never a "✓".
    """
    if not isinstance(sentence, str):
        raise TypeError(f"a claim is a sentence, then what it says: {_brief(sentence)}")
    if not _truth(condition):
        raise ClaimFailed(f"not so: {sentence}{_listed(numbers, digits=6)}")
    mark = "✓" if source is None else f"[{source}]"
    say(f"{mark} {sentence}{_listed(numbers, digits=3)}")


def check_shape(x, shape: str, **sizes: int) -> None:
    """Print "✓ [B=2, N=4]" if ``x`` has that shape, else raise ClaimFailed.

    ``shape`` names the axes, say "B N D"; a whole number stands for itself.
    An axis named twice must have one size, and ``sizes`` fixes some.
    Unknown names in ``sizes`` raise ValueError, an ``x`` without a shape
    TypeError.
    """
    if isinstance(x, str) or not isinstance(shape, str):
        raise TypeError("first the tensor, then its axes as one text: 'N M'")
    if not hasattr(x, "shape"):
        raise TypeError(f"a {type(x).__name__} has no shape: make it a tensor")
    axes, actual = shape.split(), tuple(x.shape)
    unknown = set(sizes) - set(axes)
    if unknown:
        raise ValueError(f"no axis {sorted(unknown)} in {shape!r}")
    found = dict(sizes)
    fits = len(axes) == len(actual)
    for axis, size in zip(axes, actual, strict=False):
        want = int(axis) if axis.isdigit() else found.setdefault(axis, size)
        fits = fits and want == size
    if not fits:
        wanted = ", ".join(f"{a}={sizes[a]}" if a in sizes else a for a in axes)
        apart = "" if len(axes) > 1 else f"; spaces part axes: {' '.join(shape)!r}"
        hint = apart if len(shape) == len(actual) else ""
        raise ClaimFailed(f"expected [{wanted}], got {list(actual)}{hint}")
    named = (
        a if a.isdigit() else f"{a}={n}" for a, n in zip(axes, actual, strict=True)
    )
    say(f"✓ [{', '.join(named)}]")


def check_exercise(
    name: str,
    function: Callable,
    cases: Iterable[tuple[Sequence, object]],
    tolerance: float = 1e-5,
) -> None:
    """Try a learner's function; print "✓" or raise ExerciseFailed.

    A case is (arguments, expected): a tuple of arguments, and the value that
    the function must return, or a function that takes the result and tells
    whether it is right (its docstring is shown when it is not).  Numbers and
    tensors may differ by ``tolerance``.  Errors of the function itself, such
    as a stub's NotImplementedError, pass through.  When these are right, cases
    of :mod:`vlmtutor.hidden` follow.
    """
    if not callable(function):
        raise TypeError(
            f"{name} needs your function, without brackets, not {_brief(function)}"
        )
    cases = list(cases)
    if not cases:
        raise ValueError("an exercise needs at least one case")
    unseen = hidden.cases(name)
    for number, (arguments, expected) in enumerate([*cases, *unseen], start=1):
        # A copy, so that changing an argument does not spoil later cases.
        result = function(*copy.deepcopy(tuple(arguments)))
        problem = _problem(result, expected, tolerance)
        if problem:
            given = ", ".join(_brief(a) for a in arguments)
            which = f"case {number} of {len(cases)}"
            if number > len(cases):
                which = "a case that the notebook does not show"
            raise ExerciseFailed(f"{name}, {which}: with ({given}) {problem}")
    more = " and a hidden one" if unseen else ""
    more = f" and {len(unseen)} hidden ones" if len(unseen) > 1 else more
    say(f"✓ {name}: {counted(len(cases), 'case')}{more}")


def _truth(condition) -> bool:
    """The one bool in it; TypeError for anything else."""
    array = _array(condition)
    if array.dtype != bool or array.size != 1:
        raise TypeError(
            "a claim needs one True or False, got "
            f"{_brief(condition)}: compare it with something, and reduce "
            "many truth values with .all() or .any()"
        )
    return bool(array.reshape(())[()])


def _array(value) -> np.ndarray:
    """As a NumPy array, out of torch's graph where needed."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # NumPy has no such type
            value = value.float()
        return value.numpy()
    return np.asarray(value)


def _number(value, digits: int) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        # "3.1e+02" reads badly: large numbers keep all their whole digits
        number = float(value)
        large = abs(number) >= 10**digits and np.isfinite(number)
        return f"{number:.0f}" if large else f"{number:.{digits}g}"
    if hasattr(value, "shape"):
        listed = _array(value).tolist()
        return _number(listed, digits)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_number(v, digits) for v in value) + "]"
    return str(value)


def _listed(numbers: dict, digits: int) -> str:
    if not numbers:
        return ""
    shown = (
        f"{name.replace('_', ' ')} {_number(value, digits)}"
        for name, value in numbers.items()
    )
    return f" ({', '.join(shown)})"


def _brief(value) -> str:
    """A short text for messages: long arrays become their shape."""
    if hasattr(value, "shape") and _array(value).size > 12:
        return f"an array of shape {list(value.shape)}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def _problem(result, expected, tolerance: float) -> str | None:
    """What is wrong with a result, or None."""
    if result is None and expected is not None:
        return "nothing came back: does it end with `return`?"
    if callable(expected):
        if _truth(expected(result)):
            return None
        rule = " ".join((expected.__doc__ or "").split())
        return f"the result {_brief(result)} is not right. {rule}".rstrip()
    if hasattr(expected, "shape") and tuple(expected.shape):
        if not hasattr(result, "shape"):
            kind = type(result).__name__
            return f"expected a tensor of shape {list(expected.shape)}, got a {kind}"
        shape = tuple(result.shape)
        if shape != tuple(expected.shape):
            return f"the shape should be {list(expected.shape)}, got {list(shape)}"
        a, b = _array(result), _array(expected)
        if (a.dtype == bool) != (b.dtype == bool):
            return f"expected {_kind(b)}, got {_kind(a)}"
    if not _same(result, expected, tolerance):
        place = _first_difference(result, expected, tolerance)
        return place or f"expected {_brief(expected)}, got {_brief(result)}"
    return None


def _kind(array: np.ndarray) -> str:
    return "True and False" if array.dtype == bool else f"numbers ({array.dtype})"


def _first_difference(result, expected, tolerance: float) -> str | None:
    """Where two arrays of one shape first differ; None for what is no array."""
    if not getattr(expected, "shape", None) or not hasattr(result, "shape"):
        return None
    a, b = _array(result), _array(expected)
    if a.dtype.kind not in "biuf" or (a.dtype == bool) != (b.dtype == bool):
        return None
    far = ~np.isclose(
        a.astype(float), b.astype(float), tolerance, tolerance, equal_nan=True
    )
    place = tuple(int(i) for i in np.argwhere(far)[0])
    wanted, got = (_number(x[place].item(), 4) for x in (b, a))
    return f"expected {wanted} at {list(place)}, got {got}"


def _same(a, b, tolerance: float) -> bool:
    if isinstance(b, dict):
        return (
            isinstance(a, dict)
            and a.keys() == b.keys()
            and all(_same(a[k], b[k], tolerance) for k in b)
        )
    if isinstance(b, str) or b is None:
        return isinstance(a, type(b)) and a == b
    if isinstance(b, (list, tuple)):
        return (
            not isinstance(a, (str, dict))
            and hasattr(a, "__len__")
            and len(a) == len(b)
            and all(_same(x, y, tolerance) for x, y in zip(a, b, strict=True))
        )
    try:
        a, b = _array(a), _array(b)
    except (TypeError, ValueError):
        return False
    if a.shape != b.shape or (a.dtype == bool) != (b.dtype == bool):
        return False
    if not (_numeric(a) and _numeric(b)):
        return a.dtype == b.dtype and bool(np.all(a == b))
    return np.allclose(
        a.astype(float), b.astype(float), tolerance, tolerance, equal_nan=True
    )


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "biuf"
