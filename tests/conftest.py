from hypothesis import settings

pytest_plugins = (
    "tests.support.kinds",
    "tests.support.portal",
    "tests.support.logs",
    "tests.support.readings",
)
# Hypothesis must not fail slow examples: the machine may be busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
