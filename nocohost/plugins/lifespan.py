"""What a plugin holds while the node runs: its ``node_lifespan``, called when it is entered and not before."""

from contextlib import AbstractAsyncContextManager
from types import TracebackType

from nocohost.api.app import App
from nocohost.plugins import returns
from nocohost.plugins.hooks import Registered


class Lifespan(AbstractAsyncContextManager[None]):
    """Enters what one implementation of ``node_lifespan`` returns. Used once.

    The hook itself is called on entry: by then migrations have run and the app is open. Whatever the plugin raises gets
    out; the host decides what it means.
    """

    def __init__(self, implementation: Registered, app: App) -> None:
        self._implementation = implementation
        self._app = app
        self._held: AbstractAsyncContextManager[None] | None = None

    async def __aenter__(self) -> None:
        held = returns.lifespan(self._implementation.bind(app=self._app)())
        await held.__aenter__()
        self._held = held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._held is not None
        return await self._held.__aexit__(kind, error, trace)
