"""Encrypted layers: what skopeo encrypts is decrypted here and the other way round, for each kind of key."""

import json
import os
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from support.encryption_keys import LOCKED_PERSON, PASSPHRASE, PERSON, KeyFolder
from support.images import ImageBytes, make_image, make_index, write_layout
from support.registry_server import RegistryServer
from transship.pipeline.cli.main import main
from transship.pipeline.digest import Digest

IMAGE = make_image("encrypted", docker=False, layers=2)
ENC = "org.opencontainers.image.enc."
# By name: for whom, and what opens it (skopeo wants a certificate beside the key for PKCS #7).
WAYS = {
    "jwe-rsa": ("jwe:{rsa.pub}", ["{rsa.pem}"]),
    "jwe-ec": ("jwe:{ec.pub}", ["{ec.pem}"]),
    "jwe-der": ("jwe:{rsa.pub}", ["{rsa.der}"]),
    "jwe-locked": ("jwe:{rsa.pub}", [f"{{locked.pem}}:pass={PASSPHRASE}"]),
    "pkcs7": ("pkcs7:{rsa.crt}", ["{rsa.pem}", "{rsa.crt}"]),
    "pgp": (f"pgp:{PERSON}", ["{ann.sec}"]),
    "pgp-locked": (f"pgp:{LOCKED_PERSON}", [f"{{bob.sec}}:{PASSPHRASE}"]),
}
# skopeo 1.9 takes a passphrase for a part of the file's name.
SKOPEOS = {name: way for name, way in WAYS.items() if "locked" not in name}


class Files:
    """Layouts in one folder, and the two programs that copy between them."""

    def __init__(self, folder: Path, keys: KeyFolder) -> None:
        self.folder = folder
        self.keys = keys

    def named(self, text: str) -> str:
        """Fill in the places of keys, spelt {rsa.pem}."""
        for file in self.keys.path.iterdir():
            text = text.replace(f"{{{file.name}}}", str(file))
        return text

    def options(self, recipients: list[str], secrets: list[str]) -> list[str]:
        words = [f"--encryption-key={self.named(one)}" for one in recipients]
        return words + [f"--decryption-key={self.named(one)}" for one in secrets]

    def copy(
        self, source: str, to: str, *words: str, encrypt: tuple[str, ...] = (), decrypt: tuple[str, ...] = ()
    ) -> int:
        options = self.options(list(encrypt), list(decrypt))
        return main(["copy", "-q", *options, *words, self.place(source), self.place(to)])

    def skopeo(self, source: str, to: str, encrypt: tuple[str, ...] = (), decrypt: tuple[str, ...] = ()) -> None:
        words = ["skopeo", "--insecure-policy", "copy", "-q", *self.options(list(encrypt), list(decrypt))]
        subprocess.run([*words, self.place(source), self.place(to)], check=True, timeout=120, env=self.keys.environment)

    def place(self, text: str) -> str:
        return text if ":" in text else f"oci:{self.folder}/{text}:v1"

    def manifest(self, name: str) -> dict[str, Any]:
        index = json.loads((self.folder / name / "index.json").read_bytes())
        found: dict[str, Any] = json.loads(self.blob(name, index["manifests"][0]["digest"]))
        return found

    def blob(self, name: str, digest: str) -> bytes:
        return (self.folder / name / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()

    def plain(self, name: str) -> bool:
        """Say whether a layout holds the image as it was before."""
        manifest = self.manifest(name)
        layers = [(layer["mediaType"], layer["digest"]) for layer in manifest["layers"]]
        before = [(layer["mediaType"], layer["digest"]) for layer in IMAGE.document["layers"]]  # type: ignore[attr-defined]
        same = layers == before and manifest["config"]["digest"] == IMAGE.document["config"]["digest"]  # type: ignore[index]
        left = [key for layer in manifest["layers"] for key in layer.get("annotations", {}) if key.startswith(ENC)]
        return same and not left and all(Digest.of(self.blob(name, digest)).hex == digest[7:] for _, digest in layers)


@pytest.fixture
def files(tmp_path: Path, key_folder: KeyFolder, monkeypatch: pytest.MonkeyPatch) -> Files:
    write_layout(tmp_path / "src", {"v1": IMAGE})
    monkeypatch.setenv("GNUPGHOME", str(key_folder.gnupg))
    return Files(tmp_path, key_folder)


@pytest.mark.parametrize(("recipient", "secrets"), SKOPEOS.values(), ids=SKOPEOS)
def test_what_is_encrypted_here_skopeo_decrypts(files: Files, recipient: str, secrets: list[str]) -> None:
    assert files.copy("src", "sealed", encrypt=(recipient,)) == 0
    files.skopeo("sealed", "out", decrypt=tuple(secrets))
    assert files.plain("out")


@pytest.mark.parametrize(("recipient", "secrets"), WAYS.values(), ids=WAYS)
def test_what_skopeo_encrypts_is_decrypted_here(files: Files, recipient: str, secrets: list[str]) -> None:
    files.skopeo("src", "sealed", encrypt=(recipient,))
    assert files.copy("sealed", "out", decrypt=tuple(secrets)) == 0
    assert files.plain("out")


ALL = (
    "jwe:{rsa.pub}",
    "jwe:{ec.pub}",
    "pkcs7:{rsa.crt}",
    "pkcs7:{stranger.crt}",
    f"pgp:{PERSON}",
    f"pgp:{LOCKED_PERSON}",
)


def test_each_of_several_recipients_opens_it_whoever_encrypted(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    assert files.copy("src", "ours", encrypt=ALL) == 0
    files.skopeo("src", "theirs", encrypt=ALL)
    for sealed in ("ours", "theirs"):
        for number, key in enumerate(["{rsa.pem}", "{ec.pem}", "{stranger.pem}", "{ann.sec}"]):
            assert files.copy(sealed, f"{sealed}-{number}", decrypt=(key,)) == 0, capsys.readouterr().err
            assert files.plain(f"{sealed}-{number}")
    files.skopeo("ours", "out", decrypt=("{stranger.pem}", "{stranger.crt}"))
    assert files.plain("out")


def test_a_key_that_does_not_fit_is_no_harm_beside_one_that_does(files: Files) -> None:
    assert files.copy("src", "sealed", encrypt=("jwe:{rsa.pub}",)) == 0
    assert files.copy("sealed", "out", decrypt=("{stranger.pem}", "{rsa.crt}", "{ann.sec}", "{rsa.pem}")) == 0
    assert files.plain("out")


def test_a_key_may_be_a_jwk_that_names_its_algorithm(files: Files, tmp_path: Path) -> None:
    from jwcrypto import jwk  # noqa: PLC0415

    key = jwk.JWK.from_pem((files.keys.path / "ec.pem").read_bytes())
    for name, text in (("private", key.export_private()), ("public", key.export_public())):
        (tmp_path / name).write_text(json.dumps({**json.loads(text), "alg": "ECDH-ES+A128KW"}))
    assert files.copy("src", "sealed", encrypt=(f"jwe:{tmp_path}/public",)) == 0
    files.skopeo("sealed", "theirs", decrypt=(f"{tmp_path}/private",))
    assert files.copy("sealed", "ours", decrypt=(f"{tmp_path}/private",)) == 0
    assert files.plain("theirs")
    assert files.plain("ours")


@pytest.mark.parametrize(
    ("chosen", "sealed"),
    [([], [0, 1]), (["0"], [0]), (["-1"], [1]), (["-2,1"], [0, 1]), (["1", "1"], [1])],
    ids=["none given", "first", "last", "both", "twice"],
)
def test_the_layers_that_are_named_are_encrypted_and_nothing_else_changes(
    files: Files, chosen: list[str], sealed: list[int]
) -> None:
    words = [f"--encrypt-layer={text}" for text in chosen]
    assert files.copy("src", "sealed", *words, encrypt=("jwe:{rsa.pub}", "pkcs7:{rsa.crt}")) == 0
    made = files.manifest("sealed")
    before: Any = IMAGE.document
    assert made["config"] == before["config"]
    for number, (old, new) in enumerate(zip(before["layers"], made["layers"], strict=True)):
        if number in sealed:
            assert new["mediaType"] == old["mediaType"] + "+encrypted"
            assert new["size"] == old["size"]
            assert sorted(new["annotations"]) == [f"{ENC}keys.jwe", f"{ENC}keys.pkcs7", f"{ENC}pubopts"]
        else:
            assert new == old


def test_a_number_of_no_layer_is_an_error_and_leaves_nothing(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    for number in ("2", "-3"):
        assert files.copy("src", "sealed", f"--encrypt-layer={number}", encrypt=("jwe:{rsa.pub}",)) == 1
        assert f"no layer {number} to encrypt, it has 2" in capsys.readouterr().err
    assert sorted(os.listdir(files.folder)) == ["src"]


def test_no_two_layers_share_a_key_and_no_two_copies_a_ciphertext(files: Files) -> None:
    for name in ("one", "two"):
        assert files.copy("src", name, encrypt=("jwe:{rsa.pub}",)) == 0
    digests = {layer["digest"] for name in ("one", "two") for layer in files.manifest(name)["layers"]}
    assert len(digests) == 4


def test_an_image_of_dockers_becomes_ocis_as_with_skopeo(files: Files) -> None:
    write_layout(files.folder / "docker", {"v1": make_image("docker", layers=1)})
    assert files.copy("docker", f"dir:{files.folder}/sealed", encrypt=("jwe:{rsa.pub}",)) == 0
    made = json.loads((files.folder / "sealed/manifest.json").read_bytes())
    assert made["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert made["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
    files.skopeo(f"dir:{files.folder}/sealed", "out", decrypt=("{rsa.pem}",))


@pytest.mark.parametrize("packing", ["zstd", "gzip"])
def test_layers_can_be_packed_anew_before_and_after(files: Files, packing: str) -> None:
    wish = ("--dest-compress-format", packing, "--dest-compress-again")
    assert files.copy("src", "sealed", *wish, encrypt=("jwe:{rsa.pub}",)) == 0
    assert [layer["mediaType"].rpartition(".")[2] for layer in files.manifest("sealed")["layers"]] == [
        f"tar+{packing}+encrypted"
    ] * 2
    assert files.copy("sealed", "plain", "--dest-decompress", decrypt=("{rsa.pem}",)) == 0
    assert [layer["digest"] for layer in files.manifest("plain")["layers"]] == [
        str(layer.diff_id) for layer in IMAGE.layers
    ]


def test_plain_tars_are_encrypted_too(files: Files) -> None:
    image = make_image("tars", docker=False, layers=1, compressed=False)
    write_layout(files.folder / "tars", {"v1": image})
    assert files.copy("tars", "sealed", encrypt=("jwe:{rsa.pub}",)) == 0
    files.skopeo("sealed", "theirs", decrypt=("{rsa.pem}",))
    assert files.copy("sealed", "ours", decrypt=("{rsa.pem}",)) == 0
    for name in ("theirs", "ours"):
        assert files.manifest(name)["layers"][0]["digest"] == str(image.layers[0].diff_id)


def test_every_platform_of_an_index_is_encrypted_and_layers_that_they_share_once(files: Files) -> None:
    base = IMAGE.layers[:1]
    children = [
        make_image(f"child-{n}", docker=False, layers=1, base_layers=base, platform=f"linux/{name}")
        for n, name in enumerate(("amd64", "arm64"))
    ]
    write_layout(files.folder / "index", {"v1": make_index(children, docker=False)})
    assert files.copy("index", "sealed", "--all", encrypt=("jwe:{rsa.pub}",)) == 0
    made = [json.loads(files.blob("sealed", entry["digest"])) for entry in files.manifest("sealed")["manifests"]]
    assert all(layer["mediaType"].endswith("+encrypted") for one in made for layer in one["layers"])
    assert made[0]["layers"][0] == made[1]["layers"][0]
    assert files.copy("sealed", "out", "--all", decrypt=("{rsa.pem}",)) == 0


def test_through_a_registry_as_through_files(files: Files, open_registry: RegistryServer) -> None:
    place = f"docker://{open_registry.name}/encrypted/app:v1"
    plain = ("--src-tls-verify=false", "--dest-tls-verify=false")
    assert files.copy("src", place, *plain, encrypt=("jwe:{ec.pub}",)) == 0
    assert files.copy(place, "out", *plain, decrypt=("{ec.pem}",)) == 0
    assert files.plain("out")


def test_without_a_key_what_is_encrypted_goes_along_as_it_is(files: Files) -> None:
    assert files.copy("src", "sealed", encrypt=("jwe:{rsa.pub}",)) == 0
    assert files.copy("sealed", "again") == 0
    assert files.manifest("again") == files.manifest("sealed")
    # Encrypted twice it would be opened by nobody.
    assert files.copy("sealed", "twice", encrypt=("jwe:{ec.pub}",)) == 0
    assert files.manifest("twice") == files.manifest("sealed")


@pytest.mark.parametrize("to", ["docker-archive:{}/a.tar:a/b:c", "dir:{}/out"])
def test_dockers_formats_hold_no_encrypted_layer_and_get_decrypted_ones(
    files: Files, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    wish = ("--format", "v2s2") if to.startswith("dir") else ()
    place = to.format(files.folder)
    assert files.copy("src", "sealed", encrypt=("jwe:{rsa.pub}",)) == 0
    before = sorted(os.listdir(files.folder))
    assert files.copy("src", place, *wish, encrypt=("jwe:{rsa.pub}",)) == 1
    assert "no encrypted layers" in capsys.readouterr().err
    assert files.copy("sealed", place, *wish) == 1
    assert "is encrypted, which Docker's formats do not hold" in capsys.readouterr().err
    assert sorted(os.listdir(files.folder)) == before
    assert files.copy("sealed", place, *wish, decrypt=("{rsa.pem}",)) == 0
    source = place if to.startswith("dir") else place.removesuffix(":a/b:c")
    assert files.copy(source, "back", "--dest-decompress") == 0
    assert [layer["digest"] for layer in files.manifest("back")["layers"]] == [
        str(layer.diff_id) for layer in IMAGE.layers
    ]


def test_what_has_no_encrypted_form_is_refused_and_never_left_open(
    files: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    document: Any = json.loads(IMAGE.manifest_raw)
    document["layers"][1]["mediaType"] = "application/vnd.in-toto+json"
    odd = ImageBytes(json.dumps(document).encode(), IMAGE.media_type, IMAGE.blobs)
    write_layout(files.folder / "odd", {"v1": odd})
    assert files.copy("odd", "sealed", encrypt=("jwe:{rsa.pub}",)) == 1
    assert "'application/vnd.in-toto+json' has no encrypted form" in capsys.readouterr().err
    assert files.copy("odd", "sealed", "--encrypt-layer", "0", encrypt=("jwe:{rsa.pub}",)) == 0


@pytest.mark.parametrize("words", [(), ("--dest-decompress",)], ids=["kept", "unpacked"])
def test_a_layer_passes_through_in_pieces(files: Files, words: tuple[str, ...]) -> None:
    size = 48 << 20
    write_layout(files.folder / "large", {"v1": make_image("large", docker=False, layers=1, layer_size=size)})
    # Loads what is loaded once.
    assert files.copy("src", "loaded", encrypt=("jwe:{ec.pub}",)) == 0
    tracemalloc.start()
    try:
        assert files.copy("large", "sealed", *words, encrypt=("jwe:{ec.pub}",)) == 0
        assert files.copy("sealed", "open", *words, decrypt=("{ec.pem}",)) == 0
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size // 3
