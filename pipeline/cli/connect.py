"""Connections to registries, under a plan's settings or the command line's."""

import argparse
import os
from collections.abc import Mapping
from functools import lru_cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from transship.pipeline.cli.signature_places import kept
from transship.pipeline.errors import UsageError
from transship.pipeline.manifest.platform import Platform, host
from transship.pipeline.registry.credentials import Credentials
from transship.pipeline.registry.namespaces import RegistriesConf
from transship.pipeline.registry.registries import Registries
from transship.pipeline.registry.settings import HostSettings, Patience
from transship.pipeline.registry.tls_details import TlsDetails

if TYPE_CHECKING:
    from transship.pipeline.jobs import RegistryAccess

_DECIDING: Final = ("HOME", "XDG_CONFIG_HOME", "CONTAINERS_REGISTRIES_CONF", "CONTAINERS_REGISTRIES_CONF_OVERRIDE")
"""Variables that say where registries.conf is."""


def connect(
    options: argparse.Namespace,
    default: HostSettings = HostSettings(),  # noqa: B008
    settings: Mapping[str, HostSettings] = MappingProxyType({}),
) -> Registries:
    """Return connections to registries: by ``settings``, by ``default`` to those that these say nothing of.

    What the global options say holds for all of them.

    Raises:
        UsageError: a file that these name is malformed.
    """
    everywhere = partial(_everywhere, agent_prefix=options.user_agent_prefix, tls=_tls_details(options))
    chosen = {host: everywhere(found) for host, found in settings.items()}
    return Registries(chosen, everywhere(default), os.environ, partial(configured, options), partial(kept, options))


def configured(options: argparse.Namespace) -> RegistriesConf:
    """Return what registries.conf says under the options and the environment; read once.

    Raises:
        UsageError: as `registries_conf.read`.
    """
    return _configured(options.registries_conf, tuple(os.environ.get(name, "") for name in _DECIDING))


@lru_cache(maxsize=4)
def _configured(named: str, _: tuple[str, ...]) -> RegistriesConf:
    from transship.pipeline.registry import registries_conf  # noqa: PLC0415 - copies between files need none

    return registries_conf.read(os.environ, named)


def check_files(options: argparse.Namespace) -> None:
    """Raise `UsageError` where a file or folder that a global option names is missing or malformed."""
    if options.registries_conf:
        configured(options)
    if options.registries_d:
        from transship.pipeline.cli.config_yaml import read_registries_d  # noqa: PLC0415

        read_registries_d(os.environ, options.registries_d)
    if not options.user_agent_prefix.isprintable() or not options.user_agent_prefix.isascii():
        raise UsageError("--user-agent-prefix: holds what no header can", advice="use printable ASCII")
    _tls_details(options)


def _tls_details(options: argparse.Namespace) -> TlsDetails:
    if not options.tls_details:
        return TlsDetails()
    from transship.pipeline.cli.config_yaml import read_tls_details  # noqa: PLC0415

    return read_tls_details(options.tls_details)


def _everywhere(settings: HostSettings, agent_prefix: str, tls: TlsDetails) -> HostSettings:
    return settings._replace(agent_prefix=agent_prefix, tls=tls)


def plan_settings(access: "Mapping[str, RegistryAccess]") -> dict[str, HostSettings]:
    """Return what a plan says of each registry."""
    return {
        host: HostSettings(
            tls_verify=found.tls_verify,
            cert_dir=found.cert_dir,
            authfile=found.authfile,
            concurrency=found.concurrency,
            patience=_patient(found.patience),
        )
        for host, found in access.items()
    }


def source_settings(options: argparse.Namespace, prefix: str) -> HostSettings:
    """Return what the command line says of reaching a registry, in options with ``prefix`` (such as ``src-``)."""
    words = vars(options)
    name = prefix.replace("-", "_")
    return HostSettings(
        tls_verify=words.get("tls_verify") if words[f"{name}tls_verify"] is None else words[f"{name}tls_verify"],
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
