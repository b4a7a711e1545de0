"""``eventspool dashboard``: the queue in a browser. Starlette serves it; the page loads nothing from elsewhere."""
