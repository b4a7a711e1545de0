"""How the web integrations are used, for the type checker."""

from __future__ import annotations

from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.middleware import Middleware

from eventspool.integrations import asgi, django, wsgi

app = FastAPI(lifespan=asgi.lifespan)
app.add_middleware(asgi.Middleware, ip="anonymize", user=lambda scope: scope["state"].get("user"))
served = asgi.Lifespan(asgi.Middleware(Starlette(middleware=[Middleware(asgi.Middleware, page=False)])))
flask = Flask("shop")
flask.wsgi_app = wsgi.Middleware(flask.wsgi_app)  # type: ignore[method-assign] # as Flask's own documentation does
message_id: str | None = django.track("user-1", "Order Completed")
