"""Whether looks at the database find it: an outage is told once when it begins and once when it is over."""

from nocohost import App, ConfigError, StoreError


class Sight:
    """Tells of outages for one who looks again and again. For the tasks of one event loop."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._lost = False

    def lose(self, error: StoreError | ConfigError) -> None:
        """Note that a look has failed; the next one may not."""
        if not self._lost:
            self._lost = True
            self._app.log.warning("workflow.unseen", reason=error.message)

    def regain(self) -> None:
        """Note that a look has found the database."""
        if self._lost:
            self._lost = False
            self._app.log.info("workflow.seen")
