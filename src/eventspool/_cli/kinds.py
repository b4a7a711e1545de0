"""
What documents the command line prints as JSON. Each has a JSON Schema in the folder ``schemas``, by the part before the slash.

The number is the version of the schema. It grows when a field goes away or means something else; a field that is added does
not change it.
"""

from __future__ import annotations

import enum

__all__ = ["Kind"]


class Kind(enum.StrEnum):
    """The kinds of things, as the field ``schema`` of a document names them."""

    ACTION = "action/1"
    CAPACITY = "capacity/1"
    COMPLETION = "completion/1"
    DASHBOARD = "dashboard/1"
    DATAPLANE = "dataplane/1"
    DEMO = "demo/1"
    DEV = "dev/1"
    DOCTOR = "doctor/1"
    EDIT = "edit/1"
    ERASURE = "erasure/1"
    ERROR = "error/1"
    EXPORT = "export/1"
    FAILURES = "failures/1"
    HEALTH = "health/1"
    IMPORT = "import/1"
    JOB = "job/1"
    KIND = "kind/1"
    MOVE = "move/1"
    PAUSE = "pause/1"
    PURGE = "purge/1"
    QUEUES = "queues/1"
    RESIZE = "resize/1"
    RETRY = "retry/1"
    SEND = "send/1"
    STATUS = "status/1"
    TOKEN = "token/1"  # noqa: S105 - a kind, and no secret
    WORKER = "worker/1"
