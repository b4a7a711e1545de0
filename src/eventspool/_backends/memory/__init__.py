"""The queue in this process's memory: not durable, and the readable reference of what every backend does."""

from eventspool._backends.memory.backend import MemoryBackend

__all__ = ["MemoryBackend"]
