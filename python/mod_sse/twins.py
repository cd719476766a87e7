# SPDX-License-Identifier: Apache-2.0
"""The async twins, and how type checkers see them: with the arguments of what they are twins of."""

from typing import TYPE_CHECKING, Any, Callable, Coroutine, TypeVar

from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def twin(call: "Callable[P, T]") -> "Callable[P, Coroutine[Any, Any, T]]":
    """The same for ``async`` code; as an attribute of a class it is a method, as ``call`` is."""
    return sync_to_async(call)


def static(call: F) -> F:
    """``staticmethod`` that keeps the signature for type checkers that do not know it does."""
    return staticmethod(call)  # type: ignore[return-value]
