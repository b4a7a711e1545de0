"""The first step: a call of an event method becomes the final bytes of one event, on the caller's thread."""
