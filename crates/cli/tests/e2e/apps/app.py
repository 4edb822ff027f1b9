"""A server that answers with its version, and has the flaw that a file named `flaw` beside it says."""
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

flaw = pathlib.Path("flaw").read_text() if os.path.exists("flaw") else ""
shop = pathlib.Path(os.environ["SHOP"])
version = os.environ["EVERUP_VERSION"]
requests = 0
port = int(os.environ["PORT"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz" and "NeverHealthy" in flaw:
            print("asked for its health: no table named orders", flush=True)
            return self.say(503, "the database has no table named orders")
        if self.path == "/healthz" and flaw == "AsksADatabase" and not (shop / "database").exists():
            return self.say(503, "the database is away")
        if self.path == "/healthz" and flaw == "DiesSoon":
            die_soon()
        if self.path == "/version" and flaw == "ReadsItsVersion":
            return self.say(200, (shop / "current").read_text())
        if self.path == "/version":
            return self.say(200, "0.9" if flaw == "WrongVersion" else version)
        if self.path == "/slow":
            time.sleep(3)
        if flaw == "DiesThird" and self.path == "/":
            die_under_load()
        self.say(200, f"version {version} of {os.environ['EVERUP_INSTANCE']}")

    def say(self, status, text):
        body = text.encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, *args):
        """Whoever asked has gone: no line of the log is spent on it."""


dying = False


def die_soon():
    """Two seconds after it was first healthy."""
    global dying
    if not dying:
        dying = True
        threading.Timer(2, lambda: (print("out of memory", flush=True), os._exit(1))).start()


def die_under_load():
    """The third that was started does not stand more than a few users."""
    global requests
    requests += 1
    if requests == 5 and int(os.environ["STARTED"]) == 3:
        print("out of memory", flush=True)
        os._exit(1)


def leave_a_child():
    """A process that leaves its parent and its session, and hears no TERM."""
    child = subprocess.Popen([sys.executable, "app.py", "child"], start_new_session=True)
    with open(shop / "children", "a") as told:
        told.write(f"{child.pid}\n")


print(f"version {version} starts on port {port}", flush=True)
if flaw == "ExitsAtOnce":
    raise SystemExit("cannot read the configuration: no such key: payment.url")
if flaw == "WrongPort":
    port = 0
if "HangsOnStop" in flaw:
    signal.signal(signal.SIGTERM, lambda *args: print("not now", flush=True))
else:
    signal.signal(signal.SIGTERM, lambda *args: os._exit(0))
if sys.argv[1:] == ["child"]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif flaw == "Daemonises":
    leave_a_child()
    raise SystemExit(0)
elif flaw == "LeavesAChild":
    # It keeps the listening socket.
    server = Server(("127.0.0.1", port), Handler)
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(shop / "children", "a") as told:
            told.write(f"{os.getpid()}\n")
    server.serve_forever()
Server(("127.0.0.1", port), Handler).serve_forever()
