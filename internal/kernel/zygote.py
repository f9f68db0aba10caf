"""The fork server of Quire: imports ipykernel once and forks kernels.

It is started by package kernel as "zygote.py LAUNCHER [MODULE...]", with a Unix
socket as file descriptor 3, and speaks JSON there, each message behind its length (4 bytes, big-endian):

  {"id", "connection", "dir", "env"} + one descriptor   start a kernel; the descriptor gets its stdout and stderr
  {"reap": pid}                                         the death of that kernel was noted, forget it
  {"ready": true} or {"failed": text}                   once, at the start
  {"id", "pid"} or {"id", "error"}                      a kernel was started, or not
  {"ended": pid}                                        a kernel has ended; it stays a zombie until "reap"
  {"exit": pid, "status", "maxrss", "cpu"}              how it ended: wait status, KiB, seconds

It ends, and all its kernels with it, when the socket is closed. It has one
thread, always: a process with more must not fork.
"""
import array
import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import tempfile
import time

# Nothing that starts a thread, as NumPy does: a process with threads cannot fork.
PRELOAD = """
zmq asyncio tornado.ioloop tornado.platform.asyncio IPython.core.completer IPython.core.completerlib
IPython.core.debugger IPython.core.history IPython.core.interactiveshell IPython.core.logger IPython.core.magics
IPython.core.oinspect IPython.core.payloadpage IPython.extensions.storemagic IPython.utils.wildcard
ipykernel.ipkernel ipykernel.zmqshell ipykernel.iostream ipykernel.heartbeat ipykernel.control
ipykernel.debugger ipykernel.comm ipykernel.eventloops comm pdb sqlite3 faulthandler runpy
""".split()


def preload(names):
    import ipykernel.kernelapp  # without it there is no use in going on

    for name in PRELOAD + names:
        try:
            importlib.import_module(name)
        except Exception:  # a kernel that needs it says so itself
            pass


def threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


class Server:
    """Everything that the child of a fork must let go of."""

    def __init__(self):
        self.sock = socket.socket(fileno=3)
        self.poll = selectors.DefaultSelector()
        self.poll.register(self.sock, selectors.EVENT_READ)
        self.kernels = {}  # pidfd -> pid
        self.null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def send(self, **message):
        data = json.dumps(message).encode()
        self.sock.sendall(struct.pack(">I", len(data)) + data)

    def receive(self):
        """The next request and the descriptor that came with it."""
        fds = array.array("i")
        head, ancillary, _, _ = self.sock.recvmsg(4, socket.CMSG_SPACE(fds.itemsize))
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not head:
            return None, None
        head += self.exactly(4 - len(head))
        body = self.exactly(struct.unpack(">I", head)[0])
        return json.loads(body), (fds[0] if fds else None)

    def exactly(self, size):
        parts = []
        while size > 0:
            part = self.sock.recv(min(size, 1 << 16))
            if not part:
                os._exit(0)
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def serve(self):
        """Returns in a child only, with the request that it is for."""
        while True:
            for key, _ in self.poll.select():
                if key.fileobj is not self.sock:
                    self.send(ended=self.kernels[key.fd])
                    self.poll.unregister(key.fd)
                    continue
                request, fd = self.receive()
                if request is None:
                    os._exit(0)
                if "reap" in request:
                    self.reap(request["reap"])
                elif self.fork(request, fd):
                    return request

    def reap(self, pid):
        for fd, known in list(self.kernels.items()):
            if known == pid:
                _, status, usage = os.wait4(pid, 0)
                os.close(fd)
                del self.kernels[fd]
                self.send(exit=pid, status=status, maxrss=usage.ru_maxrss, cpu=usage.ru_utime + usage.ru_stime)

    def fork(self, request, output):
        """Starts a kernel; true in the child."""
        try:
            parent = os.getpid()
            pid = os.fork()
        except OSError as e:
            self.send(id=request["id"], error=str(e))
            os.close(output)
            return False
        if pid == 0:
            self.become_kernel(parent, output)
            return True
        os.close(output)
        fd = os.pidfd_open(pid)
        self.kernels[fd] = pid
        self.poll.register(fd, selectors.EVENT_READ)
        self.send(id=request["id"], pid=pid)
        return False

    def become_kernel(self, parent, output):
        die_with_parent(parent)
        os.setsid()
        os.dup2(self.null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        os.close(self.null)
        self.poll.close()
        self.sock.close()
        for fd in self.kernels:
            os.close(fd)


def die_with_parent(parent):
    """The kernel ends when the fork server does (Linux: PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


LIBC = ctypes.CDLL(None, use_errno=True)


def prepare(request):
    """Makes this process what a fresh interpreter would be."""
    old = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(request["env"])
    new = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    sys.path[:] = new + [p for p in sys.path if p not in old and p not in new]
    time.tzset()
    tempfile.tempdir = None
    os.environ["JPY_PARENT_PID"] = str(os.getppid())
    if request["dir"]:
        os.chdir(request["dir"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if not getattr(sys.flags, "safe_path", False) and not sys.flags.isolated:
        sys.path.insert(0, os.getcwd())  # as "python -m" has it; the launcher may take it out
    sys.argv = ["-m", "-f", request["connection"]]
    gc.enable()


def run(module):
    """Runs the kernel that a fork became, as "python -m MODULE -f FILE" does."""
    import zmq
    from ipykernel.kernelapp import IPKernelApp

    zmq.Context._instance = None
    IPKernelApp.instance().parent_handle = os.getppid()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if p not in ("", here)]
    server = Server()
    try:
        preload(sys.argv[2:])
        if not hasattr(os, "pidfd_open"):
            raise RuntimeError("no pidfd_open in this Python")
        if threads() != 1:
            raise RuntimeError("importing ipykernel started %d threads" % (threads() - 1))
    except BaseException as e:
        server.send(failed="%s: %s" % (type(e).__name__, e))
        os._exit(1)
    gc.collect()
    gc.disable()
    gc.freeze()
    server.send(ready=True)
    return server.serve()


launcher = sys.argv[1]
prepare(main())
run(launcher)
