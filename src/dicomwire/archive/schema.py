"""The schema of a new catalogue, as the newest migration leaves it.

A new catalogue is made from STATEMENTS and stamped with HEAD, without alembic, which takes half a second to
load. An older one is brought here by the revisions in `migrations/versions`. To change the schema:

1. Add `migrations/versions/000N_what.py` with `revision = "000N"`, `down_revision` the one before, and an
   `upgrade()` of `op.execute` statements in literal SQL. It imports nothing from this module: a revision that
   has been released never changes. New columns need a default (`NOT NULL DEFAULT ''`), and come last in
   their table here too.
2. Change STATEMENTS to the outcome, and HEAD to "000N".
3. Where a new column's values come from the data sets, `upgrade()` ends with `DELETE FROM` instance, series,
   study and segment: the archive indexes all segments again when it opens, as `archive rebuild` does.

`tests/archive/test_migrations.py` holds both ways to a schema against each other.
"""

from typing import Final

HEAD: Final = "0003"  # the newest migration

STATEMENTS: Final = (
    # A segment is one file; `durable` counts the bytes whose records this catalogue holds.
    """CREATE TABLE segment (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        durable INTEGER NOT NULL
    )""",
    # `modalities` and `character_set` are multi-valued with backslashes; `attributes` is the text of the
    # members of a DICOM JSON object (PS3.18 F) without its braces; `*_key`, `*_ideographic` and
    # `*_phonetic` are the folded component groups of a name, `*_words` its words and their sounds.
    """CREATE TABLE study (
        id INTEGER PRIMARY KEY,
        study_instance_uid TEXT NOT NULL UNIQUE,
        patient_id TEXT NOT NULL,
        issuer_of_patient_id TEXT NOT NULL,
        patient_name TEXT NOT NULL,
        patient_name_key TEXT NOT NULL,
        patient_birth_date TEXT NOT NULL,
        patient_sex TEXT NOT NULL,
        study_date TEXT NOT NULL,
        study_time TEXT NOT NULL,
        accession_number TEXT NOT NULL,
        referring_physician_name TEXT NOT NULL,
        referring_physician_name_key TEXT NOT NULL,
        study_id TEXT NOT NULL,
        study_description TEXT NOT NULL,
        character_set TEXT NOT NULL,
        modalities TEXT NOT NULL,
        number_of_series INTEGER NOT NULL,
        number_of_instances INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        timezone_offset TEXT NOT NULL DEFAULT '',
        patient_name_ideographic TEXT NOT NULL DEFAULT '',
        patient_name_phonetic TEXT NOT NULL DEFAULT '',
        patient_name_words TEXT NOT NULL DEFAULT '',
        referring_physician_name_ideographic TEXT NOT NULL DEFAULT '',
        referring_physician_name_phonetic TEXT NOT NULL DEFAULT '',
        referring_physician_name_words TEXT NOT NULL DEFAULT ''
    )""",
    "CREATE INDEX study_patient_id ON study (patient_id)",
    "CREATE INDEX study_patient_name ON study (patient_name_key)",
    "CREATE INDEX study_date ON study (study_date, study_time)",
    "CREATE INDEX study_accession_number ON study (accession_number)",
    "CREATE INDEX study_study_id ON study (study_id)",
    "CREATE INDEX study_referring_physician_name ON study (referring_physician_name_key)",
    # few names have more than one component group, so these are nearly empty
    "CREATE INDEX study_patient_name_ideographic ON study (patient_name_ideographic)"
    " WHERE patient_name_ideographic <> ''",
    "CREATE INDEX study_patient_name_phonetic ON study (patient_name_phonetic)"
    " WHERE patient_name_phonetic <> ''",
    "CREATE INDEX study_referring_physician_name_ideographic ON study (referring_physician_name_ideographic)"
    " WHERE referring_physician_name_ideographic <> ''",
    "CREATE INDEX study_referring_physician_name_phonetic ON study (referring_physician_name_phonetic)"
    " WHERE referring_physician_name_phonetic <> ''",
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES study (id),
        series_instance_uid TEXT NOT NULL,
        modality TEXT NOT NULL,
        series_number INTEGER,
        series_description TEXT NOT NULL,
        performed_procedure_step_start_date TEXT NOT NULL,
        performed_procedure_step_start_time TEXT NOT NULL,
        number_of_instances INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        UNIQUE (study, series_instance_uid)
    )""",
    "CREATE INDEX series_uid ON series (series_instance_uid)",
    "CREATE INDEX series_modality ON series (modality)",
    "CREATE INDEX series_step_date ON series (performed_procedure_step_start_date)",
    # `id` is the record's identity, ordered by time; `current` is 0 for conflict versions, 1 for all else.
    """CREATE TABLE instance (
        id INTEGER PRIMARY KEY,
        series INTEGER NOT NULL REFERENCES series (id),
        sop_instance_uid TEXT NOT NULL,
        sop_class_uid TEXT NOT NULL,
        transfer_syntax_uid TEXT NOT NULL,
        instance_number INTEGER,
        rows INTEGER,
        columns INTEGER,
        bits_allocated INTEGER,
        samples_per_pixel INTEGER,
        number_of_frames INTEGER,
        pixel_data_offset INTEGER,
        pixel_data_length INTEGER,
        current INTEGER NOT NULL,
        segment INTEGER NOT NULL REFERENCES segment (id),
        offset INTEGER NOT NULL,
        length INTEGER NOT NULL,
        data_set_offset INTEGER NOT NULL,
        crc INTEGER NOT NULL
    )""",
    "CREATE INDEX instance_uid ON instance (sop_instance_uid)",
    "CREATE INDEX instance_series ON instance (series)",
    "CREATE INDEX instance_segment ON instance (segment, offset)",
    # Studies, series and instances that were removed, each as 64 bits of a digest of its path: a dozen bytes.
    # Of what compaction has taken away the segments no longer tell: this is not made anew.
    "CREATE TABLE removed (id INTEGER PRIMARY KEY)",
)

STAMP: Final = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    f"INSERT INTO alembic_version VALUES ('{HEAD}')",
)
"""What tells alembic that a new catalogue lacks no migration."""
