"""One queue over several partitions, each of which is a queue in Redis with keys of its own: see ``backend``."""
