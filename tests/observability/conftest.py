"""Clients of a real local data plane."""

from e2e.fixtures import clients, plane

__all__ = ["clients", "plane"]
