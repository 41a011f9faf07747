"""Replies on their way to the application: events, bytes, and the time between them."""
