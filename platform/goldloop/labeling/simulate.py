"""Simulated annotators: real users of a real Label Studio who err at a stated rate.

Each signs up through the invitation link, logs in by the form, pages through the task list and posts
annotations, with session cookie and CSRF token: only requests that a person's browser makes too. A task
that carries a pre-annotation is opened, as the editor would show it; of any other, the list has all there is
to see. Whether an annotator errs on an item depends on seed, name and item alone, so a run that was
killed and is run again makes the same labels, and nothing twice.

They page through the task list rather than ask for the next task one by one: as the data manager does, and
faster. `benchmarks/loop` measures the rate; the server's own work is the limit, so more of them gain little.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from pydantic import SecretStr

from goldloop.errors import GoldloopError, LabelStudioDenied, LabelStudioError, LabelStudioUnreachable
from goldloop.labeling.api import Api, condition
from goldloop.labeling.client import LabelStudioClient
from goldloop.labeling.task_state import REASON
from goldloop.labeling.transport import is_loopback, open_client
from goldloop.labeling.values import Results

Answer = Callable[[str, bool, random.Random], Results | None]
"""What an annotator answers: content key, whether to err, and chance to err with -> results.

None leaves the task alone.
"""
Report = Callable[[str, int], None]
"""Called after each annotation with the annotator's name and how many it has made in this run."""

_TRIES = 8
_PAGE = 100
_CSRF = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Persona:
    """Who is simulated.

    Attributes:
        name: letters, digits and dashes; the address is NAME@goldloop.invalid.
        error_rate: share of items that it gets wrong, in [0, 1].
        seed: which items those are.
    """

    name: str
    error_rate: float = 0.0
    seed: int = 0

    @property
    def email(self) -> str:
        """An address that can belong to nobody."""
        return f"{self.name}@goldloop.invalid"

    def chance(self, key: str) -> random.Random:
        """The chance that this annotator has with one item; the same each time."""
        return random.Random(f"{self.seed}\0{self.name}\0{key}")  # noqa: S311


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationReport:
    """What was done, by annotator's name.

    Attributes:
        annotated: tasks annotated in this run.
        errors: how many of those wrongly, on purpose.
        total: tasks that each has annotated in the project in all, as the server counts them.
        seconds: how long it took.
    """

    annotated: Mapping[str, int]
    errors: Mapping[str, int]
    total: Mapping[str, int]
    seconds: float

    @property
    def rate(self) -> float:
        """Annotations a second of all together."""
        return sum(self.annotated.values()) / self.seconds if self.seconds else 0.0


def _finished(task: Mapping[str, Any]) -> bool:
    """Whether a task has its answers; `is_labeled` alone stays behind where two came at the same time."""
    return bool(task["is_labeled"]) or len(set(task["annotators"])) >= task["overlap"]


class SimulatedAnnotator:
    """One logged-in user.

    Args:
        url: the server's address.
        persona: who it is.
        answer: what it answers.
        transport: what sends; by default the network.
        reviews: whether they take the tasks that were sent back, and no others, or the others.
    """

    def __init__(
        self,
        url: str,
        persona: Persona,
        answer: Answer,
        transport: httpx.BaseTransport | None = None,
        *,
        reviews: bool = False,
    ) -> None:
        self.persona = persona
        self.answer = answer
        self.reviews = reviews
        self.annotated = 0
        self.errors = 0
        self._url = url.rstrip("/")
        self._http = open_client(self._url, 120, transport)
        self._api = Api(self._url, self._http, "", self._browser_headers)
        self._user_id = 0

    def log_in(self, invitation: str, password: str) -> None:
        """Log in; the first time, sign up through an invitation link.

        Raises:
            LabelStudioDenied: there is such a user already, with another password.
        """
        if not self._submit("/user/login/", password):
            if not self._submit(invitation, password):
                raise LabelStudioDenied(
                    "a simulated annotator cannot log in",
                    where=self._url,
                    found=f"a user {self.persona.email} with another password",
                    remedy="Give the simulated annotators other names",
                )
            self._who()
            name = {"first_name": "Simulated", "last_name": self.persona.name}
            self._api.call("PATCH", f"/api/users/{self._user_id}/", json=name)
        self._who()

    def work(
        self,
        project_id: int,
        limit: int | None,
        stop: threading.Event,
        report: Report = lambda name, made: None,
    ) -> int:
        """Annotate the open tasks of a project in the order of their ids.

        Args:
            project_id: the project.
            limit: how many tasks to have annotated in all, earlier runs included; None for every one.
            stop: ends it early.
            report: called after each annotation.

        Returns:
            How many tasks of the project this annotator has annotated in all, by the server's count.

        Raises:
            LabelStudioError: the server's count is not what this annotator believes.
        """
        believed = self._count(project_id)
        conditions = [condition("annotators", "not_contains", "List", self._user_id)]
        for task in self._api.tasks(project_id, conditions, size=_PAGE):
            if stop.is_set() or (limit is not None and believed >= limit):
                break
            if _finished(task) or not task["data"].get("key"):
                continue
            if (REASON in task["data"]) != self.reviews:
                continue
            if self._annotate(project_id, task):
                believed += 1
                report(self.persona.name, self.annotated)
        counted = self._count(project_id)
        if counted != believed:
            raise LabelStudioError(
                f"Label Studio does not have all that {self.persona.name} was told it has",
                where=f"{self._url}/projects/{project_id}",
                found=f"{counted} annotated tasks",
                expected=f"{believed}",
                remedy="Run the simulation again: it adds what is missing",
            )
        return counted

    def _annotate(self, project_id: int, task: Mapping[str, Any]) -> bool:
        began = time.monotonic()
        started_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        prediction = self._shown(project_id, task)
        chance = self.persona.chance(task["data"]["key"])
        wrong = chance.random() < self.persona.error_rate
        results = self.answer(task["data"]["key"], wrong, chance)
        if results is None:
            return False
        body = {
            "result": [_as_edited(result, number, prediction) for number, result in enumerate(results)],
            "lead_time": time.monotonic() - began,
            "draft_id": 0,
            "parent_prediction": prediction["id"] if prediction else None,
            "parent_annotation": None,
            "started_at": started_at,
        }
        self._post(project_id, task["id"], body)
        self.annotated += 1
        self.errors += wrong
        return True

    def _post(self, project_id: int, task_id: int, body: Mapping[str, Any]) -> None:
        """Submit; where the answer is a fault, reload the task as a person would before trying again."""
        path = f"/api/tasks/{task_id}/annotations/"
        for attempt in range(_TRIES):
            try:
                self._api.call("POST", path, params={"project": project_id}, json=body)
                return
            except LabelStudioDenied:
                raise
            except (LabelStudioUnreachable, LabelStudioError) as error:
                if attempt == _TRIES - 1 or not _may_pass(error):
                    raise
            time.sleep(min(0.25 * 2**attempt, 4.0))
            if any(made["completed_by"] == self._user_id for made in self._api.get(path)):
                return

    def _shown(self, project_id: int, task: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The pre-annotation that the editor would copy: the newest of the project's model version."""
        if not task["total_predictions"]:
            return None
        opened = self._api.get(f"/api/tasks/{task['id']}/", {"project": project_id})
        version = self._api.get(f"/api/projects/{project_id}/", {"include": "id,model_version"})
        shown = [one for one in opened["predictions"] if one["model_version"] == version["model_version"]]
        return max(shown, key=lambda one: one["id"], default=None)

    def _count(self, project_id: int) -> int:
        mine = condition("annotators", "contains", "List", self._user_id)
        return int(self._api.task_page(project_id, [mine], size=1)["total"])

    def _submit(self, path: str, password: str) -> bool:
        """Fill in a form; True if it logged us in."""
        try:
            page = self._http.get(self._url + path)
            found = _CSRF.search(page.text)
            if found is None:
                return False
            form = {
                "csrfmiddlewaretoken": found[1],
                "email": self.persona.email,
                "password": password,
                "allow_newsletters": "false",
                "persist_session": "on",
            }
            answer = self._http.post(self._url + path, data=form, headers={"Referer": self._url + path})
        except httpx.HTTPError as error:
            raise LabelStudioUnreachable(
                "Label Studio cannot be reached",
                where=self._url,
                found=str(error) or type(error).__name__,
                remedy="Start it by `goldloop up`, or check LABEL_STUDIO_URL",
            ) from error
        return answer.status_code == 302

    def _who(self) -> None:
        self._user_id = self._api.get("/api/current-user/whoami")["id"]

    def _browser_headers(self) -> dict[str, str]:
        return {"X-CSRFToken": self._http.cookies.get("csrftoken") or "", "Referer": f"{self._url}/"}


def simulate(
    url: str,
    api_key: SecretStr,
    project_id: int,
    personas: Sequence[Persona],
    answer: Answer,
    *,
    limit: int | None = None,
    allow_elsewhere: bool = False,
    reviews: bool = False,
    report: Report = lambda name, made: None,
) -> SimulationReport:
    """Let simulated annotators work on a project, all at the same time, as people do.

    A task is left alone once as many people as the project asks for have annotated it; with more personas
    than that, those who meet at one task both annotate it.

    Args:
        url: the server's address.
        api_key: of a user who may invite.
        project_id: the project.
        personas: who works.
        answer: what they answer; called from several threads.
        limit: how many tasks each shall have in all; None for every one.
        allow_elsewhere: also on a server that is not this machine's.
        reviews: take the tasks that were sent back, and no others.
        report: called after each annotation, one call at a time.

    Raises:
        LabelStudioError: the server is elsewhere, refuses, or lost annotations.
    """
    if not (allow_elsewhere or is_loopback(url)):
        raise LabelStudioError(
            "simulated annotators work on this machine's Label Studio only",
            where=url,
            expected="an address such as http://127.0.0.1:8080",
            remedy="They would fill a real project with made-up labels; allow it only if that is meant",
        )
    began = time.monotonic()
    invitation = LabelStudioClient(url, api_key).invitation()
    annotators = [SimulatedAnnotator(url, persona, answer, reviews=reviews) for persona in personas]
    for annotator in annotators:
        annotator.log_in(invitation, _password(api_key, annotator.persona))
    total = _work_together(annotators, project_id, limit, report)
    return SimulationReport(
        annotated={annotator.persona.name: annotator.annotated for annotator in annotators},
        errors={annotator.persona.name: annotator.errors for annotator in annotators},
        total=total,
        seconds=time.monotonic() - began,
    )


def _work_together(
    annotators: Sequence[SimulatedAnnotator], project_id: int, limit: int | None, report: Report
) -> dict[str, int]:
    stop, lock = threading.Event(), threading.Lock()

    def report_singly(name: str, made: int) -> None:
        with lock:
            report(name, made)

    def work(annotator: SimulatedAnnotator) -> int:
        try:
            return annotator.work(project_id, limit, stop, report_singly)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(max_workers=max(1, len(annotators))) as pool:
        try:
            counts = list(pool.map(work, annotators))
        finally:
            stop.set()
    return {annotator.persona.name: count for annotator, count in zip(annotators, counts, strict=True)}


def _as_edited(
    result: Mapping[str, Any], number: int, prediction: Mapping[str, Any] | None
) -> dict[str, Any]:
    """A result as the editor sends it: with an id, and where it came from."""
    kept = any(
        all(copied.get(name) == result.get(name) for name in ("from_name", "type", "value"))
        for copied in (prediction or {}).get("result", ())
    )
    return {"id": f"region{number}", **result, "origin": "prediction" if kept else "manual"}


def _may_pass(error: GoldloopError) -> bool:
    """Whether trying again may help: the server is away, busy or its database locked."""
    return isinstance(error, LabelStudioUnreachable) or "HTTP 5" in str(error.found)


def _password(api_key: SecretStr, persona: Persona) -> str:
    """Known to whoever knows the server's token, so that nothing needs to be kept."""
    key = api_key.get_secret_value().encode()
    return hmac.new(key, persona.email.encode(), hashlib.sha256).hexdigest()[:32]
