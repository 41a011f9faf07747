"""The application's code: looked at, and never run."""
