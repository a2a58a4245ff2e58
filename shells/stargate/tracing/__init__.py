"""Traces: spans of exchanges on their way to an OpenTelemetry collector. It needs the extra `otel`."""
