"""Prefect's own settings that Facecrop's entry points run with.

They have to stand in the environment before Prefect is imported, so this module imports nothing of
it. Importing Facecrop sets none of them: that is for the programs that Facecrop is.
"""

import os

from tasks.variables import OF_PROGRAMS


def set_environment() -> None:
    """Set what is not set already."""
    for variable in OF_PROGRAMS:
        os.environ.setdefault(variable.name, variable.value)
