"""Keys that are made, read and refused; the value of a private key is in no message."""

from __future__ import annotations

import re
import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from goldloop.dataset.signing import is_signed, new_key, signing_key, trusted_keys
from goldloop.errors import SigningError


def test_a_new_key_is_its_owners_alone_and_signs(tmp_path):
    path = tmp_path / "keys" / "team.pem"
    key = new_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"ed25519:[A-Za-z0-9+/]{43}=", key.public)
    again = signing_key(str(path))
    assert again is not None
    assert again.public == key.public
    assert is_signed(b"content", key.public, again.sign(b"content"))
    assert key.public not in path.read_text()


def test_a_signature_holds_for_its_bytes_and_its_key_alone(tmp_path):
    key, other = new_key(tmp_path / "one.pem"), new_key(tmp_path / "other.pem")
    signature = key.sign(b"content")
    assert not is_signed(b"Content", key.public, signature)
    assert not is_signed(b"content", other.public, signature)
    assert not is_signed(b"content", key.public, signature[4:])
    assert not is_signed(b"content", key.public, "no base64!")
    assert not is_signed(b"content", "ed25519:", signature)


def test_a_key_may_be_given_by_its_value(tmp_path):
    key = new_key(tmp_path / "one.pem")
    given = signing_key((tmp_path / "one.pem").read_text())
    assert given is not None
    assert given.public == key.public
    assert "PRIVATE" not in repr(given)


@pytest.mark.parametrize("setting", [None, "", "  "])
def test_without_a_setting_there_is_no_key_and_nobody_is_excluded(setting):
    assert signing_key(setting) is None
    assert trusted_keys(setting) == frozenset()


def test_a_key_is_never_written_over(tmp_path):
    new_key(tmp_path / "one.pem")
    before = (tmp_path / "one.pem").read_bytes()
    with pytest.raises(SigningError, match="never written over"):
        new_key(tmp_path / "one.pem")
    assert (tmp_path / "one.pem").read_bytes() == before


def test_a_key_that_others_can_read_is_refused(tmp_path):
    new_key(tmp_path / "one.pem")
    (tmp_path / "one.pem").chmod(0o640)
    with pytest.raises(SigningError, match=r"found mode 640, expected 600.*chmod 600"):
        signing_key(str(tmp_path / "one.pem"))


@pytest.mark.parametrize(
    "value",
    ["c2VjcmV0IHZhbHVlIG9mIGEga2V5", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END-----", "\0c2Vj"],
)
def test_what_is_no_key_is_refused_and_not_shown(value):
    with pytest.raises(SigningError, match="GOLDLOOP_SIGNING_KEY") as caught:
        signing_key(value)
    assert "c2Vj" not in str(caught.value)


def test_a_key_of_another_kind_is_refused():
    private = ec.generate_private_key(ec.SECP256R1())
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(SigningError, match="Ed25519"):
        signing_key(content.decode())


def test_trusted_keys_are_given_by_value_and_by_file(tmp_path):
    one, other = (new_key(tmp_path / f"{number}.pem").public for number in range(2))
    (tmp_path / "trusted").write_text(f"# the team\n{other}   # Ada\n\n")
    assert trusted_keys(f"{one},{tmp_path / 'trusted'}") == {one, other}
    assert trusted_keys(f" {one}\n") == {one}


@pytest.mark.parametrize("setting", ["ed25519:abc", "nowhere.txt", "ed25519:"])
def test_a_trusted_key_that_is_none_is_refused(setting):
    with pytest.raises(SigningError, match="public key"):
        trusted_keys(setting)


def test_a_file_of_trusted_keys_with_a_wrong_line_names_the_file(tmp_path):
    (tmp_path / "trusted").write_text("nonsense\n")
    with pytest.raises(SigningError, match=r"trusted: this is no public key \(found 'nonsense'"):
        trusted_keys(str(tmp_path / "trusted"))
