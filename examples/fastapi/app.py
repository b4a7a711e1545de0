"""A shop in FastAPI. Who asks stands in the header ``Authorization``, and, once that is checked, in ``request.state``."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Request

import eventspool.integrations.asgi

app = FastAPI(lifespan=eventspool.integrations.asgi.lifespan)  # +
app.add_middleware(eventspool.integrations.asgi.Middleware, user=lambda s: s["state"].get("user"))  # +


def authenticate(request: Request, authorization: Annotated[str, Header()] = "") -> None:
    """Find out who asks. A real shop would check a signature."""
    scheme, _, user = authorization.partition(" ")
    if scheme != "Bearer" or not user:
        raise HTTPException(401)
    request.state.user = user


@app.post("/orders", dependencies=[Depends(authenticate)])
def order(sku: str) -> dict[str, Any]:
    """Order something, on a thread of the server's pool."""
    return {"event": eventspool.track(event="Order Completed", properties={"sku": sku})}


@app.get("/products/{sku}", dependencies=[Depends(authenticate)])
async def look(sku: str) -> dict[str, Any]:
    """Look at something, on the event loop."""
    return {"event": eventspool.track(event="Product Viewed", properties={"sku": sku})}
