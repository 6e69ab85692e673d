"""The kinds of things in the trail, by the name that their trigger gives. A test holds the list complete."""

from typing import NamedTuple


class Kind(NamedTuple):
    label: str
    # As in Django admin, accounts and what opens them are the admins' alone.
    for_admins: bool = False


KINDS = {
    "user": Kind("User", for_admins=True),
    "token": Kind("Token", for_admins=True),
    "invitation": Kind("Invitation", for_admins=True),
    "second_factor": Kind("Second factor", for_admins=True),
    "identity": Kind("OpenID identity", for_admins=True),
    "device": Kind("Device"),
    "device_key": Kind("Device key"),
    "profile": Kind("Profile"),
    "channel": Kind("Channel"),
    "exclusion": Kind("Exclusion"),
    # Of these only who deletes them.
    "blog": Kind("Blog"),
    "post": Kind("Post"),
    "analysis": Kind("Analysis"),
    "calculation": Kind("Calculation"),
}
FOR_ADMINS = [name for name, kind in KINDS.items() if kind.for_admins]
# What happened: by triggers, then by `notes`.
ACTIONS = {
    "created": "Created",
    "changed": "Changed",
    "deleted": "Deleted",
    "emptied": "All deleted",
    "cleared": "Readings deleted",
    "logged_in": "Logged in",
    "logged_out": "Logged out",
    "log_in_failed": "Log-in failed",
    "refused": "Refused",
    "unlocked": "Unlocked",
}
