"""Clients of a server, in a process of their own: each asks again as soon as it has its answer.

    python load.py HOST PORT REQUESTS.bin CLIENTS WARM-UP-SECONDS SECONDS

Prints one line of JSON: answers, errors, and the latency of each answer's request, of the measured seconds.
Raw sockets: a client library would take more of the machine than the server that is measured.
"""

from __future__ import annotations

import asyncio
import json
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path


class Client:
    """One connection, kept alive as long as the server does."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body."""
        if self.writer is None or self.reader is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
        body = await self.reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        """Let the connection go."""
        if self.writer is not None:
            self.writer.close()
        self.reader = self.writer = None


async def load(
    host: str, port: int, requests: Sequence[bytes], clients: int, warm_up: float, seconds: float
) -> dict[str, object]:
    """Ask for so many seconds."""
    latencies: list[float] = []
    errors: dict[str, int] = {}
    models: dict[str, int] = {}
    begin = time.perf_counter() + warm_up
    end = begin + seconds

    async def one(number: int) -> None:
        client = Client(host, port)
        place = number * 17
        fresh = True
        while (began := time.perf_counter()) < end:
            request = requests[place % len(requests)]
            place += 1
            try:
                status, body = await client.ask(request)
                problem = "" if status == 200 else str(status)
            except (OSError, asyncio.IncompleteReadError) as error:
                client.close()
                # A server may close an idle connection just as it is used again: any client asks once more.
                if not fresh:
                    fresh, place = True, place - 1
                    continue
                problem, body = type(error).__name__, b""
            fresh = False
            now = time.perf_counter()
            if began >= begin and now <= end:
                if problem:
                    errors[problem] = errors.get(problem, 0) + 1
                else:
                    latencies.append(now - began)
                    model = body.partition(b'"model":"')[2].partition(b'"')[0].decode()
                    models[model] = models.get(model, 0) + 1
        client.close()

    await asyncio.gather(*map(one, range(clients)))
    return {"latencies": latencies, "errors": errors, "models": models, "seconds": seconds}


def pack(requests: Sequence[bytes]) -> bytes:
    """Requests in one file."""
    return b"".join(struct.pack("<I", len(request)) + request for request in requests)


def unpack(content: bytes) -> list[bytes]:
    """The requests of a file."""
    found, place = [], 0
    while place < len(content):
        (length,) = struct.unpack_from("<I", content, place)
        found.append(content[place + 4 : place + 4 + length])
        place += 4 + length
    return found


if __name__ == "__main__":
    host, port, file, clients, warm_up, seconds = sys.argv[1:]
    asked = unpack(Path(file).read_bytes())
    found = asyncio.run(load(host, int(port), asked, int(clients), float(warm_up), float(seconds)))
    print(json.dumps(found))
