"""The journal's tables, as the newest migration leaves them; `exclusion` has three indexes more."""

import json
import re
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    literal,
)
from sqlalchemy.types import TypeEngine

from orchestrator import states
from orchestrator.model import Action, Consistency, NoticeKind, Outcome, Pausable, Role, State, Trigger


class AnyText(TypeDecorator[str]):
    """Any Python string, also one that a hostile guest chose.

    PostgreSQL stores no NUL and neither engine a lone surrogate: these, and the backslash, are written as in a Python
    literal (`\\u0000`). Strings compare by their code points, so that a beginning is a range of the index.
    """

    impl = Text
    cache_ok = True

    _unsafe = re.compile("[\x00\\\\\ud800-\udfff]")
    _escape = re.compile(r"\\u([0-9a-f]{4})")

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return Text(collation="C") if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and self._unsafe.sub(lambda found: f"\\u{ord(found[0]):04x}", value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return value and self._escape.sub(lambda found: chr(int(found[1], 16)), value)


class Json(TypeDecorator[Any]):
    """JSON as ASCII text: PostgreSQL's own type would refuse the escaped NUL that a guest may send."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value, default=dict, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Utc(TypeDecorator[datetime]):
    """A point in time to the microsecond: aware and in UTC in Python, whatever the engine keeps."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


def _word(name: str, enumeration: type[StrEnum], *, primary_key: bool = False) -> Column[Any]:
    """A column for the values of `enumeration`; a CHECK lets no other in."""
    known = Enum(
        enumeration,
        native_enum=False,
        create_constraint=True,
        name=f"{name}_known",
        length=16,
        values_callable=lambda members: [member.value for member in members],
    )
    return Column(name, known, nullable=False, primary_key=primary_key)


metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("id", AnyText, primary_key=True),
    Column("job_name", AnyText),  # null for a run that has no job
    Column("job", Json),  # the job as it was configured at that time
    _word("trigger", Trigger),
    Column("owner", AnyText, nullable=False),
    Column("started_at", Utc, nullable=False),
    Column("finished_at", Utc),
    # What follows from the targets is kept here too, so that the history filters and sorts without reading them.
    _word("state", State),
    _word("consistency", Consistency),
    Column("error", AnyText),
    Column("scheduled_for", Utc),  # the time of the schedule that it is for
    Index("runs_scheduled_once", "job_name", "scheduled_for", unique=True),
    Index("runs_newest", "started_at", "id"),
    Index("runs_state", "state", "started_at"),
    Index("runs_job", "job_name", "started_at"),
    Index("runs_job_state", "job_name", "state", "started_at"),
    Index("runs_consistency", "consistency", "started_at"),
    Index("runs_job_consistency", "job_name", "consistency", "started_at"),
)

targets = Table(
    "targets",
    metadata,
    Column("run_id", AnyText, ForeignKey("runs.id"), primary_key=True),
    Column("machine", AnyText, primary_key=True),
    Column("position", Integer, nullable=False),  # the order in which the run names its machines
    Column("spec", Json, nullable=False),  # the machine, and the ways to it at that time
    _word("state", State),
    _word("consistency", Consistency),
    Column("window_ms", Double),
    Column("hold_ms", Double),
    Column("error", AnyText),
    Column("started_at", Utc),  # the run's, which never changes: a machine's history is in the order of one index
    Index("targets_machine", "machine", "started_at"),
)

#: Of a target that holds its machine. Its words are part of the statement: a search must show that it fits the index.
holds_machine = targets.c.state.in_(
    [literal(state, targets.c.state.type, literal_execute=True) for state in sorted(states.OPEN)]
)

#: Of a target whose cut was made as asked, with its guest proven to be frozen through it.
is_good = (
    targets.c.state == literal(State.DONE, targets.c.state.type, literal_execute=True)
) & targets.c.consistency.in_(
    [
        literal(consistency, targets.c.consistency.type, literal_execute=True)
        for consistency in Consistency
        if consistency.proven
    ]
)

steps = Table(
    "steps",
    metadata,
    Column("run_id", AnyText, primary_key=True),
    Column("seq", Integer, CheckConstraint("seq > 0", name="seq_positive"), primary_key=True, autoincrement=False),
    Column("machine", AnyText, nullable=False),
    _word("action", Action),
    _word("outcome", Outcome),
    Column("at", Utc, nullable=False),
    Column("monotonic", Double, nullable=False),
    Column("duration_ms", Double),
    Column("figures", Json, nullable=False),
    Column("error", AnyText),
    ForeignKeyConstraint(["run_id", "machine"], ["targets.run_id", "targets.machine"]),
)

snapshots = Table(
    "snapshots",
    metadata,
    Column("run_id", AnyText, primary_key=True),
    Column("machine", AnyText, primary_key=True),
    Column("name", AnyText, nullable=False),
    Column("description", Json, nullable=False),  # as the driver gave it
    _word("consistency", Consistency),
    Column("created_at", Utc, nullable=False),  # when the cut was made
    # What follows from the steps that remove it is kept here too, as the runs' states are.
    Column("let_go_at", Utc),  # it cannot be restored any more
    Column("removed_at", Utc),
    ForeignKeyConstraint(["run_id", "machine"], ["targets.run_id", "targets.machine"]),
    Index("snapshots_machine", "machine", "created_at"),
)

#: Of a snapshot that is being removed. Every run asks for those of its machines.
is_going = snapshots.c.let_go_at.is_not(None) & snapshots.c.removed_at.is_(None)

#: Up to when it is decided, for each job, which of its times were run and which were let go.
horizons = Table(
    "horizons",
    metadata,
    Column("job_name", AnyText, primary_key=True),
    Column("schedule", AnyText, nullable=False),  # what the job's times were then
    Column("first", Utc, nullable=False),
    Column("horizon", Utc, nullable=False),
)

pauses = Table(
    "pauses",
    metadata,
    _word("kind", Pausable, primary_key=True),
    Column("name", AnyText, primary_key=True),
    Column("since", Utc, nullable=False),
    Column("by", AnyText, nullable=False),
    Column("reason", AnyText),
)

#: Counts as far as the engine does.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")

tokens = Table(
    "tokens",
    metadata,
    Column("name", AnyText, primary_key=True),
    Column("digest", AnyText, nullable=False),
    _word("role", Role),
    Column("created_at", Utc, nullable=False),
    Column("created_by", AnyText, nullable=False),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),
    Index("tokens_digest", "digest", unique=True),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("at", Utc, nullable=False),
    Column("who", AnyText, nullable=False),
    Column("origin", AnyText, nullable=False),
    Column("act", AnyText, nullable=False),
    Column("subject", AnyText, nullable=False),
    Column("status", Integer, nullable=False),
    sqlite_autoincrement=True,
)

requests = Table(
    "requests",
    metadata,
    Column("key", AnyText, primary_key=True),
    Column("wanted", AnyText, nullable=False),
    Column("run_id", AnyText, nullable=False),
    Column("at", Utc, nullable=False),
)

#: What was written about a run, and when in the order of all writers: see `events`.
events = Table(
    "events",
    metadata,
    Column("id", _NUMBER, primary_key=True),
    Column("turn", BigInteger, nullable=False),
    Column("run_id", AnyText, nullable=False),
    # Its steps from the first to the last that were written; 0: none.
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Index("events_in_order", "turn", "id"),
    sqlite_autoincrement=True,
)

#: What people were told and what lasts still; an empty text stands for whatever job or machine.
notices = Table(
    "notices",
    metadata,
    _word("kind", NoticeKind, primary_key=True),
    Column("job_name", AnyText, primary_key=True),
    Column("machine", AnyText, primary_key=True),
    Column("told_at", Utc, nullable=False),
)
