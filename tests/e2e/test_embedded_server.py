"""The embedded Label Studio, real: started, killed, stopped and attacked."""

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr

from goldloop.errors import LabelStudioDenied, LabelStudioUnreachable
from goldloop.labeling.database import DATABASE
from goldloop.labeling.environment import prepare
from goldloop.labeling.server import Access, EmbeddedServer, connect
from goldloop.settings import Settings, settings

pytestmark = pytest.mark.e2e

CONFIG = (
    '<View><Text name="text" value="$text"/><Choices name="intent" toName="text">'
    '<Choice value="yes"/><Choice value="no"/></Choices></View>'
)
ANSWER = [{"from_name": "intent", "to_name": "text", "type": "choices", "value": {"choices": ["yes"]}}]


def make(folder: Path, **options: float) -> EmbeddedServer:
    return EmbeddedServer(folder / "label-studio", settings().cache, folder / "media", **options)


def client(access: Access) -> httpx.Client:
    headers = {"Authorization": f"Token {access.api_key.get_secret_value()}"}
    return httpx.Client(base_url=access.url, headers=headers, timeout=120, trust_env=False)


def anonymous(access: Access) -> httpx.Client:
    return httpx.Client(base_url=access.url, timeout=120, trust_env=False)


def make_project(requests: httpx.Client, title: str) -> int:
    response = requests.post("/api/projects/", json={"title": title, "label_config": CONFIG})
    response.raise_for_status()
    return int(response.json()["id"])


def titles(access: Access) -> set[str]:
    with client(access) as requests:
        return {project["title"] for project in requests.get("/api/projects/").json()["results"]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A running server for the tests that neither stop nor kill it."""
    server = make(tmp_path_factory.mktemp("shared"))
    server.up()
    yield server
    server.down()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of a test's own, stopped at the end."""
    server = make(tmp_path)
    yield server
    server.down()


@pytest.fixture
def access(shared: EmbeddedServer) -> Access:
    access = shared.access()
    assert access is not None
    return access


def test_up_again_returns_the_running_server(shared: EmbeddedServer, access: Access) -> None:
    before = shared.status()
    lines: list[str] = []
    assert shared.up(lines.append) == access
    assert make(shared.folder.parent).up(lines.append) == access
    assert shared.status() == before
    assert lines == []


def test_it_listens_on_loopback_alone_and_is_our_process(shared: EmbeddedServer, access: Access) -> None:
    status = shared.status()
    assert status.running
    assert status.url == access.url
    listening = [
        connection.laddr
        for connection in psutil.Process(status.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [(address.ip, f"http://127.0.0.1:{address.port}") for address in listening] == [
        ("127.0.0.1", access.url)
    ]


def test_nobody_can_sign_up(access: Access) -> None:
    with anonymous(access) as requests:
        page = requests.get("/user/login/")
        assert page.status_code == 200
        assert "/user/signup" not in page.text
        form = {"email": "stranger@example.com", "password": "a-long-password"}
        form["csrfmiddlewaretoken"] = requests.cookies["csrftoken"]
        assert requests.post("/user/signup/", data=form).status_code == 403
    with client(access) as requests:
        assert [user["email"] for user in requests.get("/api/users/").json()] == ["goldloop@localhost"]


def test_a_person_signs_in_with_the_login_and_a_stranger_does_not(
    shared: EmbeddedServer, access: Access
) -> None:
    def sign_in(password: str) -> int:
        with anonymous(access) as requests:
            requests.get("/user/login/")
            form = {"email": shared.login.username, "password": password}
            form["csrfmiddlewaretoken"] = requests.cookies["csrftoken"]
            requests.post("/user/login/", data=form)
            return requests.get("/api/current-user/whoami").status_code

    assert sign_in(shared.login.password.get_secret_value()) == 200
    assert sign_in("not-the-password") == 401


def test_another_host_name_is_refused(access: Access) -> None:
    with anonymous(access) as requests:
        assert requests.get("/health", headers={"Host": "rebound.example"}).status_code == 400


def test_requests_go_to_loopback_and_nowhere_else(access: Access) -> None:
    def add(project: int, url: str) -> httpx.Response:
        return requests.post("/api/ml/", json={"url": url, "project": project, "title": "model"})

    with socket.socket() as backend, client(access) as requests:
        backend.bind(("127.0.0.1", 0))
        project = make_project(requests, "outgoing")
        for banned in ("10.0.0.1", "169.254.169.254", "0.0.0.0", "93.184.215.14", "126.1.1.1"):
            refused = add(project, f"http://{banned}:9090")
            assert refused.status_code == 403, banned
            assert "reserved network address" in refused.text
        # Nobody listens there, so it is not connected either; but it was not refused as banned.
        tried = add(project, f"http://127.0.0.1:{backend.getsockname()[1]}")
        assert tried.status_code == 400
        assert "reserved network address" not in tried.text


def test_files_below_the_media_folder_reach_the_signed_in_alone(
    shared: EmbeddedServer, access: Access
) -> None:
    items = shared.media / "items"
    items.mkdir()
    (items / "one.txt").write_text("one")
    (shared.folder.parent / "beside.txt").write_text("beside")
    with client(access) as requests, anonymous(access) as stranger:
        project = make_project(requests, "media")
        storage = {"project": project, "path": str(items), "use_blob_urls": True}
        assert requests.post("/api/storages/localfiles", json=storage).status_code == 201
        assert requests.get("/data/local-files/?d=items/one.txt").text == "one"
        assert stranger.get("/data/local-files/?d=items/one.txt").status_code == 401
        assert requests.get("/data/local-files/?d=../beside.txt").status_code >= 400


def test_parallel_imports_and_annotators_lose_nothing(access: Access) -> None:
    """With Label Studio's own settings for SQLite, half of these annotations vanish behind a 201."""
    tasks = [
        {
            "data": {"text": f"text {number}"},
            "annotations": [{"result": ANSWER, "ground_truth": False}],
            "predictions": [{"result": ANSWER, "score": 0.5, "model_version": "first"}],
        }
        for number in range(150)
    ]
    with client(access) as requests:
        project = make_project(requests, "parallel")
        path = f"/api/projects/{project}/import"
        bare = [{"data": {"text": f"bare {number}"}} for number in range(30)]
        ids = requests.post(path, params={"return_task_ids": True}, json=bare).json()["task_ids"]

        def annotate(task: int) -> int:
            with client(access) as annotator:
                return annotator.post(f"/api/tasks/{task}/annotations/", json={"result": ANSWER}).status_code

        def send(_: int) -> tuple[int, int, int]:
            with client(access) as importer:
                answer = importer.post(path, json=tasks).json()
                return (answer["task_count"], answer["annotation_count"], answer["prediction_count"])

        with ThreadPoolExecutor(6) as threads:
            sent = threads.map(send, range(4))
            annotated = threads.map(annotate, ids)
            assert list(sent) == [(150, 150, 150)] * 4
            assert list(annotated) == [201] * 30
        kept = requests.get(f"/api/projects/{project}/export", params={"exportType": "JSON"}).json()
    assert len(kept) == 630
    assert sum(len(task["annotations"]) for task in kept) == 630
    assert sum(len(task["predictions"]) for task in kept) == 600


def test_secrets_are_in_files_of_the_user_alone_and_nowhere_else(
    shared: EmbeddedServer, access: Access
) -> None:
    assert shared.folder.stat().st_mode & 0o777 == 0o700
    files = [path for path in shared.folder.rglob("*") if path.is_file()]
    assert {"secrets.json", "server.json", "server.log", "label_studio.sqlite3", ".env"} <= {
        path.name for path in files
    }
    assert [path for path in files if path.stat().st_mode & 0o077] == []
    process = psutil.Process(shared.status().pid)
    seen = [(shared.folder / "server.log").read_text(), (shared.folder / "server.json").read_text()]
    seen += [" ".join(process.cmdline()), json.dumps(process.environ()), repr(shared.status()), repr(access)]
    for secret in (access.api_key, shared.login.password):
        assert [text for text in seen if secret.get_secret_value() in text] == []


def test_the_template_holds_no_user_and_no_secret() -> None:
    template = prepare(settings().cache, lambda line: None).template
    with sqlite3.connect(f"file:{template}?mode=ro", uri=True) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        filled = {
            table
            for table in tables
            if database.execute(f'SELECT EXISTS (SELECT 1 FROM "{table}")').fetchone()[0]
        }
    database.close()
    assert {"htx_user", "authtoken_token", "organization"} <= set(tables)
    assert filled <= {
        "django_migrations",
        "django_content_type",
        "auth_permission",
        "core_asyncmigrationstatus",
        "sqlite_sequence",
    }


def test_a_server_elsewhere_is_opened_by_both_kinds_of_token(access: Access) -> None:
    def open_with(token: str) -> Access | None:
        elsewhere = Settings(label_studio_url=access.url, label_studio_api_key=SecretStr(token))
        return connect(elsewhere, Path("none"), Path("none"), Path("none"))

    with client(access) as requests:
        personal = requests.post("/api/token/").json()["token"]
        fresh = requests.post("/api/token/refresh/", json={"refresh": personal}).json()["access"]
    for token in (access.api_key.get_secret_value(), personal):
        assert open_with(token) == Access(access.url, SecretStr(token), embedded=False)
    for token, kind in ((fresh, "access token"), ("0" * 40, "legacy token"), (personal + "x", "personal")):
        with pytest.raises(LabelStudioDenied, match=kind):
            open_with(token)


def test_two_workspaces_have_their_own_port_token_and_data(access: Access, server: EmbeddedServer) -> None:
    other = server.up()
    assert other.url != access.url
    assert other.api_key != access.api_key
    with client(Access(other.url, access.api_key, embedded=True)) as intruder:
        assert intruder.get("/api/projects/").status_code == 401
    with client(access) as requests:
        make_project(requests, "only in the first")
    assert "only in the first" in titles(access)
    assert titles(other) == set()


def test_killed_it_comes_up_again_with_its_data_and_port(server: EmbeddedServer) -> None:
    access = server.up()
    with client(access) as requests:
        make_project(requests, "survives")
    pid = server.status().pid
    psutil.Process(pid).send_signal(signal.SIGKILL)
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
    assert server.access() is None
    assert server.down() is False
    assert server.up() == access
    assert server.status().pid != pid
    assert titles(access) == {"survives"}


def test_what_a_project_has_is_counted_anew_at_each_start(server: EmbeddedServer) -> None:
    with client(server.up()) as requests:
        project = make_project(requests, "counted")
        place = f"/api/projects/{project}/import"
        requests.post(place, json=[{"text": "one"}, {"text": "two"}]).raise_for_status()
    server.down()
    # As a migration leaves it that makes a table anew.
    with closing(sqlite3.connect(server.folder / DATABASE)) as file:
        file.execute("DROP TRIGGER goldloop_count_task_insert")
        file.execute("UPDATE goldloop_counts SET number = 99")
        file.commit()
    with client(server.up()) as requests:
        requests.post(place, json=[{"text": "three"}]).raise_for_status()
    with closing(sqlite3.connect(server.folder / DATABASE)) as file:
        counts = file.execute("SELECT counted, number FROM goldloop_counts WHERE number > 0").fetchall()
    assert counts == [("task", 3)]


def test_down_stops_that_process_alone_and_a_busy_port_is_avoided(
    shared: EmbeddedServer, server: EmbeddedServer
) -> None:
    first = server.up()
    assert server.down() is True
    assert not server.status().running
    assert server.down() is False
    assert shared.status().running
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", int(first.url.rsplit(":", 1)[1])))
        other.listen()
        second = server.up()
        assert second.url != first.url
        assert titles(second) == set()


def test_a_password_and_token_that_were_replaced_hold_from_the_next_start(server: EmbeddedServer) -> None:
    old = server.up()
    server.down()
    (server.folder / "secrets.json").unlink()
    new = server.up()
    assert new.api_key != old.api_key
    assert titles(new) == set()
    with client(Access(new.url, old.api_key, embedded=True)) as requests:
        assert requests.get("/api/projects/").status_code == 401


def test_a_start_that_takes_too_long_leaves_nothing_running(tmp_path: Path) -> None:
    prepare(settings().cache, lambda line: None)
    server = make(tmp_path, patience=0.5)
    with pytest.raises(LabelStudioUnreachable, match="does not answer"):
        server.up()
    assert not server.status().running
    assert server.down() is False


def test_of_two_who_start_it_at_once_both_get_the_same_server(server: EmbeddedServer) -> None:
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(lambda _: make(server.folder.parent).up(), range(2)))
    assert both[0] == both[1]
    assert running(server.folder) == [server.status().pid]


def test_goldloop_killed_while_it_starts_a_server_leaves_one_that_the_next_finds(
    server: EmbeddedServer,
) -> None:
    program = (
        "import sys; from pathlib import Path; from goldloop.labeling.server import EmbeddedServer;"
        "EmbeddedServer(*map(Path, sys.argv[1:])).up()"
    )
    prepare(settings().cache, lambda line: None)
    goldloop = subprocess.Popen([sys.executable, "-c", program, server.folder, server.cache, server.media])
    record = server.folder / "server.json"
    while not record.exists():
        assert goldloop.poll() is None
        time.sleep(0.01)
    goldloop.kill()
    goldloop.wait()
    begun = json.loads(record.read_text())["pid"]
    server.up()
    assert server.status().pid == begun
    assert running(server.folder) == [begun]


def test_a_kept_alive_connection_is_as_good_as_new_ones(access: Access) -> None:
    """Many requests over one connection from several threads at once all get their own answers."""
    with client(access) as requests:
        projects = [make_project(requests, f"alive {number}") for number in range(4)]
        answers: dict[int, list[int]] = {}

        def ask(project: int) -> None:
            answers[project] = [requests.get(f"/api/projects/{project}").json()["id"] for _ in range(5)]

        threads = [threading.Thread(target=ask, args=(project,)) for project in projects]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {project: [project] * 5 for project in projects}


def running(folder: Path) -> list[int]:
    """The processes that serve a folder."""
    return [
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if str(folder) in (process.info["cmdline"] or []) and "serve" in process.info["cmdline"]
    ]
