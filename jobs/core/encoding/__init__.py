"""JSON at the door: what comes in is checked once, so that everything stored can be stored, sent and shown anywhere.

`dumps` and `loads` carry values, `check_json` lets plain JSON pass, `mask` hides secrets before a value is shown,
`clean_text` and `describe_error` make any text and any exception storable. This package must not touch the database.
"""

from jobs.core.encoding.masking import MASK, SECRET_KEYS, mask
from jobs.core.encoding.payload import MAX_DEPTH, check_json, dumps, loads
from jobs.core.encoding.preview import beginning
from jobs.core.encoding.text import ErrorText, clean_text, describe_error, kind_and_message

__all__ = [
    "MASK",
    "MAX_DEPTH",
    "SECRET_KEYS",
    "ErrorText",
    "beginning",
    "check_json",
    "clean_text",
    "describe_error",
    "dumps",
    "kind_and_message",
    "loads",
    "mask",
]
