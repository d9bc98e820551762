"""Every error that goldloop raises on purpose.

GoldloopError                 the root: catch this to catch them all
├── RecipeError               a recipe that cannot be read, or that says something impossible
├── PluginError               an unknown `kind`, or one whose package is not installed
├── WorkspaceError            the folder or catalog that holds goldloop's state
│   └── WorkspaceBusy         another process works on the same recipe
├── SourceError               a source as a whole: no such folder, no such column
│   └── ItemError             one item of a source; it is quarantined and the rest goes on
│       └── Dropped               one that the recipe's cleaning leaves out
├── AnnotationError           one annotation that does not fit its item or its task type
├── LedgerError               items that went missing: a stage whose books do not balance
├── LabelStudioError          the annotation server
│   ├── LabelStudioUnreachable    down, slow, or not a Label Studio
│   ├── LabelStudioDenied         a token that is wrong, expired or of the wrong kind
│   ├── LabelStudioLostWrites     answered "done" and kept less than it was sent
│   └── IdentityError             a task that came back with another item's content
├── VersionError              a dataset version that is absent or unreadable
│   ├── CertificateError      a version that does not prove what it claims
│   └── LossRefused           a format that cannot hold all of a version
├── SigningError              a key that cannot be read, or made
├── TrainingError             a run that cannot start or go on
│   ├── Diverged                  its loss or gradient is no number any more
│   └── OutOfMemory               a step does not fit into the device's memory
├── ModelError                a model that is absent, unreadable or of another task type
│   └── GateRefused           a model that its gates keep from production
├── ServingError              a request that the prediction server cannot answer
└── MediaRefused              a request that the media proxy does not answer

A message says where, what was found, what was expected and the remedy; the same four are attributes.
"""

from __future__ import annotations


class GoldloopError(Exception):
    """Something went wrong that a user can understand and mend.

    Args:
        problem: one sentence without a full stop.
        where: the file, field, item or address concerned.
        found: what was there.
        expected: what should have been there.
        remedy: what to do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        where: object = None,
        found: object = None,
        expected: object = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.where = where
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        message = f"{self.where}: {self.problem}" if self.where is not None else self.problem
        details = [
            f"{name} {value}"
            for name, value in (("found", self.found), ("expected", self.expected))
            if value is not None
        ]
        if details:
            message += f" ({', '.join(details)})"
        return f"{message}. {self.remedy}" if self.remedy else message

    def __reduce__(self) -> tuple[object, ...]:
        """Travel between processes with every attribute, whatever a subclass's constructor takes."""
        return (_rebuild, (type(self), self.__dict__, self.args))


def _rebuild(
    kind: type[GoldloopError], attributes: dict[str, object], args: tuple[object, ...]
) -> GoldloopError:
    error = kind.__new__(kind)
    error.__dict__.update(attributes)
    error.args = args
    return error


class RecipeError(GoldloopError):
    """A recipe that cannot be read, or that says something impossible."""


class PluginError(GoldloopError):
    """An unknown `kind`, or one whose package is not installed."""


class WorkspaceError(GoldloopError):
    """The folder or the catalog that holds goldloop's state cannot be used."""


class WorkspaceBusy(WorkspaceError):
    """Another process works on the same recipe at this moment."""


class SourceError(GoldloopError):
    """A source as a whole cannot be read."""


class ItemError(SourceError):
    """One item of a source cannot be used; it is quarantined with this error's message as its reason."""


class Dropped(ItemError):
    """One item of a source is left out by the recipe's cleaning, with this error's message as the reason.

    `item` is what may be shown of it.
    """

    item: object = None


class AnnotationError(GoldloopError):
    """One annotation does not fit its item or its task type."""


class LedgerError(GoldloopError):
    """The books of a stage do not balance: an item has no outcome, or more than one."""


class LabelStudioError(GoldloopError):
    """The annotation server refused or failed."""


class LabelStudioUnreachable(LabelStudioError):
    """The annotation server is down, too slow, or is no Label Studio."""


class LabelStudioDenied(LabelStudioError):
    """The token is wrong, expired or of the wrong kind."""


class LabelStudioLostWrites(LabelStudioError):
    """The server answered that all was stored, and stored less."""


class IdentityError(LabelStudioError):
    """A task came back with the content of another item."""


class VersionError(GoldloopError):
    """A dataset version is absent or unreadable."""


class CertificateError(VersionError):
    """A dataset version does not prove what it claims."""


class LossRefused(VersionError):
    """A format cannot hold all of a version, and nobody has said that this may be; `losses` says what."""

    losses: tuple[str, ...] = ()


class SigningError(GoldloopError):
    """A key to sign or to verify with cannot be read, or made."""


class TrainingError(GoldloopError):
    """A training run cannot start or go on."""


class Diverged(TrainingError):
    """The loss or its gradient is no number any more: these settings, or these items, do not train."""


class OutOfMemory(TrainingError):
    """A step does not fit into the device's memory."""


class ModelError(GoldloopError):
    """A model is absent, unreadable or of another task type."""


class GateRefused(ModelError):
    """A model's gates keep it from production."""


class ServingError(GoldloopError):
    """A request that the prediction server cannot answer."""


class MediaRefused(GoldloopError):
    """A request that the media proxy does not answer; `status` and `code` are those that S3 would give."""

    def __init__(self, problem: str, *, code: str, status: int) -> None:
        super().__init__(problem)
        self.code = code
        self.status = status
