"""The local data plane: a real HTTP server for tests, which counts what arrives and fails on demand."""

from eventspool._dataplane.ledger import RequestRecord, Stats
from eventspool._dataplane.rules import Rule, parse_rule
from eventspool._dataplane.server import DEFAULT_WRITE_KEY, DataPlane

__all__ = ["DEFAULT_WRITE_KEY", "DataPlane", "RequestRecord", "Rule", "Stats", "parse_rule"]
