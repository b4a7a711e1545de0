"""Where jobs are kept: in this process's memory, or by one of the stores that ``eventspool._config.stores`` registers."""

from eventspool._backends.protocol import Backend
from eventspool._backends.stores import Store, create_backend, import_driver

__all__ = ["Backend", "Store", "create_backend", "import_driver"]
