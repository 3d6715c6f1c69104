"""The tables of the store of work, one tuple of statements a version; the newest is what they make together.

A version that has been released is never changed: what comes later is appended as the next one. The number of
the last one that a database has been through is its `user_version`, set in the same transaction.
"""

from __future__ import annotations

from typing import Final

_FIRST: Final = (
    # One durable job. `state` is of `jobs.State`; times are seconds since 1970. `lane` orders jobs of one
    # destination: of a lane only the oldest that is not over may run; '' is no lane. `lease` is when a
    # running job counts as lost. `name` makes a job unique while it exists.
    """CREATE TABLE job (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        destination TEXT NOT NULL,
        lane TEXT NOT NULL,
        name TEXT UNIQUE,
        payload TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        due REAL NOT NULL,
        lease REAL NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL,
        reason TEXT NOT NULL
    )""",
    "CREATE INDEX job_state ON job (state, due, destination)",
    "CREATE INDEX job_lane ON job (destination, lane, id) WHERE lane <> ''",
    "CREATE INDEX job_changed ON job (changed)",
    # How far a reader of something that only grows has come, such as the router in the archive's records.
    """CREATE TABLE progress (
        name TEXT PRIMARY KEY,
        position INTEGER NOT NULL
    ) WITHOUT ROWID""",
    # Modality Performed Procedure Steps; `attributes` is a DICOM JSON object, the rest is taken out of it.
    """CREATE TABLE procedure_step (
        sop_instance_uid TEXT PRIMARY KEY,
        status TEXT NOT NULL,
        modality TEXT NOT NULL,
        performed_station_ae_title TEXT NOT NULL,
        start TEXT NOT NULL,
        attributes TEXT NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX procedure_step_status ON procedure_step (status, start)",
    "CREATE INDEX procedure_step_changed ON procedure_step (changed)",
    # What a procedure step belongs to: `kind` says what `value` names (study, accession, step, series).
    """CREATE TABLE procedure_step_link (
        kind TEXT NOT NULL,
        value TEXT NOT NULL,
        sop_instance_uid TEXT NOT NULL REFERENCES procedure_step (sop_instance_uid) ON DELETE CASCADE,
        PRIMARY KEY (kind, value, sop_instance_uid)
    ) WITHOUT ROWID""",
    "CREATE INDEX procedure_step_link_step ON procedure_step_link (sop_instance_uid)",
    # Storage Commitment, both ways: `role` is 'scp' for what was asked of us, 'scu' for what we asked for.
    # `content` is the request's Referenced SOP Sequence, `result` the report's data set, DICOM JSON both.
    """CREATE TABLE commitment (
        role TEXT NOT NULL,
        transaction_uid TEXT NOT NULL,
        ae_title TEXT NOT NULL,
        content TEXT NOT NULL,
        state TEXT NOT NULL,
        result TEXT NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL,
        PRIMARY KEY (role, transaction_uid)
    ) WITHOUT ROWID""",
    "CREATE INDEX commitment_changed ON commitment (changed)",
    # Instance Availability Notifications that came in.
    """CREATE TABLE availability (
        sop_instance_uid TEXT PRIMARY KEY,
        study_instance_uid TEXT NOT NULL,
        ae_title TEXT NOT NULL,
        attributes TEXT NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX availability_study ON availability (study_instance_uid)",
)

VERSIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST,)
