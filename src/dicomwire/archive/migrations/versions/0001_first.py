"""The first schema: segments, studies, series and instances."""

from alembic import op

from dicomwire.archive.schema import STATEMENTS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("instance", "series", "study", "segment"):
        op.drop_table(table)
