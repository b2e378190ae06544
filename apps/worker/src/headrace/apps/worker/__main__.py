"""`python -m headrace.apps.worker`."""

import sys

from headrace.apps.worker.main import main

sys.exit(main())
