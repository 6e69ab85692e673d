"""Keyed hashes of credentials, and the encryption of what must be read again; both depend on the pepper.

While a pepper is replaced, TOKEN_PEPPER_FALLBACKS has the former ones. What is found under one of those is
stored anew under the present one.
"""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings


def keyed_hash(text: str, pepper: str = "") -> str:
    """HMAC-SHA-256 (RFC 2104) with the pepper as key. Secrets are random, so no slow hash is needed."""
    return hmac.new((pepper or settings.TOKEN_PEPPER).encode(), text.encode(), hashlib.sha256).hexdigest()


def is_hash_of(digest: str, text: str) -> bool:
    """Tell whether the digest is the text's, under the present pepper or a former one."""
    peppers = (settings.TOKEN_PEPPER, *settings.TOKEN_PEPPER_FALLBACKS)
    return any(hmac.compare_digest(digest, keyed_hash(text, pepper)) for pepper in peppers)


def cipher() -> MultiFernet:
    """Encrypts with the present pepper, and decrypts with former ones, too."""
    peppers = (settings.TOKEN_PEPPER, *settings.TOKEN_PEPPER_FALLBACKS)
    keys = (hashlib.sha256(b"second factor " + pepper.encode()).digest() for pepper in peppers)
    return MultiFernet([Fernet(base64.urlsafe_b64encode(key)) for key in keys])
