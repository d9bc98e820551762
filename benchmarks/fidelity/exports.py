"""The cases as a real Label Studio exports them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from cases import Annotated, Case

from goldloop.labeling.access import Access


def prepare(folder: Path, case: Case, access: Access) -> Path:
    """Write a case's images, its export and what it is about into a folder of its own.

    The annotations go into a project of the server, and come out of it by its JSON export.
    """
    folder.mkdir(parents=True)
    for task in case.tasks:
        if isinstance(task.content, bytes):
            path = folder / "images" / task.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(task.content)
    exported = _exported(case, access)
    (folder / "export.json").write_text(json.dumps(exported, ensure_ascii=False), encoding="utf-8")
    (folder / "label_config.xml").write_text(case.config, encoding="utf-8")
    facts = {
        "kind": case.kind,
        "classes": case.classes,
        "before": case.before,
        "offsets": case.offsets,
        "alone": case.alone,
        "config": case.config,
        "truth": case.truth,
        "most_formats": case.most_formats,
        "names": {str(task["id"]): str(task["data"].get("image")).rpartition("/")[2] for task in exported},
    }
    (folder / "case.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    return folder


def _exported(case: Case, access: Access) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Token {access.api_key.get_secret_value()}", "Connection": "close"}
    with httpx.Client(base_url=access.url, headers=headers, timeout=600) as client:
        fields = {"title": case.title[:50], "label_config": case.config}
        project = _json(client.post("/api/projects/", json=fields))["id"]
        answer = client.post(
            f"/api/projects/{project}/import",
            params={"return_task_ids": True},
            json=[_task(task) for task in case.tasks],
        )
        ids: Sequence[int] = _json(answer)["task_ids"]
        for task, identity in zip(case.tasks, ids, strict=True):
            if task.draft is not None:
                draft = {"result": task.draft, "lead_time": 1.0}
                _json(client.post(f"/api/tasks/{identity}/drafts", json=draft))
        wanted = {"exportType": "JSON", "download_all_tasks": True}
        exported: list[dict[str, Any]] = _json(client.get(f"/api/projects/{project}/export", params=wanted))
    if [task["id"] for task in exported] != list(ids):
        raise RuntimeError(f"{case.title}: {len(ids)} tasks went in, {len(exported)} came out")
    return exported


def _task(task: Annotated) -> dict[str, Any]:
    annotations = [
        {"result": result, "was_cancelled": task.skipped, "ground_truth": False} for result in task.results
    ]
    if isinstance(task.content, str):
        return {"data": {"text": task.content}, "annotations": annotations}
    return {"data": {"image": f"/data/local-files/?d=images/{quote(task.name)}"}, "annotations": annotations}


def _json(response: httpx.Response) -> Any:
    if response.is_error:
        raise RuntimeError(f"{response.request.url}: {response.status_code} {response.text[:300]}")
    return response.json()
