"""The media proxy as a bucket of a project: Label Studio signs its addresses for who may see the task."""

from __future__ import annotations

from dataclasses import dataclass, field

from goldloop.errors import LabelStudioError
from goldloop.labeling.api import Api

_PLACE = "/api/storages/s3/"
_MINUTES = 1


@dataclass(frozen=True, slots=True)
class Bucket:
    """What Label Studio has to know of it.

    Attributes:
        name: the recipe's.
        endpoint: the proxy's address.
        key_id, secret: what addresses are signed with.
        presign: whether browsers are sent to the proxy; else Label Studio fetches for them.
    """

    name: str
    endpoint: str
    key_id: str
    secret: str = field(repr=False)
    presign: bool = True

    @property
    def title(self) -> str:
        """Names the key, as Label Studio does not tell which one it holds."""
        return f"goldloop media {self.key_id}"


def ensure(api: Api, project_id: int, bucket: Bucket) -> None:
    """Make the project's storage of a bucket what it should be; one that is so already is left alone.

    Raises:
        LabelStudioError: Label Studio does not reach the proxy, or the proxy does not know the key.
    """
    wanted = {
        "title": bucket.title,
        "bucket": bucket.name,
        "s3_endpoint": bucket.endpoint,
        "presign": bucket.presign,
        "presign_ttl": _MINUTES,
    }
    present = api.get(_PLACE, {"project": project_id})
    ours = [each for each in present if each["bucket"] == bucket.name]
    if any(all(each.get(name) == value for name, value in wanted.items()) for each in ours):
        return
    secret = {
        "aws_access_key_id": bucket.key_id,
        "aws_secret_access_key": bucket.secret,
        "region_name": "us-east-1",
        "use_blob_urls": True,
    }
    try:
        if ours:
            api.call("PATCH", f"{_PLACE}{ours[0]['id']}", json=wanted | secret)
        else:
            api.call("POST", _PLACE, json={"project": project_id, **wanted, **secret})
    except LabelStudioError as error:
        raise type(error)(
            "Label Studio cannot use the media proxy",
            where=bucket.endpoint,
            found=error.found,
            remedy=f"Start it with `goldloop media RECIPE` for {bucket.name}, where Label Studio reaches it",
        ) from error
