"""References in files: the run's images get their new names, every other byte stays."""

import json
import os
import random
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.images import make_image, write_layout
from support.registry_server import running
from transship import schemas
from transship.pipeline.cli.main import main
from transship.pipeline.errors import UsageError
from transship.pipeline.report import Change, Line
from transship.pipeline.rewrite import rewrite
from transship.pipeline.rewrite.references import References

OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64
CHILD, CHILD_NEW = "sha256:" + "c" * 64, "sha256:" + "d" * 64
OTHER = "sha256:" + "e" * 64


def line(source, destination, state="verified", old=OLD, new=NEW):
    changes = (Change("manifest", CHILD, CHILD_NEW, ""), Change("layer", OTHER, OTHER, ""))
    return Line(
        f"docker://{source}", f"docker://{destination}", state, old, new, 0, 0.0, changes, "", (), "", "", False
    )


LINES = [
    line("docker.io/library/nginx:1.25", "mirror.example/hub/nginx:1.25"),
    line("docker.io/library/redis:latest", "mirror.example/hub/redis:latest"),
    line("registry.example:5000/team/app:v1", "mirror.example/team/app:v1-oci"),
    line(f"registry.example:5000/team/pinned@{OLD}", f"mirror.example/team/pinned@{NEW}"),
    line("registry.example:5000/team/late:v1", "mirror.example/team/late:v1", state="failed", new=""),
    Line("oci:/layout:a", "dir:/out", "verified", OLD, NEW, 0, 0.0, (), "", (), "", "", False),
]
REFERENCES = References.of(LINES)

KUBERNETES = """\
# The web tier.   Odd spaces stay.
apiVersion: apps/v1
kind: Deployment
metadata: {name: nginx, labels: {app: "nginx"}}   # no image
spec:
  template:
    spec:
      initContainers:
      - image:   "nginx:1.25"   # quoted
        name: redis
      containers:
        - name: nginx
          image: &web docker.io/library/nginx:1.25
          env:
          - {name: RELATED_IMAGE, value: registry.example:5000/team/app:v1}
          - {name: SHORT, value: redis}
          args: ['--image=nginx:1.25', "registry.example:5000/team/app:v1"]
        - {name: side, image: 'redis', imagePullPolicy: Always}
        - name: again
          image: *web
---
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: "registry.example:5000/team/app@@CHILD@"}]}}}}}
...
---
# Helm's values
image:
  repository: nginx
  tag: "1.25"
script: |
  docker run nginx:1.25
other: registry.example:5000/team/unknown:v1
image: registry.example:5000/team/app:v1@@OLD@
""".replace("@@CHILD@", f"@{CHILD}").replace("@@OLD@", f"@{OLD}")

COMPOSE = """\
services:
  web:
    image: nginx:1.25
    build: {context: ., dockerfile: Dockerfile}
  cache:
    image: redis        # latest
    depends_on: [web]
  app: {image: index.docker.io/nginx:1.26}\r
  last:
    image: ${IMAGE:-nginx:1.25}
    x-image: ${IMAGE}
  none:
    image: "nginx:${TAG}"
"""

DOCKERFILE = r"""# syntax=docker/dockerfile:1
ARG BASE=registry.example:5000/team/app:v1
ARG TAG="1.25" UNUSED=redis:latest
FROM --platform=$BUILDPLATFORM docker.io/library/nginx:1.25 AS nginx
RUN --mount=type=bind,from=redis,target=/r \
    # FROM redis
    echo "FROM redis:latest"
FROM ${BASE} as Build
COPY --from=nginx /etc/nginx /etc/nginx
COPY --chown=1:1 --from=redis:latest /usr/bin/redis /r
RUN <<EOF
FROM redis:latest
EOF
from \
  redis AS cache
FROM nginx:${TAG}
FROM build
FROM scratch
COPY --from=0 / /
FROM ${OTHER:-redis}
ONBUILD COPY --from=redis:latest / /
"""

LIST = f"""\
# what we run
nginx:1.25
  docker://registry.example:5000/team/app:v1   # with a comment
registry.example:5000/team/pinned@{OLD}

nginx:1.25 redis
redis@{OLD}\r
redis@{OTHER}
redis"""


def changes(name, text):
    """Return the lines that change, before and after, by number."""
    made = rewrite(name, text.encode(), REFERENCES)
    pairs = zip(made.before.split("\n"), made.after.split("\n"), strict=True)
    return {number: (old, new) for number, (old, new) in enumerate(pairs, 1) if old != new}, made


def test_kubernetes_manifests_of_many_documents():
    found, made = changes("deploy.yaml", KUBERNETES)
    web, app = "mirror.example/hub/nginx:1.25", "mirror.example/team/app"
    assert {number: new.strip() for number, (_, new) in found.items()} == {
        9: f'- image:   "{web}"   # quoted',
        13: f"image: &web {web}",
        15: f"- {{name: RELATED_IMAGE, value: {app}:v1-oci}}",
        17: f"args: ['--image=nginx:1.25', \"{app}:v1-oci\"]",
        18: "- {name: side, image: 'mirror.example/hub/redis:latest', imagePullPolicy: Always}",
        23: found[23][0].replace(f"registry.example:5000/team/app@{CHILD}", f"{app}@{CHILD_NEW}"),
        33: f"image: {app}:v1-oci@{NEW}",
    }
    assert made.notes == ()


def test_compose_files_with_any_line_ends():
    found, made = changes("compose.yml", COMPOSE)
    assert {number: new for number, (_, new) in found.items()} == {
        3: "    image: mirror.example/hub/nginx:1.25",
        6: "    image: mirror.example/hub/redis:latest        # latest",
        10: "    image: ${IMAGE:-mirror.example/hub/nginx:1.25}",
    }
    assert made.after.count("\r\n") == 1
    assert made.notes == ("compose.yml:13: nginx:${TAG}: holds a variable, not looked into",)


def test_dockerfiles_with_stages_arguments_and_platforms():
    found, made = changes("app/Dockerfile", DOCKERFILE)
    redis = "mirror.example/hub/redis:latest"
    assert {number: new for number, (_, new) in found.items()} == {
        2: "ARG BASE=mirror.example/team/app:v1-oci",
        4: "FROM --platform=$BUILDPLATFORM mirror.example/hub/nginx:1.25 AS nginx",
        5: f"RUN --mount=type=bind,from={redis},target=/r \\",
        10: f"COPY --chown=1:1 --from={redis} /usr/bin/redis /r",
        15: f"  {redis} AS cache",
        20: f"FROM ${{OTHER:-{redis}}}",
        21: f"ONBUILD COPY --from={redis} / /",
    }
    assert made.notes == ("app/Dockerfile:16: nginx:${TAG}: holds a variable, not looked into",)


@pytest.mark.parametrize(
    ("head", "changed"),
    [
        ("# syntax=docker/dockerfile:1\n", 1),
        ("# escape=`\n#SYNTAX = docker.io/docker/dockerfile:1 \r\n", 2),
        ("# a comment ends them\n# syntax=docker/dockerfile:1\n", 0),
        ("FROM scratch\n# syntax=docker/dockerfile:1\n", 0),
    ],
)
def test_the_image_that_reads_a_dockerfile_is_rewritten(head, changed):
    references = References.of([line("docker.io/docker/dockerfile:1", "mirror.example/hub/dockerfile:1")])
    text = f"{head}FROM nginx\n"
    before, after = text.split("\n"), rewrite("Dockerfile", text.encode(), references).after.split("\n")
    found = {n: new for n, (old, new) in enumerate(zip(before, after, strict=True), 1) if old != new}
    assert set(found) == ({changed} if changed else set())
    assert all("mirror.example/hub/dockerfile:1" in new for new in found.values())


def test_lists():
    found, _ = changes("images.txt", LIST)
    assert {number: new for number, (_, new) in found.items()} == {
        2: "mirror.example/hub/nginx:1.25",
        3: "  docker://mirror.example/team/app:v1-oci   # with a comment",
        4: f"mirror.example/team/pinned@{NEW}",
        7: f"mirror.example/hub/redis@{NEW}\r",
        9: "mirror.example/hub/redis:latest",
    }


@pytest.mark.parametrize(
    "text",
    [
        "nginx:1.2", "nginx:1.251", "example/nginx:1.25", "registry.example/team/app:v1",
        "registry.example:5000/team/app", "team/app:v1", "NGINX:1.25", f"nginx:1.25@{OTHER}",
        "registry.example:5000/team/app:v1/x", "nginx:1.25:1.25", "",
    ],
)  # fmt: skip
def test_what_is_not_exactly_a_reference_of_the_run_stays(text):
    assert REFERENCES.new(text, short=True) == (None, "")


def test_an_image_that_is_not_verified_keeps_its_old_name_and_is_named():
    text = "image: registry.example:5000/team/late:v1\n"
    made = rewrite("a.yaml", text.encode(), REFERENCES)
    assert made.after == text
    assert made.notes == ("a.yaml:1: registry.example:5000/team/late:v1: not rewritten, its image is not verified",)


def test_of_several_destinations_one_is_to_be_chosen():
    lines = [*LINES, line("docker.io/library/nginx:1.25", "second.example/nginx:1.25")]
    with pytest.raises(UsageError, match=r"several places: mirror\.example/hub/nginx:1\.25, second\.example.*--to"):
        rewrite("list", b"nginx:1.25", References.of(lines))
    assert rewrite("list", b"nginx:1.25", References.of(lines, "second.")).after == "second.example/nginx:1.25"


@pytest.mark.parametrize(
    ("name", "raw", "says"),
    [
        ("a.yaml", b"a: [\n", "a.yaml:2: not YAML"),
        ("a.yaml", b"image: {{ .Values.image }}: x\n", "not YAML"),
        ("a.yaml", b"a: \x00\n", "a.yaml: not YAML"),
        ("list", b"\xff\xfe", "not UTF-8"),
    ],
)
def test_what_cannot_be_read_is_refused(name, raw, says):
    with pytest.raises(UsageError, match=says):
        rewrite(name, raw, REFERENCES)


@settings(max_examples=80, deadline=None)
@given(
    pieces=st.lists(
        st.sampled_from([*"\n\r\t #\\:'\"", "FROM ", "AS ", "ARG A=", "nginx", "$A", "<<E", "--from=", "é"])
    ),
    name=st.sampled_from(["Dockerfile", "list"]),
)
def test_any_text_without_references_stays_as_it_is(pieces, name):
    text = "".join(pieces)
    assert rewrite(name, text.encode(), REFERENCES).after == text


def test_json_keeps_its_form():
    text = '{"spec":{"containers":[{"image":"nginx:1.25",\n\t"name":"nginx"}]}}'
    assert rewrite("pod.json", text.encode(), REFERENCES).after == text.replace(
        "nginx:1.25", "mirror.example/hub/nginx:1.25"
    )


@pytest.fixture
def mirrored(tmp_path, monkeypatch):
    """Return the registry's name after a run that took team/app:v1 there to mirror/app:v1, as OCI."""
    monkeypatch.chdir(tmp_path)
    image = make_image("rewritten")
    write_layout(tmp_path / "src", {"v1": image})
    with running(tmp_path / "registry") as server:
        batch = {
            "version": 1,
            "images": [
                {
                    "from": f"docker://{server.name}/team/app:v1",
                    "manifests": "oci",
                    "layers": "zstd",
                    "to": [f"docker://{server.name}/mirror/app:v1"],
                }
            ],
            "registries": {server.name: {"tls-verify": False}},
        }
        (tmp_path / "mirror.json").write_text(json.dumps(batch))
        pushed = ["copy", "-q", "--dest-tls-verify=false", "oci:src:v1", f"docker://{server.name}/team/app:v1"]
        # The layout holds Docker's manifest; it goes up as it is.
        assert main(pushed) == 0
        assert main(["run", "mirror.json"]) == 0
        yield server.name


def test_a_run_tells_what_became_of_what_and_rewrites_by_it(tmp_path, mirrored, capsys):
    report = json.loads((tmp_path / "runs/mirror/report.json").read_text())
    schemas.validate("report", report, "report.json")
    image = report["images"][0]
    kinds = [change["kind"] for change in image["changes"]]
    assert kinds.count("layer") == 3
    assert kinds.count("manifest") == 1
    assert image["codec"].startswith("zstd level 3, libzstd ")
    file = tmp_path / "pod.yaml"
    text = f"image: {mirrored}/team/app@{image['old']}   # pinned\n"
    file.write_text(text)
    file.chmod(0o640)
    (tmp_path / "link.yaml").symlink_to("pod.yaml")
    capsys.readouterr()
    assert main(["report", "mirror", "--rewrite", "link.yaml"]) == 0
    assert file.read_text() == text
    diff = capsys.readouterr().out
    assert diff.startswith("--- a/link.yaml\n+++ b/link.yaml\n@@ -1 +1 @@\n-image: ")
    assert main(["report", "mirror", "--rewrite", "link.yaml", "--in-place"]) == 0
    assert capsys.readouterr().out == diff
    assert file.read_text() == f"image: {mirrored}/mirror/app@{image['new']}   # pinned\n"
    assert (stat.S_IMODE(file.stat().st_mode), os.readlink(tmp_path / "link.yaml")) == (0o640, "pod.yaml")
    assert main(["report", "mirror", "--rewrite", "link.yaml"]) == 0
    assert capsys.readouterr().out == ""


def test_nothing_is_written_where_one_file_is_unsound(tmp_path, mirrored, capsys):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(f"image: {mirrored}/team/app:v1\n")
    bad.write_text("a: [\n")
    assert main(["report", "mirror", "--rewrite", str(good), str(bad), "--in-place"]) == 2
    assert "team/app:v1" in good.read_text()
    assert main(["report", "mirror", "--in-place"]) == 2
    assert "go with --rewrite" in capsys.readouterr().err


def test_a_large_file_is_rewritten_in_bounded_time():
    chosen = random.Random("large")
    text = "".join(f"- {{image: nginx:{chosen.choice(['1.25', '1.26'])}, name: n{n}}}\n" for n in range(3000))
    assert rewrite("a.yaml", text.encode(), REFERENCES).after == text.replace(
        "nginx:1.25", "mirror.example/hub/nginx:1.25"
    )
