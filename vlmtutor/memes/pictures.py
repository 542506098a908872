"""Read a picture as a person would see it, or say why it cannot be read.

The reader is the models' own: what is captioned is what the model saw.
"""

from ..models.pictures import (
    UnreadablePicture,
    as_seen,
    decode_picture,
    read_bytes,
    read_picture,
)

__all__ = [
    "UnreadablePicture", "as_seen", "decode_picture", "read_bytes",
    "read_picture",
]  # fmt: skip
