"""What every test shares."""

pytest_plugins = ["tests.lab.fixtures", "tests.postgres", "tests.journals"]
