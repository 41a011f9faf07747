"""OpenTelemetry: attribute names, spans, context and metrics. Only this room knows its insides."""
