"""One module per dashboard: what it asks, in the order in which people look."""
