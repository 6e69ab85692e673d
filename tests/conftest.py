pytest_plugins = ("tests.portal", "tests.logs")
