"""What a request asks about: texts in JSON, or files in a form."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from goldloop.errors import ServingError
from goldloop.records import Modality
from goldloop.serving.refusals import Refused

_LIMIT_FIELDS = 10_000


async def contents_of(request: Request, modality: Modality, most: int) -> list[bytes | str]:
    """The images or texts of a request, in order.

    Accepts `multipart/form-data` with files of any field name (images; UTF-8 texts) or `text` fields, and
    `application/json` as `{"text": "..."}` or `{"texts": [...]}`.

    Raises:
        ServingError: none of these, too many, or of the other modality.
    """
    found = await _contents(request, modality)
    if len(found) > most:
        raise Refused(
            f"too many {modality}s in one request",
            status=413,
            found=len(found),
            expected=f"at most {most}",
            remedy="Send fewer at a time, or raise `serving: {max_request_items: ...}`",
        )
    return found


async def _contents(request: Request, modality: Modality) -> list[bytes | str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "application/json":
        return _texts(await json_of(request), modality)
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        async with request.form(max_files=_LIMIT_FIELDS, max_fields=_LIMIT_FIELDS) as form:
            found = [await _field(value, modality) for _, value in form.multi_items()]
        if not found:
            raise ServingError("the form is empty", expected=_expected(modality))
        return found
    raise ServingError(
        "unknown kind of request", found=kind or "no content type", expected=_expected(modality)
    )


async def json_of(request: Request) -> Any:
    """The parsed body of a request.

    Raises:
        ServingError: it is not JSON.
    """
    try:
        return await request.json()
    except ValueError as error:
        raise ServingError("the body is not JSON", found=str(error)) from error


def _texts(body: Any, modality: Modality) -> list[bytes | str]:
    texts = body.get("texts", [body.get("text")]) if isinstance(body, dict) else None
    if modality != "text" or not isinstance(texts, list) or not texts:
        raise ServingError("this is not what the model works on", expected=_expected(modality))
    if not all(isinstance(text, str) for text in texts):
        raise ServingError("every text is a string", expected=_expected(modality))
    return [_whole(text) for text in texts]


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # A tokenizer would fail on it, and with it all texts of its batch.
        raise ServingError("a text has half a surrogate pair", found=f"at offset {error.start}") from error
    return text


async def _field(value: UploadFile | str, modality: Modality) -> bytes | str:
    if modality == "image":
        if isinstance(value, str):
            raise ServingError("a text was sent to an image model", expected=_expected(modality))
        return await value.read()
    if isinstance(value, str):
        return value
    try:
        return (await value.read()).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ServingError("a file is not UTF-8 text", where=value.filename, found=str(error)) from error


def _expected(modality: Modality) -> str:
    if modality == "image":
        return "a form with images, as `curl -F image=@photo.jpg` sends it"
    return 'JSON {"text": "..."} or {"texts": [...]}, or a form with `text` fields'
