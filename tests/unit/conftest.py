"""Examples have no deadline here: on a busy machine it says nothing about the code."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("unit", deadline=None, max_examples=60)
settings.load_profile("unit")
