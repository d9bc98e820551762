"""The embedded Label Studio itself: runs inside Label Studio's own environment, never imported by goldloop.

    python server_process.py migrate DATA
    python server_process.py serve FOLDER --start ID --listen FD --lock FD

`label-studio start` is not used because of what it cannot do: it takes the next port when one is busy,
ignores a changed password or token, costs each kept-alive request 72 ms (Django's development server),
and answers 201 to parallel imports on SQLite whose annotations it lost. Here the socket is bound by the
caller, the account is made to match secrets.json at each start, waitress serves, and SQLite transactions
take the write lock when they begin, so that a writer waits instead of failing half-way.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
# Django, Label Studio and waitress are not installed where goldloop is.

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

THREADS = 8
DATABASE_OPTIONS = {
    # Seconds that a writer waits for another; Django's five are less than a large import takes.
    "timeout": 120,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL;",
}

# How many tasks, annotations and predictions each project has; `kind`: whether an annotation was cancelled.
_COUNTS = """
CREATE TABLE goldloop_counts (
  project_id INTEGER, counted TEXT, kind INTEGER, number INTEGER, PRIMARY KEY (project_id, counted, kind)
)
"""
_COUNTED = {
    "task": "{row}.project_id, 'task', 0",
    "task_completion": "{row}.project_id, 'task_completion', {row}.was_cancelled",
    "prediction": "{row}.project_id, 'prediction', 0",
}
_COUNT = """
INSERT INTO goldloop_counts
SELECT {made}, count(*) FROM {table} AS made WHERE project_id IS NOT NULL GROUP BY 1, 2, 3
"""
_MORE = """
INSERT INTO goldloop_counts VALUES ({new}, 1)
ON CONFLICT (project_id, counted, kind) DO UPDATE SET number = number + 1;
"""
_LESS = "UPDATE goldloop_counts SET number = number - 1 WHERE (project_id, counted, kind) = ({old});"
_TRIGGERS = {
    "insert": "AFTER INSERT ON {table} BEGIN {more} END",
    "delete": "AFTER DELETE ON {table} BEGIN {less} END",
    "update": "AFTER UPDATE ON {table} WHEN ({old}) IS NOT ({new}) BEGIN {less} {more} END",
}


def main() -> None:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    migrate = commands.add_parser("migrate")
    migrate.add_argument("data", type=Path)
    serve = commands.add_parser("serve")
    serve.add_argument("folder", type=Path)
    serve.add_argument("--start", required=True)
    serve.add_argument("--listen", type=int, required=True)
    serve.add_argument("--lock", type=int, required=True)
    arguments = parser.parse_args()
    if arguments.command == "migrate":
        _configure(arguments.data, {})
        _migrate()
    else:
        _serve(arguments.folder, arguments.start, arguments.listen, arguments.lock)


def _serve(folder: Path, start: str, listen: int, lock: int) -> None:
    """Leave the caller, say who we are, then become the server; the lock is held until this process ends."""
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    os.set_inheritable(lock, False)
    listener = socket.socket(fileno=listen)
    listener.set_inheritable(False)
    port = listener.getsockname()[1]
    _write(folder / "server.json", {"pid": os.getpid(), "start": start, "port": port})
    signal.signal(signal.SIGTERM, _stop)

    _configure(folder / "data", DATABASE_OPTIONS, port)
    from django.core.wsgi import get_wsgi_application

    application = get_wsgi_application()
    _migrate()
    _prepare_reading()
    _match_account(json.loads((folder / "secrets.json").read_text()))

    import waitress

    waitress.serve(application, sockets=[listener], threads=THREADS, ident="", _quiet=True)


def _stop(_signal: int, _frame: object) -> None:
    raise SystemExit(0)


def _write(path: Path, value: dict[str, Any]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_text(json.dumps(value))
    aside.replace(path)


def _configure(data: Path, options: dict[str, Any], port: int | None = None) -> None:
    """Load Label Studio's settings, and change those that no environment variable reaches."""
    import label_studio

    os.environ["LABEL_STUDIO_BASE_DATA_DIR"] = str(data)
    os.environ["DJANGO_SETTINGS_MODULE"] = "label_studio.core.settings.label_studio"
    sys.path.insert(0, str(Path(label_studio.__file__).parent))
    import django
    from django.conf import settings

    settings.DATABASES["default"]["OPTIONS"] = dict(options)
    # Browsers keep one cookie jar for all ports of a host: two workspaces would log each other out.
    settings.SESSION_COOKIE_NAME = f"sessionid-{port}"
    django.setup()
    from core.feature_flags.stale_feature_flags import STALE_FEATURE_FLAGS

    # Without it, the file of a snapshot stays when the snapshot is deleted.
    STALE_FEATURE_FLAGS["ff_back_dev_4664_remove_storage_file_on_export_delete_29032023_short"] = True


def _migrate() -> None:
    from django.core.management import call_command
    from label_studio.server import is_database_synchronized

    if not is_database_synchronized("default"):
        call_command("migrate", no_color=True, verbosity=0)


def _prepare_reading() -> None:
    """What lets goldloop see at once how much a project has, and what of it has changed.

    Label Studio has no index by time, and SQLite counts by walking an index. The counts are kept by triggers,
    and made anew at each start: a migration makes tables anew, without their triggers.
    """
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE INDEX IF NOT EXISTS goldloop_task_updated_at ON task (project_id, updated_at)")
        cursor.execute("DROP TABLE IF EXISTS goldloop_counts")
        cursor.execute(_COUNTS)
        for table, of in _COUNTED.items():
            cursor.execute(_COUNT.format(table=table, made=of.format(row="made")))
            old, new = of.format(row="old"), of.format(row="new")
            more, less = _MORE.format(new=new), _LESS.format(old=old)
            for event, trigger in _TRIGGERS.items():
                name = f"goldloop_count_{table}_{event}"
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
                does = trigger.format(table=table, old=old, new=new, more=more, less=less)
                cursor.execute(f"CREATE TRIGGER {name} {does}")


def _match_account(secrets: dict[str, str]) -> None:
    """Make the one account have the address, password and token of secrets.json, whatever it had."""
    from django.db import transaction
    from organizations.models import Organization
    from rest_framework.authtoken.models import Token
    from users.models import User

    with transaction.atomic():
        user = User.objects.filter(email=secrets["username"]).first()
        if user is None:
            user = User.objects.create_user(email=secrets["username"], password=secrets["password"])
            user.is_staff = user.is_superuser = True
        elif not user.check_password(secrets["password"]):
            user.set_password(secrets["password"])
        organization = Organization.objects.first()
        if organization is None:
            organization = Organization.create_organization(
                created_by=user, title="Label Studio", legacy_api_tokens_enabled=True
            )
        else:
            organization.add_user(user)
        user.active_organization = organization
        user.save()
        organization.jwt.legacy_api_tokens_enabled = True
        organization.jwt.save()
        if not Token.objects.filter(user=user, key=secrets["token"]).exists():
            Token.objects.filter(user=user).delete()
            Token.objects.create(user=user, key=secrets["token"])


if __name__ == "__main__":
    main()
