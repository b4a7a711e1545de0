"""The suite of tests that every backend passes: ours, and those that users write (``eventspool.testing.QueueContract``)."""
