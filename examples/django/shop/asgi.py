"""For ASGI servers: ``uvicorn shop.asgi:application``."""

import os

from django.core.asgi import get_asgi_application

import eventspool.integrations.asgi  # +

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = eventspool.integrations.asgi.Lifespan(get_asgi_application())  # +
