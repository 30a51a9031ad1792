"""The command by a clock that is some seconds off: ``python shifted_clock.py SECONDS WORDS...``.

What the disk says of its files stays as it is, and so does the clock that only measures how long something takes.
"""

import sys
import time

if __name__ == "__main__":
    from transship.pipeline.cli.main import main

    seconds, time_, time_ns_ = float(sys.argv[1]), time.time, time.time_ns
    time.time = lambda: time_() + seconds
    time.time_ns = lambda: time_ns_() + int(seconds * 1e9)
    sys.exit(main(sys.argv[2:]))
