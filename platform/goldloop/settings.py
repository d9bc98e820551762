"""Addresses and secrets, from the environment only.

Nothing here may be written to a recipe, a log, an error, a version or a card: secrets are `SecretStr`,
whose text form is a row of stars.
"""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What the environment says; each field's variable is in its alias."""

    model_config = SettingsConfigDict(extra="ignore")

    home: Path | None = Field(default=None, alias="GOLDLOOP_HOME")
    """The workspace folder; without it, the nearest `.goldloop` upwards, else `./.goldloop`."""
    cache: Path = Field(default_factory=lambda: user_cache_path("goldloop"), alias="GOLDLOOP_CACHE")
    """What all workspaces of a user share: the embedded Label Studio's environment and template."""
    catalog_url: SecretStr | None = Field(default=None, alias="GOLDLOOP_CATALOG_URL")
    """A SQLAlchemy URL (PostgreSQL, say); without it, SQLite in the workspace."""
    label_studio_url: str | None = Field(default=None, alias="LABEL_STUDIO_URL")
    """An existing Label Studio; without it, the embedded one."""
    label_studio_api_key: SecretStr | None = Field(default=None, alias="LABEL_STUDIO_API_KEY")
    """Its legacy token or personal access token."""
    tracking_uri: str | None = Field(default=None, alias="MLFLOW_TRACKING_URI")
    """An MLflow server; without it, SQLite in the workspace."""
    signing_key: SecretStr | None = Field(default=None, alias="GOLDLOOP_SIGNING_KEY")
    """What certificates are signed with: a file with an Ed25519 key, or the key itself in PEM."""
    trusted_keys: str | None = Field(default=None, alias="GOLDLOOP_TRUSTED_KEYS")
    """Public keys, or files of them: with it, only versions that one of them has signed are trained on."""
    api_keys: Path | None = Field(default=None, alias="GOLDLOOP_API_KEYS")
    """The file with digests of the keys that `goldloop serve` asks for; without it, the workspace's own."""
    actor: str | None = Field(default=None, alias="GOLDLOOP_ACTOR")
    """Who acts, for the audit log; without it, a pseudonym of the user and the host."""


def settings() -> Settings:
    """Read the environment now."""
    return Settings()
