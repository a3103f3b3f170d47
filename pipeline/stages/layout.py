"""Where the stages leave what others read: paths under the output, and schemas that are no contract."""

import pyarrow as pa

CUT_LINES = "stages/boilerplate/lines.arrow"
"""What was cut as boilerplate, for people: schema CUT_LINES_SCHEMA, most characters first."""
CUT_LINES_SCHEMA = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.string(), nullable=False),
        pa.field("documents", pa.uint64(), nullable=False),
        pa.field("characters", pa.uint64(), nullable=False),
    ]
)


def documents_path(part: int) -> str:
    """Of the texts that clean passed on."""
    return f"stages/clean/documents/{part:05d}.arrow"


def audit_path(part: int) -> str:
    """Of clean's row for every record."""
    return f"stages/clean/audit/{part:05d}.arrow"


def signatures_path(part: int) -> str:
    """Of what deduplication must know of clean's documents."""
    return f"stages/clean/signatures/{part:05d}.arrow"
