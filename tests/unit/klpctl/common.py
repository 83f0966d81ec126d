# SPDX-License-Identifier: LGPL-2.1-or-later
"""What klpctl's tests share: a private bus with the fake klpd on it, and running klpctl.

The programs come from the environment (meson sets them): KLPCTL, FAKE_KLPD.
"""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, 'data')
KLPCTL = os.environ['KLPCTL']

BUS_CONFIG = '''<busconfig>
  <type>system</type>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
'''


def wait_until(what, condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f'waited {seconds} s for {what}')
        select.select([], [], [], 0.01)


class Bus:
    """A bus of its own, and the fake klpd on it unless fake is false."""

    def __init__(self, fake=True, **environment):
        self.directory = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.directory.name, 'bus')
        self.log_path = os.path.join(self.directory.name, 'calls')
        config = os.path.join(self.directory.name, 'bus.conf')
        with open(config, 'w', encoding='utf-8') as f:
            f.write(BUS_CONFIG.format(path=self.path))
        self.daemon = subprocess.Popen(['dbus-daemon', '--config-file', config, '--nofork', '--nosyslog',
                                        '--print-address'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.daemon.stdout.readline(), 'dbus-daemon did not start'
        self.address = f'unix:path={self.path}'
        self.fake = None
        if fake:
            self.start_fake(**environment)

    def start_fake(self, **environment):
        with open(self.log_path, 'wb') as log:
            self.fake = subprocess.Popen([os.environ['FAKE_KLPD'], DATA], stdout=log,
                                         env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.address, **environment})
        wait_until('the fake klpd', lambda: 'ready' in self.log())

    def log(self):
        with open(self.log_path, encoding='utf-8') as f:
            return f.read()

    def calls(self):
        return self.log().splitlines()[1:]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.fake, self.daemon):
            if process:
                process.terminate()
                process.wait()
        self.daemon.stdout.close()
        self.directory.cleanup()

    def environment(self, **more):
        return environment(DBUS_SYSTEM_BUS_ADDRESS=self.address, **more)

    def run(self, *words, **more):
        return run(*words, DBUS_SYSTEM_BUS_ADDRESS=self.address, **more)


def environment(**more):
    env = {k: v for k, v in os.environ.items()
           if k not in ('NO_COLOR', 'SYSTEMD_COLORS', 'SYSTEMD_UTF8', 'COLUMNS', 'LC_ALL', 'LANG', 'LC_CTYPE')}
    env.update({'LC_ALL': 'C.UTF-8', 'TERM': 'xterm', 'TZ': 'UTC'})
    env.update(more)
    return env


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def json(self):
        return json.loads(self.out)

    def __repr__(self):
        return f'status {self.status}\n--- stdout\n{self.out}\n--- stderr\n{self.err}'


def run(*words, stdin=None, **more):
    p = subprocess.run([KLPCTL, *words], env=environment(**more), input=stdin, capture_output=True, timeout=60,
                       stdin=subprocess.DEVNULL if stdin is None else None, check=False)
    return Result(p.returncode, p.stdout.decode(), p.stderr.decode())


class OnTerminal:
    """klpctl with a terminal of that many columns as its standard output and error."""

    def __init__(self, words, columns=80, **more):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        self.output = b''
        self.process = subprocess.Popen([KLPCTL, *words], env=environment(**more), stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)

    def read(self):
        """Reads what there is; False at the end."""
        if select.select([self.master], [], [], 0.01)[0]:
            try:
                more = os.read(self.master, 65536)
            except OSError:
                return False
            self.output += more
            return bool(more)
        return True

    def read_until(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text.encode() not in self.output:
            if not self.read() or time.monotonic() > end:
                raise AssertionError(f'no {text!r} in {self.output!r}')

    def press(self, keys):
        os.write(self.master, keys)

    def finish(self):
        while self.read():
            pass
        status = self.process.wait(timeout=20)
        os.close(self.master)
        return Result(status, self.output.decode(), '')
