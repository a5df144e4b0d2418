"""An identity provider: a discovery document and a JWK set over HTTPS, and every way to fail.

Needs the files of a certificate and its key as arguments. Each line of standard input is a JSON object that replaces
the members of STATE; each line of standard output is a request that was answered, or the number of a change.
"""

import hashlib
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# keys: the JWK set; mode: what the answer for it is; max_age: its Cache-Control; issuer: of the discovery document.
STATE = {"keys": [], "mode": "keys", "max_age": None, "issuer": None}
changed = threading.Condition()


def say(event):
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


class Provider(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        mode, path = STATE["mode"], self.path.split("?")[0]
        origin = f"https://127.0.0.1:{self.server.server_port}"
        # An answer of a kind that is never given stays away until the mode is another one.
        if mode == "hang":
            say({"path": path, "status": 0})
            with changed:
                changed.wait_for(lambda: STATE["mode"] != "hang")
            return
        if path.endswith("/.well-known/openid-configuration"):
            issuer = STATE["issuer"] or origin
            body = json.dumps({"issuer": issuer, "jwks_uri": f"{origin}/jwks"}).encode()
            return self.answer(path, 200, body)
        if mode == "error":
            return self.answer(path, 503, b"")
        if mode == "redirect":
            return self.answer(path, 302, b"", {"Location": f"{origin}/elsewhere"})
        if mode == "large":
            return self.answer(path, 200, b'{"keys": [' + b" " * (1 << 20) + b"]}")
        if mode == "garbage":
            return self.answer(path, 200, b"<html>Sign in</html>")
        body = json.dumps({"keys": STATE["keys"]}).encode()
        etag = '"' + hashlib.sha256(body).hexdigest() + '"'
        headers = {"ETag": etag}
        if STATE["max_age"] is not None:
            headers["Cache-Control"] = f"public, max-age={STATE['max_age']}"
        if self.headers.get("If-None-Match") == etag:
            return self.answer(path, 304, b"", headers)
        self.answer(path, 200, body, headers)

    def answer(self, path, status, body, headers=()):
        # First, so that whoever has the answer finds the line.
        say({"path": path, "status": status})
        try:
            self.send_response(status)
            for name, value in dict(headers).items():
                self.send_header(name, value)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Provider)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
say({"port": server.server_port})
for number, line in enumerate(sys.stdin):
    with changed:
        STATE.update(json.loads(line))
        changed.notify_all()
    say({"changed": number})
