"""Who vouches for a version: Ed25519 signatures (RFC 8032) of its certificate.

A private key is PKCS #8 in PEM, in a file that its owner alone can read. A public key is written
`ed25519:` and the base64 of its 32 bytes; a file of trusted keys has one a line, with comments after `#`.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from goldloop.errors import SigningError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_PREFIX = "ed25519:"
_KEY_BYTES = 32
_SETTING, _TRUSTED = "GOLDLOOP_SIGNING_KEY", "GOLDLOOP_TRUSTED_KEYS"
_NEW = "Make one with `goldloop keys new FILE`"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key; `public` is what others verify by."""

    public: str
    _private: Ed25519PrivateKey = field(repr=False)

    def sign(self, content: bytes) -> str:
        """The signature, in base64."""
        return base64.b64encode(self._private.sign(content)).decode()


def new_key(path: Path) -> SigningKey:
    """Make a key and write it to a new file that its owner alone can read.

    Raises:
        SigningError: something is there already, or it cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    private = Ed25519PrivateKey.generate()
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise SigningError(
            "the key cannot be written",
            where=path,
            found=error.strerror,
            remedy="Name a file that is not there yet: a key is never written over",
        ) from error
    return SigningKey(_written(private.public_key()), private)


def signing_key(setting: str | None) -> SigningKey | None:
    """The key that GOLDLOOP_SIGNING_KEY gives, as a file or as the PEM itself; None where it gives none.

    Raises:
        SigningError: it is none, or others can read its file. The message never has the value.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not setting or not setting.strip():
        return None
    content = setting.strip().encode() if "-----BEGIN" in setting else _file(Path(setting.strip()))
    try:
        private = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SigningError(
            "this is no private key that can be read",
            where=_SETTING,
            expected="a file, or PEM without a password",
            remedy=_NEW,
        ) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise SigningError("the key is of another kind", where=_SETTING, expected="Ed25519", remedy=_NEW)
    return SigningKey(_written(private.public_key()), private)


def trusted_keys(setting: str | None) -> frozenset[str]:
    """The public keys that GOLDLOOP_TRUSTED_KEYS names; empty where anyone's word counts.

    Args:
        setting: keys, or files of keys, with blanks or commas between them.

    Raises:
        SigningError: one of them is neither.
    """
    found: set[str] = set()
    for part in re.split(r"[\s,]+", setting or ""):
        if part.startswith(_PREFIX):
            found.add(_checked(part, _TRUSTED))
        elif part:
            found |= _listed(Path(part))
    return frozenset(found)


def is_signed(content: bytes, public: str, signature: str) -> bool:
    """Whether a signature in base64 is this key's, over these bytes."""
    from cryptography.exceptions import InvalidSignature

    try:
        _public(public).verify(base64.b64decode(signature, validate=True), content)
    except (InvalidSignature, SigningError, ValueError):
        return False
    return True


def _file(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        # A value that is no PEM is taken for a path, so it must not be shown.
        found = error.strerror if isinstance(error, OSError) else None
        raise SigningError(
            "the file of the signing key cannot be read", where=_SETTING, found=found, remedy=_NEW
        ) from None
    if stat.S_IMODE(mode) & 0o077:
        raise SigningError(
            "others can read the file of the signing key",
            where=_SETTING,
            found=f"mode {stat.S_IMODE(mode):o}",
            expected="600",
            remedy=f"chmod 600 {path}; if others may have read it, make a new one",
        )
    return content


def _listed(path: Path) -> set[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise SigningError(
            "this is neither a public key nor a file of them",
            where=_TRUSTED,
            found=str(path),
            expected=f"{_PREFIX}...",
            remedy="`goldloop keys show` prints the public key of the signing key",
        ) from error
    keys = (line.partition("#")[0].strip() for line in lines)
    return {_checked(key, path) for key in keys if key}


def _checked(key: str, where: object) -> str:
    _public(key, where)
    return key


def _public(key: str, where: object = None) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        content = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not key.startswith(_PREFIX) or len(content) != _KEY_BYTES:
        raise SigningError(
            "this is no public key",
            where=where,
            found=repr(key)[:80],
            expected=f"{_PREFIX} and 44 signs of base64",
            remedy="`goldloop keys show` prints the public key of the signing key",
        )
    return Ed25519PublicKey.from_public_bytes(content)


def _written(public: Ed25519PublicKey) -> str:
    return _PREFIX + base64.b64encode(public.public_bytes_raw()).decode()
