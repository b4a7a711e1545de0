"""How eventspool behaves as a guest in the host's process: its threads, forks, exits and log lines."""
