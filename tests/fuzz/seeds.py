"""Sound inputs of each target, to be mutated."""

import base64
import functools
import gzip
import io
import json
import tarfile
import tempfile
from pathlib import Path

import pyzstd

from support.hostile_bundles import members, sums
from support.images import make_image, make_multi, write_layout
from support.serving import write_docker_archive
from transship.pipeline.transports.frames import encode_table

_IMAGE = make_image("seed", layers=1, docker=False, layer_size=64)
_CONFIG = json.loads(_IMAGE.manifest_raw)["config"]
_INDEX = {
    "schemaVersion": 2,
    "manifests": [{**_CONFIG, "annotations": {"org.opencontainers.image.ref.name": "v1"}}],
}
_CHECKPOINT = {
    "version": 1, "task": "WriteImage", "seconds": 1.5,
    "result": {"bytes": 7, "root": _CONFIG, "losses": ["x"], "kept": [_CONFIG["digest"]], "hanging": [{}]},
}  # fmt: skip
_SOURCES = b"registry.example:\n  images:\n    app: [v1]\n  images-by-semver: {tool: '>=1'}\n  tls-verify: false\n"
_BATCH = (
    b"version: 1\nname: n\ndefaults: {to: ['oci:out:{repository}']}\nimages:\n- from: docker://registry.example/app\n"
    b"  tags: {regex: 'v.*', newest: 2}\n- {from: 'oci:in:x', to: ['dir:out'], platforms: [linux/amd64]}\n"
)
_BUNDLE = json.dumps(
    {
        "bundle": 1, "tool": "x", "codecs": ["y"], "lock": {}, "blobs": [{"digest": _CONFIG["digest"], "size": 7}],
        "images": [{
            "name": "a:v1", "source": "dir:a", "pinned": _CONFIG["digest"], "digest": _CONFIG["digest"], "size": 7,
            "media-type": _CONFIG["mediaType"], "losses": ["z"], "referrers": [],
        }],
        "base": {
            "digest": _CONFIG["digest"], "blobs": [{"digest": f"sha256:{'b' * 64}", "size": 1, "image": "a:v1"}],
        },
    }
).encode()  # fmt: skip
_SUM = f"# 7 bytes\n{'a' * 64}  b.tar.001\n# 3 bytes\n{'b' * 64}  b.tar.002\n"
_HANGING = {"subject": _CONFIG["digest"], "manifest": _CONFIG, "tag": "x.sig"}
_LOCK = {
    "lock": 1, "name": "n", "registries": {"r.example": {"tls-verify": False}}, "policy": "p.json",
    "images": [{
        "from": "docker://r.example/app:v1", "to": ["oci:out:v1"], "referrers": True, "platforms": ["linux/amd64"],
        "resolved": {
            "digest": _CONFIG["digest"], "media-type": _CONFIG["mediaType"], "size": 1,
            "manifests": {_CONFIG["digest"]: {"media-type": "x", "size": 1, "platform": "linux/amd64"}},
            "blobs": {_CONFIG["digest"]: 2},
            "hanging": {"referrers": [_HANGING], "left": [{"why": "x", **_HANGING}]},
        },
    }],
}  # fmt: skip
_SIGNATURE = b"\xc2\x07" + b"\x04\x00\x16\x0a\x00\x00\x00" + b"\x88\x03\x04\x00\x16"
"""Two packets of signatures, one of each form of header."""
_ARMORED = (
    b"-----BEGIN PGP SIGNATURE-----\nComment: x\n\n"
    + base64.encodebytes(_SIGNATURE)
    + b"=abcd\n-----END PGP SIGNATURE-----\n"
)
_CHALLENGE = b'Bearer realm="https://a/token?x=\\"y\\"",service="a, b",scope="r:a:pull", Basic realm=x, Foo a=='


@functools.cache
def seeds() -> dict[str, tuple[bytes, ...]]:
    """Return sound inputs by target; those that have none are fuzzed from nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_docker_archive(folder / "docker.tar", make_image("seed", layers=1, layer_size=64), ["a:v1"])
        write_layout(folder / "layout", {"v1": _IMAGE})
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for path in sorted((folder / "layout").rglob("*")):
                archive.add(path, str(path.relative_to(folder / "layout")), recursive=False)
            archive.addfile(tarfile.TarInfo("é" * 120))
        docker = (folder / "docker.tar").read_bytes()
    packed = [pyzstd.compress(b"some text " * 9)] * 3
    framed = b"".join(packed) + encode_table([(len(one), 90) for one in packed])
    archives = (docker, made.getvalue(), gzip.compress(made.getvalue()))
    return {
        "manifest": tuple(b"\0" + raw for raw in (_IMAGE.manifest_raw, make_multi("seed").manifest_raw)),
        "index": (json.dumps(_INDEX).encode(), json.dumps(_INDEX, separators=(",", ":")).encode()),
        "config": (_IMAGE.config,),
        "challenges": (_CHALLENGE,),
        "link": (b'</v2/app/tags/list?last=x&n=1000>; rel="next", <x>; rel=prev',),
        "location": (b"/v2/app/blobs/uploads/1?state=x", b"https://registry.example:5000/x?y#z"),
        "content_range": (b"\0\0bytes 1-999/1000",),
        "retry_after": (b"7", b"Wed, 21 Oct 2026 07:28:00 GMT"),
        "tags": (b'{"name":"app","tags":["v1","v2"]}',),
        "token": (b'{"token":"abc","expires_in":300,"issued_at":"2026-01-01T00:00:00Z"}',),
        "error_body": (b'{"errors":[{"code":"DENIED","message":"no","detail":{}}]}',),
        "response": (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;x=y\r\nabc\r\n0\r\nA: b\r\n\r\n",
            b"HTTP/1.0 206 OK\r\nContent-Length: 3\r\nLink: <x>\r\n\r\nabc",
        ),
        "tar": archives,
        "docker_archive": archives,
        "oci_archive": archives,
        "bundle_json": (_BUNDLE,),
        "checksums": (sums([f"# bundle.json {_CONFIG['digest']}", *_SUM.split("\n")[:-1]]),),
        "bundle": (b"".join(member.raw for member in members()) + bytes(1024),),
        "signatures": (_SIGNATURE * 2, _ARMORED),
        "frames": (framed,),
        "layers": (gzip.compress(b"some text " * 99), pyzstd.compress(b"some text " * 99)),
        "checkpoint": (json.dumps(_CHECKPOINT).encode(),),
        "batch": (_BATCH, json.dumps(_LOCK).encode()),
        "source_file": (_SOURCES,),
        "auth_file": (b'{"auths":{"registry.example":{"auth":"YTpi"}},"credHelpers":{},"credsStore":""}',),
        "reference": (
            b"docker://registry.example:5000/a/b:v1@sha256:" + b"a" * 64,
            b"oci:path:name:@1",
            b"containers-storage:[overlay@/root+/run:x=y]app:v1@abc",
        ),
    }
