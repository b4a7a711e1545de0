"""The terminal's side of eventspool: it asks the library's public parts and shows what they answer."""
