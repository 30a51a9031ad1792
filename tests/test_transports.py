"""The suites, over every file transport."""

from pathlib import Path

from support.conformance import SinkSuite, SourceSuite, TransportSuite
from transship.pipeline.reference import PathReference
from transship.pipeline.registry.registries import Registries
from transship.pipeline.transport import Sink, Source
from transship.pipeline.transports import open_sink, open_source


class Opened(TransportSuite):
    transport = ""

    def sink(self, path: Path) -> Sink:
        return open_sink(PathReference(self.transport, str(path)))

    def source(self, path: Path, name: str = "", index: int | None = None) -> Source:
        none: Registries = None  # type: ignore[assignment]
        return open_source(PathReference(self.transport, str(path), name, index), none)


class Oci(Opened):
    transport = "oci"


class OciArchive(Opened):
    transport = "oci-archive"


class Directory(Opened):
    transport = "dir"
    several = False
    any_format = True


class DirectoryOfDocker(Directory):
    docker = True


class DockerArchive(Opened):
    transport = "docker-archive"
    docker = True
    compressed = False
    indexes = False


class TestOciSource(Oci, SourceSuite):
    pass


class TestOciSink(Oci, SinkSuite):
    pass


class TestOciArchiveSource(OciArchive, SourceSuite):
    pass


class TestOciArchiveSink(OciArchive, SinkSuite):
    pass


class TestDirectorySource(Directory, SourceSuite):
    pass


class TestDirectorySink(Directory, SinkSuite):
    pass


class TestDirectoryOfDockerSource(DirectoryOfDocker, SourceSuite):
    pass


class TestDirectoryOfDockerSink(DirectoryOfDocker, SinkSuite):
    pass


class TestDockerArchiveSource(DockerArchive, SourceSuite):
    pass


class TestDockerArchiveSink(DockerArchive, SinkSuite):
    pass
