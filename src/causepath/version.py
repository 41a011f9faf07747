"""The one place that says the plugin's version."""

__version__ = "0.1.0"
