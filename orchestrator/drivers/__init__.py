"""How cuts are made. A driver is found by its name in the entry-point group `quiesce.drivers`, ours like anybody's."""

from collections.abc import Callable, Collection
from importlib.metadata import entry_points

from orchestrator.errors import ConfigError
from orchestrator.ports import Driver, DriverContext

GROUP = "quiesce.drivers"

DriverFactory = Callable[[DriverContext], Driver]


def known() -> tuple[str, ...]:
    """The names of all installed drivers, sorted. Loads none of them."""
    return tuple(sorted({entry.name for entry in entry_points(group=GROUP)}))


def find(name: str) -> DriverFactory:
    """Load one driver, and no other. Raises ConfigError when there is none, or several, or it cannot be loaded."""
    entries = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not entries:
        raise ConfigError(f"there is no driver {name!r}; installed are {', '.join(known())}")
    if len(entries) > 1:
        raise ConfigError(f"the driver {name!r} is installed more than once: {', '.join(sorted(entries))}")
    [(value, entry)] = entries.items()
    try:
        factory: DriverFactory = entry.load()
    except Exception as error:  # whatever a plugin does when it is imported
        raise ConfigError(f"the driver {name!r} cannot be loaded from {value}: {error}") from error
    return factory


def check_options(context: DriverContext, allowed: Collection[str]) -> None:
    """Raise ConfigError for an option of the job that its driver does not have."""
    for key in context.options:
        if key not in allowed:
            offer = f"its options are {', '.join(sorted(allowed))}" if allowed else "it has no options"
            raise ConfigError(f"job {context.job}: the driver has no option {key!r}; {offer}")
