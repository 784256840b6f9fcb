"""Exporters: read watched systems cheaply, say only what is known, and answer in time whatever happens."""
