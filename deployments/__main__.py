"""`python -P -m deployments`: registers all of Facecrop on the server of PREFECT_API_URL."""

import sys

from tasks.environment import set_environment

if __name__ == "__main__":
    set_environment()  # before Prefect is imported
    from deployments.apply import main

    sys.exit(main())
