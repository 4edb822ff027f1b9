"""Listens on a port that is another's, beside whoever does so too, and says whatever it is told to say."""
import socket
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

port, text = int(sys.argv[1]), sys.argv[2]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{text} of a stranger\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(HTTPServer):
    def server_bind(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        super().server_bind()


Server(("127.0.0.1", port), Handler).serve_forever()
