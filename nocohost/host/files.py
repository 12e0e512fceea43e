"""The loop that erases what has expired of the stored files, on every node."""

from nocohost.api.clock import Clock
from nocohost.api.errors import NocohostError
from nocohost.api.log import Log
from nocohost.queue.supervision import Supervision
from nocohost.storage.door import FileStorage
from nocohost.store.files import Expired

SWEEP_SECONDS = 60.0


class FileSweep:
    """Sweeps once a minute; a file that cannot be erased is tried again, and logged once for as long as it cannot."""

    def __init__(self, storage: FileStorage, *, clock: Clock, log: Log) -> None:
        self._storage = storage
        self._clock = clock
        self._log = log
        self._failing: set[str] = set()
        self._supervision = Supervision("files", log)

    async def run(self) -> None:
        """Sweep every minute until cancelled."""
        while True:
            await self._clock.sleep(SWEEP_SECONDS)
            pause = await self._supervision.turn(self.turn)
            if pause is not None:
                await self._clock.sleep(pause)

    async def turn(self) -> None:
        """Erase all that has expired."""
        failing: set[str] = set()

        def failed(file: Expired, error: NocohostError) -> None:
            failing.add(file.id)
            if file.id not in self._failing:
                self._log.warning("file.not_erased", file=file.id, place=file.place, reason=str(error))

        swept = await self._storage.sweep(failed)
        self._failing = failing
        if swept:
            self._log.debug("file.erased", files=swept)
