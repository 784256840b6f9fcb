"""The catalogue's alerts, one module per watched subject: each has ``alerts(settings)``."""
