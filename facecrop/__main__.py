"""`python -P -m facecrop` is the command `facecrop`."""

import sys

from intake.cli.main import main

sys.exit(main())
