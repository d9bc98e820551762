"""The digest of a version: the same labels give the same digest on any machine, whatever led to them.

A tree of SHA-256. Its leaves are the rows, each by a line of canonical JSON (UTF-8, keys sorted, no blanks,
nothing escaped that need not be) that a line feed ends:

    leaf    SHA-256 of  {"key":"<sha256>","split":"train","target":{"label":0}}

Rows whose keys begin with the same D digits are one bucket, where D is the least number such that 64 * 16**D
is no less than the number of rows. So a bucket has 64 rows at most on average, and a row that changes its
label changes its bucket and the root alone:

    bucket  SHA-256 of  the byte 01, then the leaves in the order of their keys; 32 zero bytes if it is empty
    digest  SHA-256 of  the line {"classes":["cat","dog"],"format":2,"task":"image-classification"},
                        then the 16**D buckets in the order of their digits

It depends on content, labels, split and class registry alone: not on who labelled when, on which server, in
which order, under which address, nor on how the rows lie in files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMAT = 2
EMPTY = bytes(32)
"""The digest of a bucket without rows."""

_ROWS_OF_A_BUCKET = 64
_START = b'{"key":"'
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def version_digest(
    task: str, classes: Sequence[str], rows: Iterable[tuple[str, str, Mapping[str, Any]]]
) -> str:
    """The digest in hex (64 characters).

    Args:
        task: the task's kind.
        classes: names in id order.
        rows: key, split and target columns of each row, in any order.
    """
    return digest_of_leaves(
        task, classes, [(key, row_digest(key, split, target)) for key, split, target in rows]
    )


def digest_of_leaves(task: str, classes: Sequence[str], leaves: Sequence[tuple[str, bytes]]) -> str:
    """The digest in hex, of key and leaf of each row, in any order."""
    digits = digits_for(len(leaves))
    try:
        found = bucket_digests([(bytes.fromhex(key), leaf) for key, leaf in leaves], digits)
    except ValueError:
        # A key that is none has no bucket: all rows in one make a digest that no version has.
        found = {0: bucket_digest([leaf for _, leaf in sorted(leaves)])}
    every = bytearray(len(EMPTY) * 16**digits)
    for number, digest in found.items():
        every[len(EMPTY) * number : len(EMPTY) * (number + 1)] = digest
    return root(task, classes, bytes(every))


def bucket_digests(leaves: Sequence[tuple[bytes, bytes]], digits: int) -> dict[int, bytes]:
    """The number and the digest of each bucket that has a row.

    Args:
        leaves: key (32 bytes) and leaf of each row, in any order.
        digits: how many digits of a key name its bucket.

    Raises:
        ValueError: a key has another length.
    """
    import numpy

    if not leaves:
        return {}
    if any(len(key) != len(EMPTY) for key, _ in leaves):
        raise ValueError("a key is not 32 bytes")
    ordered = sorted(leaves)
    heads = numpy.frombuffer(b"".join(key[:8] for key, _ in ordered), dtype=">u8")
    numbers = heads >> numpy.uint64(64 - 4 * digits) if digits else numpy.zeros_like(heads)
    every = b"".join(leaf for _, leaf in ordered)
    starts = numpy.flatnonzero(numpy.diff(numbers, prepend=numbers[0] + 1) != 0).tolist()
    return {
        int(numbers[start]): hashlib.sha256(b"\x01" + every[32 * start : 32 * end]).digest()
        for start, end in zip(starts, [*starts[1:], len(ordered)], strict=True)
    }


def digits_for(rows: int) -> int:
    """How many digits of a key name its bucket."""
    digits = 0
    while _ROWS_OF_A_BUCKET * 16**digits < rows:
        digits += 1
    return digits


def row_digest(key: str, split: str, target: Mapping[str, Any]) -> bytes:
    """A row's leaf (32 bytes): tells which row it is when the version's digest does not fit."""
    return hashlib.sha256(_line({"key": key, "split": split, "target": dict(target)})).digest()


def row_end(split: str, target: Mapping[str, Any]) -> bytes:
    """The end of a row's line, which is the same for all rows with this split and target."""
    return b'",' + _line({"split": split, "target": dict(target)})[1:]


def leaf_of(key: str, end: bytes) -> bytes:
    """A row's leaf, as `row_digest` has it, of its key and the end of its line."""
    return hashlib.sha256(_START + _encode(key)[1:-1].encode() + end).digest()


def bucket_digest(leaves: Sequence[bytes]) -> bytes:
    """The digest (32 bytes) of the leaves of a bucket, in the order of their keys."""
    return hashlib.sha256(b"\x01" + b"".join(leaves)).digest() if leaves else EMPTY


def root(task: str, classes: Sequence[str], buckets: bytes) -> str:
    """The version's digest in hex, of all buckets in order, 32 bytes each."""
    header = _line({"format": FORMAT, "task": task, "classes": list(classes)})
    return hashlib.sha256(header + buckets).hexdigest()


def canonical(value: Any) -> bytes:
    """A JSON value in its one canonical form.

    Raises:
        ValueError: a number is not finite, which JSON cannot say.
    """
    return _encode(value).encode()


def _line(value: Any) -> bytes:
    return canonical(value) + b"\n"
