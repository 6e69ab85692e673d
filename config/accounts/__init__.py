"""The part of the settings that is about people's accounts; the rules and pages are in `users.account`."""
