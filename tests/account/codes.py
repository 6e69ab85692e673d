"""Codes of authenticator apps."""

import base64
import hmac
import time


def code_of(secret: str, *, steps: int = 0) -> str:
    """The code of RFC 6238 for now, or for so many half minutes later."""
    counter = (int(time.time()) // 30 + steps).to_bytes(8, "big")
    digest = hmac.digest(base64.b32decode(secret), counter, "sha1")
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**6:06}"
