"""From a block's commit to `newHeads` on every gateway: WebSocket clients, and the time that `chain` logs."""

import base64
import datetime
import json
import os
import pathlib
import selectors
import socket
import threading
import time

from nodes import HOST, BenchError

OPEN_LIMIT = 10.0
SETTLE = 1.0


class Subscriber:
    """A WebSocket connection that is subscribed to new heads. Only what that takes of RFC 6455."""

    def __init__(self, port: int):
        self.socket = socket.create_connection((HOST, port), timeout=OPEN_LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET / HTTP/1.1\r\nHost: {HOST}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        self.socket.sendall(f"{head}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        self._received = b""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        answer, self._received = self._received.split(b"\r\n\r\n", 1)
        if b" 101 " not in answer.split(b"\r\n")[0]:
            raise BenchError(f"no WebSocket: {answer!r}")
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}
        self._send(json.dumps(request).encode())
        while not (messages := self.messages()):
            self._receive()
        if "result" not in messages[0]:
            raise BenchError(f"no subscription: {messages[0]}")

    def _receive(self) -> None:
        more = self.socket.recv(1 << 16)
        if not more:
            raise BenchError("a gateway closed a subscription")
        self._received += more

    def _send(self, payload: bytes, opcode: int = 0x1) -> None:
        # A client masks what it sends; zeros are a mask.
        length = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
        self.socket.sendall(bytes([0x80 | opcode]) + length + bytes(4) + payload)

    def messages(self) -> list[dict]:
        """The whole messages among what was received."""
        found = []
        while len(self._received) >= 2:
            opcode, length, start = self._received[0] & 0xF, self._received[1] & 0x7F, 2
            if length >= 126:
                start = 4 if length == 126 else 10
                if len(self._received) < start:
                    break
                length = int.from_bytes(self._received[2:start], "big")
            if len(self._received) < start + length:
                break
            payload, self._received = self._received[start : start + length], self._received[start + length :]
            if opcode == 0x9:
                self._send(payload, 0xA)
            elif opcode == 0x1:
                found.append(json.loads(payload))
        return found

    def receive(self) -> list[dict]:
        self._receive()
        return self.messages()


class Listener:
    """Notes when each subscriber heard of each block; for a `with` statement."""

    def __init__(self, ports: list[int]):
        self.subscribers = [Subscriber(port) for port in ports]
        self.heard: list[dict[str, float]] = [{} for _ in ports]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def _listen(self) -> None:
        selector = selectors.DefaultSelector()
        for index, each in enumerate(self.subscribers):
            selector.register(each.socket, selectors.EVENT_READ, index)
        while not self._over.is_set():
            for key, _ in selector.select(timeout=0.2):
                now = time.time()
                for message in self.subscribers[key.data].receive():
                    if message.get("method") == "eth_subscription":
                        self.heard[key.data].setdefault(message["params"]["result"]["hash"], now)

    def __exit__(self, *_):
        # The last block's news is on its way.
        time.sleep(SETTLE)
        self._over.set()
        self._thread.join(5)
        for each in self.subscribers:
            each.socket.close()


def commits(log: pathlib.Path) -> dict[str, float]:
    """When each block was committed, by its hash, as `chain` logged it."""
    found = {}
    for line in log.read_text(errors="replace").splitlines():
        if '"Committed"' in line:
            entry = json.loads(line)
            found[entry["hash"]] = datetime.datetime.fromisoformat(entry["timestamp"]).timestamp()
    return found


def delays(listener: Listener, log: pathlib.Path) -> tuple[int, list[list[float]]]:
    """How many blocks were committed while all listened, and for each subscriber the milliseconds until it heard."""
    committed = commits(log)
    first = max((min(heard.values()) for heard in listener.heard if heard), default=0.0)
    blocks = {hash: moment for hash, moment in committed.items() if moment >= first}
    if not blocks:
        raise BenchError("no block was committed, or chain does not log it")
    each = [[(heard[hash] - moment) * 1e3 for hash, moment in blocks.items() if hash in heard] for heard in listener.heard]
    return len(blocks), each
