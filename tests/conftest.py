pytest_plugins = ("tests.portal",)
