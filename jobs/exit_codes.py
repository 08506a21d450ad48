"""How `quire` ends, apart from 0 (all is well)."""

EXIT_ERROR = 1
EXIT_WRONG_USAGE = 2  # also click's own code: the same command would fail again
EXIT_FAILED_PAGES = 3
EXIT_SUMS_DISAGREE = 4  # or a file of the results is damaged
EXIT_UNFINISHED = 5
EXIT_STOPPED = 6
EXIT_TOO_MANY_GONE = 7
EXIT_FAULT = 70  # of Quire itself; as in sysexits.h
EXIT_INTERRUPTED = 130
