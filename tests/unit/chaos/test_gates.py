"""The gates between roles and servers do to connections what they say."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from tests.chaos.driver.gates import Gates

SHORT_S = 0.3  # 等这么久还没有回音，就是不会有
LONG_S = 20.0


class Shouting(socketserver.BaseRequestHandler):
    """Answers in capitals."""

    connections: ClassVar[list[socket.socket]] = []

    def handle(self) -> None:
        self.connections.append(self.request)
        try:
            while data := self.request.recv(100):
                self.request.sendall(data.upper())
        except OSError:
            return


@contextmanager
def shouting() -> Iterator[str]:
    """A server; gives its URL."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Shouting) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"test://127.0.0.1:{server.server_address[1]}/x"
        server.shutdown()


class Client:
    """A connection through a gate."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._socket = socket.create_connection((parts.hostname, parts.port), LONG_S)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, word: bytes) -> None:
        self._socket.sendall(word)

    def hear(self, length: int, seconds: float = LONG_S) -> bytes:
        self._socket.settimeout(seconds)
        heard = b""
        while len(heard) < length:
            data = self._socket.recv(length - len(heard))
            if not data:
                raise ConnectionResetError
            heard += data
        return heard

    def ask(self, word: bytes, seconds: float = LONG_S) -> bytes:
        self.say(word)
        return self.hear(len(word), seconds)


@pytest.fixture(scope="module")
def gates() -> Gates:
    return Gates()


def test_half_open_connections_are_dead_and_new_ones_work(gates: Gates) -> None:
    with shouting() as url:
        way = gates.add("half>server", url)
        names = gates.names("server", "half")
        with Client(way) as old:
            assert old.ask(b"one") == b"ONE"
            gates.half_open(names)
            with pytest.raises(TimeoutError):
                old.ask(b"two", SHORT_S)
            with Client(way) as new:
                assert new.ask(b"three") == b"THREE"
            gates.open(names)
            with pytest.raises(TimeoutError):
                old.ask(b"four", SHORT_S)  # 死了的不会再活


def test_a_hole_answers_nobody_until_it_is_open_again(gates: Gates) -> None:
    with shouting() as url:
        way = gates.add("hole>server", url)
        gates.hole(gates.names("server", "hole"))
        with Client(way) as lost:
            with pytest.raises(TimeoutError):
                lost.ask(b"one", SHORT_S)
            gates.open(gates.names("server", "hole"))
            with Client(way) as new:
                assert new.ask(b"two") == b"TWO"


def test_what_was_frozen_is_delivered_in_order(gates: Gates) -> None:
    with shouting() as url, Client(gates.add("frozen>server", url)) as client:
        assert client.ask(b"one") == b"ONE"
        gates.freeze(gates.names("server", "frozen"))
        with pytest.raises(TimeoutError):
            client.ask(b"two", SHORT_S)
        client.say(b"three")
        gates.open(gates.names("server", "frozen"))
        assert client.hear(8) == b"TWOTHREE"


def test_a_server_that_closes_while_all_is_frozen_is_noticed_afterwards(gates: Gates) -> None:
    with shouting() as url:
        ways = [gates.add(f"{name}>closing", url) for name in ("one", "two")]
        names = gates.names("closing")
        Shouting.connections.clear()  # 别的测试的早已关了
        with Client(ways[0]) as client, Client(ways[1]) as other:
            assert client.ask(b"one") == b"ONE"
            assert other.ask(b"one") == b"ONE"
            gates.freeze(names)
            client.say(b"two")
            other.say(b"two")
            for connection in Shouting.connections:
                connection.shutdown(socket.SHUT_RDWR)
            with pytest.raises(TimeoutError):
                client.hear(1, SHORT_S)
            gates.open(names)
            for each in (client, other):
                with pytest.raises(ConnectionError):
                    each.hear(1)
        for way in ways:
            with Client(way) as new:
                assert new.ask(b"three") == b"THREE"


def test_slow_pieces_keep_their_order(gates: Gates) -> None:
    with shouting() as url, Client(gates.add("slow>server", url)) as client:
        assert client.ask(b"x") == b"X"
        gates.delay(gates.names("server", "slow"), 0.05)
        for word in (b"a", b"b", b"c"):
            client.say(word)
        gates.delay(gates.names("server", "slow"), 0.0)
        client.say(b"d")
        assert client.hear(4) == b"ABCD"


def test_a_reset_is_noticed_and_another_server_can_be_led_to(gates: Gates) -> None:
    with shouting() as first, shouting() as second:
        way = gates.add("reset>server", first)
        names = gates.names("server", "reset")
        with Client(way) as client:
            assert client.ask(b"one") == b"ONE"
            gates.lead(names, second)
            gates.reset(names)
            with pytest.raises(ConnectionError):
                client.ask(b"two")
        with Client(way) as client:
            assert client.ask(b"three") == b"THREE"


def test_an_answer_that_says_committed_is_lost(gates: Gates) -> None:
    with shouting() as url, Client(gates.add("lose>server", url)) as client:
        gates.lose(gates.names("server", "lose"), 1)
        with pytest.raises(ConnectionError):
            client.ask(b"C\x00\x00\x00\x0bCOMMIT\x00")
