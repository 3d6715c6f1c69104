"""The first schema: segments, studies, series and instances. Frozen: later revisions hold what changed."""

from typing import Final

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS: Final = (
    # A segment is one file; `durable` counts the bytes whose records this catalogue holds.
    """CREATE TABLE segment (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        durable INTEGER NOT NULL
    )""",
    # `modalities` and `character_set` are multi-valued with backslashes; `attributes` is the text of the
    # members of a DICOM JSON object (PS3.18 F) without its braces; `*_key` are folded for matching.
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
        attributes TEXT NOT NULL
    )""",
    "CREATE INDEX study_patient_id ON study (patient_id)",
    "CREATE INDEX study_patient_name ON study (patient_name_key)",
    "CREATE INDEX study_date ON study (study_date, study_time)",
    "CREATE INDEX study_accession_number ON study (accession_number)",
    "CREATE INDEX study_study_id ON study (study_id)",
    "CREATE INDEX study_referring ON study (referring_physician_name_key)",
    """CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        study INTEGER NOT NULL REFERENCES study (id),
        series_instance_uid TEXT NOT NULL,
        modality TEXT NOT NULL,
        series_number INTEGER,
        series_description TEXT NOT NULL,
        performed_procedure_step_start_date TEXT NOT NULL,
        performed_procedure_step_start_time TEXT NOT NULL,
        scheduled_procedure_step_id TEXT NOT NULL,
        requested_procedure_id TEXT NOT NULL,
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
    "CREATE INDEX instance_series ON instance (series, instance_number)",
    "CREATE INDEX instance_segment ON instance (segment, offset)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("instance", "series", "study", "segment"):
        op.drop_table(table)
