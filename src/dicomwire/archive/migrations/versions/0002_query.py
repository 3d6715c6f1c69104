"""What queries need: every component group of names, their words and sounds; instances as they arrived."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    "timezone_offset",
    "patient_name_ideographic",
    "patient_name_phonetic",
    "patient_name_words",
    "referring_physician_name_ideographic",
    "referring_physician_name_phonetic",
    "referring_physician_name_words",
)
NAMES = (
    "patient_name_ideographic",
    "patient_name_phonetic",
    "referring_physician_name_ideographic",
    "referring_physician_name_phonetic",
)


def upgrade() -> None:
    for table in ("instance", "series", "study", "segment"):
        op.execute(f"DELETE FROM {table}")
    for column in COLUMNS:
        op.execute(f"ALTER TABLE study ADD COLUMN {column} TEXT NOT NULL DEFAULT ''")
    op.execute("DROP INDEX study_referring")
    op.execute("CREATE INDEX study_referring_physician_name ON study (referring_physician_name_key)")
    for column in NAMES:
        op.execute(f"CREATE INDEX study_{column} ON study ({column}) WHERE {column} <> ''")
    op.execute("DROP INDEX instance_series")
    op.execute("CREATE INDEX instance_series ON instance (series)")
    for column in ("scheduled_procedure_step_id", "requested_procedure_id"):
        op.execute(f"ALTER TABLE series DROP COLUMN {column}")


def downgrade() -> None:
    raise NotImplementedError
