"""What becomes of events, and what waits to learn it: the fifth step of the pipeline, on the way back."""
