"""Where the signatures of images are: registries.d under the options and the environment."""

import argparse
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from transship.pipeline.docker_name import DockerReference
from transship.pipeline.lookaside import RegistriesD, Signatures
from transship.pipeline.registry import config_files

_DECIDING: Final = ("HOME", "XDG_CONFIG_HOME")
"""Variables that say where registries.d is."""


def kept(options: argparse.Namespace, reference: DockerReference) -> Signatures:
    """Return where signatures of an image are read and written; the files are read once.

    Raises:
        UsageError: as `config_yaml.read_registries_d`.
    """
    found = _read(options.registries_d, tuple(os.environ.get(name, "") for name in _DECIDING))
    return found.signatures(reference, usual_lookaside(os.environ))


def usual_lookaside(environ: Mapping[str, str]) -> str:
    """Return the URL of the store of signatures where registries.d says nothing."""
    own = environ.get("HOME", "/") + "/.local/share/containers/sigstore"
    return f"file://{'/var/lib/containers/sigstore' if os.geteuid() == 0 else own}"


@lru_cache(maxsize=4)
def _read(folder: str, _: tuple[str, ...]) -> RegistriesD:
    if not folder and not config_files.drop_ins("registries", "", os.environ):
        return RegistriesD()
    from transship.pipeline.cli.config_yaml import read_registries_d  # noqa: PLC0415 - YAML takes long to load

    return read_registries_d(os.environ, folder)
