"""The last step: batches are claimed from the queue, sent to the data plane, and settled by what it answered."""
