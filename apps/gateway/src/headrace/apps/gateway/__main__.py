"""`python -m headrace.apps.gateway`."""

import sys

from headrace.apps.gateway.main import main

sys.exit(main())
