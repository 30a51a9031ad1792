"""Connections to registries, under a plan's settings or the command line's."""

import argparse
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from transship.pipeline.errors import UsageError
from transship.pipeline.manifest.platform import Platform, host
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.registries import Registries
from transship.pipeline.registry.settings import HostSettings, Patience

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
            patience=_patient(found.patience),
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
        docker_host=words.get(f"{name}daemon_host", ""),
    )


def account_settings(options: argparse.Namespace, prefix: str) -> HostSettings:
    """Return `source_settings` with who to be and how often to try, in options with ``prefix``.

    Raises:
        UsageError: options that exclude each other.
    """
    words = vars(options)
    name = prefix.replace("-", "_")
    creds, user, password = (words[f"{name}{key}"] for key in ("creds", "username", "password"))
    anonymous = words[f"{name}no_creds"]
    if (creds is not None) + (user is not None or password is not None) + anonymous > 1:
        raise UsageError(
            f"--{prefix}creds, --{prefix}username and --{prefix}no-creds exclude each other", advice="keep one of them"
        )
    if (user is None) != (password is None):
        raise UsageError(f"--{prefix}username and --{prefix}password go together", advice="give both, or --creds")
    if creds is not None:
        user, _, password = creds.partition(":")
    if user == "":
        raise UsageError(
            f"--{prefix}creds or --{prefix}username: the user name is empty", advice="expected USER[:PASSWORD]"
        )
    found = source_settings(options, prefix)
    return found._replace(
        credentials=Credentials(user, password) if user else None,
        token=words[f"{name}registry_token"],
        anonymous=anonymous,
        patience=_patience(options, found.patience),
    )


def _patient(said: Mapping[str, float]) -> Patience:
    found = Patience(**{name.replace("-", "_"): value for name, value in said.items()})  # type: ignore[arg-type]
    return found._replace(
        tries_when_down=min(found.tries, found.tries_when_down),
        connect_timeout_when_down=min(found.connect_timeout, found.connect_timeout_when_down),
    )


def _patience(options: argparse.Namespace, usual: Patience) -> Patience:
    tries = usual.tries if options.retry_times is None else options.retry_times + 1
    return usual._replace(
        tries=tries,
        tries_when_down=min(tries, usual.tries_when_down),
        first_wait=options.retry_delay or usual.first_wait,
        longest_wait=options.retry_delay or usual.longest_wait,
    )


def wanted_platform(options: argparse.Namespace) -> Platform:
    """Return the platform that images are chosen for: this machine's, but for what ``--override-*`` says."""
    here = host()
    architecture = options.override_arch or here.architecture
    variant = options.override_variant or (here.variant if architecture == here.architecture else "")
    return Platform(options.override_os or here.os, architecture, variant)
