"""The contract between the pipeline and the trainer: Arrow schemas, the manifest, the special pieces.

Depends on pyarrow and pydantic alone and imports neither side.
"""
