"""The certificate of a version: what was checked when it was made, and what proves it since.

`certify` reads back from the bytes what was written, checks it, and notes the digest of every file. What a
version shares with the one before was checked then: its certificate is carried on, file by file.
`verify` does it all again from the bytes and names what is not as it should be; `require` refuses a version
with any fault. Its `seal` is the SHA-256 of the rest of it in canonical JSON: it tells accidents and edits,
not someone who makes a whole new version with a certificate of its own. A `signature` of the same bytes does,
where `verify` is told whose signatures count.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from goldloop import __version__
from goldloop.dataset.digest import canonical
from goldloop.dataset.inspection import Fault, inspect, inspect_changes
from goldloop.dataset.layout import new_files
from goldloop.dataset.leaks import version_cliques
from goldloop.dataset.manifest import Manifest
from goldloop.dataset.placement import Clique
from goldloop.dataset.policies import Policy, read_policies
from goldloop.dataset.signing import SigningKey, is_signed
from goldloop.dataset.tally import Tally
from goldloop.durable import flush
from goldloop.errors import CertificateError, GoldloopError
from goldloop.records import Reviewed
from goldloop.source_digest import source_digest
from goldloop.tasks import tasks
from goldloop.tasks.base import Task

CERTIFICATE = "goldloop/certificate.json"
DESCRIPTION = "goldloop/version.json"
_FORMAT = 2
_SHOWN = 5
_REMEDY = "Bring the folder back from a copy, or commit again: the same labels make the same version"
_UNSIGNED = "is not signed"
_UNTRUSTED = "is signed by a key that is not among the trusted ones"
_FORGED = "has a wrong signature: it is not of this content by this key"
_SIGN = "Have it signed with a key of GOLDLOOP_TRUSTED_KEYS: `goldloop sign VERSION`"


def certify(
    folder: Path,
    task: Task[Any],
    policies: Sequence[Policy],
    digest: str,
    tally: Tally,
    *,
    balances: Mapping[str, Mapping[str, int]],
    agreement: Mapping[str, Any],
    recipe_digest: str,
    reviewed: Sequence[Reviewed] = (),
    cliques: Sequence[Clique] | None = None,
    before: Path | None = None,
    changed: Collection[str] = (),
) -> None:
    """Check a version that has been written, from its bytes, and write its certificate.

    Args:
        folder: the version's.
        task: with the version's class registry.
        policies: what its rows were placed by.
        digest: what it must have.
        tally: what was to be written adds up to.
        balances: stage -> outcome -> count, of the stages before.
        agreement: how far annotators agree, in figures.
        recipe_digest: of the resolved recipe.
        reviewed: what came of items that were sent back to annotators.
        cliques: near-duplicates, of the items that are new at least; None: they were not looked for.
        before: the version that it shares files with, whose certificate holds.
        changed: keys of the items of which it says something else.

    Raises:
        CertificateError: what was written is not what was meant.
    """
    new = None if before is None else new_files(folder, before)
    if new is None:
        found = inspect(folder, task, policies, cliques)
    else:
        found = inspect_changes(folder, task, policies, new, changed, tally, cliques)
    differs = (
        [] if found.digest == digest else [Fault("data", "the rows do not have the digest of the labels")]
    )
    found.add("the rows that were read back have the digest of the labels", found.rows, differs)
    if found.faults:
        raise CertificateError(
            "the version did not come out as it was meant; nothing of it is kept",
            where=folder.parent,
            found=_listed(found.faults),
            remedy="Commit again; if it comes back, check the disk and the recipe's task",
        )
    content = {
        "format": _FORMAT,
        "digest": digest,
        "goldloop": __version__,
        "source_digest": source_digest(),
        "recipe_digest": recipe_digest,
        "ledger": {stage: dict(books) for stage, books in balances.items()},
        "checks": [asdict(check) for check in found.checks],
        "agreement": dict(agreement),
        "reviewed": dict(sorted(Counter(each.outcome for each in reviewed).items())),
        "shown": {"interface": task.label_config(), "instructions": task.config.instructions},
    }
    _write(folder, _counted(content, tally, folder))


def recertify(folder: Path, content: Mapping[str, Any], tally: Tally, key: SigningKey | None) -> None:
    """Write the certificate of a version that a content was taken out of.

    Args:
        folder: the version's as it is now.
        content: what its certificate said before.
        tally: what it adds up to now.
        key: signs it.
    """
    counted = _counted(content, tally, folder)
    _write(folder, counted, None if key is None else key.sign(canonical(counted)), key)


def sign(folder: Path, key: SigningKey) -> bool:
    """Sign a version that is there; False if this key has signed it already.

    Its bytes are not looked at: verify it first, or have made it.

    Raises:
        CertificateError: it has no certificate that could be signed.
    """
    content = _certificate(folder)
    if isinstance(content, Fault):
        raise _refused(folder, [content])
    signature = key.sign(canonical(content))
    if signer_of(folder) == key.public:
        return False
    _write(folder, content, signature, key)
    flush(folder / CERTIFICATE)
    flush(folder / "goldloop")
    return True


def signer_of(folder: Path) -> str | None:
    """The public key that has signed a version; None where none has, or not these bytes."""
    content = _certificate(folder)
    if isinstance(content, Fault):
        return None
    signature = _signature(folder)
    if signature is None or _signature_fault(content, signature, frozenset()):
        return None
    return str(signature["key"])


def held_by(folder: Path) -> dict[str, Any] | None:
    """What the certificate of a version says, if it is whole and no file has another size than it says."""
    content = _certificate(folder)
    if isinstance(content, Fault):
        return None
    for name, facts in content["files"].items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != facts["bytes"]:
            return None
    return content


def verify(folder: Path, trusted: Collection[str] = (), cache: Path | None = None) -> list[Fault]:
    """What is wrong with a version, from its bytes; empty if nothing is.

    Args:
        folder: the version's.
        trusted: public keys of which one must have signed it; with none, it need not be signed.
        cache: where near-duplicates are remembered; by default each content is looked at anew.
    """
    content = _certificate(folder)
    if isinstance(content, Fault):
        return [content]
    wrong = _signature_fault(content, _signature(folder), trusted)
    faults = [] if wrong is None else [Fault(CERTIFICATE, wrong)]
    faults += _file_faults(folder, content["files"])
    try:
        fields = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        digest = fields["digest"]
        task = tasks.create(fields["task"])
        cliques = version_cliques(folder, task.modality, fields["duplicates"], cache)
        found = inspect(folder, task, read_policies(fields), cliques)
    except (OSError, ValueError, KeyError, TypeError, GoldloopError) as error:
        return [*faults, Fault(DESCRIPTION, f"cannot be read: {error}")]
    faults += found.faults
    if found.rows != content["rows"]:
        faults.append(Fault("data", f"{found.rows} rows, the certificate says {content['rows']}"))
    if not (found.digest == content["digest"] == digest):
        faults.append(Fault("data", "the rows do not have the version's digest"))
    return faults


def figures(folder: Path) -> dict[str, Any]:
    """What a certificate says, whether or not the version is so; empty where it cannot be read."""
    content = _certificate(folder)
    return {} if isinstance(content, Fault) else content


def require(folder: Path, trusted: Collection[str] = (), cache: Path | None = None) -> None:
    """Let a version through only if it is what its certificate says, and signed if it must be.

    Args:
        folder: the version's.
        trusted: as `verify` takes it.
        cache: likewise.

    Raises:
        CertificateError: names the files and rows that are wrong.
    """
    faults = verify(folder, trusted, cache)
    if faults:
        raise _refused(folder, faults)


def _refused(folder: Path, faults: Sequence[Fault]) -> CertificateError:
    is_unsigned = all(fault.problem in (_UNSIGNED, _UNTRUSTED) for fault in faults)
    return CertificateError(
        "the version is not what its certificate says"
        if not is_unsigned
        else "nobody trusted vouches for it",
        where=folder,
        found=_listed(faults),
        remedy=_SIGN if is_unsigned else _REMEDY,
    )


def _counted(content: Mapping[str, Any], tally: Tally, folder: Path) -> dict[str, Any]:
    """What a certificate says, with the counts and files of a version as they are now."""
    facts = tally.facts()
    return {
        **content,
        "rows": tally.rows,
        "ledger": {**content["ledger"], "commit": facts.pop("outcomes")},
        **facts,
        "outside": Manifest.load(folder).outside,
        "files": _digests(folder),
    }


def _write(
    folder: Path, content: Mapping[str, Any], signature: str | None = None, key: SigningKey | None = None
) -> None:
    written = {**content, "seal": _seal(content)}
    if signature is not None and key is not None:
        written["signature"] = {"algorithm": "Ed25519", "key": key.public, "value": signature}
    text = json.dumps(written, indent=2, ensure_ascii=False) + "\n"
    aside = folder / "goldloop" / ".certificate"
    aside.write_text(text, encoding="utf-8")
    aside.replace(folder / CERTIFICATE)


def _signature(folder: Path) -> Any:
    return json.loads((folder / CERTIFICATE).read_text(encoding="utf-8")).get("signature")


def _signature_fault(content: Mapping[str, Any], signature: Any, trusted: Collection[str]) -> str | None:
    if signature is None:
        return _UNSIGNED if trusted else None
    try:
        key, value = str(signature["key"]), str(signature["value"])
    except (TypeError, KeyError):
        return _FORGED
    if not is_signed(canonical(content), key, value):
        return _FORGED
    return None if not trusted or key in trusted else _UNTRUSTED


def _listed(faults: Sequence[Fault]) -> str:
    more = f"; and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return "; ".join(map(str, faults[:_SHOWN])) + more


def _certificate(folder: Path) -> dict[str, Any] | Fault:
    try:
        content = json.loads((folder / CERTIFICATE).read_text(encoding="utf-8"))
        seal = content.pop("seal")
        content.pop("signature", None)
        fits = seal == _seal(content)
    except FileNotFoundError:
        return Fault(CERTIFICATE, "is missing")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        return Fault(CERTIFICATE, f"cannot be read: {error}")
    if not fits:
        return Fault(CERTIFICATE, "was edited: its seal does not fit")
    if content.get("format") != _FORMAT:
        return Fault(CERTIFICATE, f"has format {content.get('format')}, this goldloop reads {_FORMAT}")
    return dict(content)


def _file_faults(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> Iterator[Fault]:
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    for name, facts in files.items():
        if name not in present:
            yield Fault(name, "is missing")
        elif _sha256(present[name]) != facts["sha256"]:
            yield Fault(name, "was changed: its digest is not the certificate's")
    for name in sorted(present.keys() - files.keys()):
        yield Fault(name, "does not belong to the version")


def _digests(folder: Path) -> dict[str, dict[str, Any]]:
    """Digest and size of every file; those in the manifest were read when they were written."""
    known = {part.path: part for part in Manifest.load(folder).parts()}
    found = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        part = known.get(name)
        digest, size = (_sha256(path), path.stat().st_size) if part is None else (part.sha256, part.bytes)
        found[name] = {"sha256": digest, "bytes": size}
    return found


def _files(folder: Path) -> list[Path]:
    """Every file but the certificate."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(path for path in found if path != folder / CERTIFICATE)


def _seal(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(content)).hexdigest()


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"
