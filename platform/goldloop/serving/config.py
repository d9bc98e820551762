"""What a recipe says under `serving:`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ServingConfig(BaseModel):
    """How a promoted model is used."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preannotate: bool = True
    """Write the champion's predictions to tasks that are still open."""
    host: str = "127.0.0.1"
    port: int = Field(default=8300, ge=0, le=65535)
    """0 takes a free one."""
    max_batch: int = Field(default=32, ge=1)
    """Examples that one pass of the network takes at most."""
    max_request_megabytes: int = Field(default=64, ge=1)
