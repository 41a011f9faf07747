"""Where spans go: to the application's tracer provider, else to one of our own."""
