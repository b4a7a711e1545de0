"""``eventspool dashboard``: the queue in a browser. Served by Starlette; everything in the page is ours and local."""
