"""The queue in a SQLite file: every step is one transaction."""
