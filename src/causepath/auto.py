"""`import causepath.auto` enables the plugin; so does `CAUSEPATH=1` in the environment."""

from causepath.instrumentor import instrument

instrument()
