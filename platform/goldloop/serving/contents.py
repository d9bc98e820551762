"""What a request asks about: texts in JSON, or files in a form."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile

from goldloop.errors import ServingError
from goldloop.records import Modality

_LIMIT_FIELDS = 10_000


async def contents_of(request: Request, modality: Modality, max_bytes: int) -> list[bytes | str]:
    """The images or texts of a request, in order.

    Accepts `multipart/form-data` with files of any field name (images; UTF-8 texts) or `text` fields, and
    `application/json` as `{"text": "..."}` or `{"texts": [...]}`.

    Raises:
        ServingError: none of these, too large, or of the other modality.
    """
    length = request.headers.get("content-length")
    if length is None or not length.isdecimal() or int(length) > max_bytes:
        raise ServingError(
            "the request is too large, or does not say how large it is",
            found=f"{length} bytes",
            expected=f"at most {max_bytes} bytes",
            remedy="Send fewer at a time",
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind == "application/json":
        return _texts(await _json(request), modality)
    if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        async with request.form(max_files=_LIMIT_FIELDS, max_fields=_LIMIT_FIELDS) as form:
            found = [await _field(value, modality) for _, value in form.multi_items()]
        if not found:
            raise ServingError("the form is empty", expected=_expected(modality))
        return found
    raise ServingError(
        "unknown kind of request", found=kind or "no content type", expected=_expected(modality)
    )


async def _json(request: Request) -> Any:
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
    return list(texts)


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
