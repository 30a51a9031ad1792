"""Which configuration files container tools read, and in what order. Source: containers-config(5)."""

import os
import pwd
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SYSTEM: Final = (Path("/etc/containers"), Path("/usr/share/containers"))
"""The administrator's folder, then that of the distribution."""


def user_folder(environ: Mapping[str, str]) -> Path | None:
    """Return where the user's own files are, None for a user without a home."""
    home = environ.get("HOME", "")
    config = environ.get("XDG_CONFIG_HOME", "") or (f"{home}/.config" if home else "")
    return Path(config, "containers") if config else None


def first_file(name: str, environ: Mapping[str, str], system: tuple[Path, ...] = SYSTEM) -> Path | None:
    """Return the one file called ``name`` that counts: the user's, else the first of the ``system``."""
    own = user_folder(environ)
    for folder in (own, *system) if own else system:
        if os.path.lexists(folder / name):
            return folder / name
    return None


def policy_file(environ: Mapping[str, str], system: tuple[Path, ...] = SYSTEM) -> Path | None:
    """Return the policy.json that counts, None where there is none anywhere.

    Who verifies must not miss one: the user's home is that of the password file where HOME says nothing, its
    ``.config`` counts whatever XDG_CONFIG_HOME says, as for other container tools, and what cannot be looked into
    counts as there: reading it then says why.
    """
    home = environ.get("HOME", "") or _home()
    own = user_folder(environ)
    folders = [Path(home, ".config/containers")] if home else []
    for folder in (*folders, *([own] if own else []), *system):
        try:
            (folder / "policy.json").lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass
        return folder / "policy.json"
    return None


def _home() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def drop_ins(
    name: str, suffix: str, environ: Mapping[str, str], system: tuple[Path, ...] = SYSTEM, user: int | None = None
) -> list[Path]:
    """Return the files of the folders ``NAME+SUFFIX.d`` in the order to read them, the last one winning.

    They go by their names alone, whichever folder they are in; of files with one name the user's counts, else the
    administrator's. ``user`` is the user ID that ``.rootful`` and ``.rootless`` folders are chosen by.

    Raises:
        OSError: a folder is there and cannot be read.
    """
    own = user_folder(environ)
    found: dict[str, Path] = {}
    folders = [own / f"{name}{suffix}.d"] if own else []
    for folder in system:
        folders += _below(folder, name, suffix, os.getuid() if user is None else user)
    for folder in reversed(folders):
        found |= {path.name: path for path in files_in(folder, suffix or ".yaml", missing=True)}
    return [found[key] for key in sorted(found)]


def files_in(folder: Path, suffix: str, *, missing: bool = False) -> list[Path]:
    """Return the files in ``folder`` that end so, sorted; none of a folder that is ``missing`` where it may be.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        if missing:
            return []
        raise
    return [folder / name for name in sorted(names) if name.endswith(suffix) and not (folder / name).is_dir()]


def _below(folder: Path, name: str, suffix: str, user: int) -> list[Path]:
    if user == 0:
        special = [folder / f"{name}.rootful{suffix}.d"]
    else:
        rootless = folder / f"{name}.rootless{suffix}.d"
        special = [rootless / str(user), rootless]
    return [*special, folder / f"{name}{suffix}.d"]
