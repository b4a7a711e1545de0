"""The second step: events wait in memory, are cut into batches, and go into the queue. Who waits for them is kept."""
