"""``transship generate-sigstore-key``: a pair of keys to sign images with."""

import argparse
import os
from pathlib import Path

from transship.pipeline.cli.passphrase import passphrase
from transship.pipeline.disk import at_disk, disk_error, sync_directory, write_all
from transship.pipeline.errors import ConflictError, UsageError, shown
from transship.pipeline.trust.sigstore.keys import generate


def perform(options: argparse.Namespace) -> int:
    """Write PREFIX.private and PREFIX.pub, never over what is there; return 0."""
    if not options.output_prefix:
        raise UsageError("generate-sigstore-key: no --output-prefix", advice="say where the keys go")
    secret, public = f"{options.output_prefix}.private", f"{options.output_prefix}.pub"
    for path in (public, secret):
        if os.path.lexists(path):
            raise _there(path)
    private_pem, public_pem = generate(passphrase(secret, options.passphrase_file, "--passphrase-file"))
    _write(secret, private_pem, 0o600)
    try:
        _write(public, public_pem, 0o644)
    except BaseException:
        # Half a pair helps nobody, and the name would be taken.
        os.unlink(secret)
        raise
    with at_disk(Path(public)):
        sync_directory(os.path.dirname(public) or ".")
    print(f'Key written to "{shown(secret, 4096)}" and "{shown(public, 4096)}"')
    return 0


def _write(path: str, raw: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise _there(path) from None
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        write_all(handle, raw)
        os.fsync(handle)
    except BaseException as error:
        os.unlink(path)
        if isinstance(error, OSError):
            raise disk_error(path, error) from error
        raise
    finally:
        os.close(handle)


def _there(path: str) -> ConflictError:
    return ConflictError(f'Refusing to overwrite existing "{shown(path, 4096)}"', advice="choose another prefix")
