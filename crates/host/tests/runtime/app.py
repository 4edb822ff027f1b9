"""A server for tests. BIND: where it listens; LISTEN: another port than $PORT; SHARE: with SO_REUSEPORT."""
import http.server, os, socket

class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address, handler):
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self):
        if "SHARE" in os.environ:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()

class App(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        secure = self.headers["X-Forwarded-Proto"] == "https"
        if self.path == "/redirect" and not secure:
            self.answer(301, "moved", {"Location": "https://shop.example/redirect"})
        elif self.path == "/host" and self.headers["Host"] != "shop.example":
            self.answer(400, "unknown host " + self.headers["Host"])
        elif self.path == "/version":
            self.answer(200, '{"version": "%s"}' % os.environ["EVERUP_VERSION"])
        elif self.path == "/environment":
            self.answer(200, "\n".join("%s=%s" % pair for pair in os.environ.items()))
        elif self.path == "/long":
            self.answer(500, "x" * 1000)
        else:
            self.answer(200, "fine")

    def answer(self, status, text, headers={}):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass

address = os.environ.get("BIND", "127.0.0.1"), int(os.environ.get("LISTEN", os.environ["PORT"]))
print("\x1b[32mlistening\x1b[0m", flush=True)
Server(address, App).serve_forever()
