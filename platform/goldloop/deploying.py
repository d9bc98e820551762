"""`goldloop deploy`: a folder from which a model is served elsewhere, by Docker, compose or Kubernetes.

<folder>/
  Dockerfile  compose.yaml  kubernetes/*.yaml  README.md
  requirements.txt          every package that goldloop needs, in the version that is installed here
  package/goldloop/         goldloop itself, as it is here
  models/NAME/NUMBER/       the model
"""

from __future__ import annotations

import platform
import re
import shutil
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from packaging.requirements import Requirement

import goldloop
from goldloop import durable, wiring
from goldloop.acts import recorded
from goldloop.errors import ServingError
from goldloop.serving import deployment
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.registry.models import ModelVersion

_RUNTIME_MEBIBYTES = 1536
"""What Python, torch and the server take before a model is loaded, with room for requests."""
_COPIES = 3
"""Of a model's weights: the one that answers, the next one beside it, and what a pass needs."""
_NOT_DEPLOYED = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True)
class Deployment:
    """What was written.

    Attributes:
        model: `NAME/NUMBER`.
        image: the image's name with its tag.
        folder: where.
    """

    model: str
    image: str
    folder: Path


@recorded
def deploy(
    model: str,
    folder: Path | None = None,
    *,
    image: str | None = None,
    cpus: int = 2,
    gpus: int = 0,
    replicas: tuple[int, int] = (2, 8),
    workspace: Workspace | None = None,
) -> Deployment:
    """Write all that serves a model elsewhere; nothing secret is in it, and nothing is sent anywhere.

    Args:
        model: `NAME` for the champion, `NAME/latest` or `NAME/NUMBER`; or a recipe's file.
        folder: where; by default `deploy/NAME`. One that `deploy` wrote before is replaced.
        image: the image's name with its tag; by default `goldloop-NAME:NUMBER-RUN`.
        cpus: cores for each replica.
        gpus: for each replica.
        replicas: the fewest and the most.
        workspace: where the model is.

    Raises:
        ModelError: no such model.
        ServingError: the folder holds something else, or what is asked for cannot be.
    """
    workspace = workspace or Workspace.open()
    entry = wiring.registry(workspace).find(_name_of(model))
    if cpus < 1 or gpus < 0 or not 1 <= replicas[0] <= replicas[1]:
        raise ServingError(
            "this cannot be deployed",
            found=f"{cpus} cores, {gpus} GPUs, {replicas[0]} to {replicas[1]} replicas",
            expected="a core or more, and 1 or more replicas, the fewest first",
        )
    target = (folder or Path("deploy") / entry.name).absolute()
    source = wiring.registry(workspace).download(entry)
    weights = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    plan = deployment.Plan(
        name=_kubernetes_name(entry.name),
        ref=entry.ref,
        image=image or f"goldloop-{_kubernetes_name(entry.name)}:{entry.number}-{entry.run}",
        python=platform.python_version(),
        memory_mebibytes=_RUNTIME_MEBIBYTES + _COPIES * -(-weights // 2**20),
        cpus=cpus,
        gpus=gpus,
        replicas=replicas,
    )
    if not durable.may_be_replaced(target, ["Dockerfile"]):
        raise ServingError(
            "the folder holds something else",
            where=target,
            expected="a new folder, or one that `goldloop deploy` wrote",
            remedy="Name another with --to",
        )
    with durable.replaced_folder(target) as aside:
        _fill(aside, plan, entry, source)
    return Deployment(entry.ref, plan.image, target)


def requirements() -> list[str]:
    """Every package that goldloop needs, direct or not, as `name==version` of what is installed here.

    Raises:
        ServingError: one is missing.
    """
    found: dict[str, str] = {}
    asked = [("goldloop", frozenset[str]())]
    seen = set(asked)
    while asked:
        name, extras = asked.pop()
        try:
            package = distribution(name)
        except PackageNotFoundError as error:
            raise ServingError(
                "a package that goldloop needs is not installed", found=name, remedy=f"`pip install {name}`"
            ) from error
        if name != "goldloop":
            # The local part of a version (`+cpu`) is that of a build, which an index may not have.
            found[_normal(name)] = package.version.partition("+")[0]
        for line in package.requires or ():
            need = Requirement(line)
            environments = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if need.marker is None or any(need.marker.evaluate(each) for each in environments):
                wanted = (_normal(need.name), frozenset(need.extras))
                if wanted not in seen:
                    seen.add(wanted)
                    asked.append(wanted)
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _fill(folder: Path, plan: deployment.Plan, entry: ModelVersion, source: Path) -> None:
    shutil.copytree(source, folder / "models" / entry.name / str(entry.number))
    shutil.copytree(Path(goldloop.__file__).parent, folder / "package" / "goldloop", ignore=_NOT_DEPLOYED)
    (folder / "kubernetes").mkdir()
    written = {
        "Dockerfile": deployment.dockerfile(plan),
        "requirements.txt": "\n".join(requirements()) + "\n",
        "compose.yaml": _yaml(deployment.compose(plan)),
        # Keys are no part of an image.
        ".dockerignore": "*\n!requirements.txt\n!package\n!models\n",
        ".gitignore": "api-keys.json\n",
        "README.md": _readme(plan),
    }
    for name, manifest in deployment.kubernetes(plan).items():
        written[f"kubernetes/{name}"] = _yaml(manifest)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")


def _readme(plan: deployment.Plan) -> str:
    return f"""# {plan.ref}

    GOLDLOOP_API_KEYS=api-keys.json goldloop access --new NAME   # shows the key once; kept is its digest
    chmod 644 api-keys.json                                        # the container's user reads it

    docker compose up --build                                      # this machine, port {deployment.PORT}

    docker build -t {plan.image} . && docker push {plan.image}
    kubectl create secret generic {plan.name}-api-keys --from-file=api-keys.json
    kubectl apply -f kubernetes/

Prometheus reads `/metrics` with a key, as any request. Written again by `goldloop deploy {plan.ref}`.
"""


def _name_of(model: str) -> str:
    if Path(model).suffix in (".yaml", ".yml"):
        from goldloop.recipe import load

        return load(Path(model)).name
    return model


def _kubernetes_name(name: str) -> str:
    """A name as Kubernetes and image registries take it: lower case, digits and hyphens, a letter first."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (plain if plain[:1].isalpha() else f"model-{plain}")[:50].rstrip("-")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
