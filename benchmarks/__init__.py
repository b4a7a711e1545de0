"""What eventspool costs and what it achieves, measured beside its peers in one run. See README.md."""
