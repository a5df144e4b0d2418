"""Runs a command on a terminal of its own, and prints what that shows.

The command is told to stop when standard input ends, so that it does not
outlive the test that started it.
"""

import os
import pty
import signal
import sys
import threading

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])


def stop():
    sys.stdin.read()
    os.kill(pid, signal.SIGTERM)


threading.Thread(target=stop, daemon=True).start()
while True:
    try:
        shown = os.read(terminal, 65536)
    except OSError:  # The other end is closed.
        break
    if not shown:
        break
    sys.stdout.buffer.write(shown)
    sys.stdout.buffer.flush()
_, status = os.waitpid(pid, 0)
sys.exit(os.waitstatus_to_exitcode(status))
