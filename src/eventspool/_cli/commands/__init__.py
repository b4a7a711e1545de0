"""The commands: one module each, with its ``command``. A module that is here is a command; nothing else lists them."""
