"""The commands and options of skopeo 1.22. Source: cmd/skopeo of its repository at 1.22.0-dev, hidden ones too."""


def _words(*texts: str) -> frozenset[str]:
    return frozenset(f"--{word}" for text in texts for word in text.split())


def _sided(text: str) -> str:
    return " ".join(f"{side}-{word}" for side in ("src", "dest") for word in text.split())


_REACH = "authfile cert-dir tls-verify creds username password registry-token no-creds"
_PLACE = "daemon-host shared-blob-dir"
_RETRY = "retry-times retry-delay"
_SIGN = "sign-by sign-by-sigstore sign-by-sigstore-private-key sign-by-sq-fingerprint sign-passphrase-file"
_FORM = f"format preserve-digests remove-signatures {_SIGN}"
GLOBAL = _words(
    "command-timeout debug insecure-policy override-arch override-os override-variant policy registries-conf",
    "registries.d require-signed tls-details tls-verify tmpdir user-agent-prefix version",
)
COMMANDS = {
    "copy": _words(
        "authfile tls-verify screds dcreds all multi-arch additional-tag digestfile quiet image-parallel-copies",
        "sign-identity encryption-key encrypt-layer decryption-key dest-compress dest-compress-format",
        "dest-compress-level dest-decompress dest-force-compress-format dest-oci-accept-uncompressed-layers",
        f"dest-precompute-digests {_FORM} {_RETRY}",
        _sided(f"{_REACH} {_PLACE}"),
    ),
    "sync": _words(
        "authfile tls-verify screds dcreds src dest all scoped append-suffix digestfile dry-run keep-going",
        f"{_FORM} {_RETRY}",
        _sided(_REACH),
    ),
    "inspect": _words(f"{_REACH} {_PLACE} {_RETRY} raw config format no-tags manifest-digest"),
    "delete": _words(f"{_REACH} {_PLACE} {_RETRY}"),
    "layers": _words(f"{_REACH} {_PLACE} {_RETRY}"),
    "list-tags": _words(f"{_REACH} {_RETRY}"),
    "login": _words("authfile compat-auth-file cert-dir get-login password password-stdin tls-verify username verbose"),
    "logout": _words("authfile compat-auth-file all tls-verify"),
    "manifest-digest": _words(),
    "generate-sigstore-key": _words("output-prefix passphrase-file"),
    "standalone-sign": _words("output passphrase-file"),
    "standalone-verify": _words("public-key-file"),
}
NEWER = ("generate-sigstore-key",)
"""Commands that the installed skopeo does not have."""
LEFT_OUT = ("experimental-image-proxy",)
"""Hidden commands that are for other programs."""
SHORT = {
    "-a": "--all",
    "-d": "--dest",
    "-f": "--format",
    "-n": "--no-tags",
    "-o": "--output",
    "-p": "--password",
    "-q": "--quiet",
    "-s": "--src",
    "-u": "--username",
    "-v": "--verbose",
}
