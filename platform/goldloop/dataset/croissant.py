"""A version in Croissant 1.0 (https://mlcommons.org/croissant), for catalogs and loaders that read it.

It is made on demand and lies in no version: it repeats what the manifest, the card and the certificate say.
Its paths are relative to the version's folder. Croissant cannot say which rows of a file are meant, so
where a later commit has replaced rows, their numbers are told in words and in the manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from goldloop.dataset.by_address import IMAGE
from goldloop.dataset.manifest import MANIFEST, Manifest, Part
from goldloop.dataset.shards import ROW, features_of
from goldloop.dataset.version import Version
from goldloop.tasks import tasks

if TYPE_CHECKING:
    import datasets

_PARQUET = "application/x-parquet"
_CLASSES = "classes"
_TERMS = (
    "citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet",
    "format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
    "references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField",
    "transform",
)  # fmt: skip
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _TERMS},
}


def croissant(version: Version) -> dict[str, Any]:
    """The metadata of a version as JSON-LD.

    Raises:
        VersionError: the version cannot be read.
    """
    manifest = Manifest.load(version.folder)
    task = tasks.create(version.task)
    features = features_of(task)
    parts = [part for shards in manifest.shards.values() for part in shards]
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": version.name,
        "identifier": version.ref,
        "version": f"1.0.0+{version.digest[:12]}",
        "description": _description(version, manifest),
        "datePublished": version.created_at,
        **_labelling(version),
        "distribution": [
            *map(_file_object, parts),
            *(_file_set(split) for split, shards in manifest.shards.items() if shards),
        ],
        "recordSet": [
            *([_class_set(version)] if version.classes else []),
            *(
                _record_set(split, features, version, shards)
                for split, shards in manifest.shards.items()
                if shards
            ),
        ],
    }


def _description(version: Version, manifest: Manifest) -> str:
    rows = ", ".join(f"{count} {split}" for split, count in version.counts.items())
    said = f"{version.message}. " if version.message else ""
    told = f"{said}Labelled items for {version.task['kind']}: {rows}. Digest {version.digest}."
    if not manifest.dead:
        return told
    return (
        f"{told} {len(manifest.dead)} rows of the files were replaced by later ones: those whose `{ROW}` is "
        f"among `dead` in {MANIFEST}. `datasets.load_dataset` leaves them out by itself."
    )


def _labelling(version: Version) -> dict[str, Any]:
    """How it was labelled, in the words of Croissant's vocabulary for responsible AI."""
    told = version.labelling()
    agreement = told.get("agreement", {})
    mean, items = agreement.get("mean"), agreement.get("items")
    by = ", ".join(f"{count} {name}" for name, count in told.get("provenance", {}).items())
    facts = {
        "rai:dataAnnotationPlatform": "Label Studio" if told.get("annotators") else None,
        "rai:dataAnnotationProtocol": version.task.get("instructions"),
        "rai:dataCollection": f"Rows by how their label came to be: {by}" if by else None,
        "rai:dataAnnotationAnalysis": None
        if mean is None
        else f"Mean agreement {mean:.3f} over {items} items that were answered twice or more.",
    }
    return {name: value for name, value in facts.items() if value}


def _file_object(part: Part) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": part.path,
        "name": part.path,
        "contentUrl": part.path,
        "contentSize": f"{part.bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": part.sha256,
    }


def _file_set(split: str) -> dict[str, Any]:
    includes = f"data/{split}-*.parquet"
    return {
        "@type": "cr:FileSet",
        "@id": split,
        "name": split,
        "encodingFormat": _PARQUET,
        "includes": includes,
    }


def _class_set(version: Version) -> dict[str, Any]:
    names = {"id": "sc:Integer", "name": "sc:Text"}
    return {
        "@type": "cr:RecordSet",
        "@id": _CLASSES,
        "name": _CLASSES,
        "dataType": "sc:Enumeration",
        "key": {"@id": f"{_CLASSES}/id"},
        "field": [
            {"@type": "cr:Field", "@id": f"{_CLASSES}/{name}", "name": name, "dataType": kind}
            for name, kind in names.items()
        ],
        "data": [
            {f"{_CLASSES}/id": number, f"{_CLASSES}/name": name}
            for number, name in enumerate(version.classes)
        ],
    }


def _record_set(
    split: str, features: datasets.Features, version: Version, shards: Sequence[Part]
) -> dict[str, Any]:
    identity = f"{split}-rows"
    outside = sum(part.outside for part in shards)
    within = dict(features)
    if outside == sum(part.rows for part in shards):
        within.pop(IMAGE, None)
    fields = [field for name, kind in within.items() for field in _fields(identity, split, name, name, kind)]
    if outside:
        # Where the bytes of a row are not in the files; it is a file's name where they are.
        fields.append(_field(f"{identity}/{IMAGE}_address", split, IMAGE, "sc:Text", path="path"))
    number = _field(f"{identity}/{ROW}", split, ROW, "sc:Integer")
    return {
        "@type": "cr:RecordSet",
        "@id": identity,
        "name": identity,
        "description": f"The rows of the {split} split, {version.counts[split]} of them.",
        "field": [*fields, number],
    }


def _fields(
    owner: str, split: str, column: str, name: str, kind: Any, path: str = ""
) -> Iterator[dict[str, Any]]:
    """The field of a column, with those that are in it."""
    import datasets

    identity = f"{owner}/{name}"
    repeated = isinstance(kind, datasets.List)
    inner = kind.feature if repeated else kind
    if isinstance(inner, Mapping):
        parts = [
            field
            for word, each in inner.items()
            for field in _fields(
                identity, split, column, word, each, f"{path}[*].{word}" if repeated else word
            )
        ]
        yield {"@type": "cr:Field", "@id": identity, "name": name, "repeated": repeated, "subField": parts}
    elif isinstance(inner, datasets.Image):
        yield _field(identity, split, column, "sc:ImageObject", path="bytes")
    elif isinstance(inner, datasets.ClassLabel):
        references = {"references": {"field": {"@id": f"{_CLASSES}/id"}}}
        yield _field(identity, split, column, "sc:Integer", path=path, repeated=repeated) | references
    elif not isinstance(inner, datasets.List):
        number = "sc:Integer" if "int" in inner.dtype else "sc:Float"
        word = "sc:Text" if inner.dtype == "string" else number
        yield _field(identity, split, column, word, path=path, repeated=repeated)
    else:
        # Lists of lists, such as an outline's corners, come as they are.
        yield _field(identity, split, column, "sc:Float", path=path, repeated=True)


def _field(
    identity: str, split: str, column: str, kind: str, *, path: str = "", repeated: bool = False
) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": split}, "extract": {"column": column}}
    if path:
        source["transform"] = {"jsonPath": path}
    name = identity.rpartition("/")[2]
    field = {"@type": "cr:Field", "@id": identity, "name": name, "dataType": kind, "source": source}
    return {**field, "repeated": True} if repeated else field
