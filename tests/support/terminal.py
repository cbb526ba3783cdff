"""Plays a person at a real pseudo-terminal: runs a command there, and types each answer once its question has been shown.

    terminal.py '[["> ", "orders"], …]' command argument…

An answer may be followed by a command, which is run once its question has been shown and before it is typed. Prints all that the terminal showed, and ends with the command's exit code; 124 when a question did not come in time.
"""

import json
import os
import pty
import select
import subprocess
import sys
import time

answers, command = json.loads(sys.argv[1]), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
shown, since, deadline = "", 0, time.monotonic() + 90
while True:
    if answers and answers[0][0] in shown[since:]:
        since = len(shown)
        _, answer, *before = answers.pop(0)
        for other in before:
            subprocess.run(other, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.write(terminal, answer.encode() + b"\r")
    if not select.select([terminal], [], [], max(0, deadline - time.monotonic()))[0]:
        print(f"{shown}\nterminal.py: in vain for {answers or 'the end'}")
        sys.exit(124)
    try:
        data = os.read(terminal, 65536)
    except OSError:  # Linux says so when the last process has closed the terminal
        data = b""
    if not data:
        break
    shown += data.decode(errors="replace")
print(shown)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(124 if answers else code)
