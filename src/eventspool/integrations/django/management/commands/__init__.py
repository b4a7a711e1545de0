"""The commands of `manage.py`: `eventspool`."""
