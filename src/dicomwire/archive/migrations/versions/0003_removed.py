"""What has been removed, so that it can be told from what was never there."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE removed (id INTEGER PRIMARY KEY)")
