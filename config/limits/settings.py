"""Bounds of what one person may have, ask for and hold. `config.settings` takes all names.

The defaults are such that no honest fleet meets them. 0 is no limit.
"""

from config.environment import flag, whole_number

MOST = 10**9

# Analyses and calculations of one person that are queued or running.
OPEN_RUNS = whole_number("OPEN_RUNS", 100, at_least=0, at_most=MOST)
# The longest `pause` of the kernel `well`. It only slows a run down, for demonstrations.
PAUSE_SECONDS = whole_number(
    "PAUSE_SECONDS", 1800 if flag("PLUMBLINE_DEMO", "0") else 0, at_least=0, at_most=1800
)

# Requests of one person that a process of `web`, which has eight threads, answers at the same time.
READS_AT_ONCE = whole_number("READS_AT_ONCE", 6, at_least=0, at_most=MOST)
# A statement of a page or of the API that takes longer is ended, and so is one that waits longer for a lock.
# Workers and commands have no such bound.
STATEMENT_SECONDS = whole_number("STATEMENT_SECONDS", 30, at_least=0, at_most=86400)
LOCK_SECONDS = whole_number("LOCK_SECONDS", 5, at_least=0, at_most=86400)

# What one owner may have. All are counted only when one more is made.
DEVICES_PER_OWNER = whole_number("DEVICES_PER_OWNER", 50_000, at_least=0, at_most=MOST)
# Valid ones; of others the newest are kept for the record.
TOKENS_PER_USER = whole_number("TOKENS_PER_USER", 100, at_least=0, at_most=MOST)
KEYS_PER_DEVICE = whole_number("KEYS_PER_DEVICE", 100, at_least=0, at_most=MOST)
# In force.
EXCLUSIONS_PER_DEVICE = whole_number("EXCLUSIONS_PER_DEVICE", 1000, at_least=0, at_most=MOST)
# Of one person: drafts, and imports that are queued or running.
OPEN_IMPORTS = whole_number("OPEN_IMPORTS", 50, at_least=0, at_most=MOST)
# The results of one person's analyses and calculations together.
RESULT_MEBIBYTES = whole_number("RESULT_MEBIBYTES", 10_240, at_least=0, at_most=MOST)
# Months ahead for which readings make a partition each; those beyond lie in one.
PARTITION_MONTHS = whole_number("PARTITION_MONTHS", 24, at_least=4, at_most=1200)
