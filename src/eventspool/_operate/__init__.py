"""What operators do with a queue. The command line, the dashboard and the checks of ``doctor`` are built on it."""
