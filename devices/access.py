"""What a credential may post to, kept as long as nothing is changed that it depends on.

The database is asked every few seconds whether anything was: one question for all that is kept. So each
device is looked up once, and a revocation still reaches every process within five seconds.
"""

import hashlib
import math
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.utils import timezone

from devices import changes
from devices.changes import Thing
from devices.ingest import Target
from devices.models import Device, DeviceKey, DeviceProfile
from users.models import Credential, Scope, Token

# After a question whether it holds what is kept is good for so long, and the next one due after so long.
GOOD_SECONDS = 4.0
ASK_SECONDS = 1.5
# A process that has not asked for so long forgets everything: the log of changes is not kept for ever.
SEEN_SECONDS = 30 * 60
# More than so many entries are not kept, only looked up again.
MAX_KEPT = 200_000
STRIKES_PER_MINUTE = 20
NOTED_SECONDS = 60.0


class Grant(NamedTuple):
    """Leave to post as `holder`: for one device or, without a target, for the sensors of a user."""

    holder: str
    target: Target | None
    user_id: int | None


@dataclass(slots=True, eq=False)
class Entry:
    """`until`, in monotonic seconds, is the end of a credential; `about` is what it depends on."""

    value: Any
    about: tuple[Thing, ...]
    until: float = math.inf
    # For when it was last used; none for what is no credential.
    credential: tuple[type[Credential], int] | None = None
    noted_at: float = 0.0
    is_used: bool = False


class Kept:
    """What was looked up. Safe among threads."""

    def __init__(self) -> None:
        self.entries: dict[Any, Entry] = {}
        # Each time that something is forgotten it is another.
        self.generation = 0
        self.state = changes.state()
        self.seen = ""
        self.asked_at = self.good_until = -math.inf
        self.used: list[Entry] = []
        self.lock = threading.Lock()
        # What is put must not be of before what is forgotten.
        self.changing = threading.RLock()

    def get(self, key: Any) -> Any:
        return self.look(key)[0]

    def look(self, key: Any) -> tuple[Any, bool]:
        """What is kept and is known to hold, and whether it is time to `confirm` that."""
        entry = self.entries.get(key)
        now = time.monotonic()
        if entry is None or now >= self.good_until or now >= entry.until or self.is_doubtful:
            return None, True
        if not entry.is_used:
            entry.is_used = True
            self.used.append(entry)
        return entry.value, now >= self.asked_at + ASK_SECONDS

    @property
    def is_doubtful(self) -> bool:
        """Something was changed on this host since the database was asked."""
        return changes.state() != self.state

    def confirm(self) -> None:
        """Ask the database what was changed, unless that was just done, and forget that.

        Raises DatabaseError.
        """
        with self.lock:
            begun, state = time.monotonic(), changes.state()
            if state == self.state and begun < min(self.asked_at + ASK_SECONDS, self.good_until):
                return
            news = changes.since(self.seen if begun < self.asked_at + SEEN_SECONDS else "")
            self.forget(news.changed)
            self.seen, self.state, self.asked_at = news.seen, state, begun
            self.good_until = begun + GOOD_SECONDS
            used, self.used = self.used, []
        note_uses(used, timezone.now())

    def forget(self, changed: set[Thing] | None) -> None:
        """What is about these; None: all."""
        with self.changing:
            if changed is None:
                self.entries, self.generation = {}, self.generation + 1
            elif changed:
                entries = self.entries.items()
                self.entries = {key: entry for key, entry in entries if changed.isdisjoint(entry.about)}
                self.generation += 1

    def begin(self) -> int:
        """To be asked before a look-up: what is changed from here on that may not have seen."""
        return self.generation

    def put(self, key: Any, entry: Entry, begun: int) -> None:
        with self.changing:
            if begun != self.generation:
                return
            if len(self.entries) >= MAX_KEPT:
                self.forget(None)
            self.entries[key] = entry


def note_uses(entries: Iterable[Entry], now: datetime) -> None:
    """Write down, to the minute, that these were used. Raises DatabaseError."""
    instant = time.monotonic()
    due: dict[type[Credential], list[int]] = defaultdict(list)
    for entry in entries:
        entry.is_used = False
        if entry.credential is not None and instant >= entry.noted_at + NOTED_SECONDS:
            entry.noted_at = instant
            due[entry.credential[0]].append(entry.credential[1])
    for kind, ids in due.items():
        kind.note_uses(ids, now)


class Strikes:
    """Credentials that were refused again and again are, until their minute is over, not even looked up.

    Counted by credential, in each process: behind a proxy all devices have one address, and those with good
    keys must not suffer for the one without.
    """

    REFUSAL = "This credential was refused too often; wait as long as Retry-After says."

    def __init__(self) -> None:
        # By the digest of the header, as a header may be long: until when, and how often.
        self.entries: dict[bytes, tuple[float, int]] = {}

    def note(self, authorization: bytes) -> None:
        if len(self.entries) >= MAX_KEPT:
            self.entries.clear()
        digest, now = hashlib.sha256(authorization).digest(), time.monotonic()
        until, count = self.entries.get(digest, (0.0, 0))
        self.entries[digest] = (until, count + 1) if now < until else (now + 60, 1)

    def wait_seconds(self, authorization: bytes) -> int:
        """Until the credential may be tried again; 0: it may."""
        until, count = self.entries.get(hashlib.sha256(authorization).digest(), (0.0, 0))
        return max(0, math.ceil(until - time.monotonic())) if count >= STRIKES_PER_MINUTE else 0


# The Authorization header and, unless readings of sensors are to be posted, the device; or a user's id and a
# sensor.
Question = tuple[bytes, UUID | None]
kept = Kept()


def grant(question: Question) -> Grant | None:
    """What this header allows. None: ask the full door."""
    found, is_due = kept.look(question)
    return look_up([question]).get(question) if found is None or is_due else found


def look_up(questions: Collection[Question]) -> dict[Question, Grant]:
    """What these headers allow, and keep it: many cost no more queries than one. Raises DatabaseError.

    The full door decides with the same models; this one knows only the plain cases.
    """
    kept.confirm()
    begun, now = kept.begin(), timezone.now()
    grants = {question: kept.get(question) for question in questions}
    entries = entries_of([question for question, grant in grants.items() if grant is None], now)
    for question, entry in entries.items():
        kept.put(question, entry, begun)
        grants[question] = entry.value
    note_uses([entry for question in questions if (entry := kept.entries.get(question))], now)
    return {question: grant for question, grant in grants.items() if grant is not None}


def entries_of(questions: Collection[Question], now: datetime) -> dict[Question, Entry]:
    entries: dict[Question, Entry] = {}
    for keyword, kind, related, allowed in (
        ("device", DeviceKey, (), device_grants),
        ("token", Token, ("user",), token_grants),
    ):
        texts = {question: credential_text(question, keyword) for question in questions}
        texts = {question: text for question, text in texts.items() if text}
        credentials = kind.find_all(texts.values(), now, *related) if texts else {}
        held = {question: credentials[text] for question, text in texts.items() if text in credentials}
        grants = allowed(held) if held else {}
        entries |= {question: entry_of(grant, held[question], now) for question, grant in grants.items()}
    return entries


def entry_of(grant: Grant, credential: DeviceKey | Token, now: datetime) -> Entry:
    about: list[Thing] = []
    if grant.target is not None:
        about.append(("device", grant.target.device_id))
    if grant.user_id is not None:
        about.append(("user", grant.user_id))
    end = credential.expires_at
    until = math.inf if end is None else time.monotonic() + (end - now).total_seconds()
    return Entry(grant, tuple(about), until, (type(credential), credential.pk))


def credential_text(question: Question, keyword: str) -> str:
    """Empty if the header is of another kind."""
    first, _, text = question[0].decode("latin-1").strip().partition(" ")
    return text.strip() if first.lower() == keyword else ""


def device_grants(keys: Mapping[Question, DeviceKey]) -> dict[Question, Grant]:
    devices = Device.objects.with_channels().filter(is_active=True)
    found = devices.in_bulk({key.device_id for key in keys.values()})
    return {
        question: Grant(holder(key), Target.of(found[key.device_id]), None)
        for question, key in keys.items()
        if key.device_id in found and found[key.device_id].uuid == question[1]
    }


def token_grants(tokens: Mapping[Question, Token]) -> dict[Question, Grant]:
    able = {q: token for q, token in tokens.items() if token.user.is_active and Scope.INGEST in token.scopes}
    grants = {q: Grant(holder(token), None, token.user_id) for q, token in able.items() if q[1] is None}
    for user in {token.user for token in able.values()}:
        own = [q for q, token in able.items() if token.user == user and q[1] is not None]
        devices = Device.objects.visible_to(user).with_channels().filter(is_active=True)
        found = devices.in_bulk({uuid for _, uuid in own}, field_name="uuid")
        grants |= {q: Grant(holder(able[q]), Target.of(found[q[1]]), user.pk) for q in own if q[1] in found}
    return grants


def holder(credential: Credential) -> str:
    """Whose Idempotency-Keys and whose rate: a device's, or a user's, whichever of their keys is used."""
    if isinstance(credential, DeviceKey):
        return f"device:{credential.device_id}"
    return f"user:{credential.user_id}"


class OwnSensors:
    """The devices of one user by external id, as `ingest.take_sensors` wants them."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id

    def find(self, sensors: set[str]) -> dict[str, Target]:
        kept.confirm()
        begun = kept.begin()
        found = {sensor: kept.get((self.user_id, sensor)) for sensor in sensors}
        missing = [sensor for sensor, target in found.items() if target is None]
        if missing:
            devices = Device.objects.with_channels().filter(owner_id=self.user_id, external_id__in=missing)
            for device in devices:
                found[device.external_id] = target = Target.of(device)
                entry = Entry(target, (("device", device.pk),))
                kept.put((self.user_id, device.external_id), entry, begun)
        return {sensor: target for sensor, target in found.items() if target is not None}

    def register(self, sensors: set[str]) -> dict[str, Target]:
        profile = DeviceProfile.objects.get(name="scalar")
        new = [
            Device(owner_id=self.user_id, profile=profile, external_id=sensor, name=sensor[:200])
            for sensor in sorted(sensors)
        ]
        # Another request may register the same sensors at this moment: whoever is first, both find them.
        Device.objects.bulk_create(new, ignore_conflicts=True, batch_size=1000)
        return self.find(sensors)
