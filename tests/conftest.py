from hypothesis import settings

pytest_plugins = ("tests.support.portal", "tests.support.logs", "tests.support.readings")
# No test asserts times: on a busy machine an example takes as long as it takes.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
