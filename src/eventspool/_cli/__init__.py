"""The command line of eventspool. It calls the library and shows the answers."""
