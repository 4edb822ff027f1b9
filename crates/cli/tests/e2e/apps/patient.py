"""A server that waits in each step of its life until the test says that it may go on.

It goes on when $SHOP/go-STEP is there, and $SHOP/not-STEP-INSTANCE is not; it says in $SHOP/at-STEP which instances
have come to it, and by which process. The steps are
`draining` (a request to /last that is inside), `stopping` (TERM has come) and `starting` (nothing listens yet).
What is posted to it is counted in $SHOP/database, which has the form of the demo's.
"""
import os
import pathlib
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

shop = pathlib.Path(os.environ["SHOP"])
version = os.environ["EVERUP_VERSION"]
instance = os.environ["EVERUP_INSTANCE"]


def wait_in(step):
    with open(shop / f"at-{step}", "a") as told:
        told.write(f"{instance} {os.getpid()}\n")
    while not (shop / f"go-{step}").exists() or (shop / f"not-{step}-{instance}").exists():
        time.sleep(0.02)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/last":
            wait_in("draining")
        self.say(f"version {version} of {instance}\n")

    def do_POST(self):
        word = self.rfile.read(int(self.headers["Content-Length"])).decode()
        # One write: whoever is killed has counted it or has not.
        with open(shop / "database", "a") as counted:
            counted.write(f"{word}\n")
        self.say("counted\n")

    def say(self, text):
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True

    def server_bind(self):
        # Nothing that a careful app would do, but some do; so a stranger can share the port.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


def stop(*args):
    wait_in("stopping")
    os._exit(0)


with open(shop / "started", "a") as told:
    told.write(f"{version} on {instance}\n")
print(f"version {version} starts on {instance}", flush=True)
wait_in("starting")
server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
signal.signal(signal.SIGTERM, stop)
while True:
    signal.pause()
