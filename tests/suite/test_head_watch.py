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


def watch(server, notes, ended, cluster_of=lambda _address: "the one", **more):
    address = f"127.0.0.1:{server.getsockname()[1]}"
    return HeadWatch(address, notes.put_line, end=ended.set, cluster_of=cluster_of, every_seconds=0.05, **more)


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
    assert "then give the same command" in notes.lines[1]
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


def test_a_head_that_was_started_again_is_another_cluster_and_ends_the_command():
    server, notes, ended, clusters = listening(), Notes(), threading.Event(), iter(["the one", "another"])
    port = server.getsockname()[1]
    with watch(server, notes, ended, cluster_of=lambda _address: next(clusters), give_up_seconds=60):
        with server:
            server.settimeout(20)
            for _ in range(2):  # as it begins, and the first look after that
                server.accept()[0].close()
        notes.wait_for(1)
        server = listening(port)
        assert ended.wait(20)
    server.close()
    assert "was started again" in notes.lines[1]
    assert "then give the same command" in notes.lines[1]


def test_what_fails_for_want_of_a_head_ends_the_command_at_once():
    server, notes, ended = listening(), Notes(), threading.Event()
    with watch(server, notes, ended, give_up_seconds=60) as head:
        head.end_if_lost()
        assert not ended.is_set()
        server.close()
        head.end_if_lost()
        assert ended.is_set()
    assert sum("is lost" in line for line in notes.lines) == 1
