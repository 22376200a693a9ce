"""The journal's promises in SQL: guarded writes in one transaction each, and reads in a constant number of queries."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, Insert, delete, exists, func, select, union_all, update

from orchestrator import states
from orchestrator.clock import Clock
from orchestrator.errors import AlreadyRun, NotFound, Superseded
from orchestrator.journal import rows, schema
from orchestrator.journal.access import SqlAudit, SqlRequests, SqlTokens
from orchestrator.journal.database import Database, insert_unless_there
from orchestrator.journal.events import SqlEvents, announce
from orchestrator.journal.ledger import SqlLedger
from orchestrator.journal.loading import NEWEST_FIRST, load, load_targets
from orchestrator.journal.memory import SqlMemory
from orchestrator.journal.schedules import SqlSchedules
from orchestrator.journal.statistics import SqlStatistics
from orchestrator.journal.tables import holds_machine, is_going, runs, snapshots, steps, targets
from orchestrator.model import Action, Outcome, Owner, Run, Snapshot, State, Step, Target

#: Ids compare by their code points, so that everything that begins with X lies between X and X with this behind it.
_LAST_CHARACTER = "\U0010ffff"
#: How many runs an ambiguous beginning names.
_CANDIDATES = 5


class SqlJournal:
    """The journal in a SQLite file or a PostgreSQL database. One instance serves any number of threads.

    It keeps the promises of `ports.Journal`. An error of the database leaves nothing written, except that a lost
    answer to a commit leaves it unknown; the next call connects anew.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    def open(cls, url: str, clock: Clock) -> "SqlJournal":
        """The journal at `url`, which is made there when the database, or the file, is new.

        Raises ConfigError for a url that names no journal, JournalUnavailable, JournalOutdated when the schema waits
        for `quiesce db upgrade`, and JournalMismatch when it is newer than this program, or not a journal's.
        """
        database = Database(url)
        try:
            schema.ensure(database)
        except BaseException:
            database.close()
            raise
        return cls(database, clock)

    def close(self) -> None:
        """Drop all connections."""
        self._database.close()

    def schedules(self) -> SqlSchedules:
        """What the scheduler remembers, in the same database."""
        return SqlSchedules(self._database)

    def ledger(self) -> SqlLedger:
        """The history page by page, and what is seen of it at one glance, in the same database."""
        return SqlLedger(self._database)

    def tokens(self) -> SqlTokens:
        """Who may ask over HTTP, in the same database."""
        return SqlTokens(self._database)

    def audit(self) -> SqlAudit:
        """What was changed over HTTP, in the same database."""
        return SqlAudit(self._database)

    def requests(self) -> SqlRequests:
        """The runs that were asked for under a key, in the same database."""
        return SqlRequests(self._database)

    def events(self) -> SqlEvents:
        """What is written here about runs, as it is followed."""
        return SqlEvents(self._database)

    def memory(self) -> SqlMemory:
        """What people were told, in the same database."""
        return SqlMemory(self._database)

    def statistics(self) -> SqlStatistics:
        """What the history answers as a whole, in the same database."""
        return SqlStatistics(self._database)

    def open_run(self, run: Run) -> Run:
        """See `ports.Journal`."""
        with self._database.writing() as connection:
            new = _insert_once(connection, run).returning(runs.c.id)
            if connection.scalar(new, rows.run_row(run, self._clock.now())) is None:
                raise AlreadyRun(f"the run of {run.job and run.job.name} for {run.scheduled_for} is in the journal")
            holders = _claim(connection, rows.new_target_rows(run))
            if holders and run.job is not None and run.job.group:
                _refuse_group(connection, run.id, holders)
            for target in run.targets:
                self._replace_snapshot(connection, run, target)
            _append(connection, run.id, run.steps)
            self._settle(connection, run.id)
            return load(connection, runs.c.id == run.id)[0]

    def record(self, run: Run, steps: Sequence[Step]) -> None:
        """See `ports.Journal`. Also for a run that is no longer ours: what happened is true. Raises NotFound."""
        with self._database.writing() as connection:
            if not _lock(connection, run.id):
                raise NotFound(f"there is no run {run.id!r} in the journal")
            _append(connection, run.id, steps)
            _let_go(connection, run.id, steps)

    def move(self, run: Run, target: Target, steps: Sequence[Step]) -> None:
        """See `ports.Journal`."""
        machine = target.machine.name
        permitted = update(targets).where(
            targets.c.run_id == run.id,
            targets.c.machine == machine,
            targets.c.state.in_(states.sources(target.state)),
            exists().where(runs.c.id == run.id, runs.c.owner == str(run.owner)),
        )
        with self._database.writing() as connection:
            _lock(connection, run.id)
            if not connection.execute(permitted, rows.target_row(target)).rowcount:
                raise Superseded(f"run {run.id}: {machine} cannot become {target.state} by us, or not any more")
            _append(connection, run.id, steps)
            self._replace_snapshot(connection, run, target)
            self._settle(connection, run.id)

    def take_over(self, run: Run, owner: Owner) -> Run:
        """See `ports.Journal`."""
        ours = update(runs).where(runs.c.id == run.id, runs.c.owner == str(run.owner), runs.c.state.in_(states.OPEN))
        with self._database.writing() as connection:
            if not connection.execute(ours, {"owner": str(owner)}).rowcount:
                raise Superseded(f"run {run.id} has ended, or has another owner already")
            return load(connection, runs.c.id == run.id)[0]

    def run(self, run_id: str) -> Run:
        """See `ports.Journal`. An ambiguous beginning raises NotFound too, with some of the runs that it fits."""
        begins = (runs.c.id >= run_id) & (runs.c.id < run_id + _LAST_CHARACTER)
        with self._database.reading() as connection:
            found = connection.scalars(select(runs.c.id).where(begins).order_by(runs.c.id).limit(_CANDIDATES)).all()
            if not found:
                raise NotFound(f"there is no run {run_id!r} in the journal")
            if len(found) > 1 and found[0] != run_id:
                raise NotFound(f"{run_id!r} is the beginning of several runs: {', '.join(found)}")
            return load(connection, runs.c.id == found[0])[0]

    def open_runs(self, *, apart_from: Collection[str] = ()) -> tuple[Run, ...]:
        """See `ports.Journal`."""
        with self._database.reading() as connection:
            return load(connection, runs.c.state.in_(states.OPEN) & runs.c.id.not_in(list(apart_from)))

    def snapshots(
        self, *, job: str | None = None, machine: str | None = None, let_go: bool = False
    ) -> tuple[Snapshot, ...]:
        """See `ports.Journal`."""
        wanted = select(snapshots).where(snapshots.c.removed_at.is_(None))
        if let_go:
            wanted = wanted.where(is_going)
        if machine is not None:
            wanted = wanted.where(snapshots.c.machine == machine)
        if job is not None:
            wanted = wanted.join(runs, runs.c.id == snapshots.c.run_id).where(runs.c.job_name == job)
        oldest_first = wanted.order_by(snapshots.c.created_at, snapshots.c.run_id, snapshots.c.machine)
        of_these = select(wanted.subquery().c.run_id)
        with self._database.reading() as connection:
            found = connection.execute(oldest_first).all()
            made_by = {run.id: run for run in load(connection, runs.c.id.in_(of_these), with_steps=False)}
            distrusted = _distrusted(connection, steps.c.run_id.in_(of_these))
        return tuple(
            rows.snapshot_from(row, made_by[row.run_id], distrusted=(row.run_id, row.machine) in distrusted)
            for row in found
        )

    def history(
        self,
        limit: int,
        *,
        job: str | None = None,
        machine: str | None = None,
        state: State | None = None,
    ) -> tuple[Run, ...]:
        """See `ports.Journal`."""
        wanted = select(runs.c.id, runs.c.state, runs.c.started_at).order_by(*NEWEST_FIRST).limit(limit)
        if job is not None:
            wanted = wanted.where(runs.c.job_name == job)
        if machine is not None:
            wanted = wanted.join(targets).where(targets.c.machine == machine)
        if state is not None:
            wanted = wanted.where(runs.c.state == state)
        # Each half walks an index from its newest end and stops: no half reads more than `limit` runs.
        stuck = wanted.where(runs.c.state == State.STUCK).subquery()
        others = wanted.where(runs.c.state != State.STUCK).subquery()
        both = union_all(select(stuck), select(others)).subquery()
        ids = select(both.c.id).order_by(both.c.state != State.STUCK, both.c.started_at.desc(), both.c.id.desc())
        with self._database.reading() as connection:
            found = load(connection, runs.c.id.in_(ids.limit(limit)), with_steps=False)
        return tuple(sorted(found, key=lambda run: (run.state is State.STUCK, run.started_at, run.id), reverse=True))

    def _replace_snapshot(self, connection: Connection, run: Run, target: Target) -> None:
        """Let the journal's snapshot of this machine and run be the target's."""
        key = {"run_id": run.id, "machine": target.machine.name}
        connection.execute(delete(snapshots).filter_by(**key))
        if target.snapshot is None:
            return
        cut_at = connection.scalar(select(func.max(steps.c.at)).filter_by(**key, action=Action.CUT))
        connection.execute(
            snapshots.insert(),
            {
                **key,
                "name": run.snapshot_name,
                "description": target.snapshot,
                "consistency": target.consistency,
                "created_at": cut_at or self._clock.now(),
            },
        )

    def _settle(self, connection: Connection, run_id: str) -> None:
        """Let the run's own columns follow from its targets."""
        found = load_targets(connection, targets.c.run_id == run_id)[run_id]
        connection.execute(update(runs).where(runs.c.id == run_id), rows.outcome(found, self._clock.now()))


def _lock(connection: Connection, run_id: str) -> bool:
    """Let no other writer change this run until the end of the transaction; say whether there is such a run."""
    return connection.scalar(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True)) is not None


def _claim(connection: Connection, wanted: list[rows.Row]) -> dict[str, str]:
    """Insert new targets, as `refused` where another open run holds the machine; return those runs by machine."""
    holders: dict[str, str] = {}
    claim = insert_unless_there(connection, targets).returning(targets.c.position)
    while wanted:
        landed = set(connection.scalars(claim, wanted))
        wanted = [row for row in wanted if row["position"] not in landed]
        busy = targets.c.machine.in_([row["machine"] for row in wanted]) & holds_machine
        held = {row.machine: row.run_id for row in connection.execute(select(targets).where(busy))}
        refused = [_refused(row, held[row["machine"]]) for row in wanted if row["machine"] in held]
        if refused:
            connection.execute(targets.insert(), refused)
        # A holder that ended since our insert is none any more: such a machine is tried again.
        wanted = [row for row in wanted if row["machine"] not in held]
        holders |= held
    return holders


def _insert_once(connection: Connection, run: Run) -> Insert:
    """An insert of a run, which does nothing when its job has a run for the same scheduled time already."""
    if run.scheduled_for is None:
        return runs.insert()
    return insert_unless_there(connection, runs, "job_name", "scheduled_for")


def _refused(row: rows.Row, holder: str) -> rows.Row:
    return {**row, "state": State.REFUSED, "error": f"run {holder} is open on this machine"}


def _refuse_group(connection: Connection, run_id: str, holders: dict[str, str]) -> None:
    busy = ", ".join(f"{machine} is in run {holder}" for machine, holder in sorted(holders.items()))
    connection.execute(
        update(targets).where(targets.c.run_id == run_id, holds_machine),
        {"state": State.REFUSED, "error": f"the group is refused as a whole: {busy}"},
    )


def _append(connection: Connection, run_id: str, new: Sequence[Step]) -> None:
    """Add steps after the last one of a run that is locked, or that nobody else can see yet, and let the feed tell."""
    if new:
        last = connection.scalar(select(func.max(steps.c.seq)).where(steps.c.run_id == run_id)) or 0
        connection.execute(steps.insert(), rows.step_rows(run_id, new, last + 1))
        announce(connection, run_id, last + 1, last + len(new))
    else:
        announce(connection, run_id, 0, 0)


def _let_go(connection: Connection, run_id: str, new: Sequence[Step]) -> None:
    """Let the snapshots of a run follow from the steps that remove them."""
    for step in new:
        if step.action is Action.REMOVE and step.outcome in {Outcome.INTENT, Outcome.DONE}:
            known = {"let_go_at": func.coalesce(snapshots.c.let_go_at, step.at)}
            if step.outcome is Outcome.DONE:
                known["removed_at"] = func.coalesce(snapshots.c.removed_at, step.at)
            connection.execute(update(snapshots).filter_by(run_id=run_id, machine=step.machine).values(known))


def _distrusted(connection: Connection, which: ColumnElement[bool]) -> set[tuple[str, str]]:
    """The runs and machines whose last examination that came to an end found something wrong."""
    examined = (steps.c.action == Action.EXAMINE) & steps.c.outcome.in_([Outcome.DONE, Outcome.FAILED])
    oldest_first = select(steps.c.run_id, steps.c.machine, steps.c.outcome).where(which, examined).order_by(steps.c.seq)
    last = {(row.run_id, row.machine): row.outcome for row in connection.execute(oldest_first)}
    return {key for key, outcome in last.items() if outcome == Outcome.FAILED}
