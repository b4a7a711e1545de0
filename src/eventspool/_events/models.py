"""
The fields of models: pydantic, msgspec, attrs and dataclasses. None of these libraries is imported.

A pydantic model is written as pydantic itself would write it (its serializers, its types, masked secrets), but for the
kinds of values that every event writes in one way: bytes, decimals, durations, dates and times.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from eventspool._events.interruption import raise_interruption

__all__ = ["fields_of", "secret_text"]

_WRITTEN_OUR_WAY = (bytes, bytearray, Decimal, timedelta, datetime, date, time)


def fields_of(value: Any, kind: type, lineage: set[str]) -> Any:
    """Return a model's fields (a dict, or the value that a root model holds); ``None`` where *value* is no model."""
    if "pydantic.BaseModel" in lineage:
        return _pydantic_fields(value, kind) if hasattr(kind, "model_dump") else value.dict()
    if "msgspec.Struct" in lineage:
        names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
        fields = {encoded: getattr(value, name) for encoded, name in names}
        return {name: field for name, field in fields.items() if type(field).__name__ != "UnsetType"}
    if hasattr(kind, "__dataclass_fields__"):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(kind)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    return None


def secret_text(value: Any) -> str:
    """Return what pydantic shows of a secret: asterisks, or what the secret's own type shows instead."""
    shown = value._display() if hasattr(type(value), "_display") else str(value)  # noqa: SLF001 - what its JSON has
    return shown.decode() if isinstance(shown, bytes) else str(shown)


def _pydantic_fields(model: Any, kind: Any) -> Any:
    options: dict[str, Any] = {"warnings": False}  # its warnings show values
    try:
        inspect.signature(kind.model_dump).bind(model, mode="json", **options)
    except TypeError as error:  # the host's own method, with fewer parameters than it overrides
        raise_interruption(error)
        return model.model_dump()
    fields = model.model_dump(**options)
    try:
        as_json = model.model_dump(mode="json", **options)
    except Exception as error:  # noqa: BLE001 - our encoder writes some values that pydantic does not (bytes that are no text)
        raise_interruption(error)
        return fields
    return _chosen(fields, as_json, sys.modules["pydantic_core"].to_jsonable_python)


def _chosen(value: Any, as_json: Any, to_json: Any) -> Any:
    """Return *as_json*, where *value* is not of a kind that is written our way, and was not given a form of its own."""
    if isinstance(value, _WRITTEN_OUR_WAY):
        return value if to_json(value) == as_json else as_json
    if isinstance(value, dict) and isinstance(as_json, dict):
        if len(value) != len(as_json):  # two keys became one
            return value
        pairs = zip(value.values(), as_json.items(), strict=True)
        return {key: _chosen(each, written, to_json) for each, (key, written) in pairs}
    if isinstance(value, list | tuple) and isinstance(as_json, list) and len(value) == len(as_json):
        return [_chosen(each, written, to_json) for each, written in zip(value, as_json, strict=True)]
    if isinstance(value, AbstractSet) and any(isinstance(each, _WRITTEN_OUR_WAY) for each in value):
        return value
    return as_json
