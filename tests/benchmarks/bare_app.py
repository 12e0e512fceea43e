"""What a node is measured against: aiohttp and SQLAlchemy, a database that is opened, one route, and nothing else.

Run as ``python bare_app.py PORT SQLITE_FILE``.
"""

import asyncio
import signal
import sys

from aiohttp import web
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

ENGINE = web.AppKey("ENGINE", AsyncEngine)


async def ready(request: web.Request) -> web.Response:
    """Answer that the database answers."""
    async with request.app[ENGINE].connect() as connection:
        await connection.execute(text("SELECT 1"))
    return web.json_response({"status": "ok"})


async def serve(port: int, file: str) -> None:
    """Open the database, serve until TERM."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}")
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
    app = web.Application()
    app[ENGINE] = engine
    app.router.add_get("/readyz", ready)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await runner.cleanup()
    await engine.dispose()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
