"""The service that nocohost's nodes run in the benchmark."""

from contestant import records
from contestant.declarations import KEY, RaceSettings
from nocohost import App, Job, Service, hookimpl


async def run(job: Job) -> None:
    """Write one record, and take as long as the job says."""
    await records.run(job.payload)


@hookimpl
def register_services(app: App) -> list[Service]:
    """Offer the service."""
    return [Service(KEY, run, concurrency=app.settings(RaceSettings).concurrency)]
