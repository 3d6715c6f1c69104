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

_WORKLIST: Final = (
    # Modality Worklist: an item is one scheduled procedure step. `attributes` is its DICOM JSON object, the
    # columns before it are taken out of it for matching. `ae_title`: for whom who calls that title; '' for
    # all. `source` names what it came from, such as a file; `performed` is the status of its MPPS or ''.
    """CREATE TABLE worklist (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        study_instance_uid TEXT NOT NULL,
        step_id TEXT NOT NULL,
        ae_title TEXT NOT NULL,
        source TEXT NOT NULL,
        performed TEXT NOT NULL,
        start_date TEXT NOT NULL,
        start_time TEXT NOT NULL,
        modality TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        patient_name TEXT NOT NULL,
        patient_name_key TEXT NOT NULL,
        patient_name_ideographic TEXT NOT NULL,
        patient_name_phonetic TEXT NOT NULL,
        patient_name_words TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        requested_procedure_id TEXT NOT NULL,
        character_set TEXT NOT NULL,
        attributes TEXT NOT NULL,
        changed REAL NOT NULL
    )""",
    "CREATE INDEX worklist_step ON worklist (study_instance_uid, step_id)",
    "CREATE INDEX worklist_step_id ON worklist (step_id)",
    "CREATE INDEX worklist_start ON worklist (start_date, start_time)",
    "CREATE INDEX worklist_modality ON worklist (modality)",
    "CREATE INDEX worklist_patient_id ON worklist (patient_id)",
    "CREATE INDEX worklist_name ON worklist (patient_name_key)",
    "CREATE INDEX worklist_name_ideographic ON worklist (patient_name_ideographic)",
    "CREATE INDEX worklist_name_phonetic ON worklist (patient_name_phonetic)",
    "CREATE INDEX worklist_accession_number ON worklist (accession_number)",
    "CREATE INDEX worklist_requested_procedure_id ON worklist (requested_procedure_id)",
    "CREATE INDEX worklist_ae_title ON worklist (ae_title)",
    "CREATE INDEX worklist_source ON worklist (source)",
    """CREATE TABLE worklist_station (
        ae_title TEXT NOT NULL,
        item INTEGER NOT NULL REFERENCES worklist (id) ON DELETE CASCADE,
        PRIMARY KEY (ae_title, item)
    ) WITHOUT ROWID""",
    "CREATE INDEX worklist_station_item ON worklist_station (item)",
)

_WORKITEM: Final = (
    # Unified Procedure Steps. `attributes` is the DICOM JSON object, without the Transaction UID, the columns
    # before it are taken out of it; times are as DICOM writes them but for `created` and `changed`.
    """CREATE TABLE workitem (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        sop_instance_uid TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        transaction_uid TEXT NOT NULL,
        priority TEXT NOT NULL,
        label TEXT NOT NULL,
        worklist_label TEXT NOT NULL,
        start TEXT NOT NULL,
        patient_id TEXT NOT NULL,
        patient_name TEXT NOT NULL,
        patient_name_key TEXT NOT NULL,
        patient_name_ideographic TEXT NOT NULL,
        patient_name_phonetic TEXT NOT NULL,
        patient_name_words TEXT NOT NULL,
        character_set TEXT NOT NULL,
        attributes TEXT NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL
    )""",
    "CREATE INDEX workitem_state ON workitem (state, changed)",
    "CREATE INDEX workitem_worklist_label ON workitem (worklist_label)",
    "CREATE INDEX workitem_patient_id ON workitem (patient_id)",
    "CREATE INDEX workitem_name ON workitem (patient_name_key)",
    "CREATE INDEX workitem_name_ideographic ON workitem (patient_name_ideographic)",
    "CREATE INDEX workitem_name_phonetic ON workitem (patient_name_phonetic)",
    # AEs that have subscribed to all workitems there will be; `filter` is a DICOM JSON object of keys, '' for
    # none. `door` is how they hear of events: 'dimse' or 'web'.
    """CREATE TABLE worklist_subscriber (
        ae_title TEXT PRIMARY KEY,
        door TEXT NOT NULL,
        locked INTEGER NOT NULL,
        filter TEXT NOT NULL
    ) WITHOUT ROWID""",
    # AEs that are subscribed to a workitem; `locked`: with a Deletion Lock.
    """CREATE TABLE workitem_subscriber (
        ae_title TEXT NOT NULL,
        workitem INTEGER NOT NULL REFERENCES workitem (id) ON DELETE CASCADE,
        door TEXT NOT NULL,
        locked INTEGER NOT NULL,
        PRIMARY KEY (workitem, ae_title)
    ) WITHOUT ROWID""",
    "CREATE INDEX workitem_subscriber_ae ON workitem_subscriber (ae_title)",
    # Events that wait for an AE's event channel; `content` is the DICOM JSON object that it gets.
    """CREATE TABLE workitem_event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        ae_title TEXT NOT NULL,
        content TEXT NOT NULL,
        created REAL NOT NULL
    )""",
    "CREATE INDEX workitem_event_ae ON workitem_event (ae_title, id)",
)

_GONE: Final = (
    # Workitems that have been deleted, so that who asks for one is told so.
    """CREATE TABLE workitem_gone (
        sop_instance_uid TEXT PRIMARY KEY,
        removed REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX workitem_gone_removed ON workitem_gone (removed)",
)

_IN_ORDER: Final = (
    # Indexes of what very many rows share have these in the order they are answered in, and all that decides
    # whether an item is shown, so that no row is read for it.
    "DROP INDEX worklist_start",
    """CREATE INDEX worklist_start
        ON worklist (start_date, start_time, performed, ae_title, modality)""",
    "DROP INDEX worklist_modality",
    """CREATE INDEX worklist_modality
        ON worklist (modality, start_date, start_time, performed, ae_title)""",
    "DROP INDEX workitem_worklist_label",
    "CREATE INDEX workitem_worklist_label ON workitem (worklist_label, start)",
    # Jobs in the order they are claimed in, and whether their destination has a slot.
    "DROP INDEX job_state",
    "CREATE INDEX job_state ON job (state, due, id, destination)",
    "CREATE INDEX workitem_state_start ON workitem (state, start)",
    "CREATE INDEX workitem_start ON workitem (start)",
)

VERSIONS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _WORKLIST, _WORKITEM, _GONE, _IN_ORDER)
