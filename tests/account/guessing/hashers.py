"""Password hashers that tests look into."""

import time
from typing import Any

from django.contrib.auth.hashers import MD5PasswordHasher

from users.account.hashing import BoundedHasher


class QuickHasher(BoundedHasher):
    """Has places as the product's own, and takes next to no time."""

    iterations = 1


class WatchedHasher(MD5PasswordHasher):
    """Takes its time and notes its calls."""

    calls: list[str] = []

    def encode(self, password: str, salt: str) -> Any:
        self.calls.append(password)
        time.sleep(0.3)
        return super().encode(password, salt)
