"""Connections to registries, under a plan's settings or the command line's."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transship.pipeline.registry.registries import Registries
from transship.pipeline.registry.settings import HostSettings

if TYPE_CHECKING:
    from transship.pipeline.jobs import RegistryAccess


def connect(access: "Mapping[str, RegistryAccess]", default: HostSettings | None = None) -> Registries:
    """Return connections to registries under a plan's settings and this process's environment."""
    settings = {
        host: HostSettings(
            tls_verify=found.tls_verify,
            cert_dir=found.cert_dir,
            authfile=found.authfile,
            concurrency=found.concurrency,
        )
        for host, found in access.items()
    }
    return Registries(settings, default or HostSettings(), os.environ)


def source_settings(options: argparse.Namespace, prefix: str) -> HostSettings:
    """Return what the command line says of reaching a registry, in options with ``prefix`` (such as ``src-``)."""
    words = vars(options)
    name = prefix.replace("-", "_")
    return HostSettings(
        tls_verify=words[f"{name}tls_verify"],
        cert_dir=words[f"{name}cert_dir"],
        authfile=words[f"{name}authfile"] or words.get("authfile", ""),
    )
