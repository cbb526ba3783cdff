"""Fixtures: the protocol era a test runs in, and the bench it runs on."""

import signal

import pytest
from harness import ERAS, Bench


@pytest.fixture(autouse=True)
def time_limit():
    """A server that never answers fails the test that waited for it, not the whole run."""

    def expire(*_):
        raise TimeoutError("the test took longer than 150 s")

    signal.signal(signal.SIGALRM, expire)
    signal.alarm(150)
    yield
    signal.alarm(0)


@pytest.fixture
def anyio_backend():
    """The SDK runs on asyncio here, as it does in nearly every host."""
    return "asyncio"


@pytest.fixture(params=list(ERAS))
def era(request):
    """Every test that asks for it runs with the initialize handshake and with 2026-07-28."""
    return request.param


@pytest.fixture
def make_bench():
    """Benches by instance ids and kind of server, all taken down after the test."""
    made = []

    def make(*ids, kind="redis-7.0"):
        made.append(Bench(*ids, kind=kind))
        return made[-1]

    yield make
    for bench in made:
        bench.stop()


@pytest.fixture
def bench(make_bench):
    """One instance, `orders`, holding 37 keys."""
    made = make_bench("orders")
    for number in range(37):
        made.orders.cli("SET", f"order:{number}", f"value {number}")
    return made
