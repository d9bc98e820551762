"""The media proxy: what of S3 an annotation server needs, over the images of the catalog.

GET, HEAD /RECIPE/KEY   an image, upright; with `Range` and `If-None-Match`
HEAD /RECIPE            whether there is such a recipe         GET /health   the process lives

Tasks carry `s3://RECIPE/KEY`, which never changes. Label Studio, which knows who may see a task, signs the
address at each read, for a minute; it stores none of that. Without a signature that holds, nobody learns
what is here. Where the recipe says so, browsers are sent on to the image's own bucket, by an address that is
signed anew for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from goldloop import __version__
from goldloop.errors import MediaRefused
from goldloop.media_keys import MediaKeys
from goldloop.proxy.shelf import Shelf
from goldloop.proxy.signature import Asked, check

_CACHED_SECONDS = 300
_ANYWHERE = {
    # The signature is what opens it; a page gains nothing by being of some site.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range, ETag",
    "Cross-Origin-Resource-Policy": "cross-origin",
    # Whatever the bytes are, a browser shows a picture or nothing.
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}
_NEVER_KEPT = {"Cache-Control": "no-store"}


def create_app(
    shelf: Shelf,
    keys: MediaKeys,
    signed_for: Mapping[str, int | None],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> FastAPI:
    """The proxy of some recipes.

    Args:
        shelf: the images.
        keys: what signatures are held against.
        signed_for: recipe -> for how many seconds browsers are sent on to the image's own store, None where
            the proxy hands out the bytes itself; no other recipe is served.
        now: the clock.
    """
    app = FastAPI(
        title="goldloop media", version=__version__, docs_url=None, redoc_url=None, openapi_url=None
    )

    @app.exception_handler(MediaRefused)
    async def refuse(request: Request, error: MediaRefused) -> Response:
        told = f"<Error><Code>{error.code}</Code><Message>{escape(str(error))}</Message></Error>"
        body = "" if request.method == "HEAD" else told
        headers = _ANYWHERE | _NEVER_KEPT
        return Response(body, error.status, headers, media_type="application/xml")

    def admit(request: Request, recipe: str) -> None:
        asked = Asked(
            request.method,
            request.scope["raw_path"].decode("latin-1"),
            request.scope["query_string"].decode("latin-1"),
            request.headers,
        )
        check(asked, keys.find(recipe) if recipe in signed_for else None, now())

    @app.get("/health")
    def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.head("/{recipe}")
    def exists(recipe: str, request: Request) -> Response:
        """Whether there is such a recipe."""
        admit(request, recipe)
        return Response(headers=_ANYWHERE | _NEVER_KEPT)

    @app.options("/{recipe}/{key}")
    def preflight(recipe: str, key: str) -> Response:
        """What a page may ask with."""
        allowed = {"Access-Control-Allow-Methods": "GET, HEAD", "Access-Control-Allow-Headers": "Range"}
        return Response(headers=_ANYWHERE | allowed)

    @app.api_route("/{recipe}/{key}", methods=["GET", "HEAD"])
    def image(recipe: str, key: str, request: Request) -> Response:
        """An image."""
        admit(request, recipe)
        item = shelf.item(recipe, key)
        path, media_type = shelf.file(recipe, item)
        seconds = signed_for[recipe]
        if seconds is not None and path == shelf.store.path(item):
            # A turned copy is nowhere but here.
            address = shelf.elsewhere(recipe, item, seconds)
            if address is not None:
                return RedirectResponse(address, 307, _ANYWHERE | _NEVER_KEPT)
        return _from(path, media_type, request)

    return app


def _from(path: Path, media_type: str, request: Request) -> Response:
    # The name says the content, and whether it was turned.
    mark = f'"{path.name}"'
    headers = _ANYWHERE | {"ETag": mark, "Cache-Control": f"private, max-age={_CACHED_SECONDS}"}
    known = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
    if mark in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, headers=headers, media_type=media_type)
