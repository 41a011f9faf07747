"""The plugin as OpenTelemetry's tools know instrumentations, `opentelemetry-instrument` above all.

Apart from the rest, as the base class takes longer to import than the whole plugin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor

from causepath import instrumentor

if TYPE_CHECKING:
    from collections.abc import Collection


class CausepathInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """`causepath.instrument` and `causepath.uninstrument` as a class of OpenTelemetry."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Names no package: an SDK is patched when it is imported."""
        return ()

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        return instrumentor.is_enabled()

    def instrument(
        self,
        *,
        skip_dep_check: bool = False,  # noqa: ARG002 - nothing has to be installed
        raise_exception_on_conflict: bool = False,  # noqa: ARG002
        **kwargs: Any,
    ) -> None:
        """Do what `causepath.instrument` does, which says what it takes.

        OpenTelemetry's launcher gives more, of what has to be installed: nothing has.
        """
        self._instrument(**kwargs)

    def uninstrument(self) -> None:
        self._uninstrument()

    def _instrument(self, **kwargs: Any) -> None:
        instrumentor.instrument(**kwargs)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - as the base class has it
        instrumentor.uninstrument()
