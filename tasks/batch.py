"""The root of the DAG: every delivery of a run, verified."""

from collections.abc import Iterator

import luigi

from transship.tasks.delivery import VerifyDigests
from transship.tasks.workspace import Workspace


class Batch(luigi.WrapperTask):
    """Complete when every delivery of the run folder's plan is verified."""

    run_dir: str = luigi.Parameter()

    def requires(self) -> Iterator[VerifyDigests]:
        """Yield the last task of each delivery, in the order of the plan."""
        for key in Workspace.of(self.run_dir).plan.deliveries:
            yield VerifyDigests(run_dir=self.run_dir, delivery=key)
