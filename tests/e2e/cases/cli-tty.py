# docker run -t and exec -t on a terminal: its size at the start, its size after a resize, keys, interrupt.
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import fcntl
import termios
import time

DOCKER = os.environ["DOCKER"]


class Terminal:
    def __init__(self, rows, columns, *args):
        self.master, slave = pty.openpty()
        self.size(rows, columns)
        self.process = subprocess.Popen(
            ["timeout", "--foreground", "-k", "2", "300", DOCKER, *args], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.seen = ""

    def size(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, seconds=120):
        end = time.monotonic() + seconds
        os.set_blocking(self.master, False)
        while not re.search(pattern, self.seen):
            if time.monotonic() > end:
                print(f"did not see {pattern!r} but {self.seen[-300:]!r}")
                return False
            try:
                data = os.read(self.master, 65536)
                if not data:
                    break
                self.seen += data.decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # the other side is closed
                break
        found = re.search(pattern, self.seen)
        if found:
            self.seen = self.seen[found.end():]
        return bool(found)

    def end(self):
        status = self.process.wait(timeout=300)
        os.close(self.master)
        return status


def until_size(terminal, rows, columns):
    """The new size reaches the container a little later: ask until it is there."""
    for _ in range(200):
        terminal.type("stty size\r")
        if terminal.expect(rf"\b{rows} {columns}\r", 0.5):
            return True
        time.sleep(0.1)
    return False


def quiet(*args):
    subprocess.run(["timeout", "120", DOCKER, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# the printed "did not see" lines of until_size are not deterministic
out, sys.stdout = sys.stdout, open(os.devnull, "w")


def say(*words):
    print(*words, file=out, flush=True)


t = Terminal(31, 97, "run", "-it", "--rm", "--name", "tty1", "busybox", "sh")
say("prompt", t.expect(r"/ # "))
say("first size", until_size(t, 31, 97))
t.size(45, 123)  # the kernel sends SIGWINCH to the foreground process
say("size after resize", until_size(t, 45, 123))
t.type("echo $((6*7))-answer\r")
say("output", t.expect(r"42-answer\r\n"))
t.type("sh -c 'echo $((20+3))-begun; exec sleep 3000'\r")
say("begun", t.expect(r"23-begun\r\n"))
t.type("\x03")  # ^C goes to the program in the container
say("prompt", t.expect(r"/ # "))
t.type("echo after $((1+1))\r")
say("interrupt reaches the container", t.expect(r"after 2\r\n"))
t.type("exit 9\r")
say("status", t.end())

quiet("run", "-d", "--name", "tty2", "busybox", "sleep", "3000")
t = Terminal(20, 70, "exec", "-it", "tty2", "sh")
say("exec prompt", t.expect(r"/ # "))
say("exec size", until_size(t, 20, 70))
t.size(25, 71)
say("exec resize", until_size(t, 25, 71))
t.expect(r"/ # ")
t.type("exit\r")  # (^D is lost when it comes while a command still runs)
say("exec status", t.end())

quiet("rm", "-f", "tty2")
quiet("run", "-dit", "--name", "tty3", "busybox", "sh")
t = Terminal(24, 80, "attach", "tty3")
t.type("echo $((40+2))-attached\r")
say("attached", t.expect(r"42-attached\r\n"))
t.type("\x10\x11")  # ^P ^Q: detach
say("detached", t.end())
t = Terminal(24, 80, "attach", "--detach-keys", "ctrl-x,x", "tty3")
t.type("echo $((50+2))-again\r")
say("attached again", t.expect(r"52-again\r\n"))
t.type("\x18x")
say("detached again", t.end())
state = subprocess.run(["timeout", "120", DOCKER, "inspect", "-f", "{{.State.Status}}", "tty3"], stdout=subprocess.PIPE, text=True)
say(state.stdout.strip())
quiet("rm", "-f", "tty3")
