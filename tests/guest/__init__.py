"""Is the library a safe guest? In the host's process trees, at its exits, and whatever it is called with."""
