"""Registries over HTTP: connections and their pace, logging in, and the distribution API."""
