"""The watch over a cluster's head, here a socket."""

import socket
import threading

from suite.head_watch import HeadWatch


def listening(port=0):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", port))
    server.listen(64)
    return server


def watch(server, notes, ended, **more):
    address = f"127.0.0.1:{server.getsockname()[1]}"
    return HeadWatch(address, notes.put_line, end=ended.set, every_seconds=0.05, **more)


class Notes:
    def __init__(self):
        self.lines, self._came = [], threading.Condition()

    def put_line(self, line):
        with self._came:
            self.lines.append(line)
            self._came.notify_all()

    def wait_for(self, number):
        with self._came:
            assert self._came.wait_for(lambda: len(self.lines) >= number, timeout=20), self.lines


def test_a_head_that_is_lost_ends_the_command_and_says_what_to_do():
    server, notes, ended = listening(), Notes(), threading.Event()
    with watch(server, notes, ended, give_up_seconds=0.2):
        server.close()
        assert ended.wait(20)
    assert "does not answer" in notes.lines[0]
    assert "start the cluster again, then give the same command" in notes.lines[1]
    assert len(notes.lines) == 2


def test_a_head_that_comes_back_in_time_ends_nothing():
    server, notes, ended = listening(), Notes(), threading.Event()
    port = server.getsockname()[1]
    with watch(server, notes, ended, give_up_seconds=60):
        server.close()
        notes.wait_for(1)
        server = listening(port)
        notes.wait_for(2)
    server.close()
    assert notes.lines[1].endswith("answers again")
    assert not ended.is_set()


def test_while_the_head_answers_nothing_is_said():
    server, notes, ended = listening(), Notes(), threading.Event()
    with watch(server, notes, ended), server:
        server.settimeout(20)
        for _ in range(2):
            server.accept()[0].close()
    assert not any("is lost" in line for line in notes.lines)
    assert not ended.is_set()
