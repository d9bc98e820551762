"""What runs a prediction server elsewhere: a Dockerfile, a compose file and Kubernetes manifests.

The image is whole: goldloop as it is here, its packages in the versions of here, and the model. It runs as a
user without rights on a file system that cannot be written to. Of secrets only names stand in what is
written: the digests of API keys come from a file beside compose, or from a Kubernetes Secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

PORT = 8300
USER = 10001
KEYS = "/run/secrets/goldloop/api-keys.json"
_PRE_STOP_SECONDS = 5
_GRACE_SECONDS = 45


@dataclass(frozen=True)
class Plan:
    """What is deployed.

    Attributes:
        name: the recipe's; also that of everything in Kubernetes.
        ref: `NAME/NUMBER`.
        image: the image's name with its tag.
        python: the version of Python, such as `3.11.9`.
        memory_mebibytes: what the server may use.
        cpus: cores for each replica.
        gpus: for each replica.
        replicas: the fewest and the most.
    """

    name: str
    ref: str
    image: str
    python: str
    memory_mebibytes: int
    cpus: int = 2
    gpus: int = 0
    replicas: tuple[int, int] = (2, 8)


def dockerfile(plan: Plan) -> str:
    """The image; its context is the folder that `goldloop deploy` writes."""
    ready = f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{PORT}/ready', timeout=3)"
    return f"""# {plan.ref}, served by goldloop.
FROM python:{plan.python}-slim-bookworm

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/app \\
    GOLDLOOP_HOME=/state GOLDLOOP_API_KEYS={KEYS} \\
    HF_HUB_OFFLINE=1 HOME=/tmp

RUN groupadd --gid {USER} goldloop \\
    && useradd --uid {USER} --gid {USER} --no-create-home --shell /usr/sbin/nologin goldloop \\
    && install -d -o {USER} -g {USER} /state

COPY requirements.txt /app/
RUN pip install --no-cache-dir --no-deps --requirement /app/requirements.txt

COPY package/ /app/
COPY models/ /models/

USER {USER}:{USER}
EXPOSE {PORT}
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s CMD ["python", "-c", "{ready}"]
ENTRYPOINT ["python", "-m", "goldloop", "serve", "--from", "/models", "--host", "0.0.0.0", "--port", "{PORT}"]
"""


def compose(plan: Plan) -> dict[str, Any]:
    """One container on this machine, reachable from it alone."""
    limits: dict[str, Any] = {"cpus": str(plan.cpus), "memory": f"{plan.memory_mebibytes}M"}
    resources: dict[str, Any] = {"limits": limits}
    if plan.gpus:
        devices = [{"driver": "nvidia", "count": plan.gpus, "capabilities": ["gpu"]}]
        resources["reservations"] = {"devices": devices}
    return {
        "name": plan.name,
        "services": {
            "serve": {
                "build": ".",
                "image": plan.image,
                "user": f"{USER}:{USER}",
                "read_only": True,
                "tmpfs": ["/tmp", f"/state:uid={USER},gid={USER}"],  # noqa: S108 - inside the container
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges:true"],
                "ports": [f"127.0.0.1:{PORT}:{PORT}"],
                "secrets": [{"source": "api-keys", "target": KEYS}],
                "restart": "unless-stopped",
                "stop_grace_period": f"{_GRACE_SECONDS}s",
                "deploy": {"resources": resources},
            }
        },
        "secrets": {"api-keys": {"file": "./api-keys.json"}},
    }


def kubernetes(plan: Plan) -> dict[str, dict[str, Any]]:
    """Manifests by file name: Deployment, Service, HorizontalPodAutoscaler and PodDisruptionBudget."""
    fewest, most = plan.replicas
    chosen = {"app.kubernetes.io/name": plan.name}
    named = {"name": plan.name, "labels": {**chosen, "app.kubernetes.io/managed-by": "goldloop"}}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": plan.name}
    usage = {"type": "Utilization", "averageUtilization": 70}
    return {
        "deployment.yaml": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {**named, "annotations": {"goldloop/model": plan.ref}},
            "spec": {
                "replicas": fewest,
                "selector": {"matchLabels": chosen},
                # A new version answers before an old one goes.
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "template": {
                    "metadata": {"labels": chosen, "annotations": {"goldloop/model": plan.ref}},
                    "spec": _pod(plan),
                },
            },
        },
        "service.yaml": {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": named,
            "spec": {"selector": chosen, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        },
        "autoscaler.yaml": {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": named,
            "spec": {
                "scaleTargetRef": target,
                "minReplicas": fewest,
                "maxReplicas": most,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
            },
        },
        "disruption-budget.yaml": {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": named,
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": chosen}},
        },
    }


def _pod(plan: Plan) -> dict[str, Any]:
    memory = f"{plan.memory_mebibytes}Mi"
    limits: dict[str, Any] = {"cpu": str(plan.cpus), "memory": memory}
    if plan.gpus:
        limits["nvidia.com/gpu"] = str(plan.gpus)
    keys, folder = "api-keys", KEYS.rpartition("/")[0]
    container = {
        "name": "serve",
        "image": plan.image,
        "ports": [{"name": "http", "containerPort": PORT}],
        "resources": {"requests": {"cpu": str(plan.cpus), "memory": memory}, "limits": limits},
        "startupProbe": {**_probe("/health"), "periodSeconds": 5, "failureThreshold": 60},
        "livenessProbe": {**_probe("/health"), "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**_probe("/ready"), "periodSeconds": 5, "failureThreshold": 1},
        # While it sleeps the pod leaves the Service; then SIGTERM lets requests under way end.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(_PRE_STOP_SECONDS)]}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": keys, "mountPath": folder, "readOnly": True},
            {"name": "state", "mountPath": "/state"},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - inside the container
        ],
    }
    return {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": keys, "secret": {"secretName": f"{plan.name}-api-keys"}},
            {"name": "state", "emptyDir": {}},
            {"name": "temporary", "emptyDir": {}},
        ],
    }


def _probe(path: str) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 3}
