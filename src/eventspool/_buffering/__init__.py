"""The second step: events wait in memory, are cut into batches, and go into the queue."""
