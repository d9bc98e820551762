"""What a recipe says under `serving:`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Sampling(BaseModel):
    """How many requests become items."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    per_day: int = Field(ge=1)
    """Images or texts that are kept of a day (UTC), at most."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Of those that may be kept, by chance: with less than all of them a day's quota lasts for longer."""


class ServingConfig(BaseModel):
    """How a promoted model is used, and how requests to it are answered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    preannotate: bool = True
    """Write the champion's predictions to tasks that are still open."""
    host: str = "127.0.0.1"
    port: int = Field(default=8300, ge=0, le=65535)
    """0 takes a free one."""
    max_batch: int = Field(default=32, ge=1)
    """Examples that one pass of the network takes at most."""
    max_batch_tokens: int = Field(default=8192, ge=1)
    """Tokens that one pass takes at most, padding included; one text that is longer goes alone."""
    max_wait_milliseconds: float = Field(default=4.0, ge=0, le=1000)
    """How long an example waits for others to share a pass with, while others are to be expected."""
    max_waiting: int = Field(default=512, ge=1)
    """Examples that may wait; who comes when it is full is told to come again (429)."""
    max_request_items: int = Field(default=1024, ge=1)
    max_request_megabytes: int = Field(default=64, ge=1)
    timeout_seconds: float = Field(default=30.0, gt=0)
    """After that a request is given up (503), and what of it still waits is not computed."""
    drain_seconds: float = Field(default=0.0, ge=0)
    """For so long after SIGTERM requests are still taken while `/ready` says no: what a balancer needs."""
    refresh_seconds: float = Field(default=5.0, gt=0)
    """How often the registry is asked whether another model is champion."""
    sample: Sampling | None = None
    """Keep some of what is asked about as new items, where the request says `X-Goldloop-Keep: yes`; by
    default nothing is kept."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads of a network; by default as many as this process may use cores."""
