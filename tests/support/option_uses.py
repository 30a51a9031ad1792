"""A command line for every option of skopeo 1.22, and how its outcome is compared; `test_every_option` runs them."""

import re
from typing import NamedTuple

from support.fixtures import USER
from support.skopeo_options import COMMANDS, SHORT

LOGIN = f"--creds {USER}:PASSWORD"
REACH = "--cert-dir CERTS --authfile auth.json"
IMAGE, LIST = "docker://HOST/options/app:v1", "docker://HOST/options/multi:v1"


class Use(NamedTuple):
    """A command line; how what it does is compared: "same" in output, files and exit code, or as its test says."""

    words: str
    how: str = "same"

    @property
    def command(self) -> str:
        """The command, empty for the global options alone."""
        return next((word for word in self.words.split() if word in COMMANDS), "")

    @property
    def options(self) -> list[str]:
        found = [word.partition("=")[0] for word in self.words.split() if re.match("--?[a-z]", word)]
        return [SHORT.get(word, word) for word in found]


COPIES = [
    Use(f"copy -q --src-creds {USER}:PASSWORD --src-cert-dir CERTS {IMAGE} dir:OUT"),
    Use(f"copy -q --screds {USER}:PASSWORD --src-cert-dir CERTS {IMAGE} dir:OUT"),
    Use(f"copy -q --src-username {USER} --src-password PASSWORD --src-tls-verify=false {IMAGE} dir:OUT"),
    Use(f"copy -q --src-authfile auth.json --authfile none.json --src-cert-dir CERTS --retry-times 1 {IMAGE} dir:OUT"),
    Use(f"copy --quiet --authfile auth.json --tls-verify=false --digestfile OUT.digest {IMAGE} dir:OUT"),
    Use(f"copy -q --authfile auth.json --src-no-creds --src-cert-dir CERTS {IMAGE} dir:OUT", "fails"),
    Use(f"copy -q --src-registry-token abc --src-cert-dir CERTS {IMAGE} dir:OUT", "fails"),
    Use(f"copy -q --dest-creds {USER}:PASSWORD --dest-cert-dir CERTS dir:one docker://HOST/options/OUT:v1"),
    Use(f"copy -q --dcreds {USER}:PASSWORD --dest-tls-verify=false dir:one docker://HOST/options/OUT:v1"),
    Use(
        f"copy -q --dest-username {USER} --dest-password PASSWORD --dest-cert-dir CERTS --dest-precompute-digests"
        " dir:one docker://HOST/options/OUT:v1"
    ),
    Use("copy -q --dest-authfile auth.json --dest-cert-dir CERTS dir:one docker://HOST/options/OUT:v1"),
    Use("copy -q --authfile auth.json --dest-no-creds --dest-cert-dir CERTS dir:one docker://HOST/a/b:c", "fails"),
    Use("copy -q --dest-registry-token abc --dest-cert-dir CERTS dir:one docker://HOST/a/b:c", "fails"),
    Use("copy -q --all dir:list dir:OUT"),
    Use("copy -q -a --format oci dir:plainlist oci:OUT:v1"),
    Use("copy -q --multi-arch index-only dir:list dir:OUT"),
    Use("copy -q --multi-arch all --preserve-digests dir:list dir:OUT"),
    Use("copy -q --multi-arch system -f v2s2 oci:layout:v1 dir:OUT", "made"),
    Use("copy -q --all --multi-arch all dir:list dir:OUT", "fails"),
    Use("copy -q=true --all=false --remove-signatures dir:one dir:OUT"),
    Use("copy -q --dest-decompress dir:one dir:OUT", "layers"),
    Use("copy -q --dest-compress dir:plain dir:OUT", "layers"),
    Use("copy -q --dest-compress --dest-decompress dir:one dir:OUT", "fails"),
    Use("copy -q --dest-compress-format gzip --dest-compress-level 9 oci:plain.layout:v1 oci:OUT:v1", "layers"),
    Use("copy -q --dest-oci-accept-uncompressed-layers oci:plain.layout:v1 oci:OUT:v1"),
    Use("copy -q --dest-shared-blob-dir OUT.blobs oci:layout:v1 oci:OUT:v1"),
    Use("copy -q --src-shared-blob-dir layout/blobs oci:named:v1 dir:OUT"),
    Use("copy -q --additional-tag a.example/b:c,d:e --additional-tag=f:g dir:one docker-archive:OUT.tar:h:i", "names"),
    Use("copy -q --image-parallel-copies 2 --retry-delay 1ms dir:one dir:OUT", "ours"),
    Use("copy -q --dest-force-compress-format --dest-compress-format gzip oci:plain.layout:v1 oci:OUT:v1", "ours"),
    # What they do, test_encryption.py compares.
    Use("copy -q --encryption-key x dir:one dir:OUT", "fails"),
    Use("copy -q --decryption-key x dir:one dir:OUT", "fails"),
    Use("copy -q --encrypt-layer 0 dir:one dir:OUT", "fails"),
]
FROM = "sync --src docker --dest dir"
SYNCS = [
    Use(f"{FROM} --src-creds {USER}:PASSWORD --src-cert-dir CERTS HOST/options/app OUT"),
    Use(f"{FROM} --src-username {USER} --src-password PASSWORD --src-tls-verify=false HOST/options/app OUT"),
    Use(f"sync -s docker -d dir --screds {USER}:PASSWORD --src-cert-dir CERTS HOST/options/app OUT"),
    Use(f"sync -s dir -d docker --dcreds {USER}:PASSWORD --dest-cert-dir CERTS images HOST/options/OUT"),
    Use("sync -s docker -d dir --src-authfile auth.json --tls-verify=false --scoped HOST/options/app OUT"),
    Use(f"{FROM} --authfile auth.json --src-cert-dir CERTS --all --retry-times 1 HOST/options/multi OUT"),
    Use(
        f"{FROM} --authfile auth.json --src-cert-dir CERTS --preserve-digests --remove-signatures HOST/options/app OUT"
    ),
    Use(f"{FROM} --authfile auth.json --src-cert-dir CERTS --format v2s2 --keep-going HOST/options/app OUT"),
    Use(f"{FROM} --authfile auth.json --src-no-creds --src-cert-dir CERTS HOST/options/app OUT", "fails"),
    Use(f"{FROM} --src-registry-token abc --src-cert-dir CERTS HOST/options/app OUT", "fails"),
    Use(f"sync --src dir --dest docker --dest-creds {USER}:PASSWORD --dest-cert-dir CERTS images HOST/options/OUT"),
    Use(
        f"sync --src dir --dest docker --dest-username {USER} --dest-password PASSWORD --dest-tls-verify=false"
        " images HOST/options/OUT"
    ),
    Use("sync --src dir --dest docker --dest-authfile auth.json --dest-cert-dir CERTS images HOST/options/OUT"),
    Use(
        "sync --src dir --dest docker --authfile auth.json --dest-no-creds --dest-cert-dir CERTS images HOST/a", "fails"
    ),
    Use("sync --src dir --dest docker --dest-registry-token abc --dest-cert-dir CERTS images HOST/a", "fails"),
    Use(f"{FROM} --authfile auth.json --src-cert-dir CERTS --retry-delay 1ms HOST/options/app OUT", "ours"),
]
QUERIES = [
    *(
        Use(f"{what} {words}", how)
        for what in (f"inspect {IMAGE}", "list-tags docker://HOST/options/app", f"layers {IMAGE}")
        for words, how in (
            (f"{LOGIN} --cert-dir CERTS --retry-times 1", "same"),
            (f"--username {USER} --password PASSWORD --tls-verify=false", "same"),
            ("--authfile auth.json --no-creds --cert-dir CERTS", "fails"),
            ("--registry-token abc --cert-dir CERTS", "fails"),
            (f"{REACH} --retry-delay 1ms", "ours"),
        )
    ),
    Use(f"delete {LOGIN} --cert-dir CERTS --retry-times 1 docker://HOST/options/OUT-gone:v1"),
    Use(f"delete --username {USER} --password PASSWORD --tls-verify=false docker://HOST/options/OUT-gone:v1"),
    Use(f"delete {REACH} --no-creds {IMAGE}", "fails"),
    Use(f"delete --registry-token abc --cert-dir CERTS {IMAGE}", "fails"),
    Use(f"delete {REACH} --retry-delay 1ms docker://HOST/options/OUT-gone:v1", "ours"),
    Use(f"inspect {REACH} --raw {LIST}"),
    Use(f"inspect {REACH} --config {LIST}"),
    Use(f"inspect {REACH} --raw --config {LIST}"),
    Use(f"inspect {REACH} -n --format {{{{.Digest}}}}{{{{.Name}}}} {IMAGE}"),
    Use("inspect --shared-blob-dir layout/blobs oci:named:v1"),
    Use("layers --shared-blob-dir layout/blobs oci:named:v1"),
    Use("manifest-digest one/manifest.json"),
]
GLOBALS = [
    Use("--override-arch arm64 --override-os linux --override-variant v8 inspect --raw --config dir:list"),
    Use("--override-arch arm64 copy -q dir:list dir:OUT"),
    Use("--insecure-policy --command-timeout 60s --tmpdir . --registries-conf registries.conf inspect --raw dir:one"),
    Use("--tls-verify=false inspect --raw dir:one"),
    Use("--registries.d . --tls-details details.yaml --user-agent-prefix x inspect dir:one", "ours"),
    Use("--debug inspect --raw dir:one"),
    Use("--version", "version"),
]
USES = [*COPIES, *SYNCS, *QUERIES, *GLOBALS]
_SIGNING = "test_simple_signing.py::"
ELSEWHERE = {
    f"{_SIGNING}test_what_one_signs_the_other_accepts": {"copy": "--sign-by --sign-identity"},
    f"{_SIGNING}test_a_key_that_is_not_there_or_stays_locked_is_one_line": {"copy": "--sign-passphrase-file"},
    f"{_SIGNING}test_sequoias_command_is_asked_for_where_it_is_missing": {"copy": "--sign-by-sq-fingerprint"},
    f"{_SIGNING}test_which_policy_counts": {"": "--policy --require-signed"},
    f"{_SIGNING}test_standalone_signatures_go_both_ways": {
        "standalone-sign": "--output",
        "standalone-verify": "--public-key-file",
    },
    f"{_SIGNING}test_a_passphrase_comes_from_a_file": {"standalone-sign": "--passphrase-file"},
    "test_trust_run.py::test_a_sync_signs_what_it_copies": {"sync": "--sign-by --sign-passphrase-file"},
    "test_trust_run.py::test_a_sync_asks_for_sequoias_command_too": {"sync": "--sign-by-sq-fingerprint"},
    "test_daemon.py::test_image_of_the_engine_becomes_a_layout_with_its_config_and_plain_layers": {
        "copy": "--src-daemon-host"
    },
    "test_daemon.py::test_engine_runs_what_was_copied_from_a_registry": {"copy": "--dest-daemon-host"},
    "test_sync.py::test_a_dry_run_says_what_it_would_do_and_touches_nothing": {"sync": "--dry-run"},
    "test_sync.py::test_digests_in_a_source_file_and_in_the_digest_file": {"sync": "--append-suffix --digestfile"},
    "test_inspect.py::test_the_digest_can_be_of_another_algorithm": {"inspect": "--manifest-digest"},
    "test_daemon.py::test_inspect_and_layers_ask_the_engine_that_is_named": {
        "inspect": "--daemon-host",
        "layers": "--daemon-host",
        "delete": "--daemon-host",
    },
    "test_delete.py::test_of_a_layout_that_shares_its_blobs_goes_the_name_alone": {"delete": "--shared-blob-dir"},
    "test_sigstore_commands.py::test_what_is_signed_on_its_way_into_a_registry_passes_the_policy_on_its_way_out": {
        "copy": "--sign-by-sigstore-private-key"
    },
    "test_sigstore_commands.py::test_a_parameter_file_signs_by_fulcio_and_by_rekor": {"copy": "--sign-by-sigstore"},
    "test_sigstore_sync.py::test_a_sync_signs_as_it_is_told": {
        "sync": "--sign-by-sigstore --sign-by-sigstore-private-key"
    },
    "test_sigstore_keys.py::test_a_pair_is_made_for_the_owner_alone_and_says_where_as_skopeo_does": {
        "generate-sigstore-key": "--output-prefix --passphrase-file"
    },
    "test_login.py::test_a_helper_keeps_gives_and_forgets": {"login": "--username --password-stdin --verbose"},
    "test_login.py::test_each_uses_and_forgets_what_the_other_keeps": {"login": "--password --get-login --tls-verify"},
    "test_login.py::test_docker_reads_what_is_written_for_it": {"login": "--compat-auth-file --authfile"},
    "test_login.py::test_a_registry_with_tls_is_known_by_its_certificate": {"login": "--cert-dir"},
    "test_login.py::test_other_registries_and_unknown_fields_stay": {"logout": "--all --authfile"},
    "test_login.py::test_logout_forgets_in_the_file_for_docker": {"logout": "--compat-auth-file --tls-verify"},
}
"""What needs more than a command line and a folder, by the test that has that."""
