"""READ FIRST: the loop, from top to bottom.

    pull -> push -> (people annotate) -> collect -> commit -> train -> evaluate -> promote -> predict
             ^                                                                                  |
             +----------------------------------------------------------------------------------+

Each stage is a function whose result is the next one's argument; each can be killed at any moment and run
again. `run` is all of them, and leaves out what is up to date. Here alone the packages meet: each is
handed its own section of the recipe and the plain values of `records.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from goldloop import committing, judging, production, selecting, suggesting, wiring
from goldloop.acts import recorded
from goldloop.catalog import forgotten, server_side
from goldloop.catalog.content import items_of, stream_items
from goldloop.catalog.ledger import Balance, balance
from goldloop.catalog.reopened import reopened_of
from goldloop.cleaning import report as cleaning_report
from goldloop.cleaning.config import CleaningConfig
from goldloop.cleaning.examples import Examples
from goldloop.connectors import _intake as intake
from goldloop.errors import GateRefused, TrainingError
from goldloop.progress import Progress, Silent
from goldloop.recipe import Recipe, digest_of, parse
from goldloop.results import CollectedBooks, Promotion, Pushed, Turn
from goldloop.tasks import tasks
from goldloop.workspace import Workspace

if TYPE_CHECKING:
    from goldloop.dataset.version import Version
    from goldloop.evaluation.report import Report
    from goldloop.training.run import Run

SILENT = Silent()


@recorded
def run(recipe: Recipe, workspace: Workspace | None = None, progress: Progress = SILENT) -> Turn:
    """The whole loop once, from the sources to pre-annotations; what is up to date is left out.

    While nothing is labelled it ends after `collect`, and says where to annotate. Where every label was
    imported, nobody is asked and no Label Studio is needed.

    Raises:
        GoldloopError: a stage failed; those before it are done, and running again goes on from there.
    """
    workspace = workspace or Workspace.open()
    with workspace.lock(recipe.name):
        pulled = pull(recipe, workspace, progress)
        asks = wiring.asks_annotators(recipe, workspace)
        pushed = push(recipe, workspace, progress) if asks else None
        suggests, own = asks and recipe.serving.preannotate, suggesting.is_own(recipe)
        preannotated = predict(recipe, workspace, progress) if suggests and not own else 0
        collected = collect(recipe, workspace, progress) if asks else None
        if collected is not None and not collected.balance.outcomes.get("labelled"):
            waiting = wiring.awaited(recipe, workspace)
            if waiting is not None:
                return Turn(pulled, pushed, collected, waiting=f"{waiting}: annotate at {collected.address}")
        version = commit(recipe, workspace, progress)
        if recipe.training is None:
            return Turn(pulled, pushed, collected, version)
        trained = train(recipe, workspace, progress, on=version)
        model = wiring.registry(workspace).of_run(recipe.name, trained.id)
        report = evaluate(model.ref, on=version.ref, workspace=workspace, progress=progress)
        promotion = promote(model.ref, recipe=recipe, on=version.ref, workspace=workspace, progress=progress)
        if suggests and own:
            preannotated = predict(recipe, workspace, progress)
        return Turn(pulled, pushed, collected, version, trained, report, promotion, preannotated)


@recorded
def pull(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
    *,
    full: bool = False,
    requests: bool = False,
) -> Balance:
    """Sources -> catalog: every address gets an outcome, every content is kept once.

    What has not changed since the last pull, by names, sizes, times and the stores' own marks, is not read
    again; a pull that was killed goes on where it was.

    Args:
        recipe: its sources, its cleaning and its task.
        workspace: where.
        progress: where to tell how far it is.
        full: read everything again, and ask sources that tell only what is new for all that they have.
        requests: take in only what the prediction server kept of requests; the sources are not asked.

    Raises:
        SourceError: a source cannot be read at all, or has nothing in it.
    """
    workspace = workspace or Workspace.open()
    with workspace.lock(recipe.name):
        progress.say("pull: looking at the sources")
        with workspace.engine.connect() as connection:
            if requests:
                looked = production.look(connection, recipe, workspace, full=full)
            else:
                sources = production.sources(recipe, workspace)
                looked = intake.look(connection, recipe.name, sources, full=full)
            if intake.is_unchanged(connection, recipe.name, looked):
                progress.say("pull: the sources have not changed")
                return balance(connection, recipe.name, "pull")
            erased = forgotten.keys(connection)
        inputs = digest_of([[source.name, source.reading] for source in looked.sources])
        folder = wiring.cleaning_folder(workspace, recipe.name)
        show = Examples(folder / "examples").keep
        taker = wiring.intake(recipe, workspace.media.put, erased, show)
        books = intake.pull(workspace.engine, recipe.name, looked, taker, inputs, progress)
        with workspace.engine.connect() as connection:
            production.drop_forgotten(connection, recipe.name, workspace)
        if recipe.cleaning != CleaningConfig():
            with workspace.engine.connect() as connection:
                page = cleaning_report.write(connection, recipe.name, folder)
            progress.say(f"pull: what was left out is shown in {page}")
    progress.say(f"pull: {books}")
    return books


@recorded
def push(recipe: Recipe, workspace: Workspace | None = None, progress: Progress = SILENT) -> Pushed:
    """Catalog -> Label Studio: each item becomes one task, the most useful first.

    Tasks of items that have been superseded since are taken out of annotators' way.

    Raises:
        LabelStudioError: the server is down, refuses us, or keeps less than it is sent.
    """
    workspace = workspace or Workspace.open()
    task = tasks.create(recipe.task)
    with workspace.lock(recipe.name):
        progress.say("push: asking Label Studio what it has")
        session = wiring.session(recipe, workspace)
        session.reconcile()
        archived = session.archive(progress)
        upcoming = selecting.next_up(recipe, workspace, session.place, progress)
        if upcoming.enough is not None:
            progress.say(f"push: nothing more is sent: {upcoming.enough}")
        if upcoming.doubles:
            progress.say(f"push: {len(upcoming.doubles):,} items are near-duplicates of others, and not sent")
        created = session.push(
            stream_items(workspace.engine, recipe.name, upcoming.keys),
            len(upcoming.keys),
            task.task_data,
            wiring.known_answers(task),
            progress,
        )
        with workspace.engine.connect() as connection:
            session.ask_more(items_of(connection, recipe.name), progress)
        with workspace.engine.begin() as connection:
            books = server_side.write_push_books(connection, session.place, upcoming.enough, upcoming.doubles)
    said = f", {archived} archived" if archived else ""
    progress.say(f"push: {created} new tasks{said}; {books}")
    return Pushed(created, books, session.address)


@recorded
def collect(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
    *,
    full: bool = False,
) -> CollectedBooks:
    """Label Studio -> catalog: what annotators did since the last time, joined on task id and content key.

    Args:
        recipe: whose project.
        workspace: where.
        progress: where to tell how far it is.
        full: fetch everything again, not only what has changed.

    Raises:
        IdentityError: a task came back with another item's content; the catalog keeps what it had of it.
        LedgerError: the server does not list all the tasks that it has.
    """
    workspace = workspace or Workspace.open()
    with workspace.lock(recipe.name):
        progress.say("collect: asking Label Studio what is new")
        session = wiring.session(recipe, workspace)
        books, count = session.collect(recipe.labeling.annotators_per_item, progress, full=full)
    progress.say(f"collect: {count} annotations; {books}")
    return CollectedBooks(count, books, session.address)


@recorded
def commit(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
    *,
    message: str | None = None,
    grow_test: bool = False,
) -> Version:
    """Annotations -> an immutable, certified dataset version; the one that is there if nothing changed.

    Args:
        recipe: what is labelled, and how it is split.
        workspace: where.
        progress: where to tell how far it is.
        message: what this version is about.
        grow_test: take new items into a test split that is frozen; recorded with the version.

    Raises:
        VersionError: nothing is labelled yet, or it cannot be split as the recipe says, or cannot be written;
            no version is then listed.
        LedgerError: an item has no outcome, or two; or a source gave more than is accounted for.
        SigningError: GOLDLOOP_SIGNING_KEY is no key.
    """
    from goldloop.dataset import certificate

    workspace = workspace or Workspace.open()
    signing = wiring.signing_key(workspace)
    asked = committing.Asked(recipe, workspace, progress, message, grow_test)
    with workspace.lock(recipe.name):
        progress.say("commit: settling annotations")
        made = committing.make(asked)
        if signing is not None:
            certificate.sign(made.version.folder, signing)
        books = committing.finish(asked, made)
    version = made.version
    progress.say(f"commit: {version.ref}; {books}")
    return version


@recorded
def train(
    recipe: Recipe,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
    *,
    on: Version | str | None = None,
    profile: bool = False,
) -> Run:
    """A dataset version -> a trained model, registered as challenger.

    The same version, task and training settings are the same run: one that is finished is returned, one
    that was killed goes on exactly where it was.

    Args:
        recipe: what to train.
        workspace: where.
        progress: where to tell how far it is.
        on: the version; by default the latest.
        profile: find out what a step waits for, on the way; the model is the same.

    Raises:
        CertificateError: the version does not prove what it claims.
        TrainingError: the recipe has no `training:`, or the run cannot go on.
    """
    workspace = workspace or Workspace.open()
    if recipe.training is None:
        raise TrainingError(
            "the recipe says nothing about training",
            where=recipe.name,
            remedy="Add `training: {checkpoint: ...}` to it",
        )
    version = wiring.version_of(workspace, recipe.name, on)
    run_id = wiring.run_id(version, wiring.fields(recipe)["training"])
    job = (recipe.training, workspace, version, run_id)
    if not wiring.is_main_process():
        return wiring.fit(*job, {}, lambda event: None, profile=profile)
    with workspace.lock(recipe.name):
        wiring.require(workspace, version)
        facts = {"name": recipe.name, "run": run_id, "version": version.ref, "recipe": wiring.fields(recipe)}
        progress.say(f"train: run {run_id} on {version.ref}")
        with (
            wiring.tracking(workspace).run(recipe.name, run_id, facts) as record,
            wiring.steps_shown(
                progress,
                record.listen(progress),
                metric=tasks.get(recipe.task.kind).metric,
                epochs=recipe.training.epochs,
            ) as heard,
        ):
            finished = wiring.fit(*job, facts, heard, progress, profile=profile)
            record.finish(finished)
        model = wiring.registry(workspace).register(
            recipe.name,
            finished.model,
            run=run_id,
            version=version.ref,
            metric=finished.metric,
            value=finished.value,
        )
    progress.say(f"train: {model.ref}, {finished.summary()}")
    return finished


@recorded
def evaluate(
    model: str,
    *,
    on: str | None = None,
    split: str = "test",
    spoiled: bool = False,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
) -> Report:
    """How good a model is on a split of a version; a report that is there already is read.

    Args:
        model: `NAME` for the champion, `NAME/latest` or `NAME/NUMBER`.
        on: `NAME@DIGEST`; by default the latest version of that name.
        split: which split.
        spoiled: ask about some items again, out of focus, compressed, with typing errors and the like.
        workspace: where.
        progress: where to tell how far it is.

    Raises:
        ModelError: no such model, or nothing in the split that it could be judged by.
        VersionError: no such version, or one that does not prove what it claims.
    """
    from goldloop.evaluation import report as reports

    workspace = workspace or Workspace.open()
    entry = wiring.registry(workspace).find(model)
    with workspace.lock(entry.name):
        version = wiring.version_of(workspace, entry.name, on)
        folder = wiring.report_folder(workspace, entry, version.ref, split)
        if (folder / "report.json").exists():
            known = reports.Report.load(folder)
            if known.robustness or not spoiled:
                return known
        wiring.require(workspace, version)
        progress.say(f"evaluate: {entry.ref} on {version.ref} {split}")
        predictor = wiring.predictor(workspace, entry)
        report = reports.evaluate(
            tasks.create(version.task),
            version.dataset(split),
            predictor.predict,
            name=entry.name,
            model=entry.ref,
            version=version.ref,
            split=split,
            own_models={entry.ref},
            around=judging.around(workspace, version, split),
            measure=judging.measure(workspace, entry, predictor),
            place=judging.placed(predictor),
            spoiled=spoiled,
        )
        report = report.judged_by(judging.judging_data(workspace, entry, version, report))
        said = reports.verdicts_in(folder)
        report.save(folder, said, wiring.contents(workspace, entry.name))
    progress.say(f"evaluate: {report.headline()}")
    return report


@recorded
def promote(
    model: str,
    *,
    recipe: Recipe | None = None,
    on: str | None = None,
    override: tuple[str, str] | None = None,
    workspace: Workspace | None = None,
    progress: Progress = SILENT,
) -> Promotion:
    """Make a model champion if every gate lets it through.

    Args:
        model: as `evaluate` takes it.
        recipe: whose gates to apply; by default those of the recipe that it was trained by.
        on: the version whose test split judges; by default the latest.
        override: who lets the model through in spite of its gates, and why; recorded with it.
        workspace: where.
        progress: where to tell how far it is.

    Returns:
        What the gates said; `promoted` is False if one of them refused.
    """
    from goldloop.evaluation.gates import gates

    workspace = workspace or Workspace.open()
    registry = wiring.registry(workspace)
    entry = registry.find(model)
    with workspace.lock(entry.name):
        recipe = recipe or parse(wiring.predictor(workspace, entry).facts["recipe"], where=entry.ref)
        report = evaluate(entry.ref, on=on, workspace=workspace, progress=progress)
        progress.say(f"promote: asking the gates about {entry.ref}")
        champion = registry.champion(entry.name)
        rival = None
        if champion is not None and champion.number != entry.number:
            rival = evaluate(champion.ref, on=report.version, workspace=workspace, progress=progress)
        verdicts = tuple(gates.create(gate).judge(report, rival) for gate in recipe.gates)
        folder = wiring.report_folder(workspace, entry, report.version, report.split)
        report.save(folder, verdicts, wiring.contents(workspace, entry.name))
        try:
            entry = registry.promote(entry, verdicts, report, override=override)
        except GateRefused as error:
            progress.say(f"promote: {error}")
            return Promotion(entry, verdicts, promoted=False)
    progress.say(f"promote: {entry.ref} is champion")
    return Promotion(entry, verdicts, promoted=True)


@recorded
def predict(recipe: Recipe, workspace: Workspace | None = None, progress: Progress = SILENT) -> int:
    """Champion -> pre-annotations on the tasks that are still open; returns how many were written now.

    Another model answers where `labeling.suggestions` names one.

    Raises:
        ModelError: there is no champion yet, or the other model cannot be had.
        LabelStudioError: the server is down or refuses us.
    """
    from goldloop.labeling import answers_wanted

    workspace = workspace or Workspace.open()
    with workspace.lock(recipe.name):
        source = suggesting.source_of(recipe, workspace)
        session = wiring.session(recipe, workspace)
        with workspace.engine.connect() as connection:
            live = server_side.tasks_of(connection, session.place)
            answers = server_side.answer_counts(connection, session.place)
            items = {item.key: item for item in items_of(connection, recipe.name)}
            sent_back = reopened_of(connection, recipe.name)
        need = recipe.labeling.annotators_per_item
        # Who looks again at a doubtful label is to see the item and not what a model says of it.
        unfinished = {
            task_id: items[key]
            for key, task_id in live.items()
            if key in items and key not in sent_back and answers.get(task_id, 0) < need
        }
        shown = {
            task_id: item
            for task_id, item in unfinished.items()
            if not answers_wanted.is_blind(recipe.labeling, item.key)
        }
        progress.say(f"predict: {source.model} on {len(unfinished)} open tasks")
        shown = selecting.useful_first(recipe, workspace, session.place, shown, source.model, progress)
        written = session.preannotate(shown, source.shown(), source.model, progress)
        if len(shown) < len(unfinished):
            blind = [item for task_id, item in sorted(unfinished.items()) if task_id not in shown]
            kept = source.keep(blind, progress)
            progress.say(f"predict: {kept} more are kept from annotators, to see what they say without")
        source.tell_refused(progress)
    progress.say(f"predict: {written} pre-annotations written")
    return written
