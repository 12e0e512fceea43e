"""Health on both ports, and the numbers of the admin port."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from probes.web_door import FakeHealth, fake_app, open_door, serve
from prometheus_client import CollectorRegistry, Counter

from nocohost.api.errors import StoreUnavailableError
from nocohost.node.identity import new_id
from nocohost.node.settings import AdminSettings, HttpSettings
from nocohost.store.census import known_nodes
from nocohost.store.hot.values import NewJob
from nocohost.store.insertion import insert_job
from nocohost.store.nodes import NodeRecord, register_node
from nocohost.web.admin import build_admin

CHECKS = [{"name": "database", "status": "ok", "message": "one cheap question"}]


def open_admin(app=None, *, health=None, registry=None, host="127.0.0.1", allowed_hosts=(), keys=()):
    app = app or fake_app()
    application = build_admin(
        app,
        health or FakeHealth(),
        registry or CollectorRegistry(),
        settings=AdminSettings(host=host),
        allowed_hosts=allowed_hosts,
        keys=keys,
    )
    return serve(application, app.log)


@pytest.mark.parametrize("opened", [open_door, open_admin])
async def test_health_is_answered_on_both_ports(opened):
    health = FakeHealth()
    async with opened(health=health) as door:
        for path in ("/livez", "/readyz", "/healthz"):
            answer = await door.ask("GET", path)
            assert (answer.status, answer.json()) == (200, {"status": "ok"})
            assert answer.headers["Cache-Control"] == "no-store"
            assert (await door.ask("GET", f"{path}?verbose=1")).json() == {"status": "ok", "checks": CHECKS}
            assert (await door.ask("GET", f"{path}?verbose=0")).json() == {"status": "ok"}
        assert health.asked[::3] == ["livez", "readyz", "readyz"]
        health.ok = False
        answer = await door.ask("GET", "/readyz?verbose=1")
        assert answer.status == 503
        assert answer.json()["status"] == "failing"
        assert answer.json()["checks"][0]["status"] == "failing"
        assert (await door.ask("HEAD", "/readyz")).status == 503


async def test_probes_that_come_together_share_one_report():
    health = FakeHealth()
    health.gate.clear()
    async with open_door(health=health) as door:
        asked = [asyncio.create_task(door.ask("GET", "/readyz")) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert (await asyncio.wait_for(door.ask("GET", "/nothing"), 30)).status == 404
        health.gate.set()
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
        assert health.asked == ["readyz"]
        await door.ask("GET", "/readyz")
        assert health.asked == ["readyz", "readyz"]


async def test_a_report_that_fails_is_503_not_silence():
    class Broken(FakeHealth):
        async def report(self, which):
            raise StoreUnavailableError("away")

    async with open_door(health=Broken()) as door:
        answer = await door.ask("GET", "/readyz")
        assert (answer.status, answer.json()["code"]) == (503, "store.unavailable")


async def test_the_numbers_of_the_node_are_what_its_registry_has():
    registry = CollectorRegistry()
    Counter("nocohost_jobs_started", "Attempts started.", ("key",), registry=registry).labels("shop:invoice").inc()
    async with open_admin(registry=registry) as door:
        answer = await door.ask("GET", "/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b'nocohost_jobs_started_total{key="shop:invoice"} 1.0' in answer.body


async def test_the_admin_port_on_loopback_answers_to_loopbacks_names():
    async with open_admin(allowed_hosts=("admin.example",)) as door:
        evil = {"Host": "evil.example"}
        assert (await door.ask("GET", "/metrics", headers=evil)).status == 421
        assert (await door.ask("GET", "/readyz", headers=evil)).status == 200
        assert (await door.ask("GET", "/metrics", headers={"Host": "admin.example"})).status == 200
    async with open_admin(host="0.0.0.0", allowed_hosts=("admin.example",)) as door:
        assert (await door.ask("GET", "/metrics", headers={"Host": "10.1.2.3:8788"})).status == 200


async def test_main_port_beyond_loopback_answers_to_any_host_unless_some_are_set():
    async with open_door(settings=HttpSettings(host="0.0.0.0")) as door:
        assert (await door.ask("GET", "/api/v1/jobs", headers={"Host": "any.example"})).status == 401
    settings = HttpSettings(host="0.0.0.0", allowed_hosts=("shop.example",))
    async with open_door(settings=settings) as door:
        assert (await door.ask("GET", "/api/v1/jobs", headers={"Host": "any.example"})).status == 421
        assert (await door.ask("GET", "/readyz", headers={"Host": "10.1.2.3"})).status == 200


def a_job(key: str, run_at: datetime | None = None) -> NewJob:
    return NewJob(
        id=new_id(),
        key=key,
        payload="{}",
        priority=0,
        run_at=run_at,
        idempotency_key=None,
        unique_seconds=0,
        digest=b"",
        group=None,
    )


def a_node(name: str, *services: str) -> NodeRecord:
    return NodeRecord(new_id(), name, "*", False, services, "0.1.0", {"acme-shop": "1.0"})


async def test_the_numbers_of_the_cluster_come_from_the_database(database):
    async with database.begin() as connection:
        await register_node(connection, a_node("left", "shop:invoice"), lease_seconds=60, state="serving")
        await register_node(connection, a_node("right", "shop:invoice"), lease_seconds=60, state="draining")
        await register_node(connection, a_node("gone", "shop:invoice", "shop:mail"), lease_seconds=-1, state="serving")
        await insert_job(connection, a_job("shop:invoice"))
        await insert_job(connection, a_job("shop:invoice", datetime.now(UTC) + timedelta(days=1)))
        await insert_job(connection, a_job("shop:later", datetime.now(UTC) + timedelta(days=1)))
    async with open_admin(fake_app(database=database), keys=["shop:idle"]) as door:
        await asyncio.sleep(0.05)
        text = (await door.ask("GET", "/metrics/cluster")).body.decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['nocohost_queue_jobs{key="shop:invoice",state="pending"}'] == "2.0"
    assert lines['nocohost_queue_jobs{key="shop:invoice",state="running"}'] == "0.0"
    assert 0 < float(lines['nocohost_queue_oldest_seconds{key="shop:invoice"}']) < 60
    assert lines['nocohost_queue_oldest_seconds{key="shop:later"}'] == "0.0"
    assert lines['nocohost_key_servers{key="shop:invoice"}'] == "1.0"
    assert lines['nocohost_key_servers{key="shop:later"}'] == "0.0"
    assert lines['nocohost_key_servers{key="shop:idle"}'] == "0.0"
    assert 'nocohost_key_servers{key="shop:mail"}' not in lines


async def test_nodes_are_known_with_the_state_they_are_in(database):
    async with database.begin() as connection:
        for name, lease, state in (("a", 60, "serving"), ("b", -1, "serving"), ("c", -1, "stopped")):
            await register_node(connection, a_node(name), lease_seconds=lease, state=state)
    async with database.connect() as connection:
        rows = await known_nodes(connection)
    assert [(row.name, row.state) for row in rows] == [("a", "serving"), ("b", "lost"), ("c", "stopped")]
