"""The router's web side: the webhook, the inbox and its pages, the JSON list, health and metrics."""
