"""zstd:chunked: a layer whose files can be fetched one by one, as Podman does.

Source: containers/storage, docs/containers-storage-zstd-chunked.md and pkg/chunked.
"""
