# SPDX-License-Identifier: Apache-2.0
"""At which calls a test kills: each EVERY-th, another one each day. BERTH_KILL_EVERY=1 is all of them."""

import os
import time

EVERY = int(os.environ.get('BERTH_KILL_EVERY', '5'))  # odd: tests do different things after odd and even calls
FIRST = 1 + int(time.strftime('%j')) % EVERY
