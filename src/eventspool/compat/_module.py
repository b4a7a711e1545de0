"""
The module of an SDK of the family: settings that are assigned, and functions that use them at the first call.

A setting is checked where it is assigned: a name that no SDK of the family has, or one that has no equivalent here, raises
``ConfigError`` at that line. What the functions share, ``default_client``, is an attribute of the module like every other one.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from eventspool._config.signature import show_unbound
from eventspool._guest.log import Log
from eventspool.compat._options import NAMES, OTHERS, OWN, check_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from eventspool.compat._calls import Calls
    from eventspool.compat._client import PeerClient

__all__ = ["Face"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_C = TypeVar("_C", bound="Calls")
_log = Log("eventspool")


class _FaceModule(ModuleType):
    """A module whose settings are checked where they are assigned."""

    def __setattr__(self, name: str, value: Any) -> None:
        face: Face = self.__dict__["_face"]
        if name == "default_client":
            face.made = []
        elif name not in self.__dict__ and not (name.startswith("_") or isinstance(value, ModuleType)):
            check_names({name: value}, self.__name__)
        elif name in face.settings and value != self.__dict__[name] and self.default_client is not None:
            _log.warning("%s.%s was assigned too late: default_client is made already", self.__name__, name)
        super().__setattr__(name, value)


class Face:
    """
    The functions of one module, and the client behind them.

    Args:
        module: Its name. Its ``Client`` is what the first call makes.
        urls: Settings for the host beside ``host``, which go before it.
    """

    def __init__(self, module: str, *, urls: tuple[str, ...] = ()) -> None:
        self.module = sys.modules[module]
        self.made: list[PeerClient] = []
        """Clients that threads have made at the same time. All take the first one; the others begin nothing."""
        self._urls = urls
        self.settings = frozenset((*NAMES, *OTHERS, *OWN, *urls))

    def check_assignments(self) -> None:
        """Check each setting where it is assigned, from now on: the module is complete."""
        self.module.__class__ = _FaceModule

    def client(self) -> PeerClient:
        """Return the default client. Make it of the settings, where there is none."""
        assigned = self.module.__dict__
        client: PeerClient | None = assigned["default_client"]
        if not client:
            made, fresh = self.made, assigned["Client"](**self._options())
            made.append(fresh)
            client = assigned["default_client"] = made[0]
            if client is not fresh:  # with a queue it would begin to deliver by itself
                fresh.client.end()
        return client

    def _options(self) -> dict[str, Any]:
        assigned = self.module.__dict__
        options = {name: assigned[name] for name in (*NAMES, *OTHERS, *OWN) if name in assigned}
        for name in self._urls:
            options["host"] = assigned[name] or options["host"]
        return options

    def call(self, method: Callable[Concatenate[_C, _P], _R]) -> Callable[_P, _R]:
        """Return the function that calls *method* of the default client."""

        @wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            result: _R = getattr(self.client(), method.__name__)(*args, **kwargs)
            return result

        show_unbound(call, method)
        call.__module__ = self.module.__name__
        return call

    def call_silently(self, method: Callable[Concatenate[_C, _P], object]) -> Callable[_P, None]:
        """Return the function that calls *method* of the default client, and returns nothing."""
        function = self.call(method)

        @wraps(method)
        def call(*args: _P.args, **kwargs: _P.kwargs) -> None:
            function(*args, **kwargs)

        show_unbound(call, method)
        call.__module__ = self.module.__name__
        return call
