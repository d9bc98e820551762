"""Signatures as AWS's own library makes them are taken, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from goldloop.errors import MediaRefused
from goldloop.media_keys import MediaKey
from goldloop.proxy.signature import Asked, check

KEY = MediaKey("GL0123456789ABCDEF0123", "a secret/with+signs=")
ENDPOINT = "http://127.0.0.1:8301"


def _presigned(key: MediaKey = KEY, name: str = "ab12", seconds: int = 60, **extra: str) -> str:
    client = boto3.client(
        "s3",
        endpoint_url=ENDPOINT,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        region_name="us-east-1",
        config=Config(signature_version="s3v4"),
    )
    parameters = {"Bucket": "pets", "Key": name, **extra}
    return client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)


def _asked(url: str, method: str = "GET", **headers: str) -> Asked:
    parts = urlsplit(url)
    return Asked(method, parts.path, parts.query, {"host": parts.netloc, **headers})


def _now(after: float = 0) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=after)


@pytest.mark.parametrize("name", ["ab12", "a b/ü+c.jpg", "a%20b"], ids=["plain", "signs", "percent"])
def test_an_address_that_was_signed_with_the_key_is_taken(name):
    check(_asked(_presigned(name=name, ResponseContentType="image/jpeg; a=b c")), KEY, _now())


def test_a_request_whose_header_is_signed_is_taken():
    request = AWSRequest("HEAD", f"{ENDPOINT}/pets", headers={"x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
    SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", "us-east-1").add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    check(_asked(request.url, "HEAD", **headers), KEY, _now())
    with pytest.raises(MediaRefused, match="expired"):
        check(_asked(request.url, "HEAD", **headers), KEY, _now(901))
    with pytest.raises(MediaRefused, match="does not fit"):
        check(_asked(f"{ENDPOINT}/signs", "HEAD", **headers), KEY, _now())


def test_a_signature_holds_for_the_time_that_it_says():
    url = _presigned(seconds=60)
    check(_asked(url), KEY, _now(55))
    with pytest.raises(MediaRefused, match="expired") as refused:
        check(_asked(url), KEY, _now(61))
    assert (refused.value.code, refused.value.status) == ("AccessDenied", 403)
    with pytest.raises(MediaRefused, match="expired"):
        check(_asked(url), KEY, _now(-1000))


@pytest.mark.parametrize(
    "change",
    [
        lambda url: url.replace("ab12", "ab13"),
        lambda url: url.replace("pets", "signs"),
        lambda url: url.replace("Expires=60", "Expires=600"),
        lambda url: url + "&response-content-type=text%2Fhtml",
        lambda url: url.replace("GL0123456789ABCDEF0123", "GL0123456789ABCDEF0124"),
        lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
        lambda url: url.partition("&X-Amz-Signature")[0],
        lambda url: url.replace("SignedHeaders=host", "SignedHeaders="),
    ],
    ids=["key", "recipe", "longer", "more", "id", "signature", "none", "no host"],
)
def test_an_address_that_was_changed_is_refused(change):
    url = _presigned()
    changed = change(url)
    assert changed != url
    with pytest.raises(MediaRefused, match="does not fit") as refused:
        check(_asked(changed), KEY, _now())
    assert refused.value.status == 403


@pytest.mark.parametrize(
    "key",
    [None, MediaKey(KEY.id, "another"), MediaKey("another", KEY.secret)],
    ids=["no such recipe", "another secret", "another id"],
)
def test_another_key_opens_nothing(key):
    with pytest.raises(MediaRefused, match="does not fit"):
        check(_asked(_presigned()), key, _now())


def test_an_empty_key_is_no_key():
    with pytest.raises(MediaRefused):
        check(_asked(_presigned(MediaKey("x", "y")).replace("x%2F", "%2F")), None, _now())


@pytest.mark.parametrize(
    "url",
    [
        f"{ENDPOINT}/pets/ab12",
        f"{ENDPOINT}/pets/ab12?X-Amz-Algorithm=AWS4-HMAC-SHA256",
        f"{ENDPOINT}/pets/ab12?X-Amz-Algorithm=none&X-Amz-Signature=a",
        f"{ENDPOINT}/pets/ab12?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=%C3%BC&X-Amz-SignedHeaders=host",
    ],
    ids=["not signed", "half signed", "another algorithm", "no hex"],
)
def test_what_is_not_signed_is_refused(url):
    with pytest.raises(MediaRefused) as refused:
        check(_asked(url), KEY, _now())
    assert refused.value.status == 403


def test_a_signature_in_another_case_of_method_is_for_that_method_alone():
    with pytest.raises(MediaRefused, match="does not fit"):
        check(_asked(_presigned(), "HEAD"), KEY, _now())


def test_a_signature_for_a_time_that_cannot_be_is_refused():
    for seconds in (0, -5, 8 * 24 * 3600):
        with pytest.raises(MediaRefused):
            check(_asked(_presigned(seconds=seconds)), KEY, _now())
