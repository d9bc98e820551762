"""`kind: sql`: rows of a query on any database of SQLAlchemy's: texts, images, or addresses of images."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator
from sqlalchemy import URL, Connection, NullPool, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from typing_extensions import override

from goldloop.connectors._distinct import Distinct
from goldloop.connectors._locations import folder_at
from goldloop.connectors._row_items import Candidate, RowsConfig, RowsConnector
from goldloop.connectors.base import Found, Kept, Known
from goldloop.errors import PluginError, SourceError

_ROWS_AT_ONCE = 1_000
_TYPES: dict[str, Any] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "as-it-is": lambda value: value,
}


class Sql(RowsConnector):
    """One item per row of a query. `filter` is judged here: what the database can tell belongs in `query`.

    With a `watermark` only rows since the last pull are read; those that were deleted are noticed by
    `goldloop pull --full`.
    """

    class Config(RowsConfig):
        """What a recipe says of it. Columns of content may hold texts, bytes, paths or addresses."""

        url: str | None = Field(default=None, min_length=1)
        """A SQLAlchemy URL without a password, such as `postgresql+psycopg://host/database`."""
        url_from: str | None = Field(default=None, min_length=1)
        """In place of `url`: the environment variable that holds it, with its password."""
        query: str = Field(min_length=1)
        """One SELECT, without a semicolon; it is run as part of another one."""
        key: str = Field(min_length=1)
        """The column that tells rows apart."""
        watermark: str | None = None
        """A column that only grows, and with every change of its row: a time or a version."""
        beside: str | None = None
        """The folder or address that paths in the `image` column are relative to."""

        @model_validator(mode="after")
        def _has_place(self) -> Sql.Config:
            if (self.url is None) == (self.url_from is None):
                raise ValueError("say where the database is: `url: URL` or `url_from: VARIABLE`")
            if self.url is not None and _has_password(self.url):
                raise ValueError(
                    "a password has no place in a recipe: put the URL into an environment variable and name "
                    "that with `url_from: VARIABLE`"
                )
            return self

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._bookmark: str | None = None

    @classmethod
    @override
    def example(cls, folder: Path) -> dict[str, Any]:
        with closing(sqlite3.connect(folder / "example.db")) as database, database:
            database.execute("CREATE TABLE notes (id INTEGER, words TEXT)")
            database.executemany("INSERT INTO notes VALUES (?, ?)", [(1, "one"), (2, "two"), (3, " ")])
        url = f"sqlite:///{folder / 'example.db'}"
        return {"kind": "sql", "url": url, "query": "SELECT * FROM notes", "key": "id", "text": "words"}

    @override
    def read(self, known: Known) -> Iterator[Found | Kept]:
        url = self._url()
        since = known.bookmark if self._continues else None
        self._bookmark = since
        rows = islice(self._candidates(url, since), self.config.limit)
        if self.config.image is None:
            yield from (self.found(row) for row in rows)
            return
        beside = None if self.config.beside is None else folder_at(self.config.beside)
        yield from self.found_elsewhere(rows, beside, known)

    @override
    def fingerprint(self) -> None:
        # A database does not tell whether it has changed. That it can be read at all is found out here.
        with _connected(self._url()) as connection, _translated(self._url()):
            query = text(f"SELECT * FROM ({self.config.query}) AS rows_of_it LIMIT 0")  # noqa: S608
            connection.execute(query).close()

    @override
    def bookmark(self) -> str | None:
        return self._bookmark if self._continues else None

    @property
    def _continues(self) -> bool:
        # A limited source has as many rows at each pull, and not as many more.
        return self.config.watermark is not None and self.config.limit is None

    def _url(self) -> URL:
        if self.config.url is not None:
            return _parsed(self.config.url)
        value = os.environ.get(self.config.url_from)
        if not value:
            raise SourceError(
                f"the environment variable {self.config.url_from} is not set",
                expected="a SQLAlchemy URL, such as postgresql+psycopg://user:password@host/database",
            )
        return _parsed(value)

    def _candidates(self, url: URL, since: str | None) -> Iterator[Candidate]:
        """Every row since a bookmark that the filter takes; the bookmark goes on with them."""
        config, address = self.config, _address(url)
        order = ", ".join(_quoted(url, name) for name in (config.watermark, config.key) if name)
        newer = "" if since is None else f" WHERE {_quoted(url, config.watermark)} >= :since"
        query = f"SELECT * FROM ({config.query}) AS rows_of_it{newer} ORDER BY {order}"  # noqa: S608
        given = {} if since is None else {"since": _from_bookmark(since)}
        seen = Distinct()
        with _connected(url) as connection, _translated(url):
            streamed = connection.execution_options(yield_per=_ROWS_AT_ONCE)
            with streamed.execute(text(query), given) as result:
                self.check_columns(list(result.keys()), address)
                for number, row in enumerate(result.mappings()):
                    values = dict(row)
                    self._pass(values)
                    found = self.named(values, config.key, address, f"row-{number}", 0, seen)
                    if found is not None:
                        yield found

    def _pass(self, values: Mapping[str, Any]) -> None:
        """Let the bookmark go on to a row."""
        watermark = None if self.config.watermark is None else values[self.config.watermark]
        if watermark is not None:
            self._bookmark = _to_bookmark(watermark)

    @override
    def named_columns(self) -> list[str]:
        more = [name for name in (self.config.key, self.config.watermark) if name is not None]
        return [*super().named_columns(), *more]


def _has_password(url: str) -> bool:
    try:
        return _parsed(url).password is not None
    except SourceError as error:
        raise ValueError(str(error)) from error


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (ArgumentError, ValueError) as error:
        raise SourceError(
            "this is no SQLAlchemy URL", expected="such as postgresql+psycopg://host/database"
        ) from error


def _address(url: URL) -> str:
    """The database's address without user and password, and without a driver, which may change."""
    bare = url.set(drivername=url.get_backend_name(), query={})
    return URL.create(
        bare.drivername, host=bare.host, port=bare.port, database=bare.database
    ).render_as_string()


def _quoted(url: URL, name: str) -> str:
    return url.get_dialect()().identifier_preparer.quote_identifier(name)


@contextmanager
def _connected(url: URL) -> Iterator[Connection]:
    """A connection that reads only, as far as the database can be told so."""
    with _translated(url):
        engine = create_engine(url, poolclass=NullPool)
        options: dict[str, Any] = {"stream_results": True}
        if engine.dialect.name == "postgresql":
            options["postgresql_readonly"] = True
        connection = engine.connect().execution_options(**options)
    with connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA query_only=ON")
        yield connection


@contextmanager
def _translated(url: URL) -> Iterator[None]:
    try:
        yield
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise PluginError(
            f"the driver of {url.drivername} is not installed",
            found=str(error),
            remedy="For PostgreSQL: `pip install 'goldloop[postgresql]'`; others are in SQLAlchemy's manual",
        ) from error
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()
        raise SourceError(
            "the database cannot be read",
            where=_address(url),
            found=said[0][:300] if said else type(error).__name__,
            remedy="Check the query, the address and the credentials",
        ) from error


def _to_bookmark(value: Any) -> str:
    if isinstance(value, datetime):
        return json.dumps(["datetime", value.isoformat()])
    if isinstance(value, date):
        return json.dumps(["date", value.isoformat()])
    if isinstance(value, Decimal):
        return json.dumps(["decimal", str(value)])
    if isinstance(value, str | int | float):
        return json.dumps(["as-it-is", value])
    raise SourceError(
        "the watermark is of a type that cannot be kept",
        found=type(value).__name__,
        expected="a time, a date, a number or a text",
    )


def _from_bookmark(bookmark: str) -> Any:
    kind, value = json.loads(bookmark)
    return _TYPES[kind](value)
