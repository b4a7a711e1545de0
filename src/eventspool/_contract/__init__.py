"""The behavioural suite that every backend passes: ours, and anybody's own (``eventspool.testing.QueueContract``)."""
