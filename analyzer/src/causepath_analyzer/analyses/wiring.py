"""The wiring of a program: is the plugin in it, does it see the model calls, and where do spans
go."""

from collections.abc import Mapping

from msgspec import Struct

TRACED_SDKS = ("anthropic", "openai", "google-genai")
"""The distributions of the model SDKs that the plugin traces."""


class Wiring(Struct, frozen=True):
    """The facts of one program, which has been run, or of the Python that would run one.

    ``installed`` has the versions of distributions where they were asked for. ``None``: not known.
    """

    python: str | None
    plugin: str | None
    """Its version; ``None``: it was not loaded."""
    installed: Mapping[str, str] | None
    imported: tuple[str, ...]
    calls: int
    to: tuple[str, ...]
    """Where spans go, or would go."""
    written: int | None
    """Spans of the program in the trace file; ``None``: no program was run."""
    complaints: tuple[str, ...] = ()
    nothing: str | None = None
    """The reason why it has written none."""

    def wrong(self) -> list[str]:
        """Says what keeps traces from being written, and what to type, the first thing first."""
        found = self._of_installation() if self.installed is not None else []
        if self.nothing is not None:
            found.append(self.nothing)
        elif self.plugin is not None and not self.to:
            found.append(
                "spans go nowhere: unset OTEL_SDK_DISABLED, or name an exporter in "
                "OTEL_TRACES_EXPORTER"
            )
        return [*found, *self.complaints]

    def _of_installation(self) -> list[str]:
        installed = self.installed or {}
        if "causepath" not in installed:
            return ["the plugin is not installed there: python -m pip install 'causepath[auto]'"]
        found = []
        if self.plugin is None:
            found.append(
                "the plugin is installed there, but Python does not load it as it starts (no .pth "
                "file is read with `pip install --target`): write python -m causepath agent.py"
            )
        if "opentelemetry-sdk" not in installed:
            found.append(
                "the OpenTelemetry SDK is not installed there, which writes the spans: "
                "python -m pip install 'causepath[auto]'"
            )
        if not any(name in installed for name in TRACED_SDKS):
            found.append(
                f"none of {', '.join(TRACED_SDKS)} is installed there: no model call would be seen"
            )
        return found
