"""The process that `support.zygote` has its commands forked from: what it loads, and how a fork becomes a command."""

import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from typing import NoReturn

import transship.pipeline
import transship.schemas
import transship.tasks

_LIBRARIES = ("luigi", "yaml", "jsonschema", "pyzstd", "isal", "http.client", "ssl", "cryptography.x509", "gnupg")


def load() -> None:
    """Load what the commands need, so that no fork has to: all of the product, and what it loads when first used."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    for package in (transship.pipeline, transship.tasks, transship.schemas):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(found.name)


def serve() -> None:
    """Fork a command for each message on standard input, a socket, until that ends.

    With a message come three open files: where the command is told and answered for, its output, its errors.
    """
    with socket.socket(fileno=os.dup(0)) as control:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        load()
        gc.freeze()
        while (message := socket.recv_fds(control, 1, 3, socket.MSG_CMSG_CLOEXEC))[0]:
            if not os.fork():
                _mind(*message[1])
            for handle in message[1]:
                os.close(handle)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        with suppress(ChildProcessError):
            while os.wait():
                pass


def _mind(told: int, out: int, err: int) -> NoReturn:
    """Fork the command, kill it where it takes too long, and answer with what came of it."""
    try:
        with socket.socket(fileno=told) as client, client.makefile("r") as words:
            asked = json.loads(words.readline())
            child = os.fork()
            if not child:
                client.close()
                _be(asked, out, err)
            os.close(out)
            os.close(err)
            ended, _, _ = select.select([os.pidfd_open(child)], [], [], asked["seconds"])
            if not ended:
                os.killpg(child, signal.SIGKILL)
            _, status, used = os.wait4(child, 0)
            answer = {
                "code": os.waitstatus_to_exitcode(status),
                "memory": used.ru_maxrss << 10,
                "hung": not ended,
            }
            client.sendall(json.dumps(answer).encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _be(asked: dict[str, object], out: int, err: int) -> NoReturn:
    """Become the command."""
    try:
        os.setsid()
        os.umask(int(str(asked["umask"])))
        os.environ.clear()
        os.environ.update(asked["environ"])  # type: ignore[call-overload]
        time.tzset()
        tempfile.tempdir = None
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(str(asked["folder"]))
        sys.argv = ["transship", *asked["words"]]  # type: ignore[misc]
        importlib.import_module("transship.pipeline.cli.main").start()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)
