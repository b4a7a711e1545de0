"""A shop in Flask. Who is logged in stands in the session, as usual."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, abort, request, session

import eventspool.integrations.wsgi

app = Flask(__name__)
app.secret_key = os.environ.get("SHOP_SECRET", "for-development-only")
app.wsgi_app = eventspool.integrations.wsgi.Middleware(app.wsgi_app, user=lambda _: session.get("user"))  # +


@app.post("/login")
def login() -> dict[str, Any]:
    """Log in. A real shop would ask for more than a name."""
    session["user"] = request.form["user"]
    return {"user": session["user"]}


@app.post("/orders")
def order() -> dict[str, Any]:
    """Order something."""
    if "user" not in session:
        abort(401)
    event = eventspool.track(event="Order Completed", properties={"sku": request.form["sku"]})
    return {"event": event}
